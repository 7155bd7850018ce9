"""A log as it is published, in memory: honest, or as a test bends it."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from samples import LOG_PRIVATE, TRUST, MemoryTiles
from trigpoint.audit.source import FetchError
from trigpoint.log import checkpoint, tiles, tree
from trigpoint.log.merkle import leaf_hashes
from trigpoint.wire.trust import Trust


def entries(size: int, history: bytes = b"", fork_at: int = 0) -> list[bytes]:
    """Entries of a log; of another history than the first from `fork_at` on."""
    return [sha256(b"%s%d" % (history if index >= fork_at else b"", index)).digest() for index in range(size)]


def published(logged: list[bytes], size: int | None = None, trust: Trust = TRUST) -> dict[str, bytes]:
    """Return all public files of a log with these entries, as its checkpoint of `size` leaves calls for them."""
    size = len(logged) if size is None else size
    whole = tree.append(MemoryTiles(), 0, leaf_hashes(logged[:size]))
    files = {
        "trust.json": trust.to_json().encode(),
        "checkpoint": checkpoint.sign(trust.log_id, LOG_PRIVATE, size, whole.root).encode(),
    }
    for (level, index), tile in whole.tiles.items():
        files[tiles.tile_path(level, index, len(tile) // 32)] = tile
    for start in range(0, size, 256):
        bundle = logged[start : min(size, start + 256)]
        files[tiles.entries_path(start // 256, len(bundle))] = tiles.entry_bundle(bundle)
    return files


class MemorySource:
    """Gives files from memory, and counts; after so many it is gone."""

    place = "https://log.example"

    def __init__(self, files: dict[str, bytes], gone_after: int | None = None) -> None:
        self.files = files
        self.asked: list[str] = []
        self._gone_after = gone_after

    def get(self, path: str, limit: int) -> bytes | None:
        self.asked.append(path)
        if self._gone_after is not None and len(self.asked) > self._gone_after:
            raise FetchError("the log went away")
        data = self.files.get(path)
        if data is not None and len(data) > limit:
            raise FetchError(f"{path} is larger than {limit} bytes")
        return data

    def cancel(self) -> None:
        """Nothing here takes long."""


def only_tiles(paths: Iterable[str]) -> set[str]:
    """Return which of the paths are of tiles and bundles."""
    return {path for path in paths if path.startswith("tile/")}
