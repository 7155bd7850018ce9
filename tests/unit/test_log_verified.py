"""Tiles from a liar: none gets through, and an honest proof needs few."""

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import LOG_KEY, LOG_PRIVATE, TRUST, MemoryTiles, SampleLog
from trigpoint.log import checkpoint, fork, tree
from trigpoint.log.fork import Fork
from trigpoint.log.merkle import ProofError, leaf_hash, root_from_inclusion, verify_consistency
from trigpoint.log.verified import VerifiedTiles

LEAVES = [leaf_hash(b"%d" % number) for number in range(70_000)]
SIZES = st.integers(1, 1_000) | st.sampled_from([255, 256, 257, 512, 65_535, 65_536, 65_537, 66_000, 70_000])


@functools.cache
def logged(size: int) -> SampleLog:
    log = SampleLog()
    log.append(LEAVES[:size])
    return log


@given(SIZES, SIZES, st.data())
def test_proofs_from_few_tiles_of_a_stranger(size: int, older: int, data: st.DataObject) -> None:
    older, size = sorted((older, size))
    log = logged(size)
    index = data.draw(st.integers(0, size - 1))
    stored = MemoryTiles(log.tiles)
    tiles = VerifiedTiles(stored, size, log.root)
    path = tree.inclusion_proof(tiles, index, size)
    assert root_from_inclusion(LEAVES[index], index, size, path) == log.root
    assert stored.reads <= 3 + 3
    stored = MemoryTiles(log.tiles)
    tiles = VerifiedTiles(stored, size, log.root)
    assert tree.root(tiles, older) == logged(older).root
    proof = tree.consistency_proof(tiles, older, size)
    assert verify_consistency(older, logged(older).root, size, log.root, proof)
    assert stored.reads <= 3 + 3


@given(SIZES, st.integers(0, 300))
def test_tiles_that_have_grown_since_serve_the_older_tree(size: int, more: int) -> None:
    newer = logged(min(size + more, 70_000))
    tiles = VerifiedTiles(newer.tiles, size, logged(size).root)
    assert tree.root(tiles, size) == logged(size).root
    for (level, index), tile in logged(size).tiles.items():
        assert tiles.tile(level, index) == tile


class Liar:
    """Changes each tile that it is asked for as a test says."""

    def __init__(self, log: SampleLog, lie) -> None:
        self.log, self.lie = log, lie

    def tile(self, level: int, index: int) -> bytes:
        return self.lie(self.log.tiles, level, index)


def flipped(at: int):
    def lie(tiles, level, index):
        tile = bytearray(tiles[level, index])
        tile[at % len(tile)] ^= 1 << at % 8
        return bytes(tile)

    return lie


def cut(count: int):
    return lambda tiles, level, index: tiles[level, index][: -(count % 8192) or None]


def longer(tiles, level, index):
    return tiles[level, index] + bytes(32)


def swapped(tiles, level, index):
    """Two halves the other way round."""
    tile = tiles[level, index]
    return tile[len(tile) // 64 * 32 :] + tile[: len(tile) // 64 * 32]


def another(tiles, level, index):
    """A good tile of the same log, from another place."""
    places = sorted(place for place, tile in tiles.items() if len(tile) == len(tiles[level, index]))
    return tiles[places[places.index((level, index)) - 1]]


def another_log(tiles, level, index):
    other = SampleLog()
    other.append([leaf_hash(leaf) for leaf in LEAVES[:70_000]])
    return other.tiles[level, index][: len(tiles[level, index])]


LIES = st.one_of(
    st.integers(0, 8191).map(flipped), st.integers(1, 8191).map(cut), st.sampled_from([longer, swapped, another])
)


@given(SIZES, st.data())
def test_whatever_a_liar_gives_only_tiles_of_the_tree_come_out(size: int, data: st.DataObject) -> None:
    log = logged(size)
    lies = data.draw(st.dictionaries(st.sampled_from(sorted(log.tiles)), LIES, min_size=1, max_size=3))

    def lie(tiles, level, index):
        told = lies.get((level, index))
        return tiles[level, index] if told is None else told(tiles, level, index)

    try:
        tiles = VerifiedTiles(Liar(log, lie), size, log.root)
    except ProofError:
        return
    for level, index in [*lies, data.draw(st.sampled_from(sorted(log.tiles)))]:
        try:
            tile = tiles.tile(level, index)
        except ProofError:
            continue
        assert tile == log.tiles[level, index]


def test_each_lie_is_seen_by_name() -> None:
    log = logged(70_000)
    honest = VerifiedTiles(log.tiles, 70_000, log.root)
    for lie in (flipped(8191), flipped(0), cut(1), cut(32), longer, swapped, another):
        for place in ((0, 7), (1, 0)):

            def only(tiles, level, index, place=place, lie=lie):
                return lie(tiles, level, index) if (level, index) == place else tiles[level, index]

            tiles = VerifiedTiles(Liar(log, only), 70_000, log.root)
            with pytest.raises(ProofError, match=f"tile {place[1]} of level {place[0]}"):
                tiles.tile(0, 7)
        assert honest.tile(0, 7) == log.tiles[0, 7]
    for lie in (flipped(0), cut(1), swapped):
        for place in ((0, 273), (1, 1), (2, 0)):

            def edge(tiles, level, index, place=place, lie=lie):
                return lie(tiles, level, index) if (level, index) == place else tiles[level, index]

            if lie is not swapped or len(log.tiles[place]) > 32:
                with pytest.raises(ProofError):
                    VerifiedTiles(Liar(log, edge), 70_000, log.root)


@pytest.mark.parametrize("place", [(-1, 0), (0, -1), (0, 274), (1, 2), (2, 1), (3, 0), (63, 0)])
def test_tiles_that_the_tree_has_not(place: tuple[int, int]) -> None:
    log = logged(70_000)
    with pytest.raises(ProofError):
        VerifiedTiles(log.tiles, 70_000, log.root).tile(*place)


def head(log: SampleLog) -> checkpoint.Checkpoint:
    return checkpoint.parse(checkpoint.sign(TRUST.log_id, LOG_PRIVATE, log.size, log.root))


def forked(size: int, at: int) -> SampleLog:
    log = SampleLog()
    log.append([*LEAVES[:at], leaf_hash(b"another history"), *LEAVES[at + 1 : size]])
    return log


@given(st.integers(1, 600), st.integers(0, 600), st.data())
def test_a_fork_is_proved_to_anybody_and_an_honest_log_never(size: int, more: int, data: st.DataObject) -> None:
    older, newer = logged(size), logged(size + more)
    assert fork.find(newer.tiles, head(older), head(newer)) is None
    other = forked(size + more, data.draw(st.integers(0, size - 1)))
    found = fork.find(VerifiedTiles(other.tiles, other.size, other.root), head(older), head(other))
    assert found is not None and found.holds(TRUST.log_id, LOG_KEY)
    assert not found.holds(bytes(32), LOG_KEY) and not found.holds(TRUST.log_id, bytes(32))
    for invented in (
        Fork(found.older, found.older, older.root, []),
        Fork(found.older, found.newer, older.root, found.proof),
        Fork(found.older, head(newer).text, newer.root, found.proof),
        Fork(found.older.replace("\n", "\n1", 1), found.newer, found.root, found.proof),
        Fork(found.older, found.newer, found.root, [*found.proof, bytes(32)]),
        Fork(found.older, found.newer, bytes(32), found.proof),
    ):
        if more or invented.root != bytes(32):
            assert not invented.holds(TRUST.log_id, LOG_KEY)


def test_a_newer_head_is_not_looked_for_in_an_older_tree() -> None:
    with pytest.raises(ProofError):
        fork.find(logged(3).tiles, head(logged(5)), head(logged(3)))
