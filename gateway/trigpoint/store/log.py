"""The Merkle log in the database: its head and its tiles."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from trigpoint.errors import OperatorError
from trigpoint.log import merkle, tree
from trigpoint.store import statements


class Head(NamedTuple):
    """The newest head of the log.

    Attributes:
        size: leaves.
        root: 32 bytes.
    """

    size: int
    root: bytes


class StoredTiles:
    """Reads tiles for `trigpoint.log.tree`. A tile may hold more hashes than an older, smaller tree has."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def tile(self, level: int, index: int) -> bytes:
        """Return the tile's hashes, 32 bytes each; empty if there is no such tile."""
        row = self._connection.execute("SELECT data FROM tiles WHERE level = ? AND idx = ?", (level, index)).fetchone()
        return row[0] if row else b""


def head(connection: sqlite3.Connection) -> Head:
    """Return the newest head that is folded; `store.fold` brings it up to the statements."""
    return Head(*connection.execute("SELECT size, root FROM log_state").fetchone())


class _Overlay:
    """Stored tiles, and over them those of leaves that are not folded yet."""

    def __init__(self, below: StoredTiles, tiles: dict[tuple[int, int], bytes]) -> None:
        self._below = below
        self._tiles = tiles

    def tile(self, level: int, index: int) -> bytes:
        """Return the tile's hashes; see `StoredTiles`."""
        return self._tiles.get((level, index)) or self._below.tile(level, index)


def current(connection: sqlite3.Connection) -> tuple[Head, tree.TileReader]:
    """Return the head over all statements, folded or not, and what reads that log's tiles. Nothing is written."""
    folded, stored = head(connection), StoredTiles(connection)
    fresh = statements.entries(connection, folded.size, max(0, statements.size(connection) - folded.size))
    if not fresh:
        return folded, stored
    grown = tree.append(stored, folded.size, [merkle.leaf_hash(entry) for entry in fresh])
    return Head(grown.size, grown.root), _Overlay(stored, grown.tiles)


def append(connection: sqlite3.Connection, entries: Sequence[bytes]) -> Head:
    """Add `entries` (32 bytes each) to the log, in the transaction that `connection` is in."""
    old = head(connection)
    grown = tree.append(StoredTiles(connection), old.size, [merkle.leaf_hash(entry) for entry in entries])
    connection.executemany(
        "INSERT INTO tiles (level, idx, data) VALUES (?, ?, ?)"
        " ON CONFLICT (level, idx) DO UPDATE SET data = excluded.data",
        [(level, index, data) for (level, index), data in grown.tiles.items()],
    )
    connection.execute("UPDATE log_state SET size = ?, root = ?", (grown.size, grown.root))
    return Head(grown.size, grown.root)


def claim(connection: sqlite3.Connection, log_id: bytes, log_key: bytes) -> bytes:
    """Tie the database to its log at the first start, and return the log id that it is tied to, 32 bytes.

    The id derives from the account that opened the log (protocol section 9). It stays when another account goes on
    writing later, so what was stored first wins over `log_id`.

    Args:
        connection: the database, in a transaction.
        log_id: the id that follows from the gateway's chain account and log key.
        log_key: the 32 bytes of the log's public Ed25519 key.

    Raises:
        OperatorError: the database belongs to a log with another key.
    """
    stored_id, stored_key = connection.execute("SELECT log_id, log_key FROM log_state").fetchone()
    if stored_id is None:
        connection.execute("UPDATE log_state SET log_id = ?, log_key = ?", (log_id, log_key))
        return log_id
    if stored_key != log_key:
        raise OperatorError("log.key_file is not the key that this database's log was begun with: restore that key")
    assert isinstance(stored_id, bytes)
    return stored_id
