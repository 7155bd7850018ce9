"""Plantower PMS5003 (fine dust) at byte level.

Source: PMS5003 series data manual (2016, version 2.3), appendix I (frame of 32 bytes, active mode) and appendix II
(commands: passive and active mode, read, sleep and wake-up).
"""

from __future__ import annotations

from collections.abc import Callable

from trigpoint_tools.emulator.parts.fault import Fault

_PERIOD_S = 1.0
_LONGEST_SILENCE_S = 5.0


def frame(*data: int) -> bytes:
    """Return a frame: 0x42 0x4D, length, words, and the sum of all bytes before."""
    words = b"".join(value.to_bytes(2, "big") for value in data)
    head = b"BM" + (len(words) + 2).to_bytes(2, "big") + words
    return head + sum(head).to_bytes(2, "big")


def command(code: int, value: int) -> bytes:
    """Return a command to the part: 0x42 0x4D, code, a word, sum."""
    head = b"BM" + bytes((code,)) + value.to_bytes(2, "big")
    return head + sum(head).to_bytes(2, "big")


class Pms5003:
    """One PMS5003. It begins to speak when its supply voltage comes: a frame a second.

    Args:
        monotonic: the machine's seconds.

    Attributes:
        pm1, pm25, pm10: micrograms per cubic meter under atmospheric conditions, set by the host.
        asleep: whether fan and laser stand still.
        fault: what is wrong with it.
        readings: three for each frame that it has sent.
    """

    baud = 9600

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.pm1 = 5
        self.pm25 = 9
        self.pm10 = 12
        self.fault = Fault.NONE
        self.readings = 0
        self._monotonic = monotonic
        self.power_on()

    def power_on(self) -> None:
        """Start as after the supply voltage has come."""
        self.asleep = False
        self._passive = False
        self._heard = b""
        self._said = bytearray()
        self._next = self._monotonic() + _PERIOD_S

    def hear(self, data: bytes) -> None:
        """Take bytes: commands, seven bytes each."""
        self._heard += data
        while (start := self._heard.find(b"BM")) >= 0 and len(self._heard) >= start + 7:
            taken, self._heard = self._heard[start : start + 7], self._heard[start + 7 :]
            if sum(taken[:5]) == int.from_bytes(taken[5:], "big"):
                self._obey(taken[2], taken[4])
        self._heard = self._heard[-6:]

    def say(self) -> bytes:
        """Return what it has sent since it was last asked."""
        now = self._monotonic()
        # Frames that nobody could have kept are not made.
        self._next = max(self._next, now - _LONGEST_SILENCE_S)
        while self._next <= now:
            self._next += _PERIOD_S
            if not self.asleep and not self._passive:
                self._measure()
        said = bytes(self._said)
        self._said.clear()
        return said

    def _obey(self, code: int, value: int) -> None:
        if code == 0xE4:
            if self.asleep and value:
                self._next = self._monotonic() + _PERIOD_S
                self._passive = False
            self.asleep = not value
        elif code == 0xE1:
            self._passive = not value
        elif code == 0xE2 and self._passive and not self.asleep:
            self._measure()

    def _measure(self) -> None:
        counts = (self.pm1 * 150, self.pm1 * 40, self.pm25 * 5, self.pm25, self.pm10 // 4, self.pm10 // 8)
        self._said += frame(self.pm1, self.pm25, self.pm10, self.pm1, self.pm25, self.pm10, *counts, 0x9700)
        self.readings += 3
