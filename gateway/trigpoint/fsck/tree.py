"""The log: built again from the entries, beside the tiles, the head and the public files that claim to hold it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

from trigpoint.fsck.findings import FOLD, RESTORE, BrokenError
from trigpoint.log import checkpoint, tiles
from trigpoint.log.merkle import EMPTY_ROOT, leaf_hash, node_hash
from trigpoint.log.tree import HASH_SIZE, TILE_WIDTH
from trigpoint.words import counted

PUBLISH = "move the public directory away: the gateway writes it anew at its next start"
"""What to do about a public file."""

_FullTile = Callable[[int, int, bytes], None]
_FullBundle = Callable[[int, bytes], None]


class Builder:
    """Builds the tree in the memory of its right edge, and hands out each tile and bundle once it is full.

    Args:
        wanted: sizes at which the root is to be noted.
        edges: sizes at which the tiles and the bundle that are not full are to be noted as well.
        on_tile: takes level, index and content of each full tile.
        on_bundle: takes index and content of each full bundle of entries.

    Attributes:
        size: leaves so far.
        roots: of the sizes that were wanted, as far as the tree has reached them.
        partial: of the edges: size -> (level, index) -> content, and (-1, index) -> bundle.
    """

    def __init__(self, wanted: Iterable[int], edges: Iterable[int], on_tile: _FullTile, on_bundle: _FullBundle) -> None:
        self._wanted = set(wanted) | set(edges)
        self._edges = set(edges)
        self._on_tile = on_tile
        self._on_bundle = on_bundle
        self._levels: list[list[bytes]] = [[]]
        self._entries: list[bytes] = []
        self.size = 0
        self.roots: dict[int, bytes] = {}
        self.partial: dict[int, dict[tuple[int, int], bytes]] = {}
        self._note()

    def add(self, entry: bytes) -> None:
        """Add an entry, 32 bytes."""
        self._entries.append(entry)
        self._levels[0].append(leaf_hash(entry))
        self.size += 1
        if not self.size % TILE_WIDTH:
            self._close()
        if self.size in self._wanted:
            self._note()

    def _close(self) -> None:
        """Hand out what is full, from the leaves upwards."""
        self._on_bundle(self.size // TILE_WIDTH - 1, tiles.entry_bundle(self._entries))
        self._entries = []
        level, width = 0, self.size
        while width and not width % TILE_WIDTH:
            width //= TILE_WIDTH
            hashes = self._levels[level]
            self._on_tile(level, width - 1, b"".join(hashes))
            self._levels[level] = []
            level += 1
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(_merged(hashes))

    def _note(self) -> None:
        self.roots[self.size] = self._root()
        if self.size in self._edges:
            edge = {}
            width = self.size
            for level, hashes in enumerate(self._levels):
                if hashes:
                    edge[level, width // TILE_WIDTH] = b"".join(hashes)
                width //= TILE_WIDTH
            if self._entries:
                edge[-1, self.size // TILE_WIDTH] = tiles.entry_bundle(self._entries)
            self.partial[self.size] = edge

    def _root(self) -> bytes:
        """Join the perfect subtrees of the right edge, the smallest first (RFC 9162 section 2.1.1)."""
        root = b""
        for hashes in self._levels:
            end = len(hashes)
            while end:
                count = end & -end
                subtree = _merged(hashes[end - count : end])
                root = node_hash(subtree, root) if root else subtree
                end -= count
        return root or EMPTY_ROOT


class StoredTiles:
    """The tiles and the head in the database, beside a tree that is built of the statements.

    Args:
        connection: the database, in one transaction for the whole check.
        log_key: the log's public key as the gateway's key file has it, 32 bytes; None if that is not known.

    Attributes:
        size: leaves under the head.
        compared: tiles compared so far.
    """

    def __init__(self, connection: sqlite3.Connection, log_key: bytes | None) -> None:
        self._connection = connection
        rows = connection.execute("SELECT size, root, log_id, log_key FROM log_state").fetchall()
        if len(rows) != 1:
            raise BrokenError("log_state", f"it has {len(rows)} rows", RESTORE)
        self.size, self._root, log_id, key = rows[0]
        self.compared = 0
        if (log_id is None) != (key is None) or (key is not None and log_key not in (None, key)):
            raise BrokenError("log_state", "its log key is not that of log.key_file", RESTORE)

    def take(self, level: int, index: int, data: bytes) -> None:
        """Compare a full tile of the tree, if the head covers it."""
        if (index + 1) * TILE_WIDTH ** (level + 1) <= self.size:
            self._compare(level, index, data)

    def finish(self, builder: Builder) -> None:
        """Compare the head and the tiles that are not full, and see that there are no others."""
        if self.size > builder.size:
            raise BrokenError(
                "log_state",
                f"it has {counted(self.size, 'leaf')}, of {counted(builder.size, 'statement')}",
                FOLD,
            )
        if builder.roots[self.size] != self._root:
            raise BrokenError("log_state", f"its root is not that of the first {counted(self.size, 'statement')}", FOLD)
        for (level, index), data in builder.partial[self.size].items():
            if level >= 0:
                self._compare(level, index, data)
        (count,) = self._connection.execute("SELECT count(*) FROM tiles").fetchone()
        if count != self.compared:
            raise BrokenError(
                "tiles",
                f"there are {count}, and a log of {counted(self.size, 'leaf')} has {self.compared}",
                FOLD,
            )

    def _compare(self, level: int, index: int, data: bytes) -> None:
        self.compared += 1
        where = f"tiles, level {level} index {index}"
        row = self._connection.execute("SELECT data FROM tiles WHERE level = ? AND idx = ?", (level, index)).fetchone()
        if row is None:
            raise BrokenError(where, "it is missing", FOLD)
        if row[0] != data:
            place = next((at for at in range(0, len(data), HASH_SIZE) if row[0][at : at + 32] != data[at : at + 32]), 0)
            first = (index * TILE_WIDTH + place // HASH_SIZE) * TILE_WIDTH**level
            raise BrokenError(where, f"it is not what follows from the statements, from leaf {first} on", FOLD)


class PublicFiles:
    """The files that anyone may fetch, beside the same tree.

    Args:
        directory: where they are.
        log_id: 32 bytes.
        log_key: the log's public key, 32 bytes.

    Attributes:
        size: leaves under the checkpoint; None if there is none.
    """

    def __init__(self, directory: Path, log_id: bytes, log_key: bytes) -> None:
        self._directory = directory
        self.compared = 0
        self.size: int | None = None
        self._root = b""
        path = directory / "checkpoint"
        if not path.exists():
            return
        try:
            signed = checkpoint.verify(path.read_text(encoding="utf-8"), log_id, log_key)
        except (checkpoint.CheckpointError, UnicodeDecodeError) as error:
            raise BrokenError(str(path), f"it is not this log's: {error}", PUBLISH) from error
        self.size, self._root = signed.size, signed.root

    def take_tile(self, level: int, index: int, data: bytes) -> None:
        """Compare a full tile of the tree, if the checkpoint covers it."""
        if self.size is not None and (index + 1) * TILE_WIDTH ** (level + 1) <= self.size:
            self._compare(tiles.tile_path(level, index), data)

    def take_bundle(self, index: int, data: bytes) -> None:
        """Compare a full bundle of entries, if the checkpoint covers it."""
        if self.size is not None and (index + 1) * TILE_WIDTH <= self.size:
            self._compare(tiles.entries_path(index), data)

    def finish(self, builder: Builder) -> None:
        """Compare the checkpoint's root and the files that are not full."""
        if self.size is None:
            return
        if self.size > builder.size:
            raise BrokenError(
                str(self._directory / "checkpoint"),
                f"others may have seen it, and it has {counted(self.size, 'leaf')}; statements here: {builder.size:,}",
                "an old backup was restored: bring back the newest database, or see docs/operating.md, 'An old backup'",
            )
        if builder.roots[self.size] != self._root:
            raise BrokenError(
                str(self._directory / "checkpoint"),
                f"others may have seen it, and its root is not that of as many statements here ({self.size:,})",
                "the log must not go on from this database: see docs/operating.md, 'An old backup'",
            )
        for (level, index), data in builder.partial[self.size].items():
            width = len(data) // (HASH_SIZE if level >= 0 else HASH_SIZE + 2)
            path = tiles.tile_path(level, index, width) if level >= 0 else tiles.entries_path(index, width)
            self._compare(path, data, path.partition(".p/")[0])

    def _compare(self, path: str, data: bytes, grown: str | None = None) -> None:
        """Compare a file; or, if a running gateway has filled and so dropped it meanwhile, the beginning of that."""
        self.compared += 1
        file = self._directory / path
        try:
            found = file.read_bytes()
        except FileNotFoundError:
            try:
                found = (self._directory / (grown or path)).read_bytes()[: len(data)]
            except FileNotFoundError:
                raise BrokenError(str(file), "it is missing", PUBLISH) from None
        if found != data:
            raise BrokenError(str(file), "it is not what follows from the statements", PUBLISH)


def _merged(hashes: list[bytes]) -> bytes:
    """Return the root over a power of two of hashes."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0]
