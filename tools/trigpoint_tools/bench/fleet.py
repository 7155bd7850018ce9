"""Figures of a fleet: 200 boards of real firmware through the worst ready scenario, on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from trigpoint_tools.fleet.events import Silent, Step
from trigpoint_tools.fleet.ready import find
from trigpoint_tools.fleet.result import Result
from trigpoint_tools.fleet.runner import run
from trigpoint_tools.fleet.scenario import FaultKind
from trigpoint_tools.fleet.schedule import FaultEvent

BOARDS = 200

# Of the readings that a fleet without faults would take. The faults alone cost about a tenth; a machine that cannot
# keep up with its boards would measure less and lose nothing, which says nothing.
_LEAST_SHARE = 0.7


class _Lines(Silent):
    """Tells each step and each note, and no more."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def begun(self, step: Step, title: str) -> None:
        self._say(title)

    def fault(self, event: FaultEvent, text: str, *, over: bool) -> None:
        pass

    def note(self, text: str) -> None:
        self._say(text)


def figures(say: Callable[[str], None]) -> dict[str, int | float]:
    """Run the scenario and return its figures.

    Raises:
        RuntimeError: something but the figures is wrong, or so few boards measured that they say nothing.
    """
    with tempfile.TemporaryDirectory(prefix="trigpoint-fleet-") as folder:
        result = run(find("bad-week").scaled(BOARDS), Path(folder), _Lines(say))
    return measured(result, say)


def measured(result: Result, say: Callable[[str], None]) -> dict[str, int | float]:
    """Return the figures of a run.

    Raises:
        RuntimeError: as for `figures`.
    """
    for line in result.wrong[:20]:
        say(line)
    if result.wrong and not (result.lost or result.duplicated):
        raise RuntimeError(f"the fleet's run is not right: {result.wrong[0]}")
    if result.measured < result.expected * _LEAST_SHARE:
        raise RuntimeError(f"only {result.measured} readings of {result.expected} were taken: the machine is too busy")
    given_up = _given_up_without_rot(result)
    if given_up:
        say(f"{given_up} readings were declared lost by boards whose flash has not rotted; they count as lost")
    idle = [f"{fault.kind} (event {fault.number})" for fault in result.faults if fault.boards and not fault.seen]
    say(f"{len(result.faults)} faults, of which {len(idle)} came to nothing; {result.cpu_s:.0f} s of processor time")
    return {
        "fleet200_lost": result.lost + result.duplicated + given_up,
        "fleet200_minutes": round(result.seconds / 60, 2),
        "fleet200_readings": result.stored,
        "fleet200_in_ram": result.in_ram,
        "fleet200_declared_lost": result.declared_lost,
        "fleet200_faults": len(result.faults),
        "fleet200_cpu_s": round(result.cpu_s),
        "fleet_board_rss_kb": result.board_rss_kb,
    }


def _given_up_without_rot(result: Result) -> int:
    """Return how many readings boards have declared lost that had no reason: in this scenario only flash rot is one."""
    rotten = {board for fault in result.faults if fault.kind == FaultKind.FLASH_ROT for board in fault.boards}
    return sum(board.declared_lost for board in result.board_results if board.number not in rotten)
