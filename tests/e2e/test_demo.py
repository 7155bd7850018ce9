"""The demo as a test: the whole system with its real parts, shorter than `make demo` but with every attack in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from trigpoint.verify import CHECKS
from trigpoint_tools.demo.plan import Plan
from trigpoint_tools.demo.run import run

# The demo runs once: one process has all of these tests.
pytestmark = pytest.mark.xdist_group("demo")

SHORT = replace(
    Plan(),
    stations=("EWR", "JFK", "LGA"),
    hours=70,
    least_readings=500,
    acts=(
        (14, "attack"),
        (18, "cut power"),
        (24, "restore power"),
        (28, "broker down"),
        (34, "broker up"),
        (37, "forge acks"),
        (44, "attack"),
        (50, "kill gateway"),
        (53, "forge acks"),
        (56, "restart gateway"),
    ),
)


@pytest.fixture(scope="module")
def before() -> set[int]:
    """The processes that ran before the demo: other tests keep a chain, too."""
    return running()


@pytest.fixture(scope="module")
def demo(before: set[int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the demo has run and found nothing wrong."""
    directory = tmp_path_factory.mktemp("demo") / "demo"
    transcript = directory.parent / "transcript.txt"
    with transcript.open("w") as file:
        code = run(directory, SHORT, Console(file=file, width=100))
    assert code == 0, transcript.read_text()
    return directory


def test_the_summary_adds_up(demo: Path) -> None:
    summary = json.loads((demo / "summary.json").read_text())
    assert all(type(value) is int for value in summary.values())
    assert summary["boards"] == 3
    assert summary["lost"] == summary["duplicated"] == summary["forged_stored"] == 0
    assert summary["readings_measured"] == summary["readings_stored"] + summary["in_ram_at_cut"]
    assert summary["readings_measured"] > 3 * 3 * 50
    assert summary["in_ram_at_cut"] <= SHORT.batch_values
    assert summary["statements"] >= summary["readings_stored"] // SHORT.batch_values
    assert summary["forged_sent"] > 30
    assert summary["clones_flagged"] == 1
    assert summary["anchors"] >= 2
    assert summary["receipts_verified"] == 3


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_nothing_that_it_started_is_left(before: set[int], demo: Path) -> None:
    """Each part was started as a child of this process, and most with this run's folder among the arguments."""
    left = []
    for number in running() - before:
        process = Path("/proc") / str(number)
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just ended
        part = any(name in command for name in ("micropython", "anvil", "iotcore", "gateway run"))
        if part and (parent == os.getpid() or str(demo) in command):
            left.append(command)
    assert left == []


def test_its_receipt_verifies_and_no_changed_one_does(demo: Path, tmp_path: Path) -> None:
    receipt, trust = demo / "receipt.cose", demo / "trust.json"
    assert verify(receipt, trust).returncode == 0
    data = receipt.read_bytes()
    for place in (0, len(data) // 3, len(data) - 1):
        broken = bytearray(data)
        broken[place] ^= 0x80
        (tmp_path / "broken.cose").write_bytes(broken)
        done = verify(tmp_path / "broken.cose", trust)
        assert done.returncode == 1
        checks = json.loads(done.stdout)["checks"]
        assert [check["name"] for check in checks if check["status"] == "failed" and check["name"] in CHECKS], place


def running() -> set[int]:
    return {int(process.name) for process in Path("/proc").glob("[0-9]*")}


def verify(receipt: Path, trust: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trigpoint", "verify", str(receipt), "--trust", str(trust), "--json"]
    return subprocess.run(command, capture_output=True, text=True, check=False)
