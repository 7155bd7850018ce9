"""Connects to a node, and makes sure that it is the right chain with the right contracts."""

from __future__ import annotations

from web3 import Web3
from web3.providers.base import JSONBaseProvider

from trigpoint.chain.abi import TRANSPARENCY_LOG
from trigpoint.chain.errors import RevertedError, WrongChainError
from trigpoint.chain.failover import Failover
from trigpoint.chain.http import HttpNode
from trigpoint.chain.node import Node, checksum, place
from trigpoint.errors import OperatorError


def open_node(rpc_url: str, *fallbacks: str) -> Web3:
    """Return a Web3 that speaks to the node at `rpc_url`, without asking it anything yet.

    It does not try again by itself: whoever asks knows whether to, and how long. Whoever works on for long passes other
    nodes of the same chain too, and has `turn_to_next` ask them when this one fails.

    Raises:
        OperatorError: one is no URL of HTTP.
    """
    for url in (rpc_url, *fallbacks):
        if not url.startswith(("http://", "https://")):
            shown = place(url) if "://" in url else url
            raise OperatorError(f"{shown!r} is not a node's address; write it as http://HOST:PORT or https://HOST")
    return speak_over(Failover([HttpNode(url) for url in (rpc_url, *fallbacks)]))


def turn_to_next(web3: Web3) -> None:
    """Ask the next of its nodes from now on."""
    if isinstance(web3.provider, Failover):
        web3.provider.turn()


def prefer_first(web3: Web3) -> None:
    """Ask the first of its nodes again, if another has been asked for long."""
    if isinstance(web3.provider, Failover):
        web3.provider.prefer_first()


def speak_over(provider: JSONBaseProvider) -> Web3:
    """Return a Web3 over any provider, without what we refuse of web3.py's defaults.

    It follows no links that a contract hands out (EIP-3668), which would let a node send us to any address. And it does
    without web3.py's validation, which asks for the chain id twice with every call and refuses the longer extra data of
    chains with proof of authority: what matters is checked in `Node`.
    """
    provider.global_ccip_read_enabled = False
    web3 = Web3(provider)
    web3.middleware_onion.remove("validation")
    return web3


def connect(rpc_url: str, chain_id: int | None = None) -> Web3:
    """Connect to a node, and check that it answers and, given a chain id, that it is on that chain.

    Raises:
        ChainUnavailableError: the node cannot be reached, or answers nonsense. It is an OperatorError too.
        WrongChainError: the node is on another chain.
    """
    web3 = open_node(rpc_url)
    if chain_id is None:
        Node(web3).chain_id()
    else:
        check_chain(web3, chain_id)
    return web3


def check_chain(web3: Web3, chain_id: int) -> None:
    """Make sure that the node is on this chain. Raises ChainUnavailableError, or WrongChainError if it is not."""
    node = Node(web3)
    found = node.chain_id()
    if found != chain_id:
        raise WrongChainError(
            f"the node at {node.place} is on chain {found}, not {chain_id}: correct chain.rpc_url or chain.chain_id"
        )


def check_contracts(web3: Web3, device_registry: bytes, transparency_log: bytes) -> None:
    """Make sure that both contracts are on the chain and belong together; addresses are 20 bytes.

    Raises:
        ChainUnavailableError: the node did not answer.
        OperatorError: a contract is missing, is another one, or the log was deployed for another registry.
    """
    node = Node(web3)
    for name, address in (("device_registry", device_registry), ("transparency_log", transparency_log)):
        if not node.has_code(address):
            raise OperatorError(
                f"no contract at {checksum(address)} on chain {node.chain_id()}: correct chain.{name}, "
                "or run `trigpoint chain deploy --gateway DIR`"
            )
    try:
        registry = bytes.fromhex(node.call(TRANSPARENCY_LOG, transparency_log, "registry")[0].removeprefix("0x"))
    except RevertedError:
        registry = b""
    if registry != device_registry:
        raise OperatorError(
            f"the contract at {checksum(transparency_log)} is no TransparencyLog for the registry at "
            f"{checksum(device_registry)}: correct chain.transparency_log or chain.device_registry"
        )
