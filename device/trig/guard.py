"""The watchdog's condition: it is fed only while every part of the board moves.

A watchdog fed from a task of its own proves only that the scheduler runs. Here the sampler, the signer and the uplink
each report that they moved; if one has not within its bound, feeding stops and the watchdog resets the board.
"""

import asyncio
import time

from micropython import const

WATCHDOG_MS = const(120000)  # a name look-up or a TLS handshake may hold up everything for tens of seconds
_FEED_MS = const(5000)


def late(moved_at, bounds, now):
    """Return the names of the parts that have not moved within their bounds.

    Args:
        moved_at: name to ticks (ms) of its last move.
        bounds: name to the longest pause in ms.
        now: ticks in ms.
    """
    return [name for name in bounds if time.ticks_diff(now, moved_at[name]) > bounds[name]]


class Guard:
    """Feeds a watchdog on behalf of all parts.

    Attributes:
        late: the names of the parts that are late; the board is about to be reset if there are any.
    """

    def __init__(self, watchdog, bounds, note, feed_ms=_FEED_MS):
        """Take the parts.

        Args:
            watchdog: a ``machine.WDT``.
            bounds: name to longest pause in ms, for each part that must move.
            note: ``note(text)`` is called once when someone is late, with the names: the last chance to keep why.
            feed_ms: how often to look.
        """
        self._watchdog = watchdog
        self._note = note
        self._feed_ms = feed_ms
        self._bounds = bounds
        now = time.ticks_ms()
        self._moved_at = {name: now for name in bounds}
        self.late = []

    def moved(self, name):
        """Note that a part has moved."""
        self._moved_at[name] = time.ticks_ms()

    def check(self):
        """Feed the watchdog unless someone is late."""
        before = self.late
        self.late = late(self._moved_at, self._bounds, time.ticks_ms())
        if not self.late:
            self._watchdog.feed()
        elif not before:
            text = "watchdog: not moving: " + ", ".join(self.late)
            print(text)
            self._note(text)

    async def run(self):
        """Check for ever, often enough for the watchdog."""
        while True:
            self.check()
            await asyncio.sleep_ms(self._feed_ms)
