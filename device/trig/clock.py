"""The board's time: seconds that never jump for what it measures, and the wall clock once it is known.

``seconds`` counts on from power-on whatever is done to the wall clock, so that readings from before and after a
setting keep their distance. The wall clock lives in the RTC, which goes on through resets and deep sleep; after
power-on it stands in the year 2000 and counts as unset until an ack or an NTP server has told the time (protocol,
section 4).

Two tell the time, and each bounds the other. The gateway's acks are authenticated, but exact to the way of a statement
only; NTP is exact, but anyone on the way can forge it. So NTP keeps the clock as long as it stays near what the acks
say, and where they contradict each other for good, the acks are believed.
"""

import time

from micropython import const

_SLACK_S = const(2)
_NEAR_S = const(60)
_DRIFT = const(64)  # one second in so many: what an ESP32's slow clock may lose in deep sleep, and more
_ACKS_AGAINST_NTP = const(3)
_UNSET_BEFORE = const(1262304000)  # 2010-01-01: an unset clock would have to run for ten years to get there
_YEAR_2000 = const(946684800)


class Clock:
    """Time of day by the RTC.

    Attributes:
        is_set: whether the time of day is known.
        source: who set it: "ack", "ntp", "rtc" (it ran on through a reset), or "" if it is not set.
        corrections: how often the wall clock was moved after it had been set.
        refused: times of NTP servers, and of acks under NTP, that were too far off to be believed.
        error_s: by how many seconds the clock was behind the last time it was told (ahead: below 0); 0 if it agreed.
    """

    def __init__(self, rtc):
        """Take a ``machine.RTC``; ``time.time`` must follow it, as it does on the ESP32."""
        self._rtc = rtc
        # Seconds between 1970 and what this port counts from: 2000 on the ESP32, 1970 on others.
        self._epoch = _YEAR_2000 if time.gmtime(0)[0] == 2000 else 0
        self._start = int(time.time())
        self._counted = 0
        self.corrections = 0
        self.is_set = self._now() >= _UNSET_BEFORE
        self.source = "rtc" if self.is_set else ""
        self.refused = 0
        self.error_s = 0
        self._against = 0
        self._acked_at = None

    def _now(self):
        return int(time.time()) + self._epoch

    def seconds(self):
        """Whole seconds since this clock was made; never set, never corrected.

        It never runs back either, though the RTC may (a brown-out, a glitch): a reading older than the one before it
        would find no place in a statement. The count then goes on from where it was.
        """
        seconds = int(time.time()) - self._start
        if seconds < self._counted:
            self._start += seconds - self._counted
            seconds = self._counted
        self._counted = seconds
        return seconds

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
                between the two, give or take two seconds, is right as far as anyone can tell. One that NTP keeps may
                be a minute off, and is moved only by the third ack in a row that says otherwise.
        """
        now = time_ms // 1000
        if now < _UNSET_BEFORE or now >> 32:
            return False
        if self.is_set:
            slack = _NEAR_S if self.source == "ntp" else _SLACK_S
            early, late = self.unix(sent) - now, now - self.unix(received)
            if early <= slack and late <= slack:
                self.error_s = late if late > 0 else -early if early > 0 else 0
                self._acked_at = received
                self._against = 0
                return False
            self.error_s = late if late > 0 else -early
            self._against += 1
            if self.source == "ntp" and self._against < _ACKS_AGAINST_NTP:
                self.refused += 1
                return False
        self._acked_at = received
        self._set(time_ms, "ack")
        return True

    def take_ntp(self, time_ms):
        """Take an NTP server's time, now; return whether the clock was moved.

        Once an ack has confirmed or set the clock, the time is believed only if it is within a minute of it, and one
        second more for each 64 that have passed since.
        """
        now = time_ms // 1000
        if now < _UNSET_BEFORE or now >> 32:
            self.refused += 1
            return False
        if self.is_set:
            error = now - self._now()
            if self._acked_at is not None:
                near = _NEAR_S + (self.seconds() - self._acked_at) // _DRIFT
                if abs(error) > near:
                    self.refused += 1
                    return False
            self.error_s = error
            if abs(error) < _SLACK_S:
                self.source = "ntp"
                return False
        self._set(time_ms, "ntp")
        return True

    def _set(self, time_ms, source):
        now = time_ms // 1000
        year, month, day, hour, minute, second, weekday = time.gmtime(now - self._epoch)[:7]
        before = int(time.time())
        self._rtc.datetime((year, month, day, weekday, hour, minute, second, time_ms % 1000 * 1000))
        self._start += int(time.time()) - before
        if self.is_set:
            self.corrections += 1
        self.is_set = True
        self.source = source
        self._against = 0
