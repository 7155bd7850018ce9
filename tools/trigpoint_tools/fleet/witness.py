"""What is seen of one board from outside in the course of a run: on the wire, on its flash, at its sensors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from trigpoint.wire.statement import Statement, reading_time

from trigpoint_tools.fleet.accounting import BoardBooks, PowerCut, account, in_ram
from trigpoint_tools.fleet.boards import FleetBoard
from trigpoint_tools.fleet.flashrot import statements
from trigpoint_tools.fleet.kept import Kept
from trigpoint_tools.fleet.traffic import Traffic


@dataclass
class Witness:
    """One board's.

    Attributes:
        board: the board.
        traffic: what it sends and gets.
        on_flash: statements that were seen on its flash, by seq.
        cuts: its power cuts.
        in_ram: how many readings power cuts took out of its RAM.
        lied: how many readings it was told while its sensors lied.
    """

    board: FleetBoard
    traffic: Traffic
    on_flash: dict[int, Statement] = field(default_factory=dict)
    cuts: list[PowerCut] = field(default_factory=list)
    in_ram: int = 0
    lied: int = 0

    def saw(self, found: Iterable[Statement]) -> None:
        """Remember statements that were on the flash; only genuine ones get there."""
        self.on_flash.update((statement.seq, statement) for statement in found)

    def power_is_cut(self, kept: Kept) -> None:
        """Note how the board stands; it must be off.

        Raises:
            EmulatorError: its flash holds no file system any more.
        """
        self.saw(statements(self.board.image))
        newest = max((*self.on_flash, *self.traffic.statements), default=-1)
        next_seq = max(newest + 1, kept.next_seq(self.board.kid))
        self.cuts.append(PowerCut(self.board.emulated.readings_measured, next_seq))
        self.in_ram = in_ram(self.books(kept))[0].total()

    def settled(self, kept: Kept, readings: int) -> bool:
        """Tell whether so many of its readings have come to where they stay."""
        if self.board.kid not in kept.lost and kept.readings_of[self.board.kid] + self.in_ram < readings:
            return False  # which is seen at a glance, where the account takes milliseconds
        return account(self.books(kept)).settled >= readings

    def books(self, kept: Kept) -> BoardBooks:
        """Return all that is known of the board."""
        of_board = kept.by_board.get(self.board.kid, {})
        times: dict[int, list[float | None]] = {}
        for seq, (statement, arrival_ms) in of_board.items():
            told = [reading_time(statement.base_time, reading.t, arrival_ms) for reading in statement.readings]
            times[seq] = [float(moment) if source != "arrival" else None for moment, source in told]
        return BoardBooks(
            kid=self.board.kid,
            told=self.board.told(),
            stored={seq: one.statement for seq, one in of_board.items()},
            times=times,
            seen=self.traffic.statements | self.on_flash,
            declared=kept.lost.get(self.board.kid, ()),
            cuts=self.cuts,
            batch_values=self.board.group.batch * self.board.group.readings,
        )
