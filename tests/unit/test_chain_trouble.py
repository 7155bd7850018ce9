"""Anchors in trouble: reorganised, reverted, out of funds, from an old backup, a node that is away or refuses."""

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from chaingateway import LOG_KEY, Gateway
from trigpoint.chain.abi import TRANSPARENCY_LOG
from trigpoint.chain.anchoring import Anchorer
from trigpoint.chain.errors import ChainUnavailableError
from trigpoint.chain.heads import LogForkError
from trigpoint.chain.pricing import FeeTooHighError
from trigpoint.chain.submitter import Limits
from trigpoint.chain.transactions import OutOfFundsError
from trigpoint.errors import OperatorError
from trigpoint.log import checkpoint
from trigpoint.store import chain as store
from trigpoint.store.chain import State


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
    assert gateway.anchors() == [(3, State.REORGANISED)]
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
    assert [state for _, state in gateway.anchors()] == [State.REORGANISED] * 3
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
    ((waiting,),) = gateway.writer.submit(lambda connection: store.live(connection, 31337))
    gateway.contracts.chain.rpc("anvil_dropTransaction", "0x" + waiting.hash.hex())
    twin.grow(4)
    twin.anchorer.step()
    gateway.contracts.mine()
    twin.anchorer.step()
    assert twin.anchors() == [(4, State.FINAL)]
    gateway.contracts.automine(True)

    gateway.grow(1)
    gateway.run(3)
    assert gateway.anchors() == [(3, State.ABANDONED), (4, State.FINAL)]
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
    ((waiting,),) = gateway.writer.submit(lambda connection: store.live(connection, 31337))
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
    assert (row.state, row.note.split(" in ")[0]) == (State.ABANDONED, "reverted")
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
    ((waiting,),) = gateway.writer.submit(lambda connection: store.live(connection, 31337))
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
        signer=stranger.account,
        chain_id=31337,
        contract=gateway.contracts.log,
        log_id=checkpoint.log_id(b"\x09" * 20, LOG_KEY),
        log_key=LOG_KEY,
        limits=Limits(confirmations=0),
        every_s=0,
        clock=stranger.clock,
        publish=lambda size: None,
    )
    with pytest.raises(OperatorError, match=r"cannot open it: restore the chain\.key_file"):
        mixed.step()
    other_key = Anchorer(
        gateway.contracts.web3,
        stranger.writer,
        signer=gateway.account,
        chain_id=31337,
        contract=gateway.contracts.log,
        log_id=gateway.log_id,
        log_key=bytes(32),
        limits=Limits(confirmations=0),
        every_s=0,
        clock=stranger.clock,
        publish=lambda size: None,
    )
    with pytest.raises(OperatorError, match="has another key"):
        other_key.settle()
    stranger.writer.close()


@pytest.mark.parametrize("base_fee", [True, False], ids=["EIP-1559", "gas price"])
def test_a_node_that_lies_about_fees_spends_no_more_than_the_operator_allows(gateway: Gateway, base_fee: bool) -> None:
    gateway.max_fee_wei = 50 * 10**9
    gateway.start()
    gateway.run(3)
    gateway.grow(3)

    def lie(method: str, parameters: Any, response: Any) -> Any:
        if method in {"eth_maxPriorityFeePerGas", "eth_gasPrice"}:
            return {**response, "result": hex(asked)}
        if method == "eth_getBlockByNumber" and not base_fee:
            del response["result"]["baseFeePerGas"]
        return response

    gateway.wire.after = lie
    balance = gateway.contracts.node.balance(gateway.sender)
    asked = 10**14
    with pytest.raises(FeeTooHighError, match=r"asks 10\d+ wei .* chain\.max_fee_gwei allows 50000000000"):
        gateway.anchorer.step()
    assert gateway.anchors() == []
    asked = 40 * 10**9
    gateway.run(3)
    assert gateway.anchors() == [(3, State.FINAL)]
    assert balance - gateway.contracts.node.balance(gateway.sender) <= 100_000 * 50 * 10**9
