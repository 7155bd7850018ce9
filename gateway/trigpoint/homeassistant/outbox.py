"""What waits to be published: of each topic the newest message, and of topics so many at most."""

from __future__ import annotations

import logging
from collections.abc import Callable

_log = logging.getLogger(__name__)


class Outbox:
    """Messages in the order in which their topics came.

    A broker that is slow, or takes nothing, costs no more memory than this: what is too much is dropped from the old
    end, and said once until everything is out.

    Args:
        capacity: topics, at most.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._waiting: dict[str, tuple[bytes, Callable[[], None]]] = {}
        self._dropping = False

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def put(self, topic: str, message: bytes, dropped: Callable[[], None]) -> None:
        """Add a message, in the place of an older one for the same topic; `dropped` is called if it is dropped."""
        self._waiting[topic] = (message, dropped)
        if len(self._waiting) > self._capacity:
            if not self._dropping:
                _log.warning("the broker is slow: the oldest of %d messages for Home Assistant go", self._capacity)
                self._dropping = True
            oldest = next(iter(self._waiting))
            self._waiting.pop(oldest)[1]()

    def take(self) -> tuple[str, bytes] | None:
        """Take out the message that has waited longest; None if there is none."""
        if not self._waiting:
            self._dropping = False
            return None
        topic = next(iter(self._waiting))
        return topic, self._waiting.pop(topic)[0]
