"""Sensirion SHT4x (temperature, humidity) at the level of its commands.

Source: SHT4x data sheet, version 6: timing (table 5), commands (section 4.5, table 8), conversion of the raw values
(section 4.6). One command byte starts a measurement; a read before its end is not acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable

from trigpoint_tools.emulator.i2c import NakError
from trigpoint_tools.emulator.parts.fault import Fault
from trigpoint_tools.emulator.parts.sensirion import words
from trigpoint_tools.emulator.weather import NoWeatherError, Sample

ADDRESSES = (0x44, 0x45, 0x46)  # SHT4x-A, -B, -C
_MEASURE_S = {0xFD: 0.0083, 0xF6: 0.0045, 0xE0: 0.0016}  # high, medium, low repeatability: the longest times
_SERIAL = 0x89
_RESET = 0x94
_RESET_S = 0.001


class Sht4x:
    """One SHT4x in the emulated world.

    Args:
        address: 0x44, 0x45 or 0x46.
        world: weather at a moment; where there is none, the part is silent.
        now: the world's seconds since 1970.
        monotonic: the machine's seconds, in which measurements take their time.
        serial: the part's serial number, 32 bits.

    Attributes:
        fault: what is wrong with it.
        results: what it has measured and handed over: the moment, and the raw words of temperature and humidity.
    """

    def __init__(
        self,
        address: int,
        world: Callable[[float], Sample],
        now: Callable[[], float],
        monotonic: Callable[[], float],
        serial: int = 0x0EF2_1A3C,
    ) -> None:
        self.address = address
        self.fault = Fault.NONE
        self.results: list[tuple[float, int, int]] = []
        self._world = world
        self._now = now
        self._monotonic = monotonic
        self._serial = serial
        self.power_on()

    @property
    def readings(self) -> int:
        """How many quantities it has measured and handed over."""
        return 2 * len(self.results)

    def power_on(self) -> None:
        """Start as after the supply voltage has come."""
        self._answer = b""
        self._made: tuple[float, int, int] | None = None
        self._busy_until = self._monotonic() + _RESET_S

    def write(self, data: bytes) -> None:
        """Take a command byte; while a measurement runs none is acknowledged."""
        self._awake()
        if not data:
            return
        command = data[0]
        if command in _MEASURE_S:
            temperature, humidity = raw(self._sample())
            self._answer = words(temperature, humidity)
            self._made = (self._now(), temperature, humidity)
            self._busy_until = self._monotonic() + _MEASURE_S[command]
        elif command == _SERIAL:
            self._answer = words(self._serial >> 16, self._serial & 0xFFFF)
            self._made = None
        elif command == _RESET:
            self.power_on()
        else:
            raise NakError

    def read(self, size: int) -> bytes:
        """Return what the last command has made, once; without any the part does not acknowledge."""
        self._awake()
        if not self._answer:
            raise NakError
        answer, self._answer = self._answer, b""
        if self._made is not None:
            self.results.append(self._made)
            self._made = None
        return answer[:size] + b"\xff" * (size - len(answer))

    def _awake(self) -> None:
        self._sample()
        if self._monotonic() < self._busy_until:
            raise NakError

    def _sample(self) -> Sample:
        try:
            return self._world(self._now())
        except NoWeatherError:
            raise NakError from None


def raw(sample: Sample) -> tuple[int, int]:
    """Return the raw words for a temperature and a humidity: T = -45 + 175 S/65535, RH = -6 + 125 S/65535."""
    temperature = round((sample.temperature + 4500) * 65535 / 17500)
    humidity = round((sample.humidity + 600) * 65535 / 12500)
    return min(max(temperature, 0), 65535), min(max(humidity, 0), 65535)
