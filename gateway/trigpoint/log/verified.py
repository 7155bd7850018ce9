"""Tiles from somebody who need not be believed: none is given out before the tree's root vouches for it.

A root binds every hash of the tiles at the tree's right edge, for they are what it is computed from. Those bind
the full tiles below them, and so on down: the root over a full tile's hashes is one hash in the tile above it.
"""

from __future__ import annotations

from collections import OrderedDict

from trigpoint.log.merkle import ProofError
from trigpoint.log.tiles import tile_width
from trigpoint.log.tree import HASH_SIZE, TILE_HEIGHT, TILE_WIDTH, RightEdge, TileReader, perfect_root

_HELD = 64


class VerifiedTiles:
    """A `TileReader` over another one, for the tree of a checkpoint whose signature has been verified.

    To make one reads at most one tile of each level, which are 6. A tile then costs at most one read of itself and of
    each tile above it: an inclusion proof, a consistency proof or an older root (`trigpoint.log.tree`) costs at most 12
    in all. Up to 64 tiles are kept.

    Args:
        reader: what gives the tiles; they may be wider than the tree of this size has them.
        size: leaves of the tree.
        root: its root, 32 bytes.

    Raises:
        ProofError: the tiles at the right edge do not have this root.
    """

    def __init__(self, reader: TileReader, size: int, root: bytes) -> None:
        edge = RightEdge.of(reader, size)
        if edge.root != root:
            raise ProofError(f"the tiles at the right edge of {size} leaves do not have the root {root.hex()}")
        self.size = size
        self.root = root
        self._reader = reader
        self._edge = edge.tiles()
        self._held: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    @property
    def edge(self) -> dict[tuple[int, int], bytes]:
        """(level, index) -> content of the tiles that are not full."""
        return self._edge

    def tile(self, level: int, index: int) -> bytes:
        """Return a tile, exactly as wide as it is in the tree.

        Raises:
            ProofError: the tree has no such tile, or what the reader gave is not it.
        """
        edge = self._edge.get((level, index))
        if edge is not None:
            return edge
        held = self._held.get((level, index))
        if held is not None:
            self._held.move_to_end((level, index))
            return held
        wanted = self.root_of(level, index)
        tile = self._reader.tile(level, index)
        check_full(level, index, tile, wanted)
        self._held[level, index] = tile
        if len(self._held) > _HELD:
            self._held.popitem(last=False)
        return tile

    def root_of(self, level: int, index: int) -> bytes:
        """Return the root that the hashes of a full tile must have: a hash of the tile above, which may be read for it.

        Raises:
            ProofError: the tree has no such tile, or it is not full.
        """
        if level < 0 or index < 0 or tile_width(self.size, level, index) != TILE_WIDTH:
            raise ProofError(f"a tree of {self.size} leaves has no full tile {index} of level {level}")
        above = self.tile(level + 1, index >> TILE_HEIGHT)
        start = (index & (TILE_WIDTH - 1)) * HASH_SIZE
        return above[start : start + HASH_SIZE]


def check_full(level: int, index: int, tile: bytes, root: bytes) -> None:
    """Check a full tile by the root over its hashes.

    Raises:
        ProofError: it is another tile, or none.
    """
    if len(tile) != TILE_WIDTH * HASH_SIZE:
        raise ProofError(f"tile {index} of level {level} has {len(tile)} bytes, {TILE_WIDTH * HASH_SIZE} wanted")
    if perfect_root(split(tile)) != root:
        raise ProofError(f"tile {index} of level {level} does not belong to the tree")


def split(tile: bytes) -> list[bytes]:
    """Return a tile's hashes, 32 bytes each."""
    return [tile[at : at + HASH_SIZE] for at in range(0, len(tile), HASH_SIZE)]
