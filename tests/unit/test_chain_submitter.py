"""The submitter with its real database, over a toy chain that does what it likes: nothing twice, within limits."""

import sqlite3
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_utils.crypto import keccak
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trigpoint.chain.abi import TRANSPARENCY_LOG
from trigpoint.chain.errors import ChainUnavailableError, NodeRefusedError
from trigpoint.chain.lifecycle import MOVES
from trigpoint.chain.node import Block, Log, Receipt, address_bytes
from trigpoint.chain.pricing import FeeTooHighError
from trigpoint.chain.signing import Unsigned, unsigned_of
from trigpoint.chain.spending import SpendingLimitError, day_start
from trigpoint.chain.submitter import Limits, Submitter
from trigpoint.chain.transactions import OutOfFundsError, Request
from trigpoint.store import chain as store
from trigpoint.store.chain import LIVE, InFlightError, State, Transaction
from trigpoint.store.database import open_database
from trigpoint.store.writer import Writer

ACCOUNT = Account.from_key("0x" + "11" * 32)
SENDER = address_bytes(ACCOUNT.address)
CONTRACT, LOG_ID = b"\x01" * 20, b"\x02" * 32
CONFIRMATIONS, GWEI = 2, 10**9
LIMITS = Limits(CONFIRMATIONS, max_fee_wei=20 * GWEI, max_spend_wei=6 * 10**14, reprice_after_s=60)


@dataclass
class ToyNode:
    """A node's answers over a chain of blocks, each with the transactions that it took. Anchors must grow, as there."""

    blocks: list[list[bytes]] = field(default_factory=lambda: [[]])
    salt: list[int] = field(default_factory=lambda: [0])
    pool: dict[bytes, Unsigned] = field(default_factory=dict)
    everything: dict[bytes, tuple[Unsigned, bool]] = field(default_factory=dict)
    base_fee: int = GWEI
    rich: bool = True
    up: bool = True
    forks: int = 0
    foreign: int = 0
    place: str = "http://toy"

    def asked(self) -> None:
        if not self.up:
            raise ChainUnavailableError("away")

    def head(self) -> int:
        self.asked()
        return len(self.blocks) - 1

    def hash(self, number: int) -> bytes:
        return number.to_bytes(16, "big") + self.salt[number].to_bytes(16, "big")

    def block(self, number: int | None = None) -> Block | None:
        self.asked()
        number = len(self.blocks) - 1 if number is None else number
        if number >= len(self.blocks):
            return None
        return Block(number, self.hash(number), self.hash(number - 1) if number else bytes(32), number, self.base_fee)

    def used(self) -> int:
        return sum(len(taken) for taken in self.blocks)

    def nonce(self, address: bytes, *, pending: bool, block: int | None = None) -> int:
        self.asked()
        waiting = {unsigned.nonce for unsigned in self.pool.values()}
        nonce = self.used()
        while pending and nonce in waiting:
            nonce += 1
        return nonce

    def receipt(self, transaction: bytes) -> Receipt | None:
        self.asked()
        for number, taken in enumerate(self.blocks):
            if transaction in taken:
                unsigned, succeeded = self.everything[transaction]
                size = int.from_bytes(unsigned.data, "big")
                topics = (TRANSPARENCY_LOG.topic("Anchored"), LOG_ID)
                event = Log(
                    CONTRACT, topics, size.to_bytes(32, "big") + root(size), number, self.hash(number), transaction
                )
                logs = (event,) if succeeded else ()
                cost = 40_000 * unsigned.fee
                return Receipt(succeeded, number, self.hash(number), 40_000, None, logs, cost)
        return None

    def knows(self, transaction: bytes) -> bool:
        self.asked()
        return transaction in self.pool

    def balance(self, address: bytes) -> int:
        self.asked()
        return 10**20 if self.rich else 0

    def estimate_gas(self, request: Any, interface: Any) -> int:
        self.asked()
        return 40_000

    def priority_fee(self) -> int:
        return GWEI

    def gas_price(self) -> int:
        return self.base_fee

    def send(self, raw: bytes) -> None:
        self.asked()
        unsigned = unsigned_of(raw)
        name = hash_of(raw)
        self.everything.setdefault(name, (unsigned, True))
        if not self.rich:
            raise NodeRefusedError("refused", "insufficient funds for gas")
        if unsigned.nonce < self.used():
            raise NodeRefusedError("refused", "nonce too low")
        for other, waiting in list(self.pool.items()):
            if waiting.nonce == unsigned.nonce and other != name:
                if unsigned.fee * 10 < waiting.fee * 11:
                    raise NodeRefusedError("refused", "replacement transaction underpriced")
                del self.pool[other]
        self.pool[name] = unsigned

    def mine(self, choice: int) -> None:
        """Mine one of all transactions that were ever sent and fit, or a foreign one, or nothing."""
        fitting = [name for name, (unsigned, _) in self.everything.items() if unsigned.nonce == self.used()]
        taken: list[bytes] = []
        if choice == 0:
            self.foreign += 1
            taken = [b"foreign" + self.foreign.to_bytes(25, "big")]
        elif choice > 1 and fitting:
            taken = [fitting[choice % len(fitting)]]
            unsigned, _ = self.everything[taken[0]]
            sizes = [0] + [
                int.from_bytes(self.everything[name][0].data, "big")
                for names in self.blocks
                for name in names
                if name in self.everything and self.everything[name][1]
            ]
            self.everything[taken[0]] = (unsigned, int.from_bytes(unsigned.data, "big") > max(sizes))
        self.blocks.append(taken)
        self.salt.append(self.forks)
        self.pool = {name: waiting for name, waiting in self.pool.items() if waiting.nonce >= self.used()}

    def reorganise(self, depth: int) -> None:
        """Replace the last blocks by empty ones; what was in them is forgotten."""
        depth = min(depth, len(self.blocks) - 1)
        self.forks += 1
        for number in range(len(self.blocks) - depth, len(self.blocks)):
            self.blocks[number], self.salt[number] = [], self.forks


def hash_of(raw: bytes) -> bytes:
    return keccak(raw)


def root(size: int) -> bytes:
    return size.to_bytes(32, "little")


@dataclass
class SetClock:
    ms: int = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms


def hasty(path: Path) -> sqlite3.Connection:
    """Open a database that need not outlive a power cut."""
    connection = open_database(path)
    connection.execute("PRAGMA synchronous = OFF")
    return connection


class World:
    """A submitter, its database, its chain; and what must hold at every moment."""

    def __init__(self, path: Path) -> None:
        self.node, self.clock = ToyNode(), SetClock()
        self.writer = Writer(path, opener=hasty)
        self.size = 0
        self.before: dict[int, Transaction] = {}
        self.restart()

    def restart(self) -> None:
        self.submitter = Submitter(
            self.node,  # type: ignore[arg-type]
            self.writer,
            signer=ACCOUNT,
            chain_id=31337,
            contract=CONTRACT,
            log_id=LOG_ID,
            limits=LIMITS,
            clock=self.clock,
        )

    def step(self) -> None:
        self.clock.ms += 1000
        with suppress(ChainUnavailableError, OutOfFundsError, FeeTooHighError, SpendingLimitError, InFlightError):
            if self.submitter.settle():
                size = self.size + 1
                data = size.to_bytes(4, "big")
                self.submitter.submit(Request(TRANSPARENCY_LOG, CONTRACT, data), size=size, root=root(size))
        rows = self.rows()
        self.size = max([row.size or 0 for row in rows if row.state is not State.ABANDONED], default=0)

    def rows(self) -> list[Transaction]:
        return self.writer.submit(lambda connection: store.since(connection, 31337, SENDER, 0))

    def check(self) -> None:
        rows = self.rows()
        purposes: dict[int | None, set[int | None]] = {}
        for row in rows:
            purposes.setdefault(row.nonce, set()).add(row.size)
            old = self.before.get(row.id)
            if old is not None and old.state is not row.state:
                assert reachable(old.state, row.state), (old.state, row.state)
            if old is not None and old.state is State.FINAL:
                assert row.state is State.FINAL, "nothing here is deeper than the confirmations"
            assert row.state is not State.FINAL or any(row.hash in taken for taken in self.node.blocks)
        assert all(len(sizes) == 1 for sizes in purposes.values()), "a nonce was given to two purposes"
        live = [row for row in rows if row.state in LIVE]
        assert len(live) <= 1, "two transactions are on their way"
        sizes = [row.size for row in rows if row.state not in {State.REPLACED, State.ABANDONED}]
        assert len(sizes) == len(set(sizes)), "an anchor twice"
        assert set(self.node.everything) <= {row.hash for row in rows}, "bytes left that are not in the database"
        assert all(unsigned_of(row.raw or b"").fee <= 20 * GWEI for row in rows)
        start = day_start(self.clock.ms)
        worst: dict[int | None, int] = {}
        for row in rows:
            if row.prepared_ms >= start and (row.state in LIVE or row.sent_ms is not None):
                cost = row.cost if row.cost is not None else unsigned_of(row.raw or b"").worst_cost
                worst[row.nonce] = max(worst.get(row.nonce, 0), cost) if row.cost is None else cost
        assert sum(worst.values()) <= (LIMITS.max_spend_wei or 0)
        self.before = {row.id: row for row in rows}


def reachable(old: State, new: State) -> bool:
    """Tell whether some moves lead from one state to another: a step may make several."""
    seen, fresh = {old}, {old}
    while fresh:
        fresh = {after for state in fresh for after in MOVES[state]} - seen
        seen |= fresh
    return new in seen


ACTIONS = st.lists(
    st.one_of(
        st.just(("step", 0)),
        st.tuples(st.just("mine"), st.integers(0, 6)),
        st.tuples(st.just("reorganise"), st.integers(1, CONFIRMATIONS)),
        st.tuples(st.just("wait"), st.sampled_from([60, 3600, 86_400])),
        st.tuples(st.just("drop"), st.just(0)),
        st.tuples(st.just("fee"), st.sampled_from([1, 5, 15, 100])),
        st.tuples(st.just("rich"), st.booleans()),
        st.tuples(st.just("up"), st.booleans()),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=60,
)


def play(folder: Path, actions: list[tuple[str, Any]]) -> World:
    world = World(folder / "gateway.db")
    node = world.node
    for action, argument in actions:
        match action:
            case "step":
                world.step()
            case "mine":
                node.mine(argument)
            case "reorganise":
                node.reorganise(argument)
            case "wait":
                world.clock.ms += argument * 1000
            case "drop":
                node.pool.clear()
            case "fee":
                node.base_fee = argument * GWEI
            case "rich":
                node.rich = argument
            case "up":
                node.up = argument
            case "restart":
                world.restart()
        world.check()
    return world


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(ACTIONS)
def test_whatever_happens_nothing_is_done_twice_or_beyond_the_limits(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, Any]]
) -> None:
    world = play(tmp_path_factory.mktemp("world"), actions)
    node = world.node
    node.up = node.rich = True
    node.base_fee = GWEI
    world.clock.ms += 86_400_000
    for _ in range(4 * CONFIRMATIONS + 4):
        world.step()
        node.mine(2)
        world.check()
    assert any(row.state is State.FINAL for row in world.rows()), "in the end it gets through"
    world.writer.close()


@pytest.mark.soak
@settings(max_examples=2_000, suppress_health_check=[HealthCheck.too_slow])
@given(ACTIONS)
def test_whatever_happens_long(tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, Any]]) -> None:
    play(tmp_path_factory.mktemp("world"), actions).writer.close()


def test_a_variant_differs_in_its_price_alone(tmp_path: Path) -> None:
    world = World(tmp_path / "gateway.db")
    world.step()
    (row,) = world.rows()
    for wrong in (replace(row, nonce=9, hash=b"\x09" * 32), replace(row, size=9, hash=b"\x09" * 32)):
        with pytest.raises(InFlightError):
            world.writer.submit(lambda connection, wrong=wrong: store.replace_by(connection, row, wrong))
    with pytest.raises(InFlightError):
        world.writer.submit(lambda connection: store.add(connection, replace(row, hash=b"\x09" * 32)))
    world.writer.close()
