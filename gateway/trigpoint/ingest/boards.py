"""Where each board stands, in memory: what the database says, and what has been stored since it was read."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from trigpoint.ingest.check import Signer
from trigpoint.ingest.decision import BoardState
from trigpoint.ingest.message import acks_topic, statements_topic
from trigpoint.store import statements


@dataclass(slots=True)
class Board:
    """A board that the registry knows.

    Attributes:
        kid: board id, 32 bytes.
        signer: its number and key.
        state: where it stands.
        served: whether this gateway takes its statements.
        expected: the seq after those that are still being checked; a guess.
        day: the day, since 1970, on which `bytes_of_day` were stored.
        bytes_of_day: bytes of its statements stored on that day, since the gateway was started.
        topic: of its statements.
        acks_topic: of the acks for it.
    """

    kid: bytes
    signer: Signer
    state: BoardState
    served: bool = True
    expected: int = 0
    day: int = 0
    bytes_of_day: int = 0
    topic: str = field(init=False)
    acks_topic: str = field(init=False)

    def __post_init__(self) -> None:
        """Spell the topics once."""
        self.topic, self.acks_topic = statements_topic(self.kid), acks_topic(self.kid)


class Boards:
    """The boards that have been asked for, and where each stands.

    Args:
        load: reads a board as it stands; None if the registry does not know it.
    """

    def __init__(self, load: Callable[[bytes], Board | None]) -> None:
        self._load = load
        self._known: dict[bytes, Board] = {}

    def get(self, kid: bytes) -> Board | None:
        """Return a board, or None if the registry does not know it; that is not remembered, for strangers are many."""
        board = self._known.get(kid)
        if board is None and (board := self._load(kid)) is not None:
            self._known[kid] = board
        return board

    def refresh(self, kid: bytes) -> None:
        """Take in what the registry newly says about a board; where it stands is known better here."""
        known = self._known.get(kid)
        if known is not None and (board := self._load(kid)) is not None:
            known.state = known.state._replace(active=board.state.active)
            known.served = board.served


def load(
    connection: sqlite3.Connection,
    kid: bytes,
    newest: Callable[[int], tuple[int, bytes] | None],
    owners: Collection[bytes] = (),
) -> Board | None:
    """Read a board from the database.

    Args:
        connection: for reading.
        kid: board id.
        newest: gives seq and entry of the newest statement in the tail of a board, by its number.
        owners: addresses, 20 bytes each, whose boards are served; of everybody if there are none.
    """
    row = statements.board(connection, kid)
    if row is None:
        return None
    state = BoardState(row.active, row.next_seq, row.last_entry)
    last = newest(row.number)
    if last is not None and last[0] >= row.next_seq:
        state = BoardState(row.active, last[0] + 1, last[1])
    return Board(kid, (row.number, row.x + row.y), state, served=not owners or row.owner in owners)


def stored_boards(connection: sqlite3.Connection) -> Boards:
    """Return the boards as the database alone knows them; every one that is asked for costs a look through the tail."""
    return Boards(lambda kid: load(connection, kid, lambda number: statements.newest(connection, number)))
