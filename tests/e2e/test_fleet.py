"""Every kind of fault once, on real parts: each must really happen, be seen, and cost no reading."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from trigpoint_tools.fleet.events import Silent, Snapshot, Step
from trigpoint_tools.fleet.ready import find
from trigpoint_tools.fleet.result import Result
from trigpoint_tools.fleet.runner import run
from trigpoint_tools.fleet.scenario import FaultKind, parse
from trigpoint_tools.fleet.schedule import FaultEvent, schedule

# The fleet runs once: one process has all of these tests.
pytestmark = [pytest.mark.xdist_group("fleet"), pytest.mark.timeout(280)]

EACH_ONCE = parse("""
name = "each-once"
duration = "1d"
speed = 3600
seed = 3
anchor_every = "6h"

[[boards]]
name = "roof"
count = 4
sample = "30m"
batch = 3
clock_ppm = [-500, 500]

[[boards]]
name = "greenhouse"
count = 1
chip = "esp32s3"
sensors = ["sht4x", "ds18b20"]
batch = 3

[[boards]]
name = "border"
count = 1
chip = "esp32c6"
batch = 3
secure_element = true

[[faults]]
kind = "wifi-loss"
groups = "roof"
share = 0.5
at = "2h"
lasts = "4h"
[[faults]]
kind = "flash-rot"
groups = "roof"
at = "3h"
[[faults]]
kind = "power-cut"
share = 0.5
at = ["4h 20m", "16h"]
lasts = "1h"
[[faults]]
kind = "clock-skew"
share = 0.5
at = "5h"
lasts = "8h"
[[faults]]
kind = "latency"
share = 0.5
at = "6h"
lasts = "4h"
amount = 800
[[faults]]
kind = "packet-loss"
share = 1.0
at = "7h"
lasts = "5h"
amount = 0.4
[[faults]]
kind = "clock-jump"
share = 1.0
at = "9h 20m"
amount = -7200
[[faults]]
kind = "sensor-stuck"
share = 0.5
at = "10h"
lasts = "3h"
[[faults]]
kind = "sensor-lies"
share = 0.5
at = "11h"
lasts = "3h"
[[faults]]
kind = "tcp-reset"
at = "12h 30m"
[[faults]]
kind = "broker-restart"
at = "13h"
lasts = "2h"
[[faults]]
kind = "cloned-key"
groups = "roof"
boards = 1
at = "15h"
[[faults]]
kind = "gateway-restart"
at = "17h"
lasts = "2h"
[[faults]]
kind = "forgeries"
boards = 2
at = "20h"
""")


class Notes(Silent):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.begun_faults: list[int] = []
        self.ended_faults: list[int] = []
        self.notes: list[str] = []
        self.snapshots: list[Snapshot] = []

    def begun(self, step: Step, title: str) -> None:
        self.steps.append(step)

    def fault(self, event: FaultEvent, text: str, *, over: bool) -> None:
        (self.ended_faults if over else self.begun_faults).append(event.number)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def snapshot(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)


NOTES = Notes()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fleet")


@pytest.fixture(scope="module")
def others() -> set[str]:
    """What this process had started before the fleet, such as another test's chain."""
    return _children()


@pytest.fixture(scope="module")
def result(fleet: Path, others: set[str]) -> Result:
    return run(EACH_ONCE, fleet, NOTES)


def test_nothing_is_lost_and_every_reading_has_its_place(result: Result) -> None:
    assert result.wrong == () and NOTES.notes == []
    assert result.lost == result.duplicated == result.forged_stored == 0
    assert result.measured == result.stored + result.in_ram + result.declared_lost
    assert result.measured > 400
    assert result.anchored_size == result.statements
    for board in result.board_results:
        assert board.measured == board.stored + board.in_ram + board.declared_lost
        assert board.stored > 0


def test_each_fault_happened_and_was_seen(result: Result) -> None:
    assert {fault.kind for fault in result.faults} == set(FaultKind)
    assert [fault.number for fault in result.faults] == [event.number for event in schedule(EACH_ONCE)]
    assert {fault.kind: fault.seen for fault in result.faults if not fault.seen} == {}
    hit = {fault.kind: fault for fault in result.faults}
    for kind in (FaultKind.WIFI_LOSS, FaultKind.POWER_CUT):
        assert hit[kind].seen == len(hit[kind].boards)
    assert hit[FaultKind.TCP_RESET].seen >= len(hit[FaultKind.TCP_RESET].boards) - 1
    assert hit[FaultKind.BROKER_RESTART].seen >= result.boards - 1


def test_what_faults_have_cost_is_accounted_for(result: Result) -> None:
    assert result.declared_lost_statements > 0 and result.declared_lost > 0  # flash rot
    assert result.in_ram > 0  # power cuts
    assert 0 < result.lied < result.measured
    assert result.resent > 0
    assert result.measured < result.expected * 1.6
    boots = {board.number: board.boots for board in result.board_results}
    cuts = [fault for fault in result.faults if fault.kind == FaultKind.POWER_CUT]
    assert boots == {number: 1 + sum(number in cut.boards for cut in cuts) for number in boots}
    # A clock that fell back two hours was believed until the next ack.
    assert max(board.clock_error_s for board in result.board_results) >= 5400


def test_strangers_have_got_nowhere(result: Result) -> None:
    assert sum(result.forged_sent.values()) >= 11
    assert result.acks_forged > 0
    assert (result.clones, result.clones_flagged, result.wrongly_flagged) == (1, 1, 0)
    assert {"signature", "unknown_board", "clone"} <= set(result.refused)


def test_latency_is_seen_where_it_was_made(result: Result) -> None:
    assert result.ack_ms.count == pytest.approx(result.statements + result.declared_lost_statements, abs=20)
    assert result.ack_ms.p50 < 1600 < result.ack_ms.most


def test_it_told_how_it_went(result: Result) -> None:
    assert NOTES.steps == list(Step)
    assert set(result.step_seconds) == {str(step) for step in Step}
    numbers = [event.number for event in schedule(EACH_ONCE)]
    assert NOTES.begun_faults == numbers
    lasting = [fault.number for fault in result.faults if fault.lasts_s or fault.kind == FaultKind.FLASH_ROT]
    assert sorted(NOTES.ended_faults) == lasting
    last = NOTES.snapshots[-1]
    assert (last.stored, last.statements) == (result.stored, result.statements)
    assert last.active == {} and last.boards_on == result.boards
    assert any(FaultKind.POWER_CUT in snapshot.active and snapshot.boards_on < 6 for snapshot in NOTES.snapshots)
    assert len(result.points) > 40
    assert [point.world_s for point in result.points] == sorted(point.world_s for point in result.points)
    assert result.board_rss_kb > 5000


def test_nothing_is_left_of_it(result: Result, fleet: Path, others: set[str]) -> None:
    assert not (fleet / "run" / "boards").exists()
    assert (fleet / "logs" / "boards" / "board-0.log").read_text()
    named = {
        process.name for process in Path("/proc").glob("[0-9]*") if str(fleet).encode() in _read(process / "cmdline")
    }
    assert named | _children() - others == set()


def _children() -> set[str]:
    return {process.name for process in Path("/proc").glob("[0-9]*") if _parent(process) == os.getpid()}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _parent(process: Path) -> int:
    stat = _read(process / "stat").rpartition(b")")[2].split()
    return int(stat[1]) if stat and stat[0] != b"Z" else 0


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["bad-week", "worn-flash", "power-cuts", "wrong-clocks", "restarts", "flaky-wifi"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_ready_scenarios_lose_nothing_whatever_the_seed(name: str, seed: int, tmp_path: Path) -> None:
    scenario = find(name).seeded(seed)
    result = run(scenario, tmp_path)
    assert result.wrong == ()
    assert result.lost == result.duplicated == result.forged_stored == 0


def test_it_costs_what_it_may(result: Result) -> None:
    """`make test` has ten minutes for everything."""
    assert result.cpu_s < 60
