"""Nodes that lie, lag, switch chains or go away, before the gateway's chain part: believed no further than needed."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from anvil import Contracts, SoftwareBoard
from chaingateway import Gateway
from faultynode import FaultyNode
from trigpoint.chain import registry as chain_registry
from trigpoint.chain.abi import TRANSPARENCY_LOG
from trigpoint.chain.client import open_node, turn_to_next
from trigpoint.chain.errors import ChainUnavailableError, WrongChainError
from trigpoint.chain.heads import ForkSuspectedError, LogForkError
from trigpoint.chain.registration import register
from trigpoint.chain.registry import RegistrySync
from trigpoint.store import chain as store
from trigpoint.store import queries
from trigpoint.store.chain import State


@pytest.fixture
def doubting(gateway: Gateway, faulty: FaultyNode) -> Iterator[Gateway]:
    """A gateway with three confirmations behind a node that is honest until a test changes it."""
    gateway.confirmations = 3
    gateway.wire.inner = open_node(faulty.url).provider
    gateway.start()
    gateway.run(5)
    yield gateway
    faulty.heal()


def with_result(change: Any, *methods: str) -> Any:
    """Return a lie that changes the results of some methods."""

    def lie(method: str, parameters: Any, answer: Any) -> Any:
        if method in methods and answer.get("result") is not None:
            return {**answer, "result": change(parameters, answer["result"])}
        return answer

    return lie


def test_a_forged_newest_block_makes_nothing_final(doubting: Gateway, faulty: FaultyNode) -> None:
    doubting.grow(3)
    doubting.anchorer.step()
    doubting.contracts.mine()
    faulty.lie = with_result(lambda _, result: hex(int(result, 16) + 1000), "eth_blockNumber")
    for _ in range(3):
        with pytest.raises(ChainUnavailableError, match="does not follow on the one before"):
            doubting.anchorer.step()
    assert doubting.anchors() == [(3, State.SENT)]
    assert doubting.writer.submit(store.latest_final_anchor) is None
    faulty.heal()
    doubting.run(4)
    assert doubting.anchors() == [(3, State.FINAL)]


def test_forged_blocks_that_do_not_link_make_nothing_final(doubting: Gateway, faulty: FaultyNode) -> None:
    doubting.grow(3)
    doubting.anchorer.step()
    doubting.contracts.mine()
    real = doubting.contracts.node.head()

    def forge(parameters: Any, result: Any) -> Any:
        return {**result, "number": parameters[0], "hash": "0x" + "77" * 32}

    def lie(method: str, parameters: Any, answer: Any) -> Any:
        if method == "eth_blockNumber":
            return {**answer, "result": hex(real + 50)}
        if method == "eth_getBlockByNumber" and parameters[0] != "latest" and int(parameters[0], 16) > real:
            newest = faulty.upstream.make_request("eth_getBlockByNumber", ["latest", False])["result"]  # type: ignore[arg-type]
            return {**answer, "result": forge(parameters, newest)}
        return answer

    faulty.lie = lie
    with pytest.raises(ChainUnavailableError, match="does not follow"):
        doubting.anchorer.step()
    assert doubting.anchors() == [(3, State.SENT)]


@pytest.mark.parametrize(
    "forgery",
    [
        {"blockHash": "0x" + "66" * 32},
        {"logs": []},
        {"status": "0x0"},
        {"transactionHash": "0x" + "55" * 32},
        {"blockNumber": "0x1"},
    ],
    ids=lambda forgery: next(iter(forgery)),
)
def test_a_wrong_receipt_is_not_believed_at_once(doubting: Gateway, faulty: FaultyNode, forgery: Any) -> None:
    doubting.grow(3)
    doubting.anchorer.step()
    doubting.contracts.mine()
    faulty.lie = with_result(lambda _, result: {**result, **forgery}, "eth_getTransactionReceipt")
    for _ in range(2):
        with suppress(ChainUnavailableError):
            doubting.anchorer.step()
    assert doubting.anchors() == [(3, State.SENT)]
    faulty.heal()
    doubting.run(4)
    assert doubting.anchors() == [(3, State.FINAL)]
    assert doubting.transactions() == 2


def forged_head(size: int, root: bytes = b"\x66" * 32) -> Any:
    """Return a lie about the log's head on the chain."""
    heads = "0x" + TRANSPARENCY_LOG.call("heads", bytes(32))[:4].hex()

    def lie(method: str, parameters: Any, answer: Any) -> Any:
        if method == "eth_call" and parameters[0].get("data", "").startswith(heads):
            writer = bytes.fromhex(answer["result"][2:])[:32]
            words = writer + size.to_bytes(32, "big") + bytes(32) + root
            return {**answer, "result": "0x" + words.hex()}
        return answer

    return lie


def test_one_lie_about_a_fork_does_not_stop_the_gateway(doubting: Gateway, faulty: FaultyNode) -> None:
    doubting.grow(3)
    doubting.run(5)
    for _ in range(3):
        faulty.lie = forged_head(1000)
        for _ in range(2):
            with pytest.raises(ForkSuspectedError, match="asking again"):
                doubting.anchorer.step()
        faulty.heal()
        doubting.anchorer.step()
    faulty.lie = forged_head(3)
    for _ in range(2):
        with pytest.raises(ForkSuspectedError, match="contradicts"):
            doubting.anchorer.step()
    with pytest.raises(LogForkError, match="contradicts"):
        doubting.anchorer.step()


def test_at_the_start_it_asks_another_node_before_it_refuses(doubting: Gateway, faulty: FaultyNode) -> None:
    doubting.grow(3)
    doubting.run(5)
    faulty.lie = forged_head(1000)
    with pytest.raises(LogForkError):
        doubting.anchorer.settle()
    doubting.start()
    with FaultyNode(doubting.contracts.chain.url) as honest:
        doubting.wire.inner = open_node(faulty.url, honest.url).provider
        web3 = type("Both", (), {"provider": doubting.wire.inner})
        doubting.wire.after = lambda method, parameters, response: response
        with pytest.raises(ForkSuspectedError):
            doubting.anchorer.step()
        turn_to_next(web3)  # type: ignore[arg-type]
        doubting.anchorer.step()
        doubting.grow(1)
        doubting.run(5)
    assert doubting.anchors()[-1] == (4, State.FINAL)


def test_a_node_that_switches_to_another_chain(doubting: Gateway, faulty: FaultyNode) -> None:
    doubting.grow(3)
    doubting.anchorer.step()
    faulty.lie = with_result(lambda *_: "0x1", "eth_chainId")
    for attempt in (doubting.anchorer.step, doubting.anchorer.settle):
        with pytest.raises(WrongChainError, match="is on chain 1, not 31337"):
            attempt()
    assert doubting.anchors() == [(3, State.SENT)]
    faulty.heal()
    doubting.run(5)
    assert doubting.anchors() == [(3, State.FINAL)]


def test_a_node_that_lags_gives_no_nonce_twice(doubting: Gateway, faulty: FaultyNode) -> None:
    doubting.grow(3)
    doubting.run(5)
    doubting.grow(3)
    faulty.lie = with_result(lambda _, result: hex(int(result, 16) - 1), "eth_getTransactionCount")
    asked = len(faulty.asked)
    with pytest.raises(ChainUnavailableError):
        for _ in range(5):
            doubting.anchorer.step()
    assert "eth_sendRawTransaction" not in faulty.asked[asked:]
    faulty.heal()
    doubting.run(8)
    assert [state for _, state in doubting.anchors()].count(State.FINAL) == 2
    rows = doubting.writer.submit(lambda connection: store.since(connection, 31337, doubting.sender, 0))
    assert sorted(row.nonce or 0 for row in rows) == [0, 1, 2]


def test_while_the_node_is_down_nothing_changes_and_then_it_goes_on(doubting: Gateway, faulty: FaultyNode) -> None:
    doubting.grow(3)
    doubting.anchorer.step()
    faulty.down = True
    for _ in range(3):
        with pytest.raises(ChainUnavailableError, match="cannot reach"):
            doubting.anchorer.step()
    assert doubting.anchors() == [(3, State.SENT)]
    doubting.contracts.mine(5)
    faulty.heal()
    doubting.run(2)
    assert doubting.anchors() == [(3, State.FINAL)]


def test_events_that_are_too_many_for_one_answer_are_asked_for_in_parts(
    doubting: Gateway, faulty: FaultyNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    contracts: Contracts = doubting.contracts
    boards = [SoftwareBoard(400 + number) for number in range(4)]
    for board in boards:
        register(contracts.web3, contracts.account, contracts.registry, board.permit(contracts))
    contracts.mine(3)
    web3 = open_node(faulty.url)
    sync = RegistrySync(
        web3, contracts.registry, contracts.deployment.block, 3, doubting.writer, chain_id=contracts.chain_id
    )
    monkeypatch.setattr(web3.provider._nodes[0], "_largest", 3_500)  # type: ignore[attr-defined]
    while not sync.step().caught_up:
        pass
    assert doubting.writer.submit(queries.active_boards) == len(boards)
    assert faulty.asked.count("eth_getLogs") > 2
    assert chain_registry.LARGEST_RANGE > 1
