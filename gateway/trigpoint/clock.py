"""Where the gateway's time comes from: the machine's clock, or an emulated world's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Tells the time of day; passed in wherever time is read, so that a test can set it."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970-01-01T00:00Z."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970-01-01T00:00Z."""
        return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class WorldClock:
    """The clock of an emulated world, which started at a chosen moment and runs at a chosen speed.

    Boards, gateway and weather of one emulated world share these three numbers and so agree on the time
    without talking to each other.

    Attributes:
        origin: the world's first second, since 1970.
        real_origin: the machine's second at which the world started, since 1970.
        speed: seconds of the world in one second of the machine.
    """

    origin: int
    real_origin: float
    speed: float

    def now(self) -> float:
        """Return the world's seconds since 1970."""
        return self.origin + (time.time() - self.real_origin) * self.speed

    def now_ms(self) -> int:
        """Return the world's milliseconds since 1970."""
        return int(self.now() * 1000)
