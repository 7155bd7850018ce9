"""The boards that have stated something, one after the other, for those who tell others of them.

The registry is open to all, so there may be any number of boards in it that never say a word to this gateway: who has
to look at all of them holds none of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple


class Stated(NamedTuple):
    """A board and its newest statement.

    Attributes:
        kid: board id, 32 bytes.
        active: whether the registry says so.
        leaf_index: the statement's place in the log.
        arrival_ms: when it came, milliseconds since 1970.
    """

    kid: bytes
    active: bool
    leaf_index: int
    arrival_ms: int


def boards(connection: sqlite3.Connection) -> Iterator[Stated]:
    """Yield each board that has a statement in the database, in no order, as the database finds them."""
    rows = connection.execute(
        "SELECT kid, active_until IS NULL, leaf_index, arrival_ms FROM ("
        "  SELECT kid, active_until, coalesce(tail.newest,"
        "    (SELECT leaf_index FROM seqs WHERE board = number ORDER BY seq DESC LIMIT 1)) AS place"
        "  FROM boards LEFT JOIN (SELECT board, max(leaf_index) AS newest FROM statements"
        "    WHERE leaf_index >= (SELECT size FROM folds WHERE name = 'index') GROUP BY board) AS tail"
        "  ON tail.board = number WHERE next_seq > 0 OR tail.newest IS NOT NULL"
        ") JOIN statements ON leaf_index = place"
    )
    for kid, active, leaf_index, arrival_ms in rows:
        yield Stated(kid, bool(active), leaf_index, arrival_ms)
