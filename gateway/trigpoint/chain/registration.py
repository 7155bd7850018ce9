"""Registers boards by their permits. Anyone may submit one and pay: it can do only what the board signed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from web3 import Web3

from trigpoint.chain.abi import DEVICE_REGISTRY
from trigpoint.chain.errors import RevertedError
from trigpoint.chain.node import Node, address_bytes, checksum
from trigpoint.chain.signing import Signer
from trigpoint.chain.transactions import Request, transact
from trigpoint.errors import OperatorError
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.permit import Permit

LARGEST_BATCH: Final = 50
"""Permits in one transaction: at some 300,000 gas each, where a chain lacks the P-256 precompile, it stays below the
16.7 million that EIP-7825 allows."""


@dataclass(frozen=True)
class Registered:
    """What one transaction registered.

    Attributes:
        kids: the board ids that it registered, in the order of their permits.
        skipped: those that were registered before.
        transaction: its hash; None if there was nothing left to do.
        block: its block, likewise.
        gas_used: its gas; 0 likewise.
    """

    kids: tuple[bytes, ...]
    skipped: tuple[bytes, ...]
    transaction: bytes | None
    block: int | None
    gas_used: int


def register(
    web3: Web3, account: Signer, registry: bytes, permit: Permit, *, chain_id: int | None = None
) -> Registered:
    """Register one board in the registry at address `registry`, 20 bytes, paid for by `account`.

    If somebody else was faster with what this permit says, as anyone may be, that is as good: the board is skipped.

    Args:
        web3: a node of the chain.
        account: signs and pays.
        registry: the contract's address.
        permit: the board's.
        chain_id: what is signed is good for this chain only; None for the one that the node says it is on.

    Raises:
        ChainUnavailableError: the node did not answer.
        OperatorError: the registry refuses the permit, or the account cannot pay; the message says which.
    """
    data = DEVICE_REGISTRY.call("register", as_struct(permit))
    try:
        return _submit(web3, account, Request(DEVICE_REGISTRY, registry, data), (permit,), chain_id)
    except RevertedError as error:
        if _is_done(Node(web3), registry, permit):
            return Registered(kids=(), skipped=(_kid(permit),), transaction=None, block=None, gas_used=0)
        raise OperatorError(_explain(error, (permit,))) from error


def register_batch(
    web3: Web3, account: Signer, registry: bytes, permits: Sequence[Permit], *, chain_id: int | None = None
) -> Registered:
    """Register 1 to LARGEST_BATCH boards in one transaction; those registered already are skipped.

    Args:
        web3: a node of the chain.
        account: signs and pays.
        registry: the contract's address, 20 bytes.
        permits: the boards'.
        chain_id: what is signed is good for this chain only; None for the one that the node says it is on.

    Raises:
        ChainUnavailableError: the node did not answer.
        OperatorError: the registry refuses a permit, and with it the whole batch, or the account cannot pay.
    """
    if not 1 <= len(permits) <= LARGEST_BATCH:
        raise OperatorError(f"a batch has 1 to {LARGEST_BATCH} permits, not {len(permits)}: split it")
    data = DEVICE_REGISTRY.call("registerBatch", [as_struct(permit) for permit in permits])
    try:
        return _submit(web3, account, Request(DEVICE_REGISTRY, registry, data), permits, chain_id)
    except RevertedError as error:
        raise OperatorError(_explain(error, permits)) from error


def _submit(
    web3: Web3, account: Signer, request: Request, permits: Sequence[Permit], chain_id: int | None
) -> Registered:
    kids = list(dict.fromkeys(_kid(permit) for permit in permits))
    node = Node(web3)
    mined = transact(node, account, node.chain_id() if chain_id is None else chain_id, request)
    topic = DEVICE_REGISTRY.topic("DeviceRegistered")
    new = {
        log.topics[1]
        for log in mined.receipt.logs
        if log.address == request.to and len(log.topics) == 3 and log.topics[0] == topic
    }
    return Registered(
        kids=tuple(kid for kid in kids if kid in new),
        skipped=tuple(kid for kid in kids if kid not in new),
        transaction=mined.transaction,
        block=mined.receipt.block,
        gas_used=mined.receipt.gas_used,
    )


def _is_done(node: Node, registry: bytes, permit: Permit) -> bool:
    """Tell whether the registry says what the permit asks for: the board active, its owner, its document."""
    number = int.from_bytes(_kid(permit), "big")
    try:
        active_from, active_until, metadata_hash, _ = node.call(DEVICE_REGISTRY, registry, "devices", number)
        (owner,) = node.call(DEVICE_REGISTRY, registry, "ownerOf", number)
    except RevertedError:  # ownerOf refuses for a token that is not there
        return False
    said = (active_from > 0, active_until, bytes(metadata_hash), address_bytes(owner))
    return said == (True, 0, permit.metadata_hash, permit.owner)


def _kid(permit: Permit) -> bytes:
    try:
        return PublicKey(permit.x, permit.y).kid
    except WireError as error:
        raise OperatorError(f"the permit's key is none: {error}; let the board sign a new one") from error


def as_struct(permit: Permit) -> tuple[object, ...]:
    """Return the permit as the contract's struct, for `Interface.call`."""
    return (
        checksum(permit.owner),
        permit.x,
        permit.y,
        permit.metadata_hash,
        permit.deadline,
        permit.r,
        permit.s,
    )


def _explain(error: RevertedError, permits: Sequence[Permit]) -> str:
    """Say in one line which permit the registry refuses and what to do."""
    match error.name, error.arguments:
        case "AlreadyRegistered", (int(number),):
            kid = number.to_bytes(32, "big").hex()
            return (
                f"board {kid} is registered already; an id is used once, so a new owner takes over by a token transfer"
            )
        case "PermitExpired", (int(index), int(deadline)) if index < len(permits):
            kid = _kid(permits[index]).hex()
            return f"the permit of board {kid} was void after {deadline}: let the board sign a new one"
        case "PermitWithoutOwner", (int(index),) if index < len(permits):
            return f"the permit of board {_kid(permits[index]).hex()} names no owner: let the board sign one that does"
        case "PermitSignatureInvalid", (int(index),) if index < len(permits):
            return (
                f"board {_kid(permits[index]).hex()} did not sign this permit for this registry on this chain: "
                "check chain id, registry and owner, and let it sign again"
            )
    return f"the registry refuses: {error}"
