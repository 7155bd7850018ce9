"""Folds the journal: what follows from the statements is brought up to them, in batches, each one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field

from trigpoint.store import log, statements
from trigpoint.store.hours import Cell, Key, cells, merge, write
from trigpoint.store.log import Head
from trigpoint.wire.statement import parse

_AT_ONCE = 4_096
"""Statements read at once, which bounds the memory that this takes."""


def fold_log(connection: sqlite3.Connection, tail: Tail | None = None) -> Head:
    """Bring tiles and head up to all statements, in the transaction that `connection` is in; return the head.

    Args:
        connection: the database.
        tail: spares reading and hashing the statements that it holds, which must be the newest.
    """
    head = log.head(connection)
    if tail is not None and tail.start <= head.size < tail.size:
        return log.append(connection, tail.entries[head.size - tail.start :])
    while True:
        head = log.head(connection)
        entries = statements.entries(connection, head.size, _AT_ONCE)
        if not entries:
            return head
        log.append(connection, entries)


@dataclass
class Tail:
    """What the statements above the index's watermark add to it.

    Attributes:
        start: the watermark: leaf index of the first of them.
        entries: theirs, in the order of the log.
        seqs: (board, seq) -> leaf index.
        newest: board -> seq and entry of its newest.
        hours: what they add to the aggregates.
    """

    start: int
    entries: list[bytes] = field(default_factory=list)
    seqs: dict[tuple[int, int], int] = field(default_factory=dict)
    newest: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    hours: dict[Key, Cell] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """One more than the leaf index of the last of them."""
        return self.start + len(self.entries)

    def entry(self, board: int, seq: int) -> bytes | None:
        """Return the entry of a board's statement; None if it is not among them."""
        leaf_index = self.seqs.get((board, seq))
        return None if leaf_index is None else self.entries[leaf_index - self.start]

    def add(self, board: int, seq: int, entry: bytes, of_hours: Iterable[tuple[Key, Cell]]) -> None:
        """Take in the next statement."""
        self.seqs[board, seq] = self.start + len(self.entries)
        self.entries.append(entry)
        self.newest[board] = (seq, entry)
        for key, cell in of_hours:
            before = self.hours.get(key)
            self.hours[key] = cell if before is None else merge(before, cell)


def replay(connection: sqlite3.Connection, limit: int = _AT_ONCE) -> Tail:
    """Read the tail, or its first `limit` statements, from the journal."""
    start = statements.folded(connection)
    tail = Tail(start)
    for board, seq, arrival_ms, raw in connection.execute(
        "SELECT board, seq, arrival_ms, raw FROM statements WHERE leaf_index >= ? ORDER BY leaf_index LIMIT ?",
        (start, limit),
    ):
        statement = parse(raw)
        tail.add(board, seq, statement.entry, cells(board, statement, arrival_ms))
    return tail


def fold_index(connection: sqlite3.Connection, tail: Tail) -> None:
    """Add a tail to the index, in the transaction that `connection` is in. One that is folded already is left alone."""
    if statements.folded(connection) != tail.start or tail.size == tail.start:
        return
    connection.executemany(
        "INSERT INTO seqs VALUES (?, ?, ?)",
        sorted((board, seq, leaf_index) for (board, seq), leaf_index in tail.seqs.items()),
    )
    connection.executemany(
        "UPDATE boards SET next_seq = ?, last_entry = ? WHERE number = ? AND next_seq <= ?",
        [(seq + 1, entry, board, seq) for board, (seq, entry) in sorted(tail.newest.items())],
    )
    write(connection, tail.hours)
    connection.execute("UPDATE folds SET size = ? WHERE name = 'index'", (tail.size,))
