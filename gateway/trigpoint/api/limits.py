"""How often one caller may ask: a token bucket for each, in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

CALLERS_KEPT = 4_096
"""Buckets in memory at once; the one that was used longest ago is forgotten, and would be full soon anyway."""


class RateLimit:
    """Token buckets by caller. Safe to use from several threads.

    Args:
        per_minute: how fast a bucket fills; it holds as many at most.
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(self, per_minute: int, monotonic: Callable[[], float]) -> None:
        self._capacity = float(per_minute)
        self._per_second = per_minute / 60
        self._monotonic = monotonic
        self._lock = threading.Lock()
        # By caller: what the bucket held, and when.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str) -> float:
        """Take one from the caller's bucket. Returns 0, or if it is empty the seconds until it is not."""
        now = self._monotonic()
        with self._lock:
            held, then = self._buckets.pop(caller, (self._capacity, now))
            held = min(self._capacity, held + (now - then) * self._per_second)
            enough = held >= 1
            self._buckets[caller] = (held - 1 if enough else held, now)
            if len(self._buckets) > CALLERS_KEPT:
                self._buckets.popitem(last=False)
        return 0.0 if enough else (1 - held) / self._per_second
