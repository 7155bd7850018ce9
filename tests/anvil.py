"""Pytest fixtures: one Anvil for all chain tests, with the contracts deployed, and set back after each test."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from eth_account.signers.local import LocalAccount
from trigpoint.chain.abi import Interface
from trigpoint.chain.client import open_node, speak_over
from trigpoint.chain.deploy import Deployment, deploy
from trigpoint.chain.node import Node, Receipt, address_bytes
from trigpoint.chain.transactions import Request, transact
from trigpoint.wire import permit
from trigpoint.wire.keys import ORDER, PublicKey
from trigpoint.wire.permit import Permit
from trigpoint_tools.localchain import CHAIN_ID, LocalChain
from web3 import Web3
from web3.providers.base import JSONBaseProvider


@dataclass
class Contracts:
    """A chain with both contracts. `account` deployed them and has funds left."""

    chain: LocalChain
    account: LocalAccount
    deployment: Deployment

    @property
    def web3(self) -> Web3:
        return self.chain.web3

    @property
    def node(self) -> Node:
        return Node(self.chain.web3)

    @property
    def chain_id(self) -> int:
        return CHAIN_ID

    @property
    def registry(self) -> bytes:
        return address_bytes(self.deployment.device_registry)

    @property
    def log(self) -> bytes:
        return address_bytes(self.deployment.transparency_log)

    def send(
        self,
        interface: Interface,
        contract: bytes,
        function: str,
        *arguments: object,
        account: LocalAccount | None = None,
    ) -> Receipt:
        """Call a contract in a transaction and wait for it."""
        request = Request(interface, contract, interface.call(function, *arguments))
        return transact(self.node, account or self.account, self.chain_id, request, timeout_s=10).receipt

    def mine(self, blocks: int = 1) -> None:
        self.chain.rpc("anvil_mine", hex(blocks))

    def automine(self, on: bool) -> None:
        self.chain.rpc("evm_setAutomine", on)


@pytest.fixture(scope="session")
def anvil() -> Iterator[LocalChain]:
    """A running Anvil, shared by the session."""
    with LocalChain() as chain:
        yield chain


@pytest.fixture(scope="session")
def _deployed(anvil: LocalChain) -> Contracts:
    account = anvil.account()
    return Contracts(anvil, account, deploy(anvil.web3, account))


@pytest.fixture
def contracts(_deployed: Contracts) -> Iterator[Contracts]:
    """The contracts on a chain that forgets, when the test ends, whatever the test did to it."""
    snapshot = _deployed.chain.rpc("evm_snapshot")
    yield _deployed
    _deployed.automine(True)
    assert _deployed.chain.rpc("evm_revert", snapshot)
    # A revert does not set back what Anvil asks for gas in the next block.
    _deployed.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(10**9))


class Crash(BaseException):
    """The process is killed here."""


class Wire(JSONBaseProvider):
    """Carries requests to a real node, and lets a test step in before and after each."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.endpoint_uri = url
        self.inner = open_node(url).provider
        self.before: Callable[[str, Any], None] = lambda method, parameters: None
        self.after: Callable[[str, Any, Any], Any] = lambda method, parameters, response: response

    @property
    def web3(self) -> Web3:
        return speak_over(self)

    def make_request(self, method: Any, params: Any) -> Any:
        self.before(method, params)
        return self.after(method, params, self.inner.make_request(method, params))


@dataclass
class SoftwareBoard:
    """A board's key outside a board, for permits."""

    secret: int

    @property
    def private(self) -> ec.EllipticCurvePrivateKey:
        return ec.derive_private_key(self.secret, ec.SECP256R1())

    @property
    def public(self) -> PublicKey:
        return PublicKey.of(self.private)

    @property
    def kid(self) -> bytes:
        return self.public.kid

    def permit(self, contracts: Contracts, owner: bytes | None = None, deadline: int = 2**40) -> Permit:
        """Sign a permit for the contracts' registry; its owner is the contracts' account unless another is named."""
        unsigned = Permit(
            owner if owner is not None else address_bytes(contracts.account.address),
            self.public.x,
            self.public.y,
            bytes(32),
            deadline,
            bytes(32),
            bytes(32),
        )
        digest = permit.digest(contracts.chain_id, contracts.registry, unsigned)
        signature = self.private.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        r, s = decode_dss_signature(signature)
        return replace(unsigned, r=r.to_bytes(32, "big"), s=min(s, ORDER - s).to_bytes(32, "big"))
