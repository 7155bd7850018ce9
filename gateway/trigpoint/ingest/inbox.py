"""Where messages wait between the network thread, which puts them in, and the ingest thread, which takes them out."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from trigpoint.ingest.message import Delivery

_POLL_S = 0.25


class Inbox:
    """A bounded queue whose reader sleeps on a file descriptor, and is woken only when there is enough to do.

    Args:
        capacity: messages; whoever puts in more has to wait.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[Delivery] = deque()
        self._wanted: int | None = None
        self._room = threading.Event()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def __len__(self) -> int:
        """Return how many messages wait."""
        return len(self._items)

    def fileno(self) -> int:
        """Return the descriptor that can be read when the reader is to wake."""
        return self._reader.fileno()

    def put(self, delivery: Delivery, stopping: Callable[[], bool]) -> None:
        """Add a message. Waits while the queue is full, unless everything stops: then the message is dropped."""
        items = self._items
        while len(items) >= self._capacity:
            self._room.clear()
            if len(items) >= self._capacity:
                self._room.wait(_POLL_S)
            if stopping():
                return
        items.append(delivery)
        if self._wanted is not None and len(items) >= self._wanted:
            self.wake()

    def take(self, most: int, most_bytes: int) -> list[Delivery]:
        """Remove up to `most` messages, and no more after so many bytes of payload."""
        taken: list[Delivery] = []
        size = 0
        while self._items and len(taken) < most and size < most_bytes:
            taken.append(self._items.popleft())
            size += len(taken[-1].message.payload)
        if taken:
            self._room.set()
        return taken

    def sleep_until(self, wanted: int) -> bool:
        """Ask to be woken when so many messages wait; returns False if they do already.

        Whoever asked must call `awake` after waiting.
        """
        self._wanted = wanted
        if len(self._items) >= wanted:
            self._wanted = None
            return False
        return True

    def awake(self) -> None:
        """Take back what `sleep_until` asked for."""
        self._wanted = None

    def drain(self) -> None:
        """Take note of having been woken."""
        with suppress(BlockingIOError):
            self._reader.recv(64)

    def wake(self) -> None:
        """Wake the reader now."""
        self._wanted = None
        with suppress(BlockingIOError):
            self._writer.send(b"\0")
