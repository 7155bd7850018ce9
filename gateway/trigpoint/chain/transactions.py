"""Makes transactions; sends single ones that nobody has to remember across a crash."""

from __future__ import annotations

import time
from dataclasses import dataclass

from hexbytes import HexBytes
from web3.types import TxParams, Wei

from trigpoint.chain.abi import Interface
from trigpoint.chain.errors import ChainUnavailableError, NodeRefusedError, RevertedError
from trigpoint.chain.node import Node, Receipt, address_bytes, checksum
from trigpoint.chain.pricing import usual_price
from trigpoint.chain.signing import Signed, Signer, Unsigned, sign
from trigpoint.chain.spending import coins
from trigpoint.errors import OperatorError

_POLL_S = 0.1
_NONCE_ATTEMPTS = 3


class OutOfFundsError(OperatorError):
    """The account cannot pay for a transaction."""


@dataclass(frozen=True)
class Request:
    """What a transaction does.

    Attributes:
        interface: the contract's, to name its errors.
        to: the contract, 20 bytes; None creates one.
        data: the call or the creation code.
    """

    interface: Interface
    to: bytes | None
    data: bytes


@dataclass(frozen=True)
class Mined:
    """A transaction that succeeded."""

    transaction: bytes
    receipt: Receipt


def prepare(node: Node, account: str, chain_id: int, request: Request, *, max_fee_wei: int | None = None) -> Unsigned:
    """Return a transaction that would succeed now, with the account's next nonce.

    The gas limit has a quarter to spare over the node's estimate, because the state may change before it is mined;
    what is not used is not paid. Gas and price are the node's word, and a tip is paid in full, so one that lies could
    spend the whole account at once: whoever signs without a person watching sets `max_fee_wei`, and looks at
    `Unsigned.worst_cost`.

    Args:
        node: of the chain.
        account: that pays, 0x and 40 hexadecimal digits.
        chain_id: EIP-155 chain id.
        request: what it does.
        max_fee_wei: the most to be paid for one gas; None for whatever the node asks.

    Raises:
        RevertedError: the contract would refuse it.
        FeeTooHighError: gas costs more than `max_fee_wei` now.
        OutOfFundsError: the account cannot pay for it.
        ChainUnavailableError: the node did not answer.
    """
    sender = address_bytes(account)
    transaction: TxParams = {"data": HexBytes(request.data), "value": Wei(0)}
    if request.to is not None:
        transaction["to"] = checksum(request.to)
    gas = node.estimate_gas({"from": checksum(sender), **transaction}, request.interface) * 5 // 4
    price = usual_price(node, max_fee_wei)
    nonce = node.nonce(sender, pending=True)
    unsigned = Unsigned(chain_id, nonce, request.to or b"", request.data, gas, price.fee, price.tip)
    check_funds(node, account, unsigned)
    return unsigned


def check_funds(node: Node, account: str, unsigned: Unsigned) -> None:
    """Make sure that the account can pay for a transaction. Raises OutOfFundsError, or ChainUnavailableError."""
    needed, balance = unsigned.worst_cost, node.balance(address_bytes(account))
    if balance < needed:
        raise OutOfFundsError(
            f"the account {account} holds {coins(balance)} and needs {coins(needed)} of the coin of chain "
            f"{unsigned.chain_id} for its next transaction: send it funds"
        )


def transact(node: Node, account: Signer, chain_id: int, request: Request, *, timeout_s: float = 300) -> Mined:
    """Sign a transaction, send it and wait until it is in a block.

    A nonce that another transaction of the account took meanwhile is replaced by the next one.

    Raises:
        RevertedError: the contract refused it.
        OutOfFundsError: the account cannot pay for it.
        ChainUnavailableError: the node did not answer before anything was sent, or would not take it.
        SigningError: it could not be signed.
        OperatorError: it was sent but is in no block after `timeout_s`.
    """
    for attempt in range(1, _NONCE_ATTEMPTS + 1):
        signed = sign(account, prepare(node, account.address, chain_id, request))
        try:
            node.send(signed.raw)
        except NodeRefusedError as error:
            if nonce_taken(error) and attempt < _NONCE_ATTEMPTS:
                continue
            if not already_known(error):
                raise
        except ChainUnavailableError:
            pass  # it may have arrived all the same: the receipt will tell
        return _wait(node, signed, timeout_s)
    raise AssertionError("the last attempt returns or raises")


def nonce_taken(error: NodeRefusedError) -> bool:
    """Tell whether a node refused a transaction because another one has, or holds, its nonce."""
    reason = error.reason.lower()
    return "nonce too low" in reason or "replacement transaction underpriced" in reason


def already_known(error: NodeRefusedError) -> bool:
    """Tell whether a node refused a transaction because it has it already."""
    reason = error.reason.lower()
    return "already known" in reason or "already imported" in reason or "known transaction" in reason


def underpriced(error: NodeRefusedError) -> bool:
    """Tell whether a node refused a transaction because others pay more for gas just now."""
    reason = error.reason.lower()
    return "underpriced" in reason or "less than block base fee" in reason or "fee too low" in reason


def out_of_funds(error: NodeRefusedError) -> bool:
    """Tell whether a node refused a transaction because the account cannot pay for it."""
    return "insufficient funds" in error.reason.lower()


def _wait(node: Node, signed: Signed, timeout_s: float) -> Mined:
    name = "0x" + signed.hash.hex()
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            receipt = node.receipt(signed.hash)
        except ChainUnavailableError:
            receipt = None
        if receipt is not None:
            if not receipt.succeeded:
                raise RevertedError(f"transaction {name} reverted in block {receipt.block}; its gas is spent")
            return Mined(signed.hash, receipt)
        if time.monotonic() >= deadline:
            raise OperatorError(
                f"transaction {name} is in no block after {timeout_s:.0f} s: look it up before you try again"
            )
        time.sleep(_POLL_S)
