"""Pytest fixtures: one Anvil for all chain tests, with the contracts deployed, and set back after each test."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from eth_account.signers.local import LocalAccount
from trigpoint.chain.deploy import Deployment, deploy
from trigpoint.chain.node import Node, address_bytes
from trigpoint_tools.localchain import CHAIN_ID, LocalChain
from web3 import Web3


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
