"""What enrolment needs around the board: the registry, the account that pays, the broker, the gateway's database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from trigpoint.chain.abi import DEVICE_REGISTRY
from trigpoint.chain.errors import RevertedError
from trigpoint.chain.node import Block, Node, address_bytes
from trigpoint.chain.reach import Nodes
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
"""How long a permit may be submitted that is submitted at once."""

PRINTED_LIFE_S = 7 * 86_400
"""How long one that goes to somebody else. It can do only what the board signed, so time costs nothing."""


@dataclass
class GatewayWorld:
    """A gateway on this machine, its chain and its broker.

    Attributes:
        config: the gateway's.
        registry: the DeviceRegistry's address, 20 bytes.
        account: who pays.
        owner: who will own the board's token, 20 bytes.
        metadata_hash: SHA-256 of a document about the board, zeros for none.
        refused: tells why the broker would not have a board; see `trigpoint_tools.serial.login`.
        permit_life_s: how long a permit may be submitted, in seconds.
        done: what was registered last.
    """

    config: Config
    registry: bytes
    account: Signer
    owner: bytes
    metadata_hash: bytes
    refused: Callable[[bytes], str] = lambda kid: ""
    permit_life_s: int = PERMIT_LIFE_S
    done: Registered | None = None
    nodes: Nodes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Find a node that answers. Raises OperatorError if none does, or one is on another chain."""
        chain = self.config.chain
        self.nodes = Nodes(chain.chain_id, chain.rpc_url, *chain.fallback_rpc_urls)
        self.nodes.ask(_head)

    def terms(self) -> Terms:
        """Return the terms of a permit that is signed now; its deadline counts by the chain's clock."""
        deadline = self.nodes.ask(_head).time + self.permit_life_s
        return Terms(self.config.chain.chain_id, self.registry, self.owner, self.metadata_hash, deadline)

    def registered(self, kid: bytes) -> bool:
        """Return whether the registry has the board, active. Raises OperatorError if it was revoked."""
        return self.nodes.ask(lambda web3: _active(web3, self.registry, kid))

    def owner_of(self, kid: bytes) -> bytes | None:
        """Return the address that owns the board's token, 20 bytes; None if nobody does."""

        def look(web3: Web3) -> bytes | None:
            try:
                (owner,) = Node(web3).call(DEVICE_REGISTRY, self.registry, "ownerOf", int.from_bytes(kid, "big"))
            except RevertedError:  # of a token that is not there
                return None
            return address_bytes(owner)

        return self.nodes.ask(look)

    def register(self, permit: Permit) -> None:
        """Submit a permit and wait for its block; see `trigpoint.chain.registration.register`."""
        chain_id = self.config.chain.chain_id
        self.done = self.nodes.ask(lambda web3: register(web3, self.account, self.registry, permit, chain_id=chain_id))

    def refusal(self, kid: bytes) -> str:
        """Return why the broker would not have the board, empty if it would or is out of reach from here."""
        return self.refused(kid)

    def stored(self, kid: bytes) -> int:
        """Return how many of the board's statements the gateway has stored, 0 while it has never run."""
        return stored(self.config, kid)


def _head(web3: Web3) -> Block:
    head = Node(web3).block()
    if head is None:
        raise OperatorError("the node has no block yet; try again when it has started")
    return head


def _active(web3: Web3, registry: bytes, kid: bytes) -> bool:
    node, number = Node(web3), int.from_bytes(kid, "big")
    (active,) = node.call(DEVICE_REGISTRY, registry, "activeAt", number, _head(web3).time)
    if not active and node.call(DEVICE_REGISTRY, registry, "devices", number)[1]:
        raise OperatorError(
            f"board {kid.hex()} was revoked, and an id is used once: `trigpoint board rm PORT --gateway DIR` has it "
            "give up its key, then enrol it anew"
        )
    return bool(active)


def stored(config: Config, kid: bytes) -> int:
    """Return how many of a board's statements a gateway on this machine has verified and stored."""
    if not config.database.exists():
        return 0
    try:
        with closing(open_database(config.database, read_only=True)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'boards'").fetchone():
                return 0  # it has just been started for the first time
            return next((board.statements for board in queries.boards(connection) if board.kid == kid), 0)
    except sqlite3.Error as error:
        raise OperatorError(f"cannot read {config.database}: {error}; is it this version's?") from error
