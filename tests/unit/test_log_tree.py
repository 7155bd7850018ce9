"""The tree in tiles against RFC 9162's own definitions, written here as plainly as the RFC has them."""

import contextlib
import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import MemoryTiles, SampleLog
from trigpoint.log import tree
from trigpoint.log.merkle import (
    EMPTY_ROOT,
    MAX_SIZE,
    ProofError,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    verify_consistency,
)


def largest_power_below(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


class Reference:
    """RFC 9162 section 2.1 over a list of leaf hashes, with each subtree computed once."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.leaves = leaves
        self.known: dict[tuple[int, int], bytes] = {}

    def mth(self, start: int, end: int) -> bytes:
        if end == start:
            return hashlib.sha256(b"").digest()
        if end - start == 1:
            return self.leaves[start]
        if (start, end) not in self.known:
            k = start + largest_power_below(end - start)
            self.known[start, end] = hashlib.sha256(b"\x01" + self.mth(start, k) + self.mth(k, end)).digest()
        return self.known[start, end]

    def path(self, m: int, start: int, end: int) -> list[bytes]:
        if end - start == 1:
            return []
        k = largest_power_below(end - start)
        if m < k:
            return [*self.path(m, start, start + k), self.mth(start + k, end)]
        return [*self.path(m - k, start + k, end), self.mth(start, start + k)]

    def subproof(self, m: int, start: int, end: int, whole: bool) -> list[bytes]:
        if m == end - start:
            return [] if whole else [self.mth(start, end)]
        k = largest_power_below(end - start)
        if m <= k:
            return [*self.subproof(m, start, start + k, whole), self.mth(start + k, end)]
        return [*self.subproof(m - k, start + k, end, False), self.mth(start, start + k)]


LEAVES = [leaf_hash(hashlib.sha256(b"%d" % number).digest()) for number in range(70_000)]
SMALL = Reference(LEAVES[:320])


def logged(size: int) -> SampleLog:
    log = SampleLog()
    log.append(LEAVES[:size])
    return log


LOG_320 = logged(320)


def test_roots_of_all_small_trees_one_leaf_at_a_time() -> None:
    log = SampleLog()
    assert tree.root(log.tiles, 0) == EMPTY_ROOT == SMALL.mth(0, 0)
    for size in range(1, 321):
        log.append([LEAVES[size - 1]])
        assert log.root == tree.root(log.tiles, size) == SMALL.mth(0, size)
    assert log.tiles == LOG_320.tiles


def test_roots_of_all_small_trees_from_the_tiles_of_a_larger_one() -> None:
    for size in range(321):
        assert tree.root(LOG_320.tiles, size) == SMALL.mth(0, size)


def test_inclusion_proofs_of_all_small_trees() -> None:
    for size in [*range(1, 70), 127, 128, 129, 255, 256, 257, 300, 320]:
        root = SMALL.mth(0, size)
        for index in range(size):
            path = tree.inclusion_proof(LOG_320.tiles, index, size)
            assert path == SMALL.path(index, 0, size)
            assert root_from_inclusion(LEAVES[index], index, size, path) == root


def test_consistency_proofs_of_all_small_trees() -> None:
    for n in [*range(1, 70), 127, 128, 129, 255, 256, 257, 300, 320]:
        for m in range(1, n + 1):
            proof = tree.consistency_proof(LOG_320.tiles, m, n)
            assert proof == SMALL.subproof(m, 0, n, True)
            assert verify_consistency(m, SMALL.mth(0, m), n, SMALL.mth(0, n), proof)


def test_a_tree_of_three_levels_of_tiles() -> None:
    """65,536 leaves fill a tile of level 1, so the last steps reach level 2."""
    chance = random.Random(9162)
    reference = Reference(LEAVES)
    log = SampleLog()
    sizes = sorted({*chance.sample(range(1, 70_000), 20), 65_535, 65_536, 65_537, 70_000})
    for size in sizes:
        log.append(LEAVES[log.size : size])
        assert log.root == reference.mth(0, size)
        for index in {0, size - 1, *(chance.randrange(size) for _ in range(10))}:
            assert tree.inclusion_proof(log.tiles, index, size) == reference.path(index, 0, size)
        for m in {1, *(chance.randint(1, size) for _ in range(5)), *(old for old in sizes if old <= size)}:
            assert tree.consistency_proof(log.tiles, m, size) == reference.subproof(m, 0, size, True)
    assert log.tiles == logged(70_000).tiles
    assert {level for level, _ in log.tiles} == {0, 1, 2}


@given(st.lists(st.integers(0, 600), max_size=8))
def test_batches_do_not_matter(batches: list[int]) -> None:
    log = SampleLog()
    for batch in batches:
        log.append(LEAVES[log.size : log.size + batch])
    assert (log.tiles, log.root) == (logged(sum(batches)).tiles, logged(sum(batches)).root)


@given(st.integers(0, 2_000), st.integers(0, 600))
def test_append_changes_only_what_it_returns_and_reads_little(size: int, count: int) -> None:
    log = logged(size)
    before = MemoryTiles(log.tiles)
    appended = tree.append(before, size, LEAVES[size : size + count])
    assert before == log.tiles
    assert before.reads <= 3
    for (level, index), tile in appended.tiles.items():
        old = before.get((level, index), b"")
        assert tile.startswith(old) and len(tile) > len(old) and len(tile) <= 256 * 32
        assert len(old) < 256 * 32


@given(st.integers(0, 1_000), st.lists(st.integers(0, 600), max_size=5))
def test_the_right_edge_needs_no_tiles(size: int, batches: list[int]) -> None:
    """Appending to the edge in memory gives what appending to stored tiles gives, and leaves the old edge alone."""
    log = logged(size)
    edge = tree.RightEdge.of(log.tiles, size)
    for batch in batches:
        leaves = LEAVES[edge.size : edge.size + batch]
        root, partial = edge.root, edge.tiles()
        appended = edge.append(leaves)
        assert (edge.size + batch, root, partial) == (appended.size, edge.root, edge.tiles())
        log.append(leaves)
        assert {place: log.tiles[place] for place in appended.tiles} == appended.tiles
        assert log.root == appended.root == appended.edge.root
        edge = appended.edge
        assert edge.tiles() == {place: tile for place, tile in log.tiles.items() if len(tile) < 256 * 32}


def test_the_right_edge_counts_its_leaves() -> None:
    with pytest.raises(ProofError):
        tree.RightEdge(MAX_SIZE, []).append([bytes(32)])
    with pytest.raises(ProofError):
        tree.RightEdge(0, []).append([bytes(33)])


def test_proofs_read_one_or_two_tiles_of_a_level() -> None:
    log = logged(70_000)
    log.tiles.reads = 0
    tree.inclusion_proof(log.tiles, 12_345, 70_000)
    assert log.tiles.reads <= 6
    log.tiles.reads = 0
    tree.consistency_proof(log.tiles, 43_210, 70_000)
    assert log.tiles.reads <= 6


def test_size_limit() -> None:
    """A log of 2^48 - 1 leaves takes none more; its tiles are never looked at."""
    with pytest.raises(ProofError):
        tree.append(MemoryTiles(), MAX_SIZE, [bytes(32)])
    with pytest.raises(ProofError):
        tree.append(MemoryTiles(), -1, [])
    with pytest.raises(ProofError):
        tree.append(MemoryTiles(), 0, [bytes(31)])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 3), (0, -1), (0, MAX_SIZE + 1)])
def test_no_proof_of_a_leaf_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(ProofError):
        tree.inclusion_proof(LOG_320.tiles, index, size)


@pytest.mark.parametrize(("m", "n"), [(2, 1), (-1, 3), (0, -1), (0, MAX_SIZE + 1)])
def test_no_proof_between_impossible_sizes(m: int, n: int) -> None:
    with pytest.raises(ProofError):
        tree.consistency_proof(LOG_320.tiles, m, n)


def test_tiles_that_are_too_short() -> None:
    log = logged(300)
    log.tiles[0, 1] = log.tiles[0, 1][:-1]
    for call in (
        lambda: tree.root(log.tiles, 300),
        lambda: tree.append(log.tiles, 300, [bytes(32)]),
        lambda: tree.inclusion_proof(log.tiles, 0, 300),
    ):
        with pytest.raises(ProofError, match="tile 1 of level 0"):
            call()


# The verifiers against what a liar can try.


@given(st.integers(1, 320), st.data())
def test_wrong_inclusion_proofs(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    path = tree.inclusion_proof(LOG_320.tiles, index, size)
    root = SMALL.mth(0, size)

    def holds(leaf: bytes, index: int, size: int, path: list[bytes]) -> bool:
        try:
            return root_from_inclusion(leaf, index, size, path) == root
        except ProofError:
            return False

    leaf = LEAVES[index]
    assert holds(leaf, index, size, path)
    assert not any(holds(leaf, other, size, path) for other in range(-1, size + 1) if other != index)
    assert not holds(leaf, index, size, [*path, bytes(32)])
    assert not holds(leaf, index, size, [*path, root])
    assert not holds(leaf, index, size, [leaf, *path])
    assert not holds(LEAVES[500], index, size, path)
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        assert not holds(leaf, index, size, path[:-1])
        assert not holds(leaf, index, size, path[1:])
        assert not holds(leaf, index, size, [*path[:at], bytes(32), *path[at + 1 :]])
        assert not holds(leaf, index, size, [*path[:at], path[at][1:], *path[at + 1 :]])
        # The children of an inner node are not an entry, because leaves are hashed with another prefix.
        children = path[0] + leaf if index & 1 else leaf + path[0]
        assert not holds(leaf_hash(children), index // 2, (size + 1) // 2, path[1:])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_only_the_right_number_of_nodes(count: int) -> None:
    """Leaf 4 of 5 has one node above it, leaf 0 three."""
    for index, right in ((0, 3), (4, 1)):
        if count == right:
            root_from_inclusion(bytes(32), index, 5, [bytes(32)] * count)
        else:
            with pytest.raises(ProofError):
                root_from_inclusion(bytes(32), index, 5, [bytes(32)] * count)


@given(st.integers(1, 320), st.data())
def test_wrong_consistency_proofs(n: int, data: st.DataObject) -> None:
    m = data.draw(st.integers(1, n))
    proof = tree.consistency_proof(LOG_320.tiles, m, n)
    old, new = SMALL.mth(0, m), SMALL.mth(0, n)

    def holds(m: int, old: bytes, n: int, new: bytes, proof: list[bytes]) -> bool:
        try:
            return verify_consistency(m, old, n, new, proof)
        except ProofError:
            return False

    assert holds(m, old, n, new, proof)
    assert not holds(m, bytes(32), n, new, proof)
    assert not holds(m, old, n, bytes(32), proof)
    assert not holds(m, old, n, new, [*proof, bytes(32)])
    assert not holds(n, new, m, old, proof) or m == n
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        assert not holds(m, old, n, new, proof[:-1])
        assert not holds(m, old, n, new, proof[1:])
        assert not holds(m, old, n, new, [*proof[:at], bytes(32), *proof[at + 1 :]])
        assert not holds(m, old, n, new, [*proof[:at], b"", *proof[at + 1 :]])


def test_consistency_with_the_empty_tree_and_itself() -> None:
    root = SMALL.mth(0, 5)
    assert verify_consistency(0, EMPTY_ROOT, 5, root, [])
    assert verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    assert verify_consistency(5, root, 5, root, [])
    assert not verify_consistency(0, bytes(32), 5, root, [])
    assert not verify_consistency(5, root, 5, bytes(32), [])
    for m in (0, 5):
        with pytest.raises(ProofError):
            verify_consistency(m, root, 5, root, [bytes(32)])
    with pytest.raises(ProofError):
        verify_consistency(6, root, 5, root, [])
    with pytest.raises(ProofError):
        verify_consistency(3, root, 5, root, [])
    with pytest.raises(ProofError, match="too few"):
        verify_consistency(3, root, 5, root, tree.consistency_proof(LOG_320.tiles, 3, 5)[:-1])


HASHES = st.binary(min_size=32, max_size=32)


@given(
    st.integers(-1, 2**49), st.integers(-1, 2**49), st.lists(HASHES, max_size=50), st.binary(min_size=30, max_size=33)
)  # fmt: skip
def test_random_proofs_raise_only_their_error(m: int, n: int, proof: list[bytes], odd: bytes) -> None:
    for call in (
        lambda: root_from_inclusion(odd, m, n, proof),
        lambda: verify_consistency(m, odd, n, odd, proof),
        lambda: verify_consistency(m, bytes(32), n, bytes(32), [*proof, odd]),
    ):
        with contextlib.suppress(ProofError):
            assert call() is not True or m in (0, n)


def test_hashes() -> None:
    assert leaf_hash(b"\x05" * 32) == hashlib.sha256(b"\x00" + b"\x05" * 32).digest()
    assert node_hash(b"\x05" * 32, b"\x06" * 32) == hashlib.sha256(b"\x01" + b"\x05" * 32 + b"\x06" * 32).digest()
