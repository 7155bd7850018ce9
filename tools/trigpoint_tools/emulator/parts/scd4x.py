"""Sensirion SCD4x (CO2, temperature, humidity) at the level of its commands.

Source: SCD4x data sheet, version 1.6: command table (table 9), execution times, periodic measurement (section 3.6),
settings (3.7), low power (3.9), single shot (3.11), and the worked examples beside each command.
While it measures periodically, the part acknowledges only the few commands that table 9 allows then.
"""

from __future__ import annotations

from collections.abc import Callable

from trigpoint_tools.emulator.i2c import NakError
from trigpoint_tools.emulator.parts.fault import Fault
from trigpoint_tools.emulator.parts.sensirion import crc8, words

ADDRESS = 0x62
_START = 0x21B1
_START_LOW_POWER = 0x21AC
_SINGLE_SHOT = 0x219D
_STOP = 0x3F86
_READY = 0xE4B8
_READ = 0xEC05
_SERIAL = 0x3682
_SET_ALTITUDE = 0x2427
_GET_ALTITUDE = 0x2322
_REINIT = 0x3646
_PERIODS = {_START: 5.0, _START_LOW_POWER: 30.0}
_SINGLE_SHOT_S = 5.0
_BUSY_S = {_STOP: 0.5, _REINIT: 0.03, _SET_ALTITUDE: 0.001, _READY: 0.001, _READ: 0.001, _SERIAL: 0.001}
_WHILE_MEASURING = (_STOP, _READY, _READ)
_START_UP_S = 0.03


class Scd4x:
    """One SCD41.

    Args:
        monotonic: the machine's seconds; measurements take `pace` of their real time.
        serial: 48 bits; by default that of the data sheet's example.
        pace: 1.0 for the data sheet's 5 and 30 seconds; a test may hurry.

    Attributes:
        co2: ppm; temperature: 0.01 degrees Celsius; humidity: 0.01 %: what it measures, set by the host.
        altitude: meters, as the board has set it.
        fault: what is wrong with it.
        readings: how many quantities it has measured and handed over.
    """

    address = ADDRESS

    def __init__(self, monotonic: Callable[[], float], serial: int = 0xF896_9F07_3BBE, pace: float = 1.0) -> None:
        self.co2 = 500
        self.temperature = 2500
        self.humidity = 3700
        self.fault = Fault.NONE
        self.readings = 0
        self.pace = pace
        self._monotonic = monotonic
        self._serial = serial
        self.power_on()

    def power_on(self) -> None:
        """Start as after the supply voltage has come: idle."""
        self.altitude = 0
        self._answer = b""
        self._period: float | None = None
        self._due: float | None = None
        self._fresh: bytes | None = None
        self._busy_until = self._monotonic() + _START_UP_S

    def write(self, data: bytes) -> None:
        """Take a command of two bytes, with a word and its checksum where it sets something."""
        self._settle()
        if not data:
            return
        if len(data) < 2:
            raise NakError
        command = int.from_bytes(data[:2], "big")
        if self._period is not None and command not in _WHILE_MEASURING:
            raise NakError
        self._busy_until = self._monotonic() + _BUSY_S.get(command, 0.0)
        self._answer = b""
        if command in _PERIODS:
            self._period = _PERIODS[command] * self.pace
            self._due = self._monotonic() + self._period
        elif command == _SINGLE_SHOT:
            self._busy_until = self._due = self._monotonic() + _SINGLE_SHOT_S * self.pace
        elif command == _STOP:
            self._period = self._due = self._fresh = None
        elif command == _READY:
            self._answer = words(0x8006 if self._fresh else 0x8000)
        elif command == _READ:
            self._answer = self._fresh or b""
            self.readings += 3 if self._fresh else 0
            self._fresh = None
        elif command == _SERIAL:
            self._answer = words(*(self._serial >> shift & 0xFFFF for shift in (32, 16, 0)))
        elif command == _GET_ALTITUDE:
            self._answer = words(self.altitude)
        elif command == _SET_ALTITUDE:
            if len(data) != 5 or crc8(data[2:4]) != data[4]:
                raise NakError
            self.altitude = int.from_bytes(data[2:4], "big")
        elif command == _REINIT:
            self._fresh = None
        else:
            raise NakError

    def read(self, size: int) -> bytes:
        """Return what the last command has made; without any the part does not acknowledge."""
        self._settle()
        if not self._answer:
            raise NakError
        answer, self._answer = self._answer, b""
        return answer[:size] + b"\xff" * (size - len(answer))

    def _settle(self) -> None:
        now = self._monotonic()
        if self._due is not None and now >= self._due:
            self._fresh = words(self.co2, *raw(self.temperature, self.humidity))
            self._due = None if self._period is None else now + self._period
        if now < self._busy_until:
            raise NakError


def raw(temperature: int, humidity: int) -> tuple[int, int]:
    """Return the raw words: T = -45 + 175 W/65535 and RH = 100 W/65535, for values in hundredths (section 3.6.2)."""
    return (
        min(max(round((temperature + 4500) * 65535 / 17500), 0), 65535),
        min(max(round(humidity * 65535 / 10000), 0), 65535),
    )
