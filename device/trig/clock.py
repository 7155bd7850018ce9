"""The board's time: seconds that never jump for what it measures, and the wall clock once it is known.

``seconds`` counts on from power-on whatever is done to the wall clock, so that readings from before and after a
setting keep their distance. The wall clock lives in the RTC, which goes on through resets and deep sleep; after
power-on it stands in the year 2000 and counts as unset until an ack has told the time (protocol, section 4).
"""

import time

from micropython import const

_SLACK_S = const(2)
_UNSET_BEFORE = const(1262304000)  # 2010-01-01: an unset clock would have to run for ten years to get there
_YEAR_2000 = const(946684800)


class Clock:
    """Time of day by the RTC.

    Attributes:
        corrections: how often the wall clock was moved after it had been set.
    """

    def __init__(self, rtc):
        """Take a ``machine.RTC``; ``time.time`` must follow it, as it does on the ESP32."""
        self._rtc = rtc
        # Seconds between 1970 and what this port counts from: 2000 on the ESP32, 1970 on others.
        self._epoch = _YEAR_2000 if time.gmtime(0)[0] == 2000 else 0
        self._start = int(time.time())
        self.corrections = 0
        self.is_set = self._now() >= _UNSET_BEFORE

    def _now(self):
        return int(time.time()) + self._epoch

    def seconds(self):
        """Whole seconds since this clock was made; never set, never corrected."""
        return int(time.time()) - self._start

    def unix(self, seconds):
        """The time of day of a moment on ``seconds``'s count, in seconds since 1970; None while the clock is unset."""
        return seconds + self._start + self._epoch if self.is_set else None

    def to_next(self, period_s):
        """Milliseconds to the next whole multiple of ``period_s`` since 1970.

        While the clock is unset it is a full period: there is nothing to align to.
        """
        return (period_s - self._now() % period_s if self.is_set else period_s) * 1000

    def adjust(self, time_ms, sent, received):
        """Take a gateway's time from an ack that advanced; return whether the clock was moved.

        Args:
            time_ms: the gateway's clock when it made the ack, ms since 1970.
            sent, received: when the statement went out and its ack came in, on ``seconds``'s count. A clock that was
                between the two, give or take two seconds, is right as far as anyone can tell.
        """
        now = time_ms // 1000
        if now < _UNSET_BEFORE or now >> 32:
            return False
        if self.is_set and self.unix(sent) - _SLACK_S <= now <= self.unix(received) + _SLACK_S:
            return False
        year, month, day, hour, minute, second, weekday = time.gmtime(now - self._epoch)[:7]
        before = int(time.time())
        self._rtc.datetime((year, month, day, weekday, hour, minute, second, time_ms % 1000 * 1000))
        self._start += int(time.time()) - before
        if self.is_set:
            self.corrections += 1
        self.is_set = True
        return True
