"""What counts as lost in the figures of a fleet."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fleetresult import result
from trigpoint_tools.bench.fleet import measured
from trigpoint_tools.fleet.ready import find
from trigpoint_tools.fleet.result import Result
from trigpoint_tools.fleet.scenario import FaultKind

WEEK = result(find("bad-week"))
ROTTEN = {board for fault in WEEK.faults if fault.kind == FaultKind.FLASH_ROT for board in fault.boards}


def giving_up(number: int) -> Result:
    """A week in which one board declares six readings lost."""
    boards = tuple(
        replace(board, declared_lost=6, stored=board.stored - 6) if board.number == number else board
        for board in WEEK.board_results
    )
    return replace(WEEK, board_results=boards, declared_lost=6, stored=WEEK.stored - 6)


def test_a_loss_is_excused_where_flash_has_rotted_and_nowhere_else() -> None:
    said: list[str] = []
    sound = next(board.number for board in WEEK.board_results if board.number not in ROTTEN)
    assert measured(WEEK, said.append)["fleet200_lost"] == 0
    figures = measured(giving_up(min(ROTTEN)), said.append)
    assert (figures["fleet200_lost"], figures["fleet200_declared_lost"]) == (0, 6)
    assert not any("count as lost" in line for line in said)
    assert measured(giving_up(sound), said.append)["fleet200_lost"] == 6
    assert any("6 readings" in line and "count as lost" in line for line in said)


def test_losses_and_doubles_are_figures_and_all_else_that_is_wrong_ends_the_measurement() -> None:
    assert measured(replace(WEEK, lost=2, duplicated=1, wrong=("two lost",)), print)["fleet200_lost"] == 3
    with pytest.raises(RuntimeError, match="forged"):
        measured(replace(WEEK, wrong=("1 forged message is in the log",)), print)
    with pytest.raises(RuntimeError, match="too busy"):
        measured(replace(WEEK, measured=WEEK.expected // 2), print)
