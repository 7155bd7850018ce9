"""What others may ask the database: boards, counters, refused input. All of it only reads."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from trigpoint.store import statements


@dataclass(frozen=True)
class BoardSummary:
    """One board and what is stored of it.

    Attributes:
        kid: board id, 32 bytes.
        owner: address, 20 bytes.
        active: whether the registry says so.
        flagged: whether there is clone evidence.
        next_seq: the seq that the gateway expects.
        lost: statements that the board declared lost.
        evidence: contradicting statements kept.
    """

    kid: bytes
    owner: bytes
    active: bool
    flagged: bool
    next_seq: int
    lost: int
    evidence: int

    @property
    def statements(self) -> int:
        """How many are stored: those below next_seq that are not lost."""
        return self.next_seq - self.lost


@dataclass(frozen=True)
class Refused:
    """A refused message: why, in a word and in a sentence, and the beginning of what came."""

    reason: str
    detail: str
    topic: str
    raw: bytes
    size: int
    arrival_ms: int


def boards(connection: sqlite3.Connection) -> list[BoardSummary]:
    """Return all boards that the registry has ever known, by kid.

    The cost does not grow with what is stored, but with the tail of the index, which is bounded.
    """
    rows = connection.execute(
        """
        SELECT kid, owner, active_until IS NULL, flagged, max(next_seq, coalesce(tail.newest + 1, 0)),
            (SELECT coalesce(sum(to_seq - from_seq + 1), 0) FROM lost WHERE lost.kid = boards.kid),
            (SELECT count(*) FROM evidence WHERE evidence.kid = boards.kid)
        FROM boards LEFT JOIN (
            SELECT board, max(seq) AS newest FROM statements
            WHERE leaf_index >= (SELECT size FROM folds WHERE name = 'index') GROUP BY board
        ) AS tail ON tail.board = boards.number
        ORDER BY kid
        """
    )
    return [BoardSummary(row[0], row[1], bool(row[2]), bool(row[3]), *row[4:]) for row in rows]


def active_boards(connection: sqlite3.Connection) -> int:
    """Return how many boards the registry says are active."""
    (number,) = connection.execute("SELECT count(*) FROM boards WHERE active_until IS NULL").fetchone()
    assert isinstance(number, int)
    return number


def counters(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many messages came to each end; a reason that never occurred is missing.

    Duplicates may be a minute behind: only what is written anyhow brings them to the disk.
    """
    accepted = statements.size(connection)
    counted = dict(connection.execute("SELECT name, value FROM counters ORDER BY name"))
    return {"accepted": accepted, **counted} if accepted else counted


def rejected(connection: sqlite3.Connection, limit: int = 100) -> list[Refused]:
    """Return the newest refused messages that are still kept, newest first."""
    rows = connection.execute(
        "SELECT reason, detail, topic, raw, size, arrival_ms FROM rejected ORDER BY id DESC LIMIT ?", (limit,)
    )
    return [Refused(*row) for row in rows]
