"""The rows that one batch of messages adds or changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

REJECTED_KEPT = 1_000
"""Refused messages kept for inspection; the oldest go first."""

EVIDENCE_KEPT = 100
"""Contradicting statements kept of each board. One proves the case; what comes after is only counted."""

_RAW_KEPT = 4_096


@dataclass(frozen=True)
class BoardRow:
    """A board as the database has it; see the columns of `boards`."""

    x: bytes
    y: bytes
    active: bool
    next_seq: int
    last_entry: bytes | None


class StatementRow(NamedTuple):
    """An accepted statement; see the columns of `statements`."""

    leaf_index: int
    kid: bytes
    seq: int
    raw: bytes
    entry: bytes
    arrival_ms: int


class ReadingRow(NamedTuple):
    """A reading of an accepted statement; see the columns of `readings`."""

    leaf_index: int
    position: int
    kid: bytes
    name: str
    unit: str
    mantissa: int
    exponent: int
    time_s: int
    time_source: str


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


def board(connection: sqlite3.Connection, kid: bytes) -> BoardRow | None:
    """Return the board, or None if the registry has never known it."""
    row = connection.execute(
        "SELECT x, y, active_until IS NULL, next_seq, last_entry FROM boards WHERE kid = ?", (kid,)
    ).fetchone()
    return BoardRow(row[0], row[1], bool(row[2]), row[3], row[4]) if row else None


def stored_entry(connection: sqlite3.Connection, kid: bytes, seq: int) -> bytes | None:
    """Return the entry of the statement stored under `kid` and `seq`, if there is one."""
    row = connection.execute("SELECT entry FROM statements WHERE kid = ? AND seq = ?", (kid, seq)).fetchone()
    return row[0] if row else None


def add_statements(connection: sqlite3.Connection, rows: Iterable[StatementRow]) -> None:
    """Store accepted statements."""
    connection.executemany("INSERT INTO statements VALUES (?, ?, ?, ?, ?, ?)", rows)


def add_readings(connection: sqlite3.Connection, rows: Iterable[ReadingRow]) -> None:
    """Store readings; their statements are stored already."""
    connection.executemany("INSERT INTO readings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def add_lost(connection: sqlite3.Connection, rows: Iterable[LostRow]) -> None:
    """Record what boards declared lost."""
    connection.executemany("INSERT INTO lost VALUES (?, ?, ?, ?)", rows)


def advance_board(connection: sqlite3.Connection, kid: bytes, next_seq: int, last_entry: bytes | None) -> None:
    """Record where a board stands: what comes next, and the entry before it or None if that was declared lost."""
    connection.execute(
        "UPDATE boards SET next_seq = ?, last_entry = ? WHERE kid = ?",
        (next_seq, last_entry, kid),
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
