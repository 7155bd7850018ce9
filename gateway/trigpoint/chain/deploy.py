"""Puts the two contracts on a chain."""

from __future__ import annotations

from dataclasses import dataclass

from web3 import Web3

from trigpoint.chain.abi import DEVICE_REGISTRY, TRANSPARENCY_LOG, Interface
from trigpoint.chain.errors import ChainUnavailableError
from trigpoint.chain.node import Node, checksum
from trigpoint.chain.signing import Signer
from trigpoint.chain.transactions import Mined, Request, transact


@dataclass(frozen=True)
class Deployment:
    """Where the contracts are.

    Attributes:
        chain_id: EIP-155 chain id.
        device_registry: address of the DeviceRegistry, 0x and 40 hexadecimal digits.
        transparency_log: address of the TransparencyLog, likewise.
        block: the DeviceRegistry's block; no event of it is older.
        gas_used: gas of both transactions together.
    """

    chain_id: int
    device_registry: str
    transparency_log: str
    block: int
    gas_used: int


def deploy(web3: Web3, account: Signer, *, chain_id: int | None = None) -> Deployment:
    """Create the DeviceRegistry and then the TransparencyLog that refers to it, paid for by `account`.

    Args:
        web3: a node of the chain.
        account: signs and pays.
        chain_id: what is signed is good for this chain only; None for the one that the node says it is on.

    Raises:
        ChainUnavailableError: the node did not answer.
        OperatorError: the account cannot pay, or a transaction is in no block in time.
    """
    node = Node(web3)
    chain_id = node.chain_id() if chain_id is None else chain_id
    first = _create(node, account, chain_id, DEVICE_REGISTRY)
    registry = _address(first)
    second = _create(node, account, chain_id, TRANSPARENCY_LOG, checksum(registry))
    return Deployment(
        chain_id=chain_id,
        device_registry=checksum(registry),
        transparency_log=checksum(_address(second)),
        block=first.receipt.block,
        gas_used=first.receipt.gas_used + second.receipt.gas_used,
    )


def _create(node: Node, account: Signer, chain_id: int, interface: Interface, *arguments: object) -> Mined:
    return transact(node, account, chain_id, Request(interface, None, interface.creation(*arguments)))


def _address(mined: Mined) -> bytes:
    if mined.receipt.contract is None:
        raise ChainUnavailableError("the node's receipt of a deployment names no contract; ask another node")
    return mined.receipt.contract
