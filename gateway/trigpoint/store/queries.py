"""What others may ask the database: boards, counters, refused input. All of it only reads."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

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


class Newest(NamedTuple):
    """A board's newest statement: its place in the log, its seq, and when it came (milliseconds since 1970)."""

    leaf_index: int
    seq: int
    arrival_ms: int


class Standing(NamedTuple):
    """One board in full.

    Attributes:
        number: of the board in the database; they rise as boards are first heard of.
        kid: board id, 32 bytes.
        owner: address, 20 bytes.
        active_from_s: time of the block that registered it, seconds since 1970.
        active_until_s: time of the block that ended it; None while it is active.
        flagged: whether there is clone evidence.
        next_seq: the seq that the gateway expects.
        lost: statements that the board declared lost.
        evidence: contradicting statements kept.
        newest: None if nothing is stored.
    """

    number: int
    kid: bytes
    owner: bytes
    active_from_s: int
    active_until_s: int | None
    flagged: bool
    next_seq: int
    lost: int
    evidence: int
    newest: Newest | None


def standings(connection: sqlite3.Connection, after: int, limit: int) -> list[Standing]:
    """Return up to `limit` boards with numbers above `after`, by number."""
    tail = {
        board: Newest(*newest)
        for board, *newest in connection.execute(
            "SELECT board, max(leaf_index), seq, arrival_ms FROM statements"
            " WHERE leaf_index >= (SELECT size FROM folds WHERE name = 'index') GROUP BY board"
        )
    }
    rows = connection.execute(
        "SELECT number, kid, owner, active_from, active_until, flagged, next_seq,"
        " (SELECT coalesce(sum(to_seq - from_seq + 1), 0) FROM lost WHERE lost.kid = boards.kid),"
        " (SELECT count(*) FROM evidence WHERE evidence.kid = boards.kid),"
        " (SELECT leaf_index FROM seqs WHERE board = number ORDER BY seq DESC LIMIT 1)"
        " FROM boards WHERE number > ? ORDER BY number LIMIT ?",
        (after, limit),
    ).fetchall()
    found = []
    for number, kid, owner, active_from_s, active_until_s, flagged, folded_seq, gone, kept, folded_leaf in rows:
        newest = tail.get(number)
        if newest is None and folded_leaf is not None:
            newest = Newest(
                *connection.execute(
                    "SELECT leaf_index, seq, arrival_ms FROM statements WHERE leaf_index = ?", (folded_leaf,)
                ).fetchone()
            )
        next_seq = max(folded_seq, newest.seq + 1 if newest else 0)
        found.append(
            Standing(number, kid, owner, active_from_s, active_until_s, bool(flagged), next_seq, gone, kept, newest)
        )
    return found


def kids(connection: sqlite3.Connection, numbers: Iterable[int]) -> dict[int, bytes]:
    """Return the ids of the boards with these numbers."""
    found: dict[int, bytes] = {}
    for number in set(numbers):
        (found[number],) = connection.execute("SELECT kid FROM boards WHERE number = ?", (number,)).fetchone()
    return found


def lost(connection: sqlite3.Connection, kid: bytes, limit: int) -> list[tuple[int, int]]:
    """Return up to `limit` spans of seqs, both ends included, that the board declared lost, by seq."""
    return connection.execute(
        "SELECT from_seq, to_seq FROM lost WHERE kid = ? ORDER BY from_seq LIMIT ?", (kid, limit)
    ).fetchall()


class EvidenceFound(NamedTuple):
    """A statement kept as evidence: its row, which rises as evidence is found, and the columns of `evidence`."""

    row: int
    kid: bytes
    entry: bytes
    seq: int
    raw: bytes
    reason: str
    arrival_ms: int


def evidence(connection: sqlite3.Connection, kid: bytes | None, after: int, limit: int) -> list[EvidenceFound]:
    """Return up to `limit` pieces of evidence, against one board or all, from rows above `after`."""
    rows = connection.execute(
        "SELECT rowid, kid, entry, seq, raw, reason, arrival_ms FROM evidence"
        " WHERE rowid > ? AND coalesce(kid = ?, 1) ORDER BY rowid LIMIT ?",
        (after, kid, limit),
    )
    return [EvidenceFound(*row) for row in rows]


def log_id(connection: sqlite3.Connection) -> bytes | None:
    """Return the log's id, 32 bytes; None until the gateway has run once with its keys."""
    (stored,) = connection.execute("SELECT log_id FROM log_state").fetchone()
    assert stored is None or isinstance(stored, bytes)
    return stored


class AnchorFound(NamedTuple):
    """An anchor; the fields are those of `trigpoint.store.chain.Transaction`."""

    id: int
    size: int
    root: bytes
    state: str
    transaction: bytes
    chain_id: int
    contract: bytes
    block: int | None


_ANCHOR = "id, size, root, state, hash, chain_id, contract, block FROM transactions WHERE purpose = 'anchor'"


def anchors(connection: sqlite3.Connection, below: int, limit: int) -> list[AnchorFound]:
    """Return up to `limit` anchors with numbers below `below`, newest first."""
    rows = connection.execute(f"SELECT {_ANCHOR} AND id < ? ORDER BY id DESC LIMIT ?", (below, limit))
    return [AnchorFound(*row) for row in rows]


def final_anchor(connection: sqlite3.Connection) -> AnchorFound | None:
    """Return the newest anchor that is final."""
    row = connection.execute(f"SELECT {_ANCHOR} AND state = 'final' ORDER BY id DESC LIMIT 1").fetchone()
    return AnchorFound(*row) if row else None


def rejected_before(connection: sqlite3.Connection, below: int, limit: int) -> list[tuple[int, Refused]]:
    """Return up to `limit` refused messages with numbers below `below`, each with its number, newest first."""
    rows = connection.execute(
        "SELECT id, reason, detail, topic, raw, size, arrival_ms FROM rejected WHERE id < ? ORDER BY id DESC LIMIT ?",
        (below, limit),
    )
    return [(number, Refused(*row)) for number, *row in rows]


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
