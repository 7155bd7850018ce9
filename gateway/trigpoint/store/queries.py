"""What others may ask the database: counts, boards, statements, refused input. All of it only reads."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True)
class BoardSummary:
    """One board and what is stored of it.

    Attributes:
        kid: board id, 32 bytes.
        owner: address, 20 bytes.
        active: whether the registry says so.
        flagged: whether there is clone evidence.
        next_seq: the seq that the gateway expects.
        statements: stored.
        readings: stored.
        lost: statements that the board declared lost.
        evidence: contradicting statements kept.
    """

    kid: bytes
    owner: bytes
    active: bool
    flagged: bool
    next_seq: int
    statements: int
    readings: int
    lost: int
    evidence: int


@dataclass(frozen=True)
class Totals:
    """Everything together; see `BoardSummary`, and `trigpoint.ingest.decision.Reason` for the counters' names."""

    boards: int
    flagged: int
    statements: int
    readings: int
    lost: int
    log_size: int
    counters: dict[str, int]


@dataclass(frozen=True)
class StoredStatement:
    """A statement as stored.

    Attributes:
        leaf_index: place in the log, from 0.
        kid: board id, 32 bytes.
        seq: its number.
        raw: the bytes that the board signed.
        entry: their SHA-256.
        arrival_ms: the gateway's clock on arrival, milliseconds since 1970.
    """

    leaf_index: int
    kid: bytes
    seq: int
    raw: bytes
    entry: bytes
    arrival_ms: int


@dataclass(frozen=True)
class Refused:
    """A refused message: why, in a word and in a sentence, and the beginning of what came."""

    reason: str
    detail: str
    topic: str
    raw: bytes
    size: int
    arrival_ms: int


@dataclass(frozen=True)
class StoredReading:
    """A reading as stored: value = mantissa * 10 ** exponent, taken at `time_s` on the word of `time_source`."""

    leaf_index: int
    position: int
    name: str
    unit: str
    mantissa: int
    exponent: int
    time_s: int
    time_source: str


def boards(connection: sqlite3.Connection) -> list[BoardSummary]:
    """Return all boards that the registry has ever known, by kid."""
    rows = connection.execute(
        """
        SELECT kid, owner, active_until IS NULL, flagged, next_seq,
            (SELECT count(*) FROM statements WHERE statements.kid = boards.kid),
            coalesce((SELECT sum(number) FROM (
                SELECT kid, count(*) AS number FROM readings GROUP BY kid) AS per_board
                WHERE per_board.kid = boards.kid), 0),
            coalesce((SELECT sum(to_seq - from_seq + 1) FROM lost WHERE lost.kid = boards.kid), 0),
            (SELECT count(*) FROM evidence WHERE evidence.kid = boards.kid)
        FROM boards ORDER BY kid
        """
    )
    return [BoardSummary(row[0], row[1], bool(row[2]), bool(row[3]), *row[4:]) for row in rows]


def active_boards(connection: sqlite3.Connection) -> int:
    """Return how many boards the registry says are active."""
    (number,) = connection.execute("SELECT count(*) FROM boards WHERE active_until IS NULL").fetchone()
    assert isinstance(number, int)
    return number


def totals(connection: sqlite3.Connection) -> Totals:
    """Return the sums over all boards."""
    row = connection.execute(
        """
        SELECT
            (SELECT count(*) FROM boards),
            (SELECT count(*) FROM boards WHERE flagged),
            (SELECT count(*) FROM statements),
            (SELECT count(*) FROM readings),
            (SELECT coalesce(sum(to_seq - from_seq + 1), 0) FROM lost),
            (SELECT size FROM log_state)
        """
    ).fetchone()
    return Totals(row[0], row[1], row[2], row[3], row[4], row[5], counters(connection))


def counters(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many messages came to each end; a reason that never occurred is missing."""
    return dict(connection.execute("SELECT name, value FROM counters ORDER BY name"))


def statement(connection: sqlite3.Connection, kid: bytes, seq: int) -> StoredStatement | None:
    """Return the statement that a board signed under `seq`, if it is stored."""
    row = connection.execute(
        "SELECT leaf_index, kid, seq, raw, entry, arrival_ms FROM statements WHERE kid = ? AND seq = ?", (kid, seq)
    ).fetchone()
    return StoredStatement(*row) if row else None


def newest_statement(connection: sqlite3.Connection, kid: bytes) -> StoredStatement | None:
    """Return the newest stored statement of a board, if there is one."""
    row = connection.execute(
        "SELECT leaf_index, kid, seq, raw, entry, arrival_ms FROM statements WHERE kid = ? ORDER BY seq DESC LIMIT 1",
        (kid,),
    ).fetchone()
    return StoredStatement(*row) if row else None


def readings(connection: sqlite3.Connection, leaf_index: int) -> list[StoredReading]:
    """Return the readings of one statement, in its order."""
    rows = connection.execute(
        "SELECT leaf_index, position, name, unit, mantissa, exponent, time_s, time_source"
        " FROM readings WHERE leaf_index = ? ORDER BY position",
        (leaf_index,),
    )
    return [StoredReading(*row) for row in rows]


def rejected(connection: sqlite3.Connection, limit: int = 100) -> list[Refused]:
    """Return the newest refused messages that are still kept, newest first."""
    rows = connection.execute(
        "SELECT reason, detail, topic, raw, size, arrival_ms FROM rejected ORDER BY id DESC LIMIT ?", (limit,)
    )
    return [Refused(*row) for row in rows]
