"""Fetches all that is new in a log's tree, each file verified by the checkpoint's root before it is used or kept."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from trigpoint.audit.source import FetchError, Source
from trigpoint.audit.store import TileStore
from trigpoint.log import checkpoint
from trigpoint.log.checkpoint import Checkpoint
from trigpoint.log.merkle import ProofError, leaf_hashes
from trigpoint.log.tiles import entries_path, parse_entry_bundle, tile_path, tile_width
from trigpoint.log.tree import HASH_SIZE, TILE_HEIGHT, TILE_WIDTH
from trigpoint.log.verified import VerifiedTiles, check_full, split

PARALLEL: Final = 16
"""Files that are fetched at once."""

_TILE = TILE_WIDTH * HASH_SIZE
_ENTRY = 2 + HASH_SIZE
_MAX_NOTE = 4 * checkpoint.MAX_LENGTH
_WAITING = 8 * PARALLEL


@dataclass
class Amount:
    """What has been fetched and verified so far.

    Attributes:
        leaves: whose entries and hashes were verified.
        tiles: full and partial ones, fetched.
        bundles: of entries, fetched.
        bytes: of both.
    """

    leaves: int = 0
    tiles: int = 0
    bundles: int = 0
    bytes: int = 0


class FetchedTiles:
    """A `TileReader` of what a source says, for the tree of one size. Nothing of it is verified: see `VerifiedTiles`.

    Args:
        source: where tiles come from.
        size: leaves of the tree.
        amount: is added to.
    """

    def __init__(self, source: Source, size: int, amount: Amount) -> None:
        self._source = source
        self._size = size
        self._amount = amount

    def tile(self, level: int, index: int) -> bytes:
        """Return a tile as wide as it is in the tree.

        Raises:
            FetchError: it cannot be had.
        """
        width = tile_width(self._size, level, index)
        tile = fetch(self._source, tile_path(level, index, width), tile_path(level, index), width * HASH_SIZE, _TILE)
        self._amount.tiles += 1
        self._amount.bytes += len(tile)
        return tile


def fetch(source: Source, path: str, full_path: str, size: int, full_size: int) -> bytes:
    """Fetch a tile or bundle; if it is partial and gone, the beginning of the full one (C2SP tlog-tiles allows that).

    Raises:
        FetchError: neither can be had.
    """
    data = source.get(path, size)
    if data is None and full_path != path:
        data = source.get(full_path, full_size)
        data = None if data is None else data[:size]
    if data is None:
        raise FetchError(f"{source.place} has no {path}, which its checkpoint calls for")
    return data


def head(source: Source, log_id: bytes, log_key: bytes) -> Checkpoint:
    """Fetch the log's checkpoint and verify its signature.

    Raises:
        FetchError: it cannot be had.
        CheckpointError: the log's key did not sign it.
    """
    data = source.get("checkpoint", _MAX_NOTE)
    if data is None:
        raise FetchError(f"{source.place} has no checkpoint: is this the address of a log?")
    try:
        return checkpoint.verify(data.decode(), log_id, log_key)
    except UnicodeDecodeError:
        raise checkpoint.CheckpointError("not a checkpoint: it is not UTF-8 text") from None


def follow(
    source: Source,
    tree: VerifiedTiles,
    store: TileStore | None,
    start: int,
    *,
    amount: Amount,
    progress: Callable[[int], None],
) -> None:
    """Verify every leaf from `start` on: its entry, its leaf hash, and all tiles up to the root.

    What a killed run left in the store is verified and not fetched again.

    Args:
        source: where the files come from.
        tree: of the new checkpoint.
        store: takes the files, or None to verify only.
        start: leaves that the store has for certain.
        amount: is added to.
        progress: is told how many leaves are done, now and then, in this thread.

    Raises:
        FetchError: a file cannot be had.
        ProofError: a file is not the tree's.
        OSError: the store's disk refused.
    """
    work = _Work(source, store)
    waiting: deque[Future[Amount]] = deque()
    pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="audit")
    try:
        for task in _tasks(work, tree, start):
            waiting.append(pool.submit(task))
            while len(waiting) >= _WAITING or (waiting and waiting[0].done()):
                _add(amount, waiting.popleft().result())
                progress(amount.leaves)
        while waiting:
            _add(amount, waiting.popleft().result())
            progress(amount.leaves)
    except BaseException:
        # Nothing is left to write into the store once we have returned, and nobody waits for a server that dawdles.
        work.stopped = True
        pool.shutdown(wait=False, cancel_futures=True)
        while not all(task.done() for task in waiting):
            source.cancel()
            time.sleep(0.01)
        raise
    pool.shutdown()


def _tasks(work: _Work, tree: VerifiedTiles, start: int) -> Iterator[Callable[[], Amount]]:
    """Yield what is to be done for each tile of leaves, from the one with `start`; keep the tiles above meanwhile."""
    first, full = start // TILE_WIDTH, tree.size // TILE_WIDTH
    above = [start >> TILE_HEIGHT * (level + 1) for level in range(1, 7)]
    for index in range(first, full):
        for level in range(1, 7):
            place = index >> TILE_HEIGHT * level
            if place == above[level - 1] and tile_width(tree.size, level, place) == TILE_WIDTH:
                work.keep(tile_path(level, place), tree.tile(level, place))
                above[level - 1] += 1
        yield _Full(work, index, tree.root_of(0, index), start)
    for (level, index), tile in tree.edge.items():
        work.keep(tile_path(level, index, len(tile) // HASH_SIZE), tile)
        if level == 0 and tree.size > start:
            yield _Edge(work, index, tile, start)


def _add(total: Amount, more: Amount) -> None:
    total.leaves += more.leaves
    total.tiles += more.tiles
    total.bundles += more.bundles
    total.bytes += more.bytes


class _Work:
    """Where files come from and go to; used by several threads, each with files of its own."""

    def __init__(self, source: Source, store: TileStore | None) -> None:
        self.stopped = False
        self._source = source
        self._store = store

    def fetch(self, path: str, full_path: str, size: int, full_size: int) -> bytes:
        if self.stopped:
            raise FetchError("stopped")
        return fetch(self._source, path, full_path, size, full_size)

    def keep(self, path: str, data: bytes) -> None:
        if self._store is not None and not self.stopped:
            self._store.write(path, data)

    def kept(self, path: str) -> bytes | None:
        return None if self._store is None else self._store.read(path)


@dataclass(frozen=True)
class _Full:
    """A full tile of leaves, and its bundle."""

    work: _Work
    index: int
    root: bytes
    start: int

    def __call__(self) -> Amount:
        amount = Amount(leaves=TILE_WIDTH - max(0, self.start - self.index * TILE_WIDTH))
        path = tile_path(0, self.index)
        tile = self.work.kept(path)
        if tile is None or not self._is_right(tile):
            tile = self.work.fetch(path, path, _TILE, _TILE)
            check_full(0, self.index, tile, self.root)
            self.work.keep(path, tile)
            amount.tiles, amount.bytes = 1, len(tile)
        _bundle(self.work, self.index, tile, amount)
        return amount

    def _is_right(self, tile: bytes) -> bool:
        try:
            check_full(0, self.index, tile, self.root)
        except ProofError:
            return False
        return True


@dataclass(frozen=True)
class _Edge:
    """The bundle of the tile of leaves at the edge, which is verified already."""

    work: _Work
    index: int
    tile: bytes
    start: int

    def __call__(self) -> Amount:
        width = len(self.tile) // HASH_SIZE
        amount = Amount(leaves=width - max(0, self.start - self.index * TILE_WIDTH))
        _bundle(self.work, self.index, self.tile, amount)
        return amount


def _bundle(work: _Work, index: int, tile: bytes, amount: Amount) -> None:
    """Verify a bundle by the tile of its leaves; fetch it if it is not kept already."""
    width = len(tile) // HASH_SIZE
    path = entries_path(index, width)
    kept = work.kept(path)
    if kept is not None and _fits(kept, tile):
        return
    bundle = work.fetch(path, entries_path(index), width * _ENTRY, TILE_WIDTH * _ENTRY)
    try:
        entries = parse_entry_bundle(bundle, width)
    except ProofError as error:
        raise ProofError(f"bundle {index} of entries: {error}") from None
    if leaf_hashes(entries) != split(tile):
        raise ProofError(f"bundle {index} of entries does not hold the entries of its leaves")
    work.keep(path, bundle)
    amount.bundles += 1
    amount.bytes += len(bundle)


def _fits(bundle: bytes, tile: bytes) -> bool:
    try:
        return leaf_hashes(parse_entry_bundle(bundle, len(tile) // HASH_SIZE)) == split(tile)
    except ProofError:
        return False
