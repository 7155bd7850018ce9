"""Anchors on a real chain: each exactly once, wherever the process is cut; and the decisions behind them."""

from pathlib import Path
from typing import Any

import pytest
from anvil import Contracts, Crash
from chaingateway import Gateway
from hypothesis import given
from hypothesis import strategies as st
from trigpoint.chain.anchoring import is_due
from trigpoint.chain.heads import ChainHead, Standing, compare
from trigpoint.errors import OperatorError
from trigpoint.store import chain as store
from trigpoint.store.chain import Attempts, State


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
        gateway.cut_after(point)
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
            ((waiting,),) = gateway.writer.submit(lambda connection: store.live(connection, 31337))
            assert parameters == ["0x" + (waiting.raw or b"").hex()]
            states.append(waiting.state)

    gateway.wire.before = look
    gateway.grow(1)
    gateway.run(3)
    assert states == [State.SENT, State.SENT]


def test_no_anchor_leaves_before_its_leaves_are_published(gateway: Gateway) -> None:
    gateway.run(2)
    gateway.grow(3)
    gateway.anchorer._publish = refuse_to_publish
    with pytest.raises(OperatorError, match="the disk is full"):
        gateway.anchorer.step()
    assert gateway.anchors() == []
    gateway.start()
    gateway.run(2)
    assert gateway.anchors() == [(3, State.FINAL)] and gateway.published == [3]


def refuse_to_publish(size: int) -> None:
    raise OperatorError("the disk is full")


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
            lambda connection: store.add(connection, store.live(connection, gateway.contracts.chain_id)[0][0])
        )
    gateway.contracts.automine(True)
    gateway.run(3)
    assert gateway.anchors() == [(3, State.FINAL), (6, State.FINAL)]


def test_a_pending_transaction_survives_a_restart_and_a_node_that_forgot_it(gateway: Gateway) -> None:
    gateway.run(2)
    gateway.contracts.automine(False)
    gateway.grow(3)
    gateway.anchorer.step()
    ((before,),) = gateway.writer.submit(lambda connection: store.live(connection, 31337))
    gateway.contracts.chain.rpc("anvil_dropTransaction", "0x" + before.hash.hex())
    assert not gateway.contracts.node.knows(before.hash)
    gateway.start()
    gateway.anchorer.settle()
    assert gateway.contracts.node.knows(before.hash), "the same bytes, not new ones"
    gateway.run(2)
    assert gateway.anchors() == [(3, State.FINAL)]
    assert gateway.transactions() == 2


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
