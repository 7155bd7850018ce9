"""The files that anyone may fetch: tiles, entry bundles, the signed checkpoint, and trust.json."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trigpoint.errors import OperatorError
from trigpoint.log import checkpoint, tiles, tree
from trigpoint.log.tree import HASH_SIZE, TILE_HEIGHT, TILE_WIDTH
from trigpoint.store import log
from trigpoint.wire.trust import Trust


class PublicFiles:
    """Keeps a directory in step with the log (C2SP tlog-tiles).

    Tiles are on the disk before the checkpoint that needs them, and each file appears whole under its name. So the
    checkpoint in the directory is always true, and tells after a crash how far the directory had got.

    Args:
        directory: made as needed.
        connection: the database, for reading.
        log_id: 32 bytes.
        log_key: signs checkpoints.

    Raises:
        OperatorError: the directory holds a checkpoint that the database cannot extend.
    """

    def __init__(
        self, directory: Path, connection: sqlite3.Connection, log_id: bytes, log_key: Ed25519PrivateKey
    ) -> None:
        self._directory = directory
        self._connection = connection
        self._log_id = log_id
        self._log_key = log_key
        self._checkpoint = directory / "checkpoint"
        directory.mkdir(parents=True, exist_ok=True)
        self._size = self._published_size()

    def write_trust(self, trust: Trust) -> None:
        """Write trust.json."""
        _write(self._directory / "trust.json", trust.to_json().encode())

    def publish(self) -> int:
        """Bring the directory up to the log's newest head, if it has grown. Returns the size published.

        Raises:
            OSError: the disk refused; what is there stays true, and a later call goes on from it.
            sqlite3.Error: the database did.
        """
        self._connection.execute("BEGIN")
        try:
            head = log.head(self._connection)
            if head.size > self._size or not self._checkpoint.exists():
                for path, data in self._changed(self._size, head.size):
                    _write(self._directory / path, data)
                signed = checkpoint.sign(self._log_id, self._log_key, head.size, head.root)
                _write(self._checkpoint, signed.encode())
        finally:
            self._connection.execute("COMMIT")
        self._drop_partials(self._size, head.size)
        self._size = head.size
        return head.size

    def _published_size(self) -> int:
        if not self._checkpoint.exists():
            return 0
        try:
            published = checkpoint.verify(
                self._checkpoint.read_text(encoding="utf-8"),
                self._log_id,
                self._log_key.public_key().public_bytes_raw(),
            )
        except (checkpoint.CheckpointError, UnicodeDecodeError) as error:
            raise OperatorError(f"{self._checkpoint} is not this log's: {error}; move the directory away") from error
        size = log.head(self._connection).size
        if published.size > size or published.root != tree.root(log.StoredTiles(self._connection), published.size):
            raise OperatorError(
                f"the database has {size} leaves and does not extend {self._checkpoint} of {published.size}, which "
                "others may have seen: it was restored from an old backup; restore a newer one"
            )
        return published.size

    def _changed(self, old: int, new: int) -> Iterator[tuple[str, bytes]]:
        """Yield path and content of every file in which a log of `new` leaves differs from one of `old`."""
        for index, width in _grown(old, new):
            rows = self._connection.execute(
                "SELECT entry FROM statements WHERE leaf_index >= ? ORDER BY leaf_index LIMIT ?",
                (index * TILE_WIDTH, width),
            )
            yield tiles.entries_path(index, width), tiles.entry_bundle([entry for (entry,) in rows])
        reader = log.StoredTiles(self._connection)
        for level, old_hashes, new_hashes in _levels(old, new):
            for index, width in _grown(old_hashes, new_hashes):
                yield tiles.tile_path(level, index, width), reader.tile(level, index)[: width * HASH_SIZE]

    def _drop_partials(self, old: int, new: int) -> None:
        """Remove the partial tiles that a full one has replaced, as tlog-tiles allows."""
        full = [tiles.entries_path(index) for index, width in _grown(old, new) if width == TILE_WIDTH]
        for level, old_hashes, new_hashes in _levels(old, new):
            full += [
                tiles.tile_path(level, index) for index, width in _grown(old_hashes, new_hashes) if width == TILE_WIDTH
            ]
        for path in full:
            shutil.rmtree(self._directory / (path + ".p"), ignore_errors=True)


def _levels(old: int, new: int) -> Iterator[tuple[int, int, int]]:
    """Yield (level, hashes before, hashes after) for each level of tiles that a log of `new` leaves has."""
    level = 0
    while new:
        yield level, old, new
        old, new, level = old >> TILE_HEIGHT, new >> TILE_HEIGHT, level + 1


def _grown(old: int, new: int) -> Iterator[tuple[int, int]]:
    """Yield (index, width) of each tile that is new or wider in a row of `new` hashes than in one of `old`."""
    if new > old:
        for index in range(old // TILE_WIDTH, -(-new // TILE_WIDTH)):
            yield index, min(TILE_WIDTH, new - index * TILE_WIDTH)


def _write(path: Path, data: bytes) -> None:
    """Put `data` under `path` so that even a power cut leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    with unfinished.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
