"""The Merkle tree kept as tiles of height 8: append, roots and proofs (RFC 9162 section 2.1).

Tile N of level L holds the hashes of the tree's nodes N * 256 to N * 256 + 255 at height 8 L, each the root of a
perfect subtree of 256^L leaves. All else is computed from these, so a tile once full never changes,
and the tree needs no state beside its tiles and its size. Whoever stores them passes in a `TileReader`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
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
        edge: from which to append again without reading a tile.
    """

    size: int
    root: bytes
    tiles: dict[tuple[int, int], bytes]
    edge: RightEdge


@dataclass(frozen=True)
class _Part:
    """One level's tile that is not full yet: its hashes, and the roots of the perfect subtrees among them."""

    hashes: list[bytes]
    roots: list[bytes]


class RightEdge:
    """All of a tree that further leaves touch: at each level, the tile that is not full yet.

    It never changes: `append` gives a new one. So whoever could not store what came of it keeps the old one.
    """

    def __init__(self, size: int, parts: list[_Part]) -> None:
        self.size = size
        self._parts = parts

    @classmethod
    def of(cls, reader: TileReader, size: int) -> RightEdge:
        """Read the right edge of the tree of `size` leaves: at most one tile for each level, however large the tree.

        Raises:
            ProofError: if the size is impossible, or the tiles hold fewer leaves.
        """
        _check_size(size)
        tiles = _Tiles(reader)
        parts: list[_Part] = []
        while (above := size >> TILE_HEIGHT * len(parts)) > 0:
            hashes = tiles.hashes(len(parts), above >> TILE_HEIGHT, 0, above & (TILE_WIDTH - 1))
            parts.append(_Part(hashes, _roots(hashes)))
        return cls(size, parts)

    @property
    def root(self) -> bytes:
        """The tree's root, 32 bytes."""
        result = b""
        for part in self._parts:
            for subtree in reversed(part.roots):
                result = node_hash(subtree, result) if result else subtree
        return result or EMPTY_ROOT

    def tiles(self) -> dict[tuple[int, int], bytes]:
        """Return (level, index) -> content of the tiles that are not full: every hash in them is bound by the root."""
        return {
            (level, self.size >> TILE_HEIGHT * (level + 1)): b"".join(part.hashes)
            for level, part in enumerate(self._parts)
            if part.hashes
        }

    def append(self, leaves: Sequence[bytes]) -> Appended:
        """Add leaves. Nothing is written: storing the result is the caller's act.

        Each inner node is hashed once, and a full tile is never looked at again.

        Args:
            leaves: leaf hashes (see `merkle.leaf_hash`), 32 bytes each.

        Raises:
            ProofError: if a leaf is not 32 bytes, or the log would grow beyond 2^48 - 1 leaves.
        """
        _check_leaves(self.size, leaves)
        changed: dict[tuple[int, int], bytes] = {}
        parts = list(self._parts)
        fresh: Sequence[bytes] = leaves
        level = 0
        while fresh:
            if level == len(parts):
                parts.append(_Part([], []))
            index = self.size >> TILE_HEIGHT * (level + 1)
            above: list[bytes] = []
            part, taken = _fill(parts[level], fresh)
            while len(part.hashes) == TILE_WIDTH:
                changed[level, index] = b"".join(part.hashes)
                above.append(part.roots[0])
                index += 1
                block = fresh[taken : taken + TILE_WIDTH]
                part = _Part(list(block), _roots(block))
                taken += len(block)
            if part.hashes:
                changed[level, index] = b"".join(part.hashes)
            parts[level] = part
            fresh = above
            level += 1
        edge = RightEdge(self.size + len(leaves), parts)
        return Appended(edge.size, edge.root, changed, edge)


def append(reader: TileReader, size: int, leaves: Sequence[bytes]) -> Appended:
    """Add leaves to the tree of `size` leaves that is in the reader's tiles; see `RightEdge`.

    Raises:
        ProofError: as `RightEdge.of` and `RightEdge.append`.
    """
    _check_leaves(size, leaves)
    return RightEdge.of(reader, size).append(leaves)


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
    """A reader's tiles, each read once."""

    def __init__(self, reader: TileReader) -> None:
        self._reader = reader
        self._held: dict[tuple[int, int], bytes] = {}

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


def _check_leaves(size: int, leaves: Sequence[bytes]) -> None:
    if any(len(leaf) != HASH_SIZE for leaf in leaves):
        raise ProofError("a leaf hash that is not 32 bytes long")
    if not 0 <= size <= MAX_SIZE - len(leaves):
        raise ProofError(f"{size} + {len(leaves)} leaves, at most 2^48 - 1 allowed")


def _check_size(size: int) -> None:
    if not 0 <= size <= MAX_SIZE:
        raise ProofError(f"{size} leaves, 0 to 2^48 - 1 allowed")


def _split(count: int) -> int:
    """Return the largest power of two below count, which is at least 2: where RFC 9162 divides a tree."""
    return 1 << (count - 1).bit_length() - 1


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over a power of two of hashes."""
    while len(hashes) > 1:
        pairs = iter(hashes)
        # node_hash, without a call for each: this is where a log spends its time.
        hashes = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return hashes[0]


def _roots(hashes: Sequence[bytes]) -> list[bytes]:
    """Return the roots of the perfect subtrees that the hashes divide into, from the largest on the left."""
    roots = []
    start = 0
    while start < len(hashes):
        count = 1 << (len(hashes) - start).bit_length() - 1
        roots.append(perfect_root(hashes[start : start + count]))
        start += count
    return roots


def _fill(part: _Part, fresh: Sequence[bytes]) -> tuple[_Part, int]:
    """Return the part with as many further hashes as its tile takes, and how many those are."""
    hashes, roots = list(part.hashes), list(part.roots)
    taken = min(len(fresh), TILE_WIDTH - len(hashes))
    for node in fresh[:taken]:
        hashes.append(node)
        # A subtree is perfect with every lowest bit that the count has not: as a binary counter carries.
        count, subtree = len(hashes), node
        while not count & 1:
            subtree = sha256(b"\x01" + roots.pop() + subtree).digest()
            count >>= 1
        roots.append(subtree)
    return _Part(hashes, roots), taken


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
        subtree = perfect_root(tiles.hashes(level, first >> TILE_HEIGHT, offset, offset + (1 << inner)))
        result = node_hash(subtree, result) if result else subtree
        end -= 1 << height
    return result
