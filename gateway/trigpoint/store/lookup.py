"""Finds statements in the journal: by place, by board and seq, by entry, by time of arrival. All of it only reads.

The index of `seqs` is folded now and then (store/fold.py), so what lies above its watermark is looked for in the
journal's tail itself. Whoever calls several of these for one answer does so in one transaction.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from trigpoint.log.merkle import leaf_hash
from trigpoint.store import log, statements

_HASH = 32


class Stored(NamedTuple):
    """A statement in the journal.

    Attributes:
        leaf_index: its place in the log.
        board: number of the board in the database.
        seq: of the statement.
        arrival_ms: the gateway's clock when it came, milliseconds since 1970.
        raw: the bytes that the board signed.
    """

    leaf_index: int
    board: int
    seq: int
    arrival_ms: int
    raw: bytes

    @property
    def entry(self) -> bytes:
        """SHA-256 of the statement: its entry in the log."""
        return hashlib.sha256(self.raw).digest()


_COLUMNS = "statements.leaf_index, statements.board, statements.seq, statements.arrival_ms, statements.raw"


def number(connection: sqlite3.Connection, kid: bytes) -> int | None:
    """Return the board's number in the database; None if the registry has never known it."""
    row = connection.execute("SELECT number FROM boards WHERE kid = ?", (kid,)).fetchone()
    return int(row[0]) if row else None


def at(connection: sqlite3.Connection, leaf_index: int) -> Stored | None:
    """Return the statement at a place in the log."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM statements WHERE leaf_index = ?",  # noqa: S608
        (leaf_index,),
    ).fetchone()
    return Stored(*row) if row else None


def of_seq(connection: sqlite3.Connection, board: int, seq: int) -> Stored | None:
    """Return the statement of a board with this seq."""
    return next(of_board(connection, board, seq, seq), None)


def of_board(connection: sqlite3.Connection, board: int, first: int, last: int) -> Iterator[Stored]:
    """Yield a board's statements with seqs from `first` to `last`, both included, in their order."""
    next_seq = first
    for stored in folded_of_board(connection, board, first, last):
        yield stored
        next_seq = stored.seq + 1
    if next_seq <= last:
        yield from tail_of_board(connection, board, next_seq, last)


def folded_of_board(connection: sqlite3.Connection, board: int, first: int, last: int) -> Iterator[Stored]:
    """Yield those below the index's watermark, likewise."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM seqs CROSS JOIN statements ON statements.leaf_index = seqs.leaf_index"  # noqa: S608
        " WHERE seqs.board = ? AND seqs.seq BETWEEN ? AND ? ORDER BY seqs.seq",
        (board, first, last),
    )
    for row in rows:
        yield Stored(*row)


def tail_of_board(connection: sqlite3.Connection, board: int, first: int, last: int) -> Iterator[Stored]:
    """Yield those above the index's watermark. A board's seqs rise with the leaf index, so they come in their order."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM statements"  # noqa: S608
        " WHERE leaf_index >= ? AND board = ? AND seq BETWEEN ? AND ? ORDER BY leaf_index",
        (statements.folded(connection), board, first, last),
    )
    for row in rows:
        yield Stored(*row)


def from_place(connection: sqlite3.Connection, first: int, limit: int) -> list[Stored]:
    """Return up to `limit` statements of all boards from a place in the log on, in the log's order."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM statements WHERE leaf_index >= ? ORDER BY leaf_index LIMIT ?",  # noqa: S608
        (first, limit),
    )
    return [Stored(*row) for row in rows]


def first_arrived(connection: sqlite3.Connection, since_ms: int) -> int:
    """Return the place of the first statement that arrived at `since_ms` or later; that of the next one if none did.

    Found by halving, so it takes the gateway's clock at its word: where that was set back, a neighbour may be found.
    """
    low, high = 0, statements.size(connection)
    while low < high:
        middle = (low + high) // 2
        (arrival_ms,) = connection.execute(
            "SELECT arrival_ms FROM statements WHERE leaf_index = ?", (middle,)
        ).fetchone()
        low, high = (middle + 1, high) if arrival_ms < since_ms else (low, middle)
    return low


def of_entry(connection: sqlite3.Connection, entry: bytes) -> Stored | None:
    """Return the statement with this entry.

    Entries are not stored, for they follow from the statements. The leaves' hashes are, in the tiles: looking through
    32 bytes for each statement is quick enough for what is seldom asked.
    """
    wanted = leaf_hash(entry)
    for index, data in connection.execute("SELECT idx, data FROM tiles WHERE level = 0 ORDER BY idx DESC"):
        found = data.find(wanted)
        while found >= 0 and found % _HASH:
            found = data.find(wanted, found + 1)
        if found >= 0:
            return at(connection, index * 256 + found // _HASH)
    for row in connection.execute(
        f"SELECT {_COLUMNS} FROM statements WHERE leaf_index >= ? ORDER BY leaf_index",  # noqa: S608
        (log.head(connection).size,),
    ):
        if hashlib.sha256(row[4]).digest() == entry:
            return Stored(*row)
    return None
