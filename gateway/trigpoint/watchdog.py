"""Whether the parts of the gateway still move: a process that only runs is not one that works."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Watchdog:
    """Knows when each part last moved.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._limits: dict[str, float] = {}
        self._moved: dict[str, float] = {}
        self._said: set[str] = set()

    def watch(self, part: str, limit_s: float) -> Callable[[], None]:
        """Watch `part` from now on, and return what it has to call at least every `limit_s` seconds.

        It calls it from its own loop each time round, also when there was nothing to do: only a loop that hangs is
        silent.
        """
        with self._lock:
            self._limits[part] = limit_s
            self._moved[part] = self._clock()

        def moved() -> None:
            with self._lock:
                self._moved[part] = self._clock()

        return moved

    def idle(self) -> dict[str, float]:
        """Return how many seconds ago each part last moved."""
        with self._lock:
            now = self._clock()
            return {part: now - moved for part, moved in self._moved.items()}

    def newly_stalled(self) -> set[str]:
        """Return the parts that have stalled since the last call: once for each time, to be logged."""
        stalled = set(self.stalled())
        new, self._said = stalled - self._said, stalled
        return new

    def stalled(self) -> dict[str, float]:
        """Return the parts that have not moved in their time, each with the seconds since it last did."""
        return {part: seconds for part, seconds in self.idle().items() if seconds > self._limits[part]}
