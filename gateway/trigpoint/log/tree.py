"""The Merkle tree kept as tiles of height 8: append, roots and proofs (RFC 9162 section 2.1).

Tile N of level L holds the hashes of the tree's nodes N * 256 to N * 256 + 255 at height 8 L, each the root of a
perfect subtree of 256^L leaves. All else is computed from these, so a tile once full never changes,
and the tree needs no state beside its tiles and its size. Whoever stores them passes in a `TileReader`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from trigpoint.log.merkle import EMPTY_ROOT, MAX_SIZE, ProofError, node_hash

HASH_SIZE = 32
TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT


class TileReader(Protocol):
    """Gives stored tiles."""

    def tile(self, level: int, index: int) -> bytes:
        """Return a tile's hashes one after the other: 256 if it is full, else as many as the newest tree has."""
        ...


@dataclass(frozen=True)
class Appended:
    """A tree with new leaves.

    Attributes:
        size: leaves, old and new.
        root: of all of them, 32 bytes.
        tiles: (level, index) -> content of each tile that is new or has grown; to be stored together with the size.
    """

    size: int
    root: bytes
    tiles: dict[tuple[int, int], bytes]


def append(reader: TileReader, size: int, leaves: Sequence[bytes]) -> Appended:
    """Add leaves to a tree of `size` leaves. Nothing is written: storing the result is the caller's act.

    Reads at most one tile for each level, however large the tree.

    Args:
        reader: the tiles of the tree so far.
        size: leaves so far.
        leaves: leaf hashes (see `merkle.leaf_hash`), 32 bytes each.

    Raises:
        ProofError: if a leaf is not 32 bytes, the log would grow beyond 2^48 - 1 leaves, or the stored tiles are not
            those of a tree of this size.
    """
    if any(len(leaf) != HASH_SIZE for leaf in leaves):
        raise ProofError("a leaf hash that is not 32 bytes long")
    if not 0 <= size <= MAX_SIZE - len(leaves):
        raise ProofError(f"{size} + {len(leaves)} leaves, at most 2^48 - 1 allowed")
    tiles = _Tiles(reader)
    changed: dict[tuple[int, int], bytes] = {}
    fresh = list(leaves)
    level = 0
    while fresh:
        start = size >> TILE_HEIGHT * level
        index, width = start >> TILE_HEIGHT, start & (TILE_WIDTH - 1)
        old = tiles.hashes(level, index, 0, width)
        row = [*old, *fresh]
        fresh = []
        for offset in range(0, len(row), TILE_WIDTH):
            part = row[offset : offset + TILE_WIDTH]
            changed[level, index] = tiles.put(level, index, part)
            if len(part) == TILE_WIDTH:
                fresh.append(_perfect_root(part))
            index += 1
        level += 1
    grown = size + len(leaves)
    return Appended(grown, _range_hash(tiles, 0, grown) if grown else EMPTY_ROOT, changed)


def root(reader: TileReader, size: int) -> bytes:
    """Return the root of the first `size` leaves.

    Raises:
        ProofError: if the tiles hold fewer leaves.
    """
    _check_size(size)
    return _range_hash(_Tiles(reader), 0, size) if size else EMPTY_ROOT


def inclusion_proof(reader: TileReader, index: int, size: int) -> list[bytes]:
    """Return the path from a leaf to the root of the first `size` leaves (RFC 9162 section 2.1.3.1), leaf side first.

    Raises:
        ProofError: if the leaf is not among them, or the tiles hold fewer.
    """
    _check_size(size)
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of {size} leaves")
    tiles = _Tiles(reader)
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_hash(tiles, middle, end))
            end = middle
        else:
            path.append(_range_hash(tiles, start, middle))
            start = middle
    return path[::-1]


def consistency_proof(reader: TileReader, m: int, n: int) -> list[bytes]:
    """Return the proof that the tree of n leaves extends that of m (RFC 9162 section 2.1.4.1); empty if m is 0 or n.

    Raises:
        ProofError: if m is above n, or the tiles hold fewer leaves than n.
    """
    _check_size(n)
    if not 0 <= m <= n:
        raise ProofError(f"a tree of {n} leaves cannot extend one of {m}")
    if m in (0, n):
        return []
    tiles = _Tiles(reader)
    proof: list[bytes] = []
    start, end = 0, n
    # The walk goes down to the last node that the older tree has whole. If that is the whole older tree
    # (start still 0), the verifier knows its hash and it is left out.
    while m != end:
        middle = start + _split(end - start)
        if m <= middle:
            proof.append(_range_hash(tiles, middle, end))
            end = middle
        else:
            proof.append(_range_hash(tiles, start, middle))
            start = middle
    if start:
        proof.append(_range_hash(tiles, start, end))
    return proof[::-1]


class _Tiles:
    """A reader's tiles, each read once, with new ones laid over them."""

    def __init__(self, reader: TileReader) -> None:
        self._reader = reader
        self._held: dict[tuple[int, int], bytes] = {}

    def put(self, level: int, index: int, hashes: Sequence[bytes]) -> bytes:
        tile = self._held[level, index] = b"".join(hashes)
        return tile

    def hashes(self, level: int, index: int, start: int, end: int) -> list[bytes]:
        """Return a tile's hashes from start up to, not including, end."""
        if start == end:
            return []
        tile = self._held.get((level, index))
        if tile is None:
            tile = self._held[level, index] = self._reader.tile(level, index)
        if len(tile) < end * HASH_SIZE:
            raise ProofError(f"tile {index} of level {level} has {len(tile)} bytes, {end * HASH_SIZE} wanted")
        return [tile[at : at + HASH_SIZE] for at in range(start * HASH_SIZE, end * HASH_SIZE, HASH_SIZE)]


def _check_size(size: int) -> None:
    if not 0 <= size <= MAX_SIZE:
        raise ProofError(f"{size} leaves, 0 to 2^48 - 1 allowed")


def _split(count: int) -> int:
    """Return the largest power of two below count, which is at least 2: where RFC 9162 divides a tree."""
    return 1 << (count - 1).bit_length() - 1


def _perfect_root(hashes: list[bytes]) -> bytes:
    """Return the root over a power of two of hashes."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0]


def _range_hash(tiles: _Tiles, start: int, end: int) -> bytes:
    """Return the hash of the subtree over leaves start to end - 1, where start is a multiple of a power of two that is
    at least end - start, as every subtree of an RFC 9162 tree has it.
    """
    result = b""
    while end > start:
        # The range ends with a perfect subtree as large as the lowest bit set in its length.
        count = end - start
        height = (count & -count).bit_length() - 1
        level, inner = divmod(height, TILE_HEIGHT)
        first = (end - (1 << height)) >> TILE_HEIGHT * level
        offset = first & (TILE_WIDTH - 1)
        subtree = _perfect_root(tiles.hashes(level, first >> TILE_HEIGHT, offset, offset + (1 << inner)))
        result = node_hash(subtree, result) if result else subtree
        end -= 1 << height
    return result
