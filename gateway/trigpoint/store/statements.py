"""The journal of statements: what a commit of ingest adds, and where a statement is found again."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

REJECTED_KEPT = 1_000
"""Refused messages kept for inspection; the oldest go first."""

EVIDENCE_KEPT = 100
"""Contradicting statements kept of each board. One proves the case; what comes after is only counted."""

_RAW_KEPT = 4_096


@dataclass(frozen=True)
class BoardRow:
    """A board as the database has it; see the columns of `boards`.

    Attributes:
        number: names the board in other rows.
        x: 32 bytes.
        y: 32 bytes.
        owner: address, 20 bytes.
        active: whether the registry says so.
        next_seq: the seq that the gateway expects, unless the tail has a statement with that or a higher one.
        last_entry: entry of the statement before it, 32 bytes; zeros at 0; None if that one was declared lost.
    """

    number: int
    x: bytes
    y: bytes
    owner: bytes
    active: bool
    next_seq: int
    last_entry: bytes | None


class StatementRow(NamedTuple):
    """An accepted statement; see the columns of `statements`."""

    leaf_index: int
    board: int
    seq: int
    arrival_ms: int
    raw: bytes


class LostRow(NamedTuple):
    """Statements declared lost, first and last seq, by the signed statement `raw`."""

    kid: bytes
    from_seq: int
    to_seq: int
    raw: bytes


class EvidenceRow(NamedTuple):
    """A well signed statement that contradicts what is stored; `reason` is clone or fork."""

    kid: bytes
    entry: bytes
    seq: int
    raw: bytes
    reason: str
    arrival_ms: int


class RejectedRow(NamedTuple):
    """A refused message; `detail` says in words what was wrong."""

    reason: str
    detail: str
    topic: str
    raw: bytes
    size: int
    arrival_ms: int


def entry(raw: bytes) -> bytes:
    """Return a statement's entry in the log: the SHA-256 of its bytes."""
    return hashlib.sha256(raw).digest()


def size(connection: sqlite3.Connection) -> int:
    """Return how many statements are stored. Some of the newest may not be folded yet."""
    (newest,) = connection.execute("SELECT max(leaf_index) FROM statements").fetchone()
    return 0 if newest is None else int(newest) + 1


def newest_row(connection: sqlite3.Connection) -> StatementRow | None:
    """Return the newest statement of all; None before the first."""
    row = connection.execute(
        "SELECT leaf_index, board, seq, arrival_ms, raw FROM statements ORDER BY leaf_index DESC LIMIT 1"
    ).fetchone()
    return None if row is None else StatementRow(*row)


def folded(connection: sqlite3.Connection) -> int:
    """Return how many statements the index has taken in: those from here on are its tail."""
    (number,) = connection.execute("SELECT size FROM folds WHERE name = 'index'").fetchone()
    return int(number)


def board(connection: sqlite3.Connection, kid: bytes) -> BoardRow | None:
    """Return the board's row, or None if the registry has never known it. It may stand further: see `newest`."""
    row = connection.execute(
        "SELECT number, x, y, owner, active_until IS NULL, next_seq, last_entry FROM boards WHERE kid = ?", (kid,)
    ).fetchone()
    return None if row is None else BoardRow(row[0], row[1], row[2], row[3], bool(row[4]), row[5], row[6])


def newest(connection: sqlite3.Connection, number: int) -> tuple[int, bytes] | None:
    """Return seq and entry of a board's newest statement in the tail, which is looked through; None if it has none."""
    row = connection.execute(
        "SELECT seq, raw FROM statements WHERE leaf_index >= ? AND board = ? ORDER BY leaf_index DESC LIMIT 1",
        (folded(connection), number),
    ).fetchone()
    return None if row is None else (row[0], entry(row[1]))


def find(connection: sqlite3.Connection, number: int, seq: int) -> int | None:
    """Return the leaf index of a board's statement, or None if there is none: from the index, or from its tail."""
    leaf_index = find_folded(connection, number, seq)
    if leaf_index is None:
        row = connection.execute(
            "SELECT leaf_index FROM statements WHERE leaf_index >= ? AND board = ? AND seq = ?",
            (folded(connection), number, seq),
        ).fetchone()
        leaf_index = None if row is None else int(row[0])
    return leaf_index


def find_folded(connection: sqlite3.Connection, number: int, seq: int) -> int | None:
    """Return the leaf index of a board's statement, or None if the index has none; the tail is not looked at."""
    row = connection.execute("SELECT leaf_index FROM seqs WHERE board = ? AND seq = ?", (number, seq)).fetchone()
    return None if row is None else int(row[0])


def newest_below(connection: sqlite3.Connection, number: int, size: int | None) -> int | None:
    """Return the seq of a board's newest statement among the first `size`, else of its newest; None if it has none.

    Seqs grow along the log, so the newest of some is the one with the highest seq.
    """
    rows = connection.execute(
        "SELECT seq, leaf_index FROM statements WHERE leaf_index >= ? AND board = ? ORDER BY leaf_index DESC",
        (folded(connection), number),
    ).fetchall()
    rows += connection.execute(
        "SELECT seq, leaf_index FROM seqs WHERE board = ? AND leaf_index < ? ORDER BY seq DESC LIMIT 1",
        (number, folded(connection) if size is None else size),
    ).fetchall()
    rows += connection.execute(
        "SELECT seq, leaf_index FROM seqs WHERE board = ? ORDER BY seq DESC LIMIT 1", (number,)
    ).fetchall()
    anchored = [seq for seq, leaf_index in rows if size is None or leaf_index < size]
    return next(iter(anchored or [seq for seq, _ in rows]), None)


def entry_at(connection: sqlite3.Connection, leaf_index: int | None) -> bytes | None:
    """Return the entry of the statement at a place in the log; None for None."""
    if leaf_index is None:
        return None
    (raw,) = connection.execute("SELECT raw FROM statements WHERE leaf_index = ?", (leaf_index,)).fetchone()
    return entry(raw)


def entries(connection: sqlite3.Connection, start: int, limit: int) -> list[bytes]:
    """Return the entries of up to `limit` statements from a place in the log on."""
    rows = connection.execute(
        "SELECT raw FROM statements WHERE leaf_index >= ? ORDER BY leaf_index LIMIT ?", (start, limit)
    )
    return [entry(raw) for (raw,) in rows]


def add_statements(connection: sqlite3.Connection, rows: Iterable[StatementRow]) -> None:
    """Append accepted statements to the journal."""
    connection.executemany("INSERT INTO statements VALUES (?, ?, ?, ?, ?)", rows)


def add_lost(connection: sqlite3.Connection, rows: Sequence[LostRow]) -> None:
    """Record what boards declared lost, and that they stand after it: no statement tells that to a later start."""
    connection.executemany("INSERT INTO lost VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)
    connection.executemany(
        "UPDATE boards SET next_seq = ?1, last_entry = NULL WHERE kid = ?2 AND next_seq < ?1",
        [(row.to_seq + 1, row.kid) for row in rows],
    )


def add_evidence(connection: sqlite3.Connection, row: EvidenceRow) -> bool:
    """Flag a board and keep the evidence, once and within bounds. Returns whether the board was not flagged before."""
    (kept,) = connection.execute("SELECT count(*) FROM evidence WHERE kid = ?", (row.kid,)).fetchone()
    if kept < EVIDENCE_KEPT:
        connection.execute("INSERT INTO evidence VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
    flagged = connection.execute("UPDATE boards SET flagged = 1 WHERE kid = ? AND flagged = 0", (row.kid,))
    return flagged.rowcount == 1


def add_rejected(connection: sqlite3.Connection, rows: Iterable[RejectedRow]) -> None:
    """Keep refused messages, cut to a bounded size, and drop the oldest."""
    connection.executemany(
        "INSERT INTO rejected (reason, detail, topic, raw, size, arrival_ms) VALUES (?, ?, ?, ?, ?, ?)",
        (row._replace(raw=row.raw[:_RAW_KEPT]) for row in rows),
    )
    connection.execute("DELETE FROM rejected WHERE id <= (SELECT max(id) FROM rejected) - ?", (REJECTED_KEPT,))


def count(connection: sqlite3.Connection, counts: Mapping[str, int]) -> None:
    """Add to counters."""
    connection.executemany(
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        list(counts.items()),
    )
