"""How a transaction goes on: the table of moves, and a toy chain on which anything may happen at any moment."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trigpoint.chain.lifecycle import MOVES, Decision, Inclusion, Look, Sighting, decide
from trigpoint.store.chain import LIVE, State, Transaction

CONFIRMATIONS = 2
PATIENCE_MS = 60_000


def transaction(state: State, number: int = 1, **fields: object) -> Transaction:
    made = Transaction(
        id=number,
        chain_id=31337,
        contract=b"\x01" * 20,
        purpose="anchor",
        size=10,
        root=b"\x02" * 32,
        state=state,
        sender=b"\x03" * 20,
        nonce=5,
        raw=b"signed",
        hash=bytes([number]) * 32,
        prepared_ms=0,
        sent_ms=0 if state is State.SENT else None,
    )
    if state in {State.MINED, State.FINAL}:
        made = replace(made, block=7, block_hash=b"\x05" * 32, gas_used=40_000, cost=1)
    return replace(made, **fields)  # type: ignore[arg-type]


def at(block: int, *, took_effect: bool = True) -> Inclusion:
    return Inclusion(block, b"\x09" * 32, 40_000, 80_000, took_effect)


def look(head: int, *inclusions: Inclusion | None, known: bool = False, nonce_used: bool | None = None) -> Look:
    """One look at variants 1, 2, ...: where each is; an included one has used the nonce."""
    seen = {
        number: Sighting(inclusion, known or inclusion is not None) for number, inclusion in enumerate(inclusions, 1)
    }
    used = any(inclusions) if nonce_used is None else nonce_used
    return Look(head, used, seen)


def decided(variants: list[Transaction], seen: Look, now_ms: int = 0) -> Decision:
    return decide(variants, seen, confirmations=CONFIRMATIONS, now_ms=now_ms, patience_ms=PATIENCE_MS)


NOWHERE, WAITING = look(20, None), look(20, None, known=True)
TAKEN_BY_ANOTHER = look(20, None, nonce_used=True)
SHALLOW, DEEP = look(20, at(19)), look(20, at(18))
SHALLOW_REVERT = look(20, at(19, took_effect=False))
DEEP_REVERT = look(20, at(18, took_effect=False))


@pytest.mark.parametrize(
    ("state", "seen", "expected", "sends"),
    [
        (State.PREPARED, NOWHERE, State.SENT, True),
        (State.PREPARED, WAITING, State.SENT, False),
        (State.PREPARED, SHALLOW, State.MINED, False),
        (State.PREPARED, DEEP, State.FINAL, False),
        (State.PREPARED, SHALLOW_REVERT, State.SENT, False),
        (State.PREPARED, DEEP_REVERT, State.ABANDONED, False),
        (State.PREPARED, TAKEN_BY_ANOTHER, State.SENT, False),
        (State.SENT, NOWHERE, State.SENT, True),
        (State.SENT, WAITING, State.SENT, False),
        (State.SENT, SHALLOW, State.MINED, False),
        (State.SENT, DEEP, State.FINAL, False),
        (State.SENT, SHALLOW_REVERT, State.SENT, False),
        (State.SENT, DEEP_REVERT, State.ABANDONED, False),
        (State.SENT, TAKEN_BY_ANOTHER, State.SENT, False),
        (State.MINED, NOWHERE, State.REORGANISED, False),
        (State.MINED, WAITING, State.REORGANISED, False),
        (State.MINED, SHALLOW, State.MINED, False),
        (State.MINED, DEEP, State.FINAL, False),
        (State.MINED, SHALLOW_REVERT, State.REORGANISED, False),
        (State.MINED, DEEP_REVERT, State.ABANDONED, False),
        (State.MINED, TAKEN_BY_ANOTHER, State.REORGANISED, False),
        (State.REORGANISED, NOWHERE, State.SENT, True),
        (State.REORGANISED, WAITING, State.SENT, False),
        (State.REORGANISED, SHALLOW, State.MINED, False),
        (State.REORGANISED, DEEP, State.FINAL, False),
        (State.REORGANISED, SHALLOW_REVERT, State.REORGANISED, False),
        (State.REORGANISED, DEEP_REVERT, State.ABANDONED, False),
        (State.REORGANISED, TAKEN_BY_ANOTHER, State.REORGANISED, False),
    ],
)
def test_the_table_of_moves(state: State, seen: Look, expected: State, sends: bool) -> None:
    before = transaction(state)
    decision = decided([before], seen)
    after = decision.changed[-1] if decision.changed else before
    assert (after.state, decision.send is not None) == (expected, sends)
    assert decision.stuck is None


def test_one_that_is_stuck_wants_a_higher_price_and_each_variant_waits_longer() -> None:
    for variants in range(1, 8):
        group = [transaction(State.REPLACED, number) for number in range(1, variants)] + [
            transaction(State.SENT, variants)
        ]
        seen = look(20, *[None] * variants, known=True)
        patience = PATIENCE_MS * min(2 ** (variants - 1), 16)
        assert decided(group, seen, now_ms=patience - 1).stuck is None
        assert decided(group, seen, now_ms=patience).stuck == group[-1]
        assert decided(group, seen, now_ms=-1).stuck == group[-1], "a clock that was set back"


@pytest.mark.parametrize("deep", [True, False])
def test_whichever_variant_is_mined_counts(deep: bool) -> None:
    replaced, pursued = transaction(State.REPLACED, 1), transaction(State.SENT, 2)
    block = 18 if deep else 19
    given_up, mined = decided([replaced, pursued], look(20, at(block), None)).changed
    assert (given_up.id, given_up.state) == (2, State.REPLACED)
    assert (mined.id, mined.state, mined.cost) == (1, State.FINAL if deep else State.MINED, 80_000)
    # And if the block leaves the chain it is this variant that is sent again.
    gone = decided([mined, given_up], look(20, None, None)) if not deep else None
    if gone is not None:
        assert [(row.id, row.state) for row in gone.changed] == [(1, State.REORGANISED)]


def test_a_nonce_that_another_took_is_believed_after_the_confirmations() -> None:
    sent = transaction(State.SENT)
    for head, expected in [(50, State.SENT), (51, State.SENT), (52, State.ABANDONED)]:
        (sent,) = decided([sent], look(head, None, nonce_used=True)).changed or (sent,)
        assert (sent.state, sent.passed_at) == (expected, 50)
    waiting = replace(sent, state=State.SENT, sent_ms=0)
    again = decided([waiting], look(53, None))
    assert again.send is not None, "a reorganisation gave the nonce back"
    assert again.changed[0].passed_at is None


def test_one_found_on_the_chain_cannot_be_sent_again() -> None:
    found = transaction(State.MINED, nonce=None, raw=None)
    (lost,) = decided([found], NOWHERE).changed
    assert lost.state is State.REORGANISED
    (given_up,) = decided([lost], NOWHERE).changed
    assert given_up.state is State.ABANDONED
    assert decided([lost], DEEP).changed[0].state is State.FINAL


@pytest.mark.parametrize("confirmations", [0, 1, 12])
def test_confirmations_are_blocks_on_top(confirmations: int) -> None:
    for on_top in range(confirmations + 2):
        decision = decide(
            [transaction(State.SENT)],
            look(100 + on_top, at(100)),
            confirmations=confirmations,
            now_ms=0,
            patience_ms=PATIENCE_MS,
        )
        assert decision.changed[0].state is (State.FINAL if on_top >= confirmations else State.MINED)


INCLUSIONS = st.none() | st.builds(
    Inclusion,
    block=st.integers(0, 20),
    block_hash=st.binary(min_size=32, max_size=32),
    gas_used=st.integers(21_000, 100_000),
    cost=st.integers(0, 10**20),
    took_effect=st.booleans(),
)
GROUPS = st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from(sorted(LIVE))).map(
    lambda drawn: [
        transaction(drawn[2] if number == min(drawn[:2]) else State.REPLACED, number + 1)
        for number in range(max(drawn[:2]) + 1)
    ]
)


@given(
    group=GROUPS,
    inclusions=st.lists(INCLUSIONS, min_size=4, max_size=4),
    head=st.integers(0, 20),
    known=st.booleans(),
    nonce_used=st.booleans(),
    now_ms=st.integers(-(10**6), 10**7),
    passed_at=st.none() | st.integers(0, 20),
)
def test_every_move_is_one_of_the_drawn_and_follows_from_what_was_seen(
    *,
    group: list[Transaction],
    inclusions: list[Inclusion | None],
    head: int,
    known: bool,
    nonce_used: bool,
    now_ms: int,
    passed_at: int | None,
) -> None:
    """The sightings need not make sense: a node may lie."""
    group = [replace(row, passed_at=passed_at if row.state in LIVE else None) for row in group]
    seen = look(head, *inclusions[: len(group)], known=known, nonce_used=nonce_used)
    decision = decided(group, seen, now_ms)
    before = {row.id: row for row in group}
    after = {**before, **{row.id: row for row in decision.changed}}

    assert len(decision.changed) == len({row.id for row in decision.changed})
    for row in decision.changed:
        old = before[row.id]
        assert row != old, "only what changed is written"
        assert row.state is old.state or row.state in MOVES[old.state]
        unchanged = ("raw", "hash", "nonce", "size", "root", "sender", "prepared_ms", "chain_id", "contract")
        assert all(getattr(row, name) == getattr(old, name) for name in unchanged)
        inclusion = seen.variants[row.id].inclusion
        deep = inclusion is not None and head - inclusion.block >= CONFIRMATIONS
        if row.state in {State.MINED, State.FINAL}:
            assert inclusion is not None and inclusion.took_effect and deep == (row.state is State.FINAL)
            assert (row.block, row.block_hash, row.cost) == (inclusion.block, inclusion.block_hash, inclusion.cost)
        if row.state is State.ABANDONED:
            passed = nonce_used and old.passed_at is not None and head >= old.passed_at + CONFIRMATIONS
            assert (deep and inclusion is not None and not inclusion.took_effect) or passed
            assert row.note
    pursued = [row for row in after.values() if row.state in LIVE]
    settled = [row for row in after.values() if row.state in {State.FINAL, State.ABANDONED}]
    assert len(pursued) + len(settled) == 1, "one variant is pursued, or one has settled it"
    # While the rows are written in this order, no two variants are ever alive at once.
    states = {row.id: row.state for row in group}
    for row in decision.changed:
        states[row.id] = row.state
        assert sum(state in LIVE or state is State.FINAL for state in states.values()) <= 1
    for acted in (decision.send, decision.stuck):
        if acted is not None:
            assert acted == after[acted.id] and acted.state is State.SENT
            assert not any(inclusions[: len(group)]) and not nonce_used
    if decision.send is not None:
        assert not known


@dataclass
class ToyChain:
    """Blocks that hold at most one of our variants; `pool` tells which of them a node has."""

    blocks: list[int] = field(default_factory=lambda: [0])
    pool: int = 0
    sent: set[int] = field(default_factory=set)

    @property
    def head(self) -> int:
        return len(self.blocks) - 1

    @property
    def taken(self) -> int:
        return max(self.blocks)

    def send(self, number: int) -> None:
        self.sent.add(number)
        if not self.taken:
            self.pool = max(self.pool, number)

    def mine(self, number: int) -> None:
        """Mine any variant that was ever sent: a replaced one may have reached another miner."""
        take = number if number in self.sent and not self.taken else 0
        self.pool = 0 if take else self.pool
        self.blocks.append(take)

    def reorganise(self, depth: int, keep: bool) -> None:
        """Replace the last blocks by empty ones; a transaction in them goes back to the pool, or is forgotten."""
        depth = min(depth, self.head)
        gone = max(self.blocks[len(self.blocks) - depth :], default=0)
        self.blocks[len(self.blocks) - depth :] = [0] * depth
        self.pool = max(self.pool, gone) if keep else self.pool

    def look(self, nonce_used: bool, numbers: list[int]) -> Look:
        where = {number: at(self.blocks.index(number)) if number in self.blocks else None for number in numbers}
        seen = {
            number: Sighting(inclusion, inclusion is not None or self.pool == number)
            for number, inclusion in where.items()
        }
        return Look(self.head, nonce_used, seen)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("step"), st.sampled_from(["whole", "before the store", "before the act", "stuck"])),
        st.tuples(st.just("mine"), st.integers(0, 4)),
        st.tuples(st.just("drop"), st.none()),
        st.tuples(st.just("reorganise"), st.tuples(st.integers(1, CONFIRMATIONS), st.booleans())),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(ACTIONS)
def test_whatever_happens_it_is_final_once_in_the_end(actions: list[tuple[str, object]]) -> None:
    chain = ToyChain()
    rows = {1: transaction(State.PREPARED)}

    def step(end: object = "whole") -> None:
        # The nonce is asked before the block is, as the submitter does; a block may come between.
        seen = chain.look(bool(chain.taken), list(rows))
        group = list(rows.values())
        if all(row.state not in LIVE for row in group):
            return
        decision = decided(group, seen, now_ms=10**9 if end == "stuck" else 0)
        if end == "before the store":
            return
        for row in decision.changed:
            old = rows[row.id]
            assert row.state is old.state or row.state in MOVES[old.state]
            rows[row.id] = replace(row, sent_ms=0)
        if decision.stuck is not None and len(rows) < 4:
            rows[decision.stuck.id] = replace(decision.stuck, state=State.REPLACED)
            rows[len(rows) + 1] = transaction(State.PREPARED, len(rows) + 1)
            return
        if decision.send is not None and end != "before the act":
            assert rows[decision.send.id].state is State.SENT, "no bytes leave before the state says so"
            chain.send(decision.send.id)

    for action, argument in actions:
        match action, argument:
            case "step", how:
                step(how)
            case "mine", int(number):
                chain.mine(number)
            case "drop", _:
                chain.pool = 0
            case "reorganise", (int(depth), bool(keep)) if not any(r.state is State.FINAL for r in rows.values()):
                chain.reorganise(depth, keep)
        assert sum(number > 0 for number in chain.blocks) <= 1
    for _ in range(CONFIRMATIONS + 3):
        step()
        chain.mine(chain.pool)
    step()
    (final,) = [row for row in rows.values() if row.state is State.FINAL]
    assert chain.blocks[final.block or 0] == final.id
    assert all(row.state is State.REPLACED for row in rows.values() if row is not final)
