"""Mirrors the DeviceRegistry's events into the database, and notices when the chain was reorganised."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from web3 import Web3

from trigpoint.chain.abi import DEVICE_REGISTRY
from trigpoint.chain.client import check_chain
from trigpoint.chain.crosscheck import CrossCheck
from trigpoint.chain.errors import ChainUnavailableError, NodeRefusedError
from trigpoint.chain.node import Block, Log, Node
from trigpoint.store import registry as store
from trigpoint.store.registry import Cursor, Ended, Event, Registered, Transferred
from trigpoint.store.writer import Writer
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey

_log = logging.getLogger(__name__)

LARGEST_RANGE: Final = 2_000
"""Blocks in one question for events: public nodes refuse more, and some refuse so many."""

SAVE_EVERY_S: Final = 60.0
"""Blocks without events are written down so seldom, for each write wears the disk; a start asks for them again."""

_REGISTERED = DEVICE_REGISTRY.topic("DeviceRegistered")
_REVOKED = DEVICE_REGISTRY.topic("DeviceRevoked")
_SUCCEEDED = DEVICE_REGISTRY.topic("DeviceSucceeded")
_TRANSFER = DEVICE_REGISTRY.topic("Transfer")
_TOPICS = [[_REGISTERED, _REVOKED, _SUCCEEDED, _TRANSFER]]


@dataclass(frozen=True)
class Progress:
    """How far the mirror reaches.

    Attributes:
        block: number of the last block mirrored; -1 if none is.
        caught_up: whether that is all that the chain has with enough confirmations.
        events: how many this step mirrored.
    """

    block: int
    caught_up: bool
    events: int


class RegistrySync:
    """Keeps the mirror of one registry. Call `step` again and again; at once while it is not caught up.

    Args:
        web3: the chain.
        registry: address of the DeviceRegistry, 20 bytes.
        deploy_block: the first block with events of it.
        confirmations: blocks on top of a block before it is mirrored.
        writer: the database.
        chain_id: EIP-155 chain id.
        monotonic: seconds; tests set it.
    """

    def __init__(
        self,
        web3: Web3,
        registry: bytes,
        deploy_block: int,
        confirmations: int,
        writer: Writer,
        *,
        chain_id: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = Node(web3)
        self._registry = registry
        self._deploy_block = deploy_block
        self._confirmations = confirmations
        self._writer = writer
        self._chain_id = chain_id
        self._range = LARGEST_RANGE
        self._monotonic = monotonic
        self._ahead: Cursor | None = None
        self._saved = 0.0
        self._cross_check = CrossCheck(self._node, registry, writer, monotonic=monotonic)

    def step(self) -> Progress:
        """Mirror the next range of blocks; or, if the last one mirrored left the chain, mirror everything anew.

        The database changes once, at the end, in one transaction: no reader sees a half-built mirror, and a step that
        fails has done nothing.

        Raises:
            ChainUnavailableError: the node did not answer, or the chain changed while it did.
            OperatorError: the node is on another chain.
        """
        # Before anything else: on another chain all boards would seem to have left in a reorganisation.
        check_chain(self._node.web3, self._chain_id)
        cursor = self._ahead or self._writer.submit(store.cursor)
        last = self._node.head() - self._confirmations
        if last < self._deploy_block:
            return Progress(-1, caught_up=True, events=0)
        if cursor is None:
            return self._extend(self._deploy_block, last)
        if (cursor.chain_id, cursor.registry) != (self._chain_id, self._registry):
            return self._rebuild(last, "the configuration names another registry")
        if last < cursor.block:
            # The node is behind, or the chain was reorganised and is shorter for now. In either case more blocks tell.
            return Progress(cursor.block, caught_up=False, events=0)
        return self._extend(cursor.block + 1, last, cursor)

    def cross_check(self) -> None:
        """Ask the contract about a few boards and owners, once a minute; call it again and again, after `step`.

        Raises:
            ChainUnavailableError: the node did not answer, or contradicts itself.
        """
        if self._ahead is not None and self._cross_check.step(self._ahead):
            self._rebuild(self._ahead.block, "the node left out an event")

    def _extend(self, first: int, last: int, cursor: Cursor | None = None) -> Progress:
        """Mirror the blocks from `first` on, which follow the cursor."""
        to = min(last, first + self._range - 1)
        # The last block is asked for before all else and again after it. If it is the same, so were all before it.
        block = self._block(to)
        if cursor is not None and not self._holds(cursor):
            return self._rebuild(last, "the chain was reorganised")
        if to < first:
            return Progress(to, caught_up=True, events=0)
        events = list(self._events(first, to))
        reached = self._cursor(block)
        if not self._holds(reached):
            raise self._moved()
        if events or cursor is None or self._monotonic() - self._saved >= SAVE_EVERY_S:
            self._writer.submit(lambda connection: store.apply(connection, events, reached))
            self._saved = self._monotonic()
        self._ahead = reached
        return Progress(to, caught_up=to == last, events=len(events))

    def _rebuild(self, last: int, why: str) -> Progress:
        _log.warning("%s: reading the registry anew from block %d", why, self._deploy_block)
        block = self._block(last)
        events = list(self._events(self._deploy_block, last))
        reached = self._cursor(block)
        if not self._holds(reached):
            raise self._moved()
        self._writer.submit(lambda connection: store.rebuild(connection, events, reached))
        self._saved, self._ahead = self._monotonic(), reached
        return Progress(last, caught_up=True, events=len(events))

    def _events(self, first: int, last: int) -> Iterator[Event]:
        """Yield the registry's events of a range, asking for less at a time if the node refuses so much."""
        times: dict[int, int] = {}
        while first <= last:
            to = min(last, first + self._range - 1)
            try:
                logs = self._node.logs(self._registry, _TOPICS, first, to)
            except NodeRefusedError:
                if self._range == 1:
                    raise
                self._range = max(1, self._range // 2)
                continue
            for log in logs:
                if log.block not in times:
                    block = self._block(log.block)
                    if block.hash != log.block_hash:
                        raise self._moved()
                    times[log.block] = block.time
                yield from _decode(log, times[log.block], self._node.place)
            first = to + 1

    def _block(self, number: int) -> Block:
        block = self._node.block(number)
        if block is None:
            raise self._moved()
        return block

    def _holds(self, cursor: Cursor) -> bool:
        """Tell whether the cursor's block is still in the chain, and with it all blocks before it."""
        return self._block(cursor.block).hash == cursor.block_hash

    def _cursor(self, block: Block) -> Cursor:
        return Cursor(self._chain_id, self._registry, block.number, block.hash)

    def _moved(self) -> ChainUnavailableError:
        return ChainUnavailableError(f"the chain changed while the node at {self._node.place} was asked; trying again")


def _decode(log: Log, time: int, place: str) -> Iterator[Event]:
    """Turn one event of the contract into what it means for the mirror."""
    match log.topics:
        case (topic, kid, owner) if topic == _REGISTERED and len(log.data) == 96:
            x, y = log.data[:32], log.data[32:64]
            try:
                matches = PublicKey(x, y).kid == kid
            except WireError:
                matches = False
            if not matches:  # the contract makes no such event
                raise ChainUnavailableError(f"the node at {place} shows a registration with a wrong key; ask another")
            yield Registered(kid, x, y, owner[12:], time)
        case (topic, kid) if topic == _REVOKED:
            yield Ended(kid, time)
        case (topic, old, _) if topic == _SUCCEEDED:
            yield Ended(old, time)
        case (topic, _, to, kid) if topic == _TRANSFER:
            yield Transferred(kid, to[12:])
        case _:
            raise ChainUnavailableError(f"the node at {place} shows an event that the registry has not; ask another")
