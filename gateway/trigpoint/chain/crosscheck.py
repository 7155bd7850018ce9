"""Asks the registry's contract itself, board by board, whether the mirror has missed an event.

A node can leave out an event, and so hide a revocation. It may well answer a direct question rightly: such nodes are
rather broken than sly, and behind one address there are often several. One that lies to both is beyond us; see
docs/operating.md, "Whom the gateway trusts".
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from trigpoint.chain.abi import DEVICE_REGISTRY
from trigpoint.chain.errors import ChainUnavailableError, RevertedError
from trigpoint.chain.node import Node, address_bytes, checksum
from trigpoint.store import registry as store
from trigpoint.store.registry import Cursor, Ended, Event, Registered
from trigpoint.store.writer import Writer

_log = logging.getLogger(__name__)

ROUND_S: Final = 3600.0
"""All boards and owners are asked about once in so long, unless they are too many for that."""

MOST_AT_ONCE: Final = 60
"""Boards and owners asked about in a minute, at most. The registry is open to all: strangers' boards must not use up
what a node's provider allows, nor keep the thread from anchoring."""

_TURN_S: Final = 60.0
_BELIEVED = 2


@dataclass(frozen=True)
class _Life:
    """What the registry says of a board: `until` is None while it is active, `start` 0 if it was never registered."""

    start: int
    until: int | None
    owner: bytes


@dataclass(frozen=True)
class _Answer:
    """What the contract said of a board, or of how many boards an owner has, at a block."""

    block: int
    said: _Life | int


class CrossCheck:
    """Compares the mirror with the contract, some boards and owners each minute.

    An answer of the newest block is compared once the mirror has reached that block. What differs is asked again, since
    an event may have come between; what differs twice was hidden.

    Args:
        node: of the chain.
        registry: address of the DeviceRegistry, 20 bytes.
        writer: the database.
        monotonic: seconds; tests set it.
    """

    def __init__(
        self, node: Node, registry: bytes, writer: Writer, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._node = node
        self._registry = registry
        self._writer = writer
        self._monotonic = monotonic
        self._next = 0.0
        self._at = 0
        self._answers: dict[bytes, _Answer] = {}
        self._doubts: dict[bytes, int] = {}

    def step(self, cursor: Cursor) -> bool:
        """Ask about the next boards and owners, and compare what was answered before; `cursor` is the mirror's.

        Returns:
            Whether the mirror must be built anew: an owner has another number of boards than in the mirror.

        Raises:
            ChainUnavailableError: the node did not answer, or contradicts itself.
        """
        differs = [self._compare(subject, cursor) for subject in list(self._answers)]
        if self._monotonic() >= self._next:
            self._next = self._monotonic() + _TURN_S
            for subject in self._turn():
                self._ask(subject)
        return any(differs)

    def _turn(self) -> list[bytes]:
        """Return the ids of the boards (32 bytes) and the owners (20 bytes) whose turn it is."""
        subjects = self._writer.submit(_subjects)
        size = min(MOST_AT_ONCE, max(1, round(len(subjects) * _TURN_S / ROUND_S + 0.5)))
        if self._at >= len(subjects):
            self._at = 0
        chosen = subjects[self._at : self._at + size]
        self._at += size
        return chosen

    def _ask(self, subject: bytes) -> None:
        head = self._node.head()
        if len(subject) == 20:
            (count,) = self._node.call(DEVICE_REGISTRY, self._registry, "balanceOf", checksum(subject), block=head)
            self._answers[subject] = _Answer(head, int(count))
            return
        number = int.from_bytes(subject, "big")
        start, until, _, _ = self._node.call(DEVICE_REGISTRY, self._registry, "devices", number, block=head)
        try:
            (owner,) = self._node.call(DEVICE_REGISTRY, self._registry, "ownerOf", number, block=head)
        except RevertedError:  # so says the contract of a token that is not there
            owner = "0x" + "00" * 20
        self._answers[subject] = _Answer(head, _Life(start, until or None, address_bytes(owner)))

    def _compare(self, subject: bytes, cursor: Cursor) -> bool:
        answer = self._answers[subject]
        if cursor.block < answer.block:
            return False
        del self._answers[subject]
        if self._writer.submit(lambda connection: _mirrored(connection, subject)) == answer.said:
            self._doubts.pop(subject, None)
            return False
        self._doubts[subject] = self._doubts.get(subject, 0) + 1
        if self._doubts[subject] < _BELIEVED:
            self._ask(subject)
            return False
        del self._doubts[subject]
        if isinstance(answer.said, int):
            _log.error("the node at %s hid an event of the owner 0x%s", self._node.place, subject.hex())
            return True
        self._correct(subject, answer.said, cursor)
        return False

    def _correct(self, kid: bytes, life: _Life, cursor: Cursor) -> None:
        """Put the contract's own word into the mirror."""
        if not life.start:
            raise ChainUnavailableError(
                f"the node at {self._node.place} showed the registration of board {kid.hex()}, and says now that there "
                "was none; ask another"
            )

        def work(connection: sqlite3.Connection) -> None:
            x, y = connection.execute("SELECT x, y FROM boards WHERE kid = ?", (kid,)).fetchone()
            events: list[Event] = [Registered(kid, x, y, life.owner, life.start)]
            if life.until is not None:
                events.append(Ended(kid, life.until))
            store.apply(connection, events, cursor)

        self._writer.submit(work)
        _log.error(
            "the node at %s hid an event of board %s: it is %s now, as the contract says",
            self._node.place,
            kid.hex(),
            "active" if life.until is None else "revoked",
        )


def _subjects(connection: sqlite3.Connection) -> list[bytes]:
    rows = connection.execute("SELECT kid FROM boards UNION ALL SELECT DISTINCT owner FROM boards")
    return [subject for (subject,) in rows]


def _mirrored(connection: sqlite3.Connection, subject: bytes) -> _Life | int:
    if len(subject) == 20:
        (count,) = connection.execute("SELECT count(*) FROM boards WHERE owner = ?", (subject,)).fetchone()
        return int(count)
    row = connection.execute("SELECT active_from, active_until, owner FROM boards WHERE kid = ?", (subject,)).fetchone()
    return _Life(*row)
