"""Permits on a real chain: what registers, what is skipped, and what the operator is told about the rest."""

import re
from dataclasses import replace
from typing import Any

import pytest
import requests
from anvil import Contracts, SoftwareBoard, Wire
from hexbytes import HexBytes
from trigpoint.chain.abi import DEVICE_REGISTRY
from trigpoint.chain.deploy import deploy
from trigpoint.chain.node import address_bytes, checksum
from trigpoint.chain.registration import LARGEST_BATCH, as_struct, register, register_batch
from trigpoint.chain.signing import decode
from trigpoint.chain.transactions import OutOfFundsError
from trigpoint.errors import OperatorError


def owner_of(contracts: Contracts, kid: bytes) -> bytes:
    (owner,) = contracts.node.call(DEVICE_REGISTRY, contracts.registry, "ownerOf", int.from_bytes(kid, "big"))
    return address_bytes(owner)


def test_deployment_names_the_first_block_with_events(contracts: Contracts) -> None:
    head = contracts.node.head()
    done = deploy(contracts.web3, contracts.account)
    assert (done.chain_id, done.block) == (contracts.chain_id, head + 1)
    assert contracts.node.has_code(address_bytes(done.device_registry))
    assert contracts.node.has_code(address_bytes(done.transparency_log))
    assert done.gas_used > 1_000_000


def test_a_permit_registers_the_board_for_its_owner_whoever_pays(contracts: Contracts) -> None:
    board, owner, stranger = SoftwareBoard(11), b"\x77" * 20, contracts.chain.account()
    done = register(contracts.web3, stranger, contracts.registry, board.permit(contracts, owner))
    assert (done.kids, done.skipped) == ((board.kid,), ())
    assert done.block == contracts.node.head()
    assert 50_000 < done.gas_used < 220_000
    assert owner_of(contracts, board.kid) == owner


def test_a_batch_skips_what_is_registered_and_says_so(contracts: Contracts) -> None:
    boards = [SoftwareBoard(20 + number) for number in range(4)]
    permits = [board.permit(contracts) for board in boards]
    register(contracts.web3, contracts.account, contracts.registry, permits[1])
    done = register_batch(contracts.web3, contracts.account, contracts.registry, permits)
    assert done.kids == (boards[0].kid, boards[2].kid, boards[3].kid)
    assert done.skipped == (boards[1].kid,)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"deadline": 2**41}, "did not sign"),
        ({"owner": b"\x66" * 20}, "did not sign"),
        ({"metadata_hash": b"\x66" * 32}, "did not sign"),
        ({"x": b"\x66" * 32}, "not on P-256"),
    ],
)
def test_a_changed_permit_is_refused_before_anything_is_paid(
    contracts: Contracts, changes: dict[str, object], said: str
) -> None:
    permit = replace(SoftwareBoard(31).permit(contracts), **changes)  # type: ignore[arg-type]
    balance = contracts.node.balance(address_bytes(contracts.account.address))
    with pytest.raises(OperatorError, match=said) as caught:
        register(contracts.web3, contracts.account, contracts.registry, permit)
    assert "\n" not in str(caught.value)
    assert contracts.node.balance(address_bytes(contracts.account.address)) == balance


def test_each_refusal_names_the_board(contracts: Contracts) -> None:
    known, late, ownerless = SoftwareBoard(41), SoftwareBoard(42), SoftwareBoard(43)
    permit = known.permit(contracts)
    register(contracts.web3, contracts.account, contracts.registry, permit)
    for bad, kid, said in [
        (known.permit(contracts, b"\x66" * 20), known.kid, "registered already"),
        (late.permit(contracts, deadline=1), late.kid, "void after 1"),
        (ownerless.permit(contracts, bytes(20)), ownerless.kid, "no owner"),
    ]:
        with pytest.raises(OperatorError, match=f"{kid.hex()}.*{re.escape(said)}"):
            register(contracts.web3, contracts.account, contracts.registry, bad)
    good = SoftwareBoard(44).permit(contracts)
    with pytest.raises(OperatorError, match=late.kid.hex()):
        register_batch(
            contracts.web3, contracts.account, contracts.registry, [good, late.permit(contracts, deadline=1)]
        )


def test_somebody_else_was_faster_with_the_same_permit(contracts: Contracts) -> None:
    board, stranger = SoftwareBoard(45), contracts.chain.account()
    permit = board.permit(contracts)
    contracts.automine(False)
    theirs = DEVICE_REGISTRY.call("register", as_struct(permit))
    rpc = contracts.chain.rpc
    rpc("anvil_impersonateAccount", stranger.address)
    request = {"from": stranger.address, "to": checksum(contracts.registry), "data": "0x" + theirs.hex()}
    rpc("eth_sendTransaction", {**request, "maxPriorityFeePerGas": hex(10**11), "maxFeePerGas": hex(10**12)})
    wire = Wire(contracts.chain.url)

    def mine_after_sending(method: str, parameters: Any, response: Any) -> Any:
        if method == "eth_sendRawTransaction":
            contracts.automine(True)
            contracts.mine()
        return response

    wire.after = mine_after_sending
    # Theirs pays more and is before ours in the block, so that ours reverts.
    done = register(wire.web3, contracts.account, contracts.registry, permit, chain_id=contracts.chain_id)
    assert (done.kids, done.skipped, done.transaction) == ((), (board.kid,), None)
    again = register(contracts.web3, contracts.account, contracts.registry, permit)
    assert again == done, "a second time there is nothing left to do"
    contracts.send(DEVICE_REGISTRY, contracts.registry, "revoke", int.from_bytes(board.kid, "big"))
    with pytest.raises(OperatorError, match="registered already"):
        register(contracts.web3, contracts.account, contracts.registry, permit)


def test_what_is_signed_is_good_for_the_chain_that_was_meant(contracts: Contracts) -> None:
    """A node that says it is on another chain gets no transaction that is good there."""
    wire = Wire(contracts.chain.url)
    sent: list[bytes] = []

    def elsewhere(method: str, parameters: Any, response: Any) -> Any:
        if method == "eth_sendRawTransaction":
            sent.append(bytes.fromhex(parameters[0][2:]))
        return {**response, "result": "0x1"} if method == "eth_chainId" else response

    wire.after = elsewhere
    register(
        wire.web3,
        contracts.account,
        contracts.registry,
        SoftwareBoard(46).permit(contracts),
        chain_id=contracts.chain_id,
    )
    assert [decode(raw)[0].chain_id for raw in sent] == [contracts.chain_id]


def test_a_batch_has_bounds(contracts: Contracts) -> None:
    permit = SoftwareBoard(51).permit(contracts)
    for permits in ([], [permit] * (LARGEST_BATCH + 1)):
        with pytest.raises(OperatorError, match="a batch has"):
            register_batch(contracts.web3, contracts.account, contracts.registry, permits)


def test_a_chain_without_base_fee_is_paid_its_gas_price(contracts: Contracts) -> None:
    wire = Wire(contracts.chain.url)

    def before_eip_1559(method: str, parameters: Any, response: Any) -> Any:
        if method == "eth_getBlockByNumber":
            response["result"].pop("baseFeePerGas")
        return response

    wire.after = before_eip_1559
    board = SoftwareBoard(71)
    done = register(wire.web3, contracts.account, contracts.registry, board.permit(contracts))
    assert done.kids == (board.kid,)
    assert contracts.web3.eth.get_transaction(HexBytes(done.transaction))["type"] == 0


def test_a_nonce_that_another_transaction_took_is_replaced(contracts: Contracts) -> None:
    wire = Wire(contracts.chain.url)
    nonces = iter([0])

    def old_nonce_once(method: str, parameters: Any, response: Any) -> Any:
        if method == "eth_getTransactionCount":
            return {**response, "result": hex(next(nonces, int(response["result"], 16)))}
        return response

    wire.after = old_nonce_once
    board = SoftwareBoard(72)
    assert register(wire.web3, contracts.account, contracts.registry, board.permit(contracts)).kids == (board.kid,)


def test_an_answer_lost_on_the_way_is_no_failure(contracts: Contracts) -> None:
    wire = Wire(contracts.chain.url)

    def lose(method: str, parameters: Any, response: Any) -> Any:
        if method == "eth_sendRawTransaction":
            raise requests.ReadTimeout
        return response

    wire.after = lose
    board = SoftwareBoard(73)
    assert register(wire.web3, contracts.account, contracts.registry, board.permit(contracts)).kids == (board.kid,)


def test_an_account_without_funds_is_told_to_get_some(contracts: Contracts) -> None:
    poor = contracts.chain.account(ether=0)
    with pytest.raises(OperatorError, match=f"{poor.address}.*funds") as caught:
        register(contracts.web3, poor, contracts.registry, SoftwareBoard(61).permit(contracts))
    assert isinstance(caught.value, OutOfFundsError)
