"""The demo's smaller parts: what it reads from flash, its processes, and what it shows."""

from __future__ import annotations

import io
import struct
import sys
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from trigpoint.errors import OperatorError
from trigpoint.wire import ack
from trigpoint.wire.keys import PublicKey, sign
from trigpoint.wire.statement import Reading, build
from trigpoint_tools.demo import attacker, processes, report
from trigpoint_tools.demo.accounting import Account
from trigpoint_tools.demo.attacker import KINDS, acked_seq
from trigpoint_tools.demo.evidence import journaled
from trigpoint_tools.demo.plan import Plan
from trigpoint_tools.demo.progress import Progress
from trigpoint_tools.demo.report import Gas, Outcome

KEY = ec.derive_private_key(11, ec.SECP256R1())


def statement(seq: int) -> bytes:
    return build(
        kid=PublicKey.of(KEY).kid,
        seq=seq,
        prev=bytes(32),
        oldest=0,
        base_time=1_360_249_200,
        readings=[Reading("temperature", "Cel", seq, -2, 0)],
        sign=lambda message: sign(KEY, message),
    )


def record(raw: bytes, seq: int) -> bytes:
    """A record as device/trig/journal.py writes it: head, body, tail."""
    mark = struct.Struct("<2sHI32sI")
    entry = sha256(raw).digest()
    return mark.pack(b"TR", len(raw), seq, entry, 0) + raw + mark.pack(b"RT", len(raw), seq, entry, 0)


RECORDS = [record(statement(seq), seq) for seq in range(3)]
SEGMENT = bytes(80) + b"".join(RECORDS)


def test_all_statements_of_a_segment_are_found() -> None:
    assert [found.seq for found in journaled([SEGMENT, b"", SEGMENT])] == [0, 1, 2, 0, 1, 2]


@given(st.integers(0, len(SEGMENT)))
def test_a_segment_that_breaks_off_has_its_whole_statements_only(length: int) -> None:
    bodies = [80 + sum(map(len, RECORDS[:n])) + len(RECORDS[n]) - 44 for n in range(3)]
    assert [found.seq for found in journaled([SEGMENT[:length]])] == [n for n in range(3) if bodies[n] <= length]


@given(st.integers(80, len(SEGMENT) - 1), st.integers(1, 255))
def test_a_changed_byte_costs_one_statement_at_most(place: int, change: int) -> None:
    broken = bytearray(SEGMENT)
    broken[place] ^= change
    assert len(journaled([bytes(broken)])) >= 2


@given(st.binary(max_size=500))
def test_rubbish_holds_no_statement(data: bytes) -> None:
    assert journaled([data]) == []


def test_the_attacker_reads_the_seq_of_an_ack() -> None:
    assert acked_seq(ack.seal(bytes(32), 1234, 5)) == 1234
    assert acked_seq(b"\x80") == -1


def test_a_forged_ack_is_not_the_gateways() -> None:
    assert attacker.forged_ack(3, 4) != ack.seal(bytes(32), 3, 4)


class TestChild:
    def test_it_is_killed_with_its_children(self, tmp_path: Path) -> None:
        code = (
            "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); print('up', flush=True); time.sleep(60)"
        )
        child = processes.Child("child", [sys.executable, "-c", code], tmp_path / "log")
        child.start()
        while "up" not in (tmp_path / "log").read_text():
            time.sleep(0.01)
        began = time.monotonic()
        child.kill()
        child.stop()
        assert time.monotonic() - began < 5

    def test_an_end_of_its_own_is_an_error_that_names_the_log(self, tmp_path: Path) -> None:
        child = processes.Child("child", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log")
        child.start()
        with pytest.raises(OperatorError, match=r"code 3.*log"):
            processes.wait_for_file(tmp_path / "never", child)


GOOD = Outcome(
    boards=6,
    account=Account(
        measured=2340,
        stored=2331,
        statements=137,
        in_ram_at_cut=9,
        lost=0,
        duplicated=0,
        forged_sent=dict.fromkeys(KINDS, 6),
        forged_stored=0,
        refused=dict.fromkeys(KINDS, 6),
        clones_flagged=1,
        root=bytes(32),
        faults=(),
    ),
    acks_forged=24,
    anchors=7,
    anchored_size=137,
    gas=Gas(4_000_000, 70_000, 43_000),
    receipts_verified=6,
    flips_tried=1000,
    flips_refused=1000,
    worst_time_ms=40,
    seconds=51.4,
    faults=(),
)


def shown(outcome: Outcome) -> str:
    console = Console(file=io.StringIO(), width=80, record=True)
    report.show(console, outcome, Path("build/demo"), ".venv/bin/trigpoint")
    return console.export_text()


def test_a_good_run_says_so_and_what_to_do_next() -> None:
    text = shown(GOOD)
    assert "nothing lost" in text
    assert "  .venv/bin/trigpoint verify build/demo/receipt.cose --trust build/demo/trust.json" in text
    table = text[: text.index("✓")]
    assert table.splitlines() and all(len(line.rstrip()) <= 80 for line in table.splitlines())
    assert not any(line.strip() and line.startswith(" " * 36) for line in text.splitlines()[2:]), "a row has wrapped"


def test_a_bad_run_says_what_and_where_to_look() -> None:
    text = shown(replace(GOOD, faults=("3 readings were measured and are not stored",)))
    assert "nothing lost" not in text
    assert "3 readings were measured" in text
    assert "build/demo/logs" in text


def test_the_summary_is_all_integers_and_complete() -> None:
    summary = report.summary(GOOD)
    wanted = (
        "boards readings_measured readings_stored statements lost duplicated forged_sent forged_stored clones_flagged"
        " anchors receipts_verified in_ram_at_cut seconds"
    )
    assert set(wanted.split()) <= set(summary)
    assert all(type(value) is int for value in summary.values())
    assert summary["forged_sent"] == 6 * len(KINDS) + 24


def test_the_picture_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    report.export_svg(GOOD, tmp_path / "demo.svg")
    text = (tmp_path / "demo.svg").read_text()
    assert "url(http" not in text and "url('http" not in text and 'url("http' not in text
    assert "2,340" in text


def test_the_plan_is_in_order_and_everything_that_goes_down_comes_up() -> None:
    plan = Plan()
    hours = [hour for hour, _ in plan.acts]
    acts = [act for _, act in plan.acts]
    assert hours == sorted(hours) and hours[-1] < plan.hours
    for down, up in (("cut power", "restore power"), ("broker down", "broker up"), ("kill gateway", "restart gateway")):
        assert acts.index(down) < acts.index(up)
    assert acts[acts.index("broker up") + 1] == acts[acts.index("kill gateway") + 1] == "forge acks"
    assert 3 * len(plan.stations) * plan.hours > plan.least_readings >= 2000
    assert len(plan.stations) >= 5


@pytest.mark.parametrize("terminal", [False, True], ids=["no terminal", "a dumb one"])
def test_progress_where_nothing_can_move_is_one_line_for_each_thing(terminal: bool) -> None:
    moments = iter(range(100))
    console = Console(file=io.StringIO(), width=80, force_terminal=terminal, _environ={"TERM": "dumb"})
    with Progress(console, ["one", "two"], now=lambda: float(next(moments))) as progress:
        with progress.step(0):
            progress.event("a thing happened")
        with pytest.raises(ZeroDivisionError), progress.step(1):
            raise ZeroDivisionError
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["[1/2]", lines[1].split()[0], "done", "[2/2]"]
    assert "a thing happened" in lines[1]


def test_progress_on_a_terminal_shows_steps_events_and_counts() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None, _environ={"TERM": "xterm"})
    with Progress(console, ["first step", "second step"]) as progress, progress.step(0):
        progress.event("a thing happened")
        progress.counts(0.5, {"": "2013-02-09 10h", "measured": 1234})
        progress._live.refresh()
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert all(part in text for part in ("first step", "second step", "a thing happened", "1,234 measured"))
