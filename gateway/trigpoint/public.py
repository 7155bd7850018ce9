"""The files that anyone may fetch: tiles, entry bundles, the signed checkpoint, and trust.json."""

from __future__ import annotations

import logging
import math
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trigpoint.errors import OperatorError
from trigpoint.files import FileBatch, write_whole
from trigpoint.log import checkpoint, tiles, tree
from trigpoint.log.tiles import tile_width
from trigpoint.log.tree import HASH_SIZE, TILE_HEIGHT, TILE_WIDTH, TileReader
from trigpoint.store import log, statements
from trigpoint.wire.trust import Trust
from trigpoint.words import counted

STEP: Final = TILE_WIDTH * TILE_WIDTH
"""Leaves that are published at once, at most: 512 files and a few. A checkpoint follows each step."""

_BATCH_FILES = 64

_log = logging.getLogger(__name__)


class PublicFiles:
    """Keeps a directory in step with the log (C2SP tlog-tiles).

    Tiles are on the disk before the checkpoint that needs them, and each file appears whole under its name. So the
    checkpoint in the directory is always true, and tells after a crash how far the directory had got. Only what
    changed is written: with a few leaves more that is one tile, one bundle and the checkpoint.

    Args:
        directory: made as needed.
        connection: the database, for reading; not in a transaction.
        log_id: 32 bytes.
        log_key: signs checkpoints.

    Raises:
        OperatorError: the directory holds a checkpoint that the database cannot extend.
        OSError: the disk refused.
    """

    def __init__(
        self, directory: Path, connection: sqlite3.Connection, log_id: bytes, log_key: Ed25519PrivateKey
    ) -> None:
        self._directory = directory
        self._connection = connection
        self._log_id = log_id
        self._log_key = log_key
        self._checkpoint = directory / "checkpoint"
        self._batch = FileBatch(directory)
        directory.mkdir(parents=True, exist_ok=True)
        self._published = self._checkpoint.exists()
        self._size = self._published_size()

    @property
    def size(self) -> int:
        """How many leaves the checkpoint in the directory covers."""
        return self._size

    def write_trust(self, trust: Trust) -> None:
        """Write trust.json, unless it says the same already."""
        path, data = self._directory / "trust.json", trust.to_json().encode()
        if not path.exists() or path.read_bytes() != data:
            write_whole(path, data)

    def publish(self) -> bool:
        """Take the directory one step nearer to the head over all that is stored. Returns whether it has got there.

        Raises:
            OSError: the disk refused; what is there stays true, and a later call goes on from it.
            sqlite3.Error: the database did.
        """
        head, reader = log.current(self._connection)
        size = min(head.size, (self._size // STEP + 1) * STEP)
        if self._published and size <= self._size:
            return True
        root = head.root if size == head.size else tree.root(reader, size)
        try:
            for path, data in self._changed(self._size, size, reader):
                self._batch.write(path, data)
                if len(self._batch) == _BATCH_FILES:
                    self._batch.commit()
            self._batch.commit()
        finally:
            self._batch.close()
        self._drop_partials(self._size, size)
        write_whole(self._checkpoint, checkpoint.sign(self._log_id, self._log_key, size, root).encode())
        self._published = True
        self._size = size
        return size == head.size

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
        head, reader = log.current(self._connection)
        if published.size > head.size or published.root != tree.root(reader, published.size):
            raise OperatorError(
                f"the database has {counted(head.size, 'leaf')} and does not extend {self._checkpoint} of "
                f"{published.size}, which others may have seen: it was restored from an old backup; restore a newer "
                "one (docs/operating.md, 'An old backup')"
            )
        return published.size

    def _changed(self, old: int, new: int, reader: TileReader) -> Iterator[tuple[str, bytes]]:
        """Yield path and content of every file in which a log of `new` leaves differs from one of `old`.

        It needs no transaction around it: what is in the log stays as it is, and later leaves are cut off.
        """
        for index, width in _grown(old, new):
            entries = statements.entries(self._connection, index * TILE_WIDTH, width)
            yield tiles.entries_path(index, width), tiles.entry_bundle(entries)
        for level, old_hashes, new_hashes in _levels(old, new):
            for index, width in _grown(old_hashes, new_hashes):
                yield tiles.tile_path(level, index, width), reader.tile(level, index)[: width * HASH_SIZE]

    def _drop_partials(self, old: int, new: int) -> None:
        """Remove the partial tiles that a full one has replaced, as tlog-tiles allows.

        Of the tiles that are full now, only the one where each row ended had partial ones.
        """
        for level, old_hashes, _ in _levels(old, new):
            index = old_hashes // TILE_WIDTH
            if tile_width(new, level, index) == TILE_WIDTH:
                replaced = [tiles.tile_path(level, index), *([tiles.entries_path(index)] if level == 0 else [])]
                for path in replaced:
                    shutil.rmtree(self._directory / (path + ".p"), ignore_errors=True)


class Publisher:
    """Publishes from time to time: each time costs a few writes, whether one leaf is new or a hundred.

    `tick` and `step` belong to the thread that has the directory's database connection, `reach` to any.

    Args:
        public: the directory.
        every_s: seconds between two publishings, unless the directory is behind: then it goes on at once.
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(self, public: PublicFiles, every_s: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._public = public
        self._every_s = every_s
        self._monotonic = monotonic
        self._due = -math.inf
        self._wanted = 0
        self._in_vain = False
        self._moved = threading.Condition()

    def tick(self) -> None:
        """Publish a step if it is time. What the disk refuses is logged and tried again when it is time once more."""
        if (self._monotonic() >= self._due or self._wanted > self._public.size) and self.step():
            self._due = self._monotonic() + self._every_s

    def step(self) -> bool:
        """Publish a step now. Returns whether nothing is left to do, or nothing can be done now."""
        try:
            done = self._public.publish()
        except (OSError, sqlite3.OperationalError) as error:
            _log.error("public files are behind, and are tried again error=%r", str(error))
            self.give_up()
            return True
        with self._moved:
            self._moved.notify_all()
        return done

    def reach(self, size: int, timeout_s: float = 30.0) -> None:
        """Wait until `size` leaves are published, which the next ticks do.

        Raises:
            OperatorError: they were not in so many seconds, or the disk refused.
        """
        with self._moved:
            self._wanted, self._in_vain = size, False
            self._moved.wait_for(lambda: self._public.size >= size or self._in_vain, timeout_s)
            if self._public.size < size:
                raise OperatorError(
                    f"{self._public.size:,} of {counted(size, 'leaf')} published: the anchor waits, so that whoever "
                    "sees it finds its checkpoint; see whether data/public can be written"
                )

    def give_up(self) -> None:
        """Let nobody wait for what will not be published now."""
        with self._moved:
            self._wanted, self._in_vain = 0, True
            self._moved.notify_all()


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
