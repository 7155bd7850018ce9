"""Chain and gateway as enrolment sees them: the registry, the account that pays, the gateway's database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from trigpoint.chain.abi import DEVICE_REGISTRY
from trigpoint.chain.client import connect
from trigpoint.chain.node import Node
from trigpoint.chain.registration import Registered, register
from trigpoint.chain.signing import Signer
from trigpoint.config import Config
from trigpoint.errors import OperatorError
from trigpoint.store import queries
from trigpoint.store.database import open_database
from trigpoint.wire.permit import Permit
from web3 import Web3

from trigpoint_tools.serial.enrol import Terms

PERMIT_LIFE_S = 3600
"""How long a permit may be submitted."""


@dataclass
class GatewayWorld:
    """A gateway on this machine, and its chain.

    Attributes:
        config: the gateway's.
        registry: the DeviceRegistry's address, 20 bytes.
        account: who pays.
        owner: who will own the board's token, 20 bytes.
        metadata_hash: SHA-256 of a document about the board, zeros for none.
        done: what was registered last.
    """

    config: Config
    registry: bytes
    account: Signer
    owner: bytes
    metadata_hash: bytes
    done: Registered | None = None
    connecting: Callable[[str, int], Web3] = field(default=connect, repr=False)

    def __post_init__(self) -> None:
        """Connect to the node. Raises OperatorError if it is not there or on another chain."""
        self._web3 = self.connecting(self.config.chain.rpc_url, self.config.chain.chain_id)

    def terms(self) -> Terms:
        """Return the terms of a permit that is signed now; its deadline counts by the chain's clock."""
        head = Node(self._web3).block()
        if head is None:
            raise OperatorError("the node has no block yet; try again when it has started")
        deadline = head.time + PERMIT_LIFE_S
        return Terms(self.config.chain.chain_id, self.registry, self.owner, self.metadata_hash, deadline)

    def registered(self, kid: bytes) -> bool:
        """Return whether the registry has the board, active."""
        node = Node(self._web3)
        head = node.block()
        if head is None:
            return False
        (active,) = node.call(DEVICE_REGISTRY, self.registry, "activeAt", int.from_bytes(kid, "big"), head.time)
        return bool(active)

    def register(self, permit: Permit) -> None:
        """Submit a permit and wait for its block; see `trigpoint.chain.registration.register`."""
        self.done = register(self._web3, self.account, self.registry, permit, chain_id=self.config.chain.chain_id)

    def stored(self, kid: bytes) -> int:
        """Return how many of the board's statements the gateway has stored, 0 while it has never run."""
        return stored(self.config, kid)


def stored(config: Config, kid: bytes) -> int:
    """Return how many of a board's statements a gateway on this machine has verified and stored."""
    if not config.database.exists():
        return 0
    try:
        with closing(open_database(config.database, read_only=True)) as connection:
            return next((board.statements for board in queries.boards(connection) if board.kid == kid), 0)
    except sqlite3.Error as error:
        raise OperatorError(f"cannot read {config.database}: {error}; is it this version's?") from error
