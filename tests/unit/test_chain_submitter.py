"""The transactions' state machine: the pure moves, and a toy chain on which anything may happen at any moment."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trigpoint.chain.submitter import Inclusion, Sighting, advance
from trigpoint.store.chain import State, Transaction

CONFIRMATIONS = 2


def transaction(state: State, **fields: object) -> Transaction:
    made = Transaction(
        id=1,
        chain_id=31337,
        contract=b"\x01" * 20,
        purpose="anchor",
        size=10,
        root=b"\x02" * 32,
        state=state,
        sender=b"\x03" * 20,
        nonce=5,
        raw=b"signed",
        hash=b"\x04" * 32,
        prepared_ms=0,
    )
    if state in {State.MINED, State.FINAL}:
        made = replace(made, block=7, block_hash=b"\x05" * 32, gas_used=40_000)
    return replace(made, **fields)  # type: ignore[arg-type]


def inclusions() -> st.SearchStrategy[Inclusion]:
    return st.builds(
        Inclusion,
        block=st.integers(0, 20),
        block_hash=st.binary(min_size=32, max_size=32),
        gas_used=st.integers(21_000, 100_000),
        took_effect=st.booleans(),
    )


SIGHTINGS = st.builds(
    Sighting,
    head=st.integers(0, 20),
    inclusion=st.none() | inclusions(),
    nonce_passed=st.booleans(),
    known=st.booleans(),
)
UNSETTLED = st.sampled_from([State.PREPARED, State.SENT, State.MINED])


@given(state=st.sampled_from([State.FINAL, State.FAILED]), seen=SIGHTINGS)
def test_what_is_settled_stays_so(state: State, seen: Sighting) -> None:
    settled = transaction(state)
    assert advance(settled, seen, CONFIRMATIONS) == type(advance(settled, seen, CONFIRMATIONS))(settled, send=False)


@given(state=UNSETTLED, seen=SIGHTINGS, own=st.booleans(), passed_at=st.none() | st.integers(0, 20))
def test_every_move_follows_from_what_was_seen(state: State, seen: Sighting, own: bool, passed_at: int | None) -> None:
    before = transaction(state, passed_at=passed_at) if own else transaction(State.MINED, nonce=None, raw=None)
    move = advance(before, seen, CONFIRMATIONS)
    after, inclusion = move.transaction, seen.inclusion
    deep = inclusion is not None and seen.head - inclusion.block >= CONFIRMATIONS

    assert (after.state is State.FINAL) == (inclusion is not None and inclusion.took_effect and deep)
    assert (after.state is State.MINED) == (inclusion is not None and inclusion.took_effect and not deep)
    if after.state is State.FAILED:
        assert after.note
        passed = seen.nonce_passed and before.passed_at is not None and seen.head >= before.passed_at + CONFIRMATIONS
        assert deep or (inclusion is None and (passed or not own))
    if move.send:
        assert after.state is State.SENT, "the state is stored as sent before the bytes leave"
        assert inclusion is None and own and not seen.known and not seen.nonce_passed
    elif own and inclusion is None and not seen.known:
        assert seen.nonce_passed, "one that is nowhere must be sent"
    if after.state in {State.MINED, State.FINAL}:
        assert inclusion is not None
        assert (after.block, after.block_hash, after.gas_used) == (
            inclusion.block,
            inclusion.block_hash,
            inclusion.gas_used,
        )
    elif after.state is State.SENT:
        assert (after.block, after.block_hash, after.gas_used) == (None, None, None)
    unchanged = ("id", "raw", "hash", "nonce", "size", "root", "sender", "prepared_ms")
    assert all(getattr(after, name) == getattr(before, name) for name in unchanged)


@dataclass
class ToyChain:
    """Blocks that hold at most our transaction; `mempool` tells whether a node has it."""

    blocks: list[bool] = field(default_factory=lambda: [False])
    forks: int = 0
    mempool: bool = False
    nonce_taken_at: int | None = None
    arrivals: int = 0

    @property
    def head(self) -> int:
        return len(self.blocks) - 1

    def send(self) -> None:
        self.arrivals += 1
        self.mempool = self.mempool or (True not in self.blocks and self.nonce_taken_at is None)

    def mine(self, include: bool) -> None:
        take = include and self.mempool
        self.mempool = self.mempool and not take
        self.blocks.append(take)

    def reorganise(self, depth: int, keep: bool) -> None:
        """Replace the last blocks by empty ones; a transaction in them goes back to the pool, or is forgotten."""
        depth = min(depth, self.head)
        gone = self.blocks[len(self.blocks) - depth :]
        self.blocks[len(self.blocks) - depth :] = [False] * depth
        self.forks += 1
        self.mempool = self.mempool or (keep and True in gone)

    def look(self, nonce: bool) -> Sighting:
        inclusion = None
        if True in self.blocks:
            number = self.blocks.index(True)
            inclusion = Inclusion(number, bytes([self.forks % 256]) * 32, 40_000, took_effect=True)
        return Sighting(self.head, inclusion, nonce, self.mempool or inclusion is not None)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("step"), st.sampled_from(["whole", "before the store", "before the act", "answer lost"])),
        st.tuples(st.just("mine"), st.booleans()),
        st.tuples(st.just("drop"), st.none()),
        st.tuples(st.just("reorganise"), st.tuples(st.integers(1, CONFIRMATIONS), st.booleans())),
    ),
    max_size=40,
)


@settings(max_examples=300)
@given(ACTIONS)
def test_whatever_happens_it_is_final_once_in_the_end(actions: list[tuple[str, object]]) -> None:
    chain, stored = ToyChain(), transaction(State.PREPARED)

    def step(end: object = "whole") -> None:
        nonlocal stored
        move = advance(stored, chain.look(nonce=False), CONFIRMATIONS)
        if end == "before the store":
            return
        stored = move.transaction
        if move.send and end != "before the act":
            chain.send()

    for action, argument in actions:
        match action, argument:
            case "step", how:
                step(how)
            case "mine", bool(include):
                chain.mine(include)
            case "drop", _:
                chain.mempool = False
            case "reorganise", (int(depth), bool(keep)) if stored.state is not State.FINAL:
                chain.reorganise(depth, keep)
        assert chain.blocks.count(True) <= 1
        if stored.state is State.FINAL:
            assert stored.block == chain.blocks.index(True)
        if chain.arrivals:
            assert stored.state is not State.PREPARED, "no bytes leave before the state says so"
    for _ in range(CONFIRMATIONS + 2):
        step()
        chain.mine(include=True)
    step()
    assert stored.state is State.FINAL
    assert chain.blocks.count(True) == 1


def test_a_nonce_that_another_took_is_believed_after_the_confirmations() -> None:
    sent = transaction(State.SENT)
    for head, expected in [(50, State.SENT), (51, State.SENT), (52, State.FAILED)]:
        sent = advance(sent, Sighting(head, None, nonce_passed=True, known=False), CONFIRMATIONS).transaction
        assert (sent.state, sent.passed_at) == (expected, 50)
    again = advance(replace(sent, state=State.SENT), Sighting(53, None, nonce_passed=False, known=False), CONFIRMATIONS)
    assert (again.send, again.transaction.passed_at) == (True, None), "a reorganisation gave the nonce back"


def test_a_shallow_revert_is_not_given_up() -> None:
    reverted = Inclusion(10, b"\x09" * 32, 30_000, took_effect=False)
    sent = transaction(State.SENT)
    shallow = advance(sent, Sighting(11, reverted, nonce_passed=True, known=True), CONFIRMATIONS).transaction
    assert (shallow.state, shallow.note) == (State.SENT, "reverted in block 10")
    deep = advance(shallow, Sighting(12, reverted, nonce_passed=True, known=True), CONFIRMATIONS).transaction
    assert (deep.state, deep.note, deep.gas_used) == (State.FAILED, "reverted in block 10", 30_000)


@pytest.mark.parametrize("confirmations", [0, 1, 12])
def test_confirmations_are_blocks_on_top(confirmations: int) -> None:
    inclusion = Inclusion(100, b"\x09" * 32, 30_000, took_effect=True)
    for on_top in range(confirmations + 2):
        seen = Sighting(100 + on_top, inclusion, nonce_passed=True, known=True)
        expected = State.FINAL if on_top >= confirmations else State.MINED
        assert advance(transaction(State.SENT), seen, confirmations).transaction.state is expected
