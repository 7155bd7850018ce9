"""Anchors on a real chain: cut at every point, reorganised, reverted, out of funds, and from an old backup."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from anvil import Contracts, Crash, Wire
from eth_account.signers.local import LocalAccount
from hypothesis import given
from hypothesis import strategies as st
from trigpoint.chain.abi import TRANSPARENCY_LOG
from trigpoint.chain.anchoring import Anchorer, ChainHead, LogForkError, Standing, compare, is_due
from trigpoint.chain.errors import ChainUnavailableError
from trigpoint.chain.node import address_bytes
from trigpoint.chain.transactions import OutOfFundsError
from trigpoint.errors import OperatorError
from trigpoint.log import checkpoint
from trigpoint.store import chain as store
from trigpoint.store import log
from trigpoint.store.chain import Attempts, State
from trigpoint.store.writer import Writer

LOG_KEY = hashlib.sha256(b"log key").digest()


class CountingWriter(Writer):
    """Calls a hook before each piece of work, as the wire does for each request."""

    hook: Callable[[], None] = staticmethod(lambda: None)

    def submit(self, work: Any) -> Any:
        self.hook()
        return super().submit(work)


@dataclass
class SetClock:
    ms: int = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms


@dataclass
class Gateway:
    """The part of a gateway that anchors: a database, a wire to the node, and a clock that a test sets."""

    contracts: Contracts
    path: Path
    account: LocalAccount
    confirmations: int = 0
    every_s: int = 0
    clock: SetClock = field(default_factory=SetClock)

    def __post_init__(self) -> None:
        self.wire = Wire(self.contracts.chain.url)
        self.writer = CountingWriter(self.path)
        self.start()

    def start(self) -> None:
        """Start anew, as after a crash: nothing is left but the database."""
        self.wire.before = lambda method, parameters: None
        self.wire.after = lambda method, parameters, response: response
        self.writer.hook = lambda: None
        self.anchorer = Anchorer(
            self.wire.web3,
            self.writer,
            account=self.account,
            chain_id=self.contracts.chain_id,
            contract=self.contracts.log,
            log_id=self.log_id,
            log_key=LOG_KEY,
            confirmations=self.confirmations,
            every_s=self.every_s,
            clock=self.clock,
        )

    @property
    def log_id(self) -> bytes:
        return checkpoint.log_id(self.sender, LOG_KEY)

    @property
    def sender(self) -> bytes:
        return address_bytes(self.account.address)

    def grow(self, leaves: int, salt: bytes = b"") -> None:
        def work(connection: sqlite3.Connection) -> None:
            size = log.head(connection).size
            log.append(
                connection, [hashlib.sha256(salt + n.to_bytes(8, "big")).digest() for n in range(size, size + leaves)]
            )

        self.writer.submit(work)

    def run(self, steps: int = 6) -> None:
        """Let time pass: steps with a block after each."""
        for _ in range(steps):
            self.clock.ms += 1000
            self.anchorer.step()
            self.contracts.mine()
        self.anchorer.step()

    def run_until_final(self, size: int) -> None:
        """Let time pass until the anchor of `size` leaves is final."""
        for _ in range(10):
            self.anchorer.step()
            if (size, State.FINAL) in self.anchors():
                return
            self.contracts.mine()
        raise AssertionError("it never became final")

    def anchors(self) -> list[tuple[int, State]]:
        return [(row.size, row.state) for row in self.writer.submit(store.anchors)]

    def chain_head(self) -> int:
        _, size, _, _ = self.contracts.node.call(TRANSPARENCY_LOG, self.contracts.log, "heads", self.log_id)
        return int(size)

    def events(self, name: str) -> int:
        topics = [[TRANSPARENCY_LOG.topic(name)], [self.log_id]]
        return len(self.contracts.node.logs(self.contracts.log, topics, 0, self.contracts.node.head()))

    def transactions(self) -> int:
        return self.contracts.node.nonce(self.sender, pending=False)


@pytest.fixture
def gateway(contracts: Contracts, tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(contracts, tmp_path / "gateway.db", contracts.chain.account())
    yield made
    made.writer.close()


def test_the_log_is_opened_and_anchored_and_receipts_learn_of_it(gateway: Gateway) -> None:
    assert gateway.writer.submit(store.latest_final_anchor) is None
    gateway.anchorer.settle()
    gateway.run(2)
    assert (gateway.events("LogOpened"), gateway.events("Anchored")) == (1, 0)
    for leaves in (1, 300, 7):
        gateway.grow(leaves)
        gateway.run(2)
    assert gateway.anchors() == [(1, State.FINAL), (301, State.FINAL), (308, State.FINAL)]
    anchor = gateway.writer.submit(store.latest_final_anchor)
    assert anchor is not None
    assert (anchor.chain_id, anchor.contract, anchor.size) == (31337, gateway.contracts.log, 308)
    receipt = gateway.contracts.node.receipt(anchor.transaction)
    assert receipt is not None and receipt.succeeded and receipt.block == anchor.block
    assert gateway.transactions() == 4
    gateway.run(5)
    assert gateway.transactions() == 4, "a log that does not grow costs nothing"


@pytest.mark.parametrize("automine", [True, False], ids=["mined at once", "mined later"])
def test_cut_at_every_point_it_anchors_exactly_once(contracts: Contracts, tmp_path: Path, automine: bool) -> None:
    """Cuts the process before each piece of work in the database, and before and after each transaction is sent.

    Between these it only reads, so that any other moment leaves the same database and the same chain.
    """
    point, done = 0, False
    while not done:
        snapshot = contracts.chain.rpc("evm_snapshot")
        contracts.automine(automine)
        gateway = Gateway(contracts, tmp_path / f"{point}.db", contracts.chain.account(), confirmations=1)
        gateway.grow(5)
        left = point

        def cut(*_: object) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Crash

        def cut_sending(method: str, *_: object) -> None:
            if method == "eth_sendRawTransaction":
                cut()

        def cut_after_sending(method: str, parameters: Any, response: Any) -> Any:
            cut_sending(method)
            return response

        gateway.wire.before, gateway.wire.after, gateway.writer.hook = cut_sending, cut_after_sending, cut
        try:
            gateway.run_until_final(5)
            done = True
            gateway.start()
        except Crash:
            gateway.start()
            gateway.anchorer.settle()
            gateway.run_until_final(5)
        assert gateway.anchors() == [(5, State.FINAL)], point
        assert (gateway.events("LogOpened"), gateway.events("Anchored")) == (1, 1), point
        assert gateway.transactions() == 2, point
        gateway.writer.close()
        contracts.automine(True)
        assert contracts.chain.rpc("evm_revert", snapshot)
        point += 1
    assert point > 15, "the cuts reached all of it"


def test_no_bytes_leave_before_the_database_says_so(gateway: Gateway) -> None:
    states: list[State] = []

    def look(method: str, parameters: Any) -> None:
        if method == "eth_sendRawTransaction":
            (waiting,) = gateway.writer.submit(lambda connection: store.unsettled(connection, 31337))
            assert parameters == ["0x" + (waiting.raw or b"").hex()]
            states.append(waiting.state)

    gateway.wire.before = look
    gateway.grow(1)
    gateway.run(3)
    assert states == [State.SENT, State.SENT]


def test_an_anchor_that_is_mined_between_two_questions_is_not_given_up(gateway: Gateway) -> None:
    gateway.run(2)
    gateway.contracts.automine(False)
    gateway.grow(3)
    gateway.anchorer.step()
    asked: list[str] = []

    def mine_after_the_first(method: str, parameters: Any, response: Any) -> Any:
        if method in {"eth_getTransactionCount", "eth_getTransactionReceipt"}:
            if not asked:
                gateway.contracts.mine()
            asked.append(method)
        return response

    gateway.wire.after = mine_after_the_first
    gateway.anchorer.step()
    (row,) = gateway.writer.submit(store.anchors)
    assert (row.state, row.note) == (State.MINED, ""), "neither given up nor found again"


def test_a_receipt_from_a_block_that_is_not_in_the_chain_does_not_count(gateway: Gateway) -> None:
    gateway.run(2)
    gateway.grow(3)
    gateway.anchorer.step()
    gateway.contracts.mine()

    def orphan(method: str, parameters: Any, response: Any) -> Any:
        if method == "eth_getTransactionReceipt" and response["result"]:
            response["result"]["blockHash"] = "0x" + "66" * 32
        return response

    gateway.confirmations = 5
    gateway.start()
    gateway.wire.after = orphan
    gateway.anchorer.step()
    assert gateway.anchors() == [(3, State.SENT)]
    gateway.wire.after = lambda method, parameters, response: response
    gateway.run(6)
    assert gateway.anchors() == [(3, State.FINAL)]


def test_one_anchor_is_in_flight_at_a_time(gateway: Gateway) -> None:
    gateway.run(2)
    gateway.contracts.automine(False)
    gateway.grow(3)
    gateway.anchorer.step()
    gateway.grow(3)
    for _ in range(4):
        gateway.anchorer.step()
    assert gateway.anchors() == [(3, State.SENT)]
    with pytest.raises(store.InFlightError):
        gateway.writer.submit(
            lambda connection: store.add(connection, store.unsettled(connection, gateway.contracts.chain_id)[0])
        )
    gateway.contracts.automine(True)
    gateway.run(3)
    assert gateway.anchors() == [(3, State.FINAL), (6, State.FINAL)]


def test_a_pending_transaction_survives_a_restart_and_a_node_that_forgot_it(gateway: Gateway) -> None:
    gateway.run(2)
    gateway.contracts.automine(False)
    gateway.grow(3)
    gateway.anchorer.step()
    (before,) = gateway.writer.submit(lambda connection: store.unsettled(connection, 31337))
    gateway.contracts.chain.rpc("anvil_dropTransaction", "0x" + before.hash.hex())
    assert not gateway.contracts.node.knows(before.hash)
    gateway.start()
    gateway.anchorer.settle()
    assert gateway.contracts.node.knows(before.hash), "the same bytes, not new ones"
    gateway.run(2)
    assert gateway.anchors() == [(3, State.FINAL)]
    assert gateway.transactions() == 2


def test_an_anchor_that_left_the_chain_goes_back_and_is_mined_again(gateway: Gateway) -> None:
    gateway.confirmations = 3
    gateway.start()
    gateway.run(5)
    gateway.grow(3)
    gateway.anchorer.step()
    gateway.anchorer.step()
    assert gateway.anchors() == [(3, State.MINED)]
    assert gateway.writer.submit(store.latest_final_anchor) is None, "not yet for receipts"
    gateway.contracts.automine(False)
    gateway.contracts.chain.rpc("anvil_reorg", 1, [])
    gateway.anchorer.step()
    assert gateway.anchors() == [(3, State.SENT)]
    gateway.contracts.automine(True)
    gateway.run(5)
    assert gateway.anchors() == [(3, State.FINAL)]
    assert gateway.events("Anchored") == 1


def test_final_anchors_that_a_deep_reorganisation_took_are_sent_again_in_order(gateway: Gateway) -> None:
    gateway.run(2)
    snapshot = gateway.contracts.chain.rpc("evm_snapshot")
    for _ in range(3):
        gateway.grow(3)
        gateway.run(2)
    assert [state for _, state in gateway.anchors()] == [State.FINAL] * 3
    hashes = [row.transaction for row in gateway.writer.submit(store.anchors)]
    assert gateway.contracts.chain.rpc("evm_revert", snapshot)
    with pytest.raises(ChainUnavailableError, match="catches up"):
        gateway.anchorer.step()
    gateway.contracts.mine(30)
    gateway.anchorer.step()
    assert [state for _, state in gateway.anchors()] == [State.SENT] * 3
    assert gateway.writer.submit(store.latest_final_anchor) is None
    gateway.run(4)
    assert gateway.anchors() == [(3, State.FINAL), (6, State.FINAL), (9, State.FINAL)]
    assert [row.transaction for row in gateway.writer.submit(store.anchors)] == hashes
    assert (gateway.chain_head(), gateway.transactions()) == (9, 4)


def test_an_old_backup_refuses_to_anchor_and_to_start(gateway: Gateway, tmp_path: Path) -> None:
    gateway.grow(5)
    gateway.run(3)
    with sqlite3.connect(gateway.path) as source, sqlite3.connect(tmp_path / "backup.db") as target:
        source.backup(target)
    gateway.grow(5)
    gateway.run(3)
    assert gateway.chain_head() == 10

    restored = Gateway(gateway.contracts, tmp_path / "backup.db", gateway.account)
    for attempt in (restored.anchorer.settle, restored.anchorer.step):
        with pytest.raises(LogForkError, match=r"\(10 leaves\) is longer than this database's \(5 leaves\)"):
            attempt()
    restored.grow(8, salt=b"another history")
    for attempt in (restored.anchorer.settle, restored.anchorer.step):
        with pytest.raises(LogForkError, match=r"\(10 leaves\) contradicts this database's \(13 leaves\)"):
            attempt()
    assert gateway.transactions() == 3
    restored.writer.close()


def test_a_backup_that_lacks_only_the_anchor_takes_it_over_from_the_chain(gateway: Gateway, tmp_path: Path) -> None:
    gateway.grow(5)
    gateway.run(3)
    gateway.grow(5)
    with sqlite3.connect(gateway.path) as source, sqlite3.connect(tmp_path / "backup.db") as target:
        source.backup(target)
    gateway.run(3)
    (_, mined) = gateway.writer.submit(store.anchors)

    restored = Gateway(gateway.contracts, tmp_path / "backup.db", gateway.account)
    restored.anchorer.settle()
    restored.run(2)
    assert restored.anchors() == [(5, State.FINAL), (10, State.FINAL)]
    (_, found) = restored.writer.submit(store.anchors)
    assert (found.transaction, found.block, found.gas_used) == (mined.transaction, mined.block, mined.gas_used)
    assert gateway.transactions() == 3
    restored.grow(1)
    restored.run(3)
    assert restored.anchors()[-1] == (11, State.FINAL)
    restored.writer.close()


def test_a_node_that_shows_no_old_events_does_not_stop_the_anchors(gateway: Gateway, tmp_path: Path) -> None:
    gateway.grow(5)
    gateway.run(3)
    with sqlite3.connect(gateway.path) as source, sqlite3.connect(tmp_path / "backup.db") as target:
        gateway.grow(5)
        source.backup(target)
    gateway.run(3)

    def refuse(method: str, parameters: Any, response: Any) -> Any:
        if method == "eth_getLogs":
            return {"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "block range too large"}}
        return response

    restored = Gateway(gateway.contracts, tmp_path / "backup.db", gateway.account)
    restored.wire.after = refuse
    restored.grow(1)
    restored.run(3)
    assert restored.anchors() == [(5, State.FINAL), (11, State.FINAL)]
    restored.writer.close()


def test_two_gateways_with_one_key_and_one_log_lose_no_money_for_ever(gateway: Gateway, tmp_path: Path) -> None:
    """Both prepare an anchor with the same nonce; one is mined, the other goes on from there."""
    gateway.run(2)
    with sqlite3.connect(gateway.path) as source, sqlite3.connect(tmp_path / "twin.db") as target:
        source.backup(target)
    twin = Gateway(gateway.contracts, tmp_path / "twin.db", gateway.account)
    gateway.contracts.automine(False)
    gateway.grow(3)
    gateway.anchorer.step()
    (waiting,) = gateway.writer.submit(lambda connection: store.unsettled(connection, 31337))
    gateway.contracts.chain.rpc("anvil_dropTransaction", "0x" + waiting.hash.hex())
    twin.grow(4)
    twin.anchorer.step()
    gateway.contracts.mine()
    twin.anchorer.step()
    assert twin.anchors() == [(4, State.FINAL)]
    gateway.contracts.automine(True)

    gateway.grow(1)
    gateway.run(3)
    assert gateway.anchors() == [(3, State.FAILED), (4, State.FINAL)]
    assert gateway.writer.submit(store.anchors)[0].note == "another transaction took its nonce"
    gateway.grow(2)
    gateway.run(3)
    assert gateway.anchors()[-1] == (6, State.FINAL)
    assert gateway.transactions() == 3, "open, the twin's anchor, and ours"
    twin.writer.close()


def test_a_revert_is_told_and_does_not_loop(gateway: Gateway) -> None:
    """The writing was handed on while the anchor was waiting, so that it reverts once it is mined."""
    other = gateway.contracts.chain.account()
    gateway.run(2)
    gateway.contracts.automine(False)
    gateway.grow(3)
    gateway.anchorer.step()
    # The hand-over gets in before it: same account, next nonce, and so it is mined in another order by hand.
    (waiting,) = gateway.writer.submit(lambda connection: store.unsettled(connection, 31337))
    gateway.contracts.chain.rpc("anvil_dropTransaction", "0x" + waiting.hash.hex())
    slot = gateway.contracts.chain.rpc
    slot("anvil_impersonateAccount", gateway.account.address)
    data = TRANSPARENCY_LOG.call("setWriter", gateway.log_id, other.address)
    request = {"from": gateway.account.address, "to": "0x" + gateway.contracts.log.hex(), "data": "0x" + data.hex()}
    slot("eth_sendTransaction", request)
    gateway.contracts.mine()
    slot("anvil_setNonce", gateway.account.address, hex(waiting.nonce or 0))
    gateway.contracts.automine(True)

    for _ in range(3):
        with suppress(OperatorError):
            gateway.anchorer.step()
        gateway.contracts.mine()
    spent = gateway.transactions()
    for _ in range(5):
        gateway.clock.ms += 10_000
        with pytest.raises(OperatorError, match=f"writer on the chain is {other.address}"):
            gateway.anchorer.step()
    assert gateway.transactions() == spent
    (row,) = gateway.writer.submit(store.anchors)
    assert (row.state, row.note.split(" in ")[0]) == (State.FAILED, "reverted")
    assert row.gas_used is not None and row.gas_used > 21_000


def test_out_of_funds_is_said_and_passes(gateway: Gateway) -> None:
    gateway.run(2)
    gateway.grow(3)
    set_balance = gateway.contracts.chain.rpc
    set_balance("anvil_setBalance", gateway.account.address, "0x0")
    for _ in range(3):
        with pytest.raises(OutOfFundsError, match=f"{gateway.account.address}.*send it funds"):
            gateway.anchorer.step()
    assert gateway.anchors() == []
    set_balance("anvil_setBalance", gateway.account.address, hex(10**18))
    gateway.run(2)
    assert gateway.anchors() == [(3, State.FINAL)]


def test_funds_that_vanish_between_signing_and_sending(gateway: Gateway) -> None:
    gateway.run(2)
    gateway.grow(3)
    rpc = gateway.contracts.chain.rpc

    def drain(method: str, parameters: Any) -> None:
        if method == "eth_sendRawTransaction":
            rpc("anvil_setBalance", gateway.account.address, "0x0")

    gateway.wire.before = drain
    for _ in range(3):
        with pytest.raises(OutOfFundsError, match="send it funds"):
            gateway.anchorer.step()
    assert gateway.anchors() == [(3, State.SENT)]
    gateway.start()
    rpc("anvil_setBalance", gateway.account.address, hex(10**18))
    gateway.run(2)
    assert gateway.anchors() == [(3, State.FINAL)]
    assert gateway.transactions() == 2


@pytest.mark.parametrize("answered", [True, False], ids=["the answer is lost", "the request is lost"])
def test_a_node_that_is_away_and_comes_back(gateway: Gateway, answered: bool) -> None:
    gateway.run(2)
    gateway.grow(3)

    def lose(method: str, *_: object) -> Any:
        if method == "eth_sendRawTransaction":
            raise requests.ConnectionError("http://node/secret-token")

    def lose_after(method: str, parameters: Any, response: Any) -> Any:
        lose(method)
        return response

    if answered:
        gateway.wire.after = lose_after
    else:
        gateway.wire.before = lose
    with pytest.raises(ChainUnavailableError) as caught:
        gateway.anchorer.step()
    assert "secret" not in str(caught.value)

    def away(*_: object) -> None:
        raise requests.ConnectionError

    gateway.wire.before = away
    for _ in range(3):
        with pytest.raises(ChainUnavailableError, match="cannot reach"):
            gateway.anchorer.step()
    gateway.start()
    gateway.run(3)
    assert gateway.anchors() == [(3, State.FINAL)]
    assert gateway.transactions() == 2


def test_it_waits_for_another_transaction_of_its_account(gateway: Gateway) -> None:
    """Someone enrols a board with the gateway's account, and the transaction is lost in the end."""
    gateway.run(2)
    chain = gateway.contracts
    chain.automine(False)
    address = gateway.account.address
    chain.chain.rpc("anvil_impersonateAccount", address)
    other = chain.chain.rpc("eth_sendTransaction", {"from": address, "to": address, "value": "0x1"})
    gateway.grow(3)
    with pytest.raises(ChainUnavailableError, match="another transaction of the account"):
        gateway.anchorer.step()
    assert gateway.anchors() == []
    chain.chain.rpc("anvil_dropTransaction", other)
    chain.automine(True)
    gateway.run(2)
    assert gateway.anchors() == [(3, State.FINAL)]


def test_a_refused_transaction_does_not_keep_the_gateway_from_starting(gateway: Gateway) -> None:
    gateway.run(2)
    gateway.grow(3)

    def refuse(method: str, parameters: Any, response: Any) -> Any:
        if method == "eth_sendRawTransaction":
            return {"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "max fee per gas too low"}}
        return response

    gateway.contracts.automine(False)
    gateway.wire.after = refuse
    with pytest.raises(ChainUnavailableError, match="max fee per gas too low"):
        gateway.anchorer.step()
    (waiting,) = gateway.writer.submit(lambda connection: store.unsettled(connection, 31337))
    gateway.contracts.chain.rpc("anvil_dropTransaction", "0x" + waiting.hash.hex())
    gateway.start()
    gateway.wire.after = refuse
    gateway.anchorer.settle()
    gateway.wire.after = lambda method, parameters, response: response
    gateway.contracts.automine(True)
    gateway.run(3)
    assert gateway.anchors() == [(3, State.FINAL)]


def test_a_node_that_switches_to_another_chain_ends_no_transaction(gateway: Gateway) -> None:
    gateway.run(2)
    gateway.contracts.automine(False)
    gateway.grow(3)
    gateway.anchorer.step()

    def elsewhere(method: str, parameters: Any, response: Any) -> Any:
        strange = {"eth_chainId": "0x1", "eth_getTransactionCount": "0xff", "eth_getTransactionReceipt": None}
        return {**response, "result": strange.get(method, response.get("result"))}

    gateway.wire.after = elsewhere
    for attempt in (gateway.anchorer.settle, gateway.anchorer.step):
        with pytest.raises(OperatorError, match="is on chain 1, not 31337"):
            attempt()
    assert gateway.anchors() == [(3, State.SENT)]


def test_another_account_or_key_than_the_log_was_begun_with(gateway: Gateway, tmp_path: Path) -> None:
    gateway.run(2)
    stranger = Gateway(gateway.contracts, tmp_path / "other.db", gateway.contracts.chain.account())
    mixed = Anchorer(
        gateway.contracts.web3,
        stranger.writer,
        account=stranger.account,
        chain_id=31337,
        contract=gateway.contracts.log,
        log_id=checkpoint.log_id(b"\x09" * 20, LOG_KEY),
        log_key=LOG_KEY,
        confirmations=0,
        every_s=0,
        clock=stranger.clock,
    )
    with pytest.raises(OperatorError, match=r"cannot open it: restore the chain\.key_file"):
        mixed.step()
    other_key = Anchorer(
        gateway.contracts.web3,
        stranger.writer,
        account=gateway.account,
        chain_id=31337,
        contract=gateway.contracts.log,
        log_id=gateway.log_id,
        log_key=bytes(32),
        confirmations=0,
        every_s=0,
        clock=stranger.clock,
    )
    with pytest.raises(OperatorError, match="has another key"):
        other_key.settle()
    stranger.writer.close()


SIZES = st.integers(0, 100)
ATTEMPTS = st.builds(Attempts, newest_ms=st.none() | st.integers(0, 10**13), failures=st.integers(0, 100))


@given(
    log_size=SIZES,
    head_size=SIZES,
    attempts=ATTEMPTS,
    now_ms=st.integers(0, 10**13),
    every_s=st.integers(0, 10**6),
)
def test_when_an_anchor_is_due(log_size: int, head_size: int, attempts: Attempts, now_ms: int, every_s: int) -> None:
    due = is_due(log_size=log_size, head_size=head_size, attempts=attempts, now_ms=now_ms, every_s=every_s)
    if log_size <= head_size:
        assert not due
    elif attempts.newest_ms is None or attempts.newest_ms > now_ms:
        assert due
    else:
        passed = now_ms - attempts.newest_ms
        assert not due or passed >= every_s * 1000
        assert due or passed < every_s * 1000 * 64
        assert due == (passed >= every_s * 1000 * min(2**attempts.failures, 64))


@given(head_size=SIZES, final_size=st.none() | SIZES.filter(bool), log_size=SIZES, agrees=st.booleans())
def test_how_the_chain_stands_to_the_log(head_size: int, final_size: int | None, log_size: int, agrees: bool) -> None:
    head = ChainHead(b"\x01" * 20, head_size, b"\x02" * 32)
    final = None if final_size is None else (final_size, b"\x02" * 32)
    root_there = None if head_size > log_size else (b"\x02" if agrees else b"\x03") * 32
    standing = compare(head, final, log_size, root_there)
    if head_size > log_size or (head_size and not agrees):
        assert standing is Standing.FORKED
    elif head_size == (final_size or 0):
        assert standing is Standing.KNOWN
    else:
        assert standing is (Standing.FOREIGN if head_size > (final_size or 0) else Standing.LOST)
