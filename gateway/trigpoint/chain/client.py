"""Connects to a node, and makes sure that it is the right chain with the right contracts."""

from __future__ import annotations

from web3 import HTTPProvider, Web3
from web3.providers.base import JSONBaseProvider

from trigpoint.chain.abi import TRANSPARENCY_LOG
from trigpoint.chain.errors import RevertedError
from trigpoint.chain.node import Node, checksum
from trigpoint.errors import OperatorError

_CONNECT_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 20.0


def open_node(rpc_url: str) -> Web3:
    """Return a Web3 that speaks to `rpc_url`, without asking it anything yet.

    It does not try again by itself: whoever asks knows whether to, and how long.

    Raises:
        OperatorError: it is no URL of HTTP.
    """
    if not rpc_url.startswith(("http://", "https://")):
        raise OperatorError(f"{rpc_url!r} is not a node's address; write it as http://HOST:PORT or https://HOST")
    provider = HTTPProvider(
        rpc_url,
        request_kwargs={"timeout": (_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S)},
        exception_retry_configuration=None,
    )
    return speak_over(provider)


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
        OperatorError: the node is on another chain.
    """
    web3 = open_node(rpc_url)
    if chain_id is None:
        Node(web3).chain_id()
    else:
        check_chain(web3, chain_id)
    return web3


def check_chain(web3: Web3, chain_id: int) -> None:
    """Make sure that the node is on this chain. Raises ChainUnavailableError, or OperatorError if it is not."""
    node = Node(web3)
    found = node.chain_id()
    if found != chain_id:
        raise OperatorError(
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
                "or run `trigpoint chain deploy`"
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
