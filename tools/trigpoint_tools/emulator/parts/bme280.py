"""Bosch BME280 (temperature, humidity, pressure) at register level.

Source: BME280 data sheet, Bosch Sensortec BST-BME280-DS002, revision 1.24: memory map (section 5.3), register
meanings (5.4), compensation formulas in integers (4.2.3), I2C (6.2), measurement time (9.1).

The model works backwards. It asks the world for temperature, humidity and pressure, finds the raw ADC values from
which the data sheet's formulas compute just these with this part's calibration words, and shows them in the registers:
a driver must do all of its work to get them back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from random import Random
from typing import NamedTuple

from trigpoint_tools.emulator.i2c import NakError
from trigpoint_tools.emulator.parts.fault import Fault
from trigpoint_tools.emulator.weather import NoWeatherError, Sample

CHIP_ID = 0x60
_RESET_WORD = 0xB6
_START_UP_S = 0.002  # table 1: start-up time, at most 2 ms

_CALIB_0 = 0x88  # 26 bytes
_ID = 0xD0
_RESET = 0xE0
_CALIB_26 = 0xE1  # 7 bytes
_CTRL_HUM = 0xF2
_STATUS = 0xF3
_CTRL_MEAS = 0xF4
_CONFIG = 0xF5
_DATA = 0xF7  # pressure 3, temperature 3, humidity 2
_DATA_SIZE = 8

_FORCED = (1, 2)
_OVERSAMPLING = (0, 1, 2, 4, 8, 16, 16, 16)
_SKIPPED = 0x80000
_SKIPPED_HUMIDITY = 0x8000


@dataclass(frozen=True)
class Calibration:
    """The words that Bosch writes into each part at the factory (data sheet table 16), with their C types' ranges.

    The values here for t and p are those of Bosch's worked example (BMP280 data sheet BST-BMP280-DS001, section 3.12,
    which has the same formulas); those for h are a typical part's, for neither data sheet has an example.
    """

    t1: int = 27504
    t2: int = 26435
    t3: int = -1000
    p1: int = 36477
    p2: int = -10685
    p3: int = 3024
    p4: int = 2855
    p5: int = 140
    p6: int = -7
    p7: int = 15500
    p8: int = -14600
    p9: int = 6000
    h1: int = 75
    h2: int = 362
    h3: int = 0
    h4: int = 324
    h5: int = 0
    h6: int = 30

    @classmethod
    def of_part(cls, seed: bytes) -> Calibration:
        """Return the words of one particular part: up to 2 % off the typical ones."""
        # Variety between parts, not a secret.
        random = Random(seed)  # noqa: S311
        typical = cls()
        words = {}
        for field in fields(cls):
            value = getattr(typical, field.name)
            spread = abs(value) // 50
            words[field.name] = value + random.randint(-spread, spread)
        return cls(**words)

    def registers(self) -> tuple[bytes, bytes]:
        """Return the words as they lie at 0x88..0xA1 and at 0xE1..0xE7."""
        first = b"".join(
            value.to_bytes(2, "little", signed=signed)
            for value, signed in (
                (self.t1, False),
                (self.t2, True),
                (self.t3, True),
                (self.p1, False),
                (self.p2, True),
                (self.p3, True),
                (self.p4, True),
                (self.p5, True),
                (self.p6, True),
                (self.p7, True),
                (self.p8, True),
                (self.p9, True),
            )
        ) + bytes((0, self.h1))
        second = self.h2.to_bytes(2, "little", signed=True) + bytes(
            (
                self.h3,
                self.h4 >> 4 & 0xFF,
                (self.h4 & 0x0F) | (self.h5 & 0x0F) << 4,
                self.h5 >> 4 & 0xFF,
                self.h6 & 0xFF,
            )
        )
        return first, second

    def t_fine(self, adc: int) -> int:
        """Return the fine temperature that the other formulas take, as BME280_compensate_T_int32 leaves it."""
        part = (((adc >> 3) - (self.t1 << 1)) * self.t2) >> 11
        square = (((((adc >> 4) - self.t1) * ((adc >> 4) - self.t1)) >> 12) * self.t3) >> 14
        return part + square

    def temperature(self, t_fine: int) -> int:
        """Return the temperature in 0.01 degrees Celsius (BME280_compensate_T_int32)."""
        return (t_fine * 5 + 128) >> 8

    def pressure(self, adc: int, t_fine: int) -> int:
        """Return the pressure in 1/256 Pa (BME280_compensate_P_int64)."""
        var1 = t_fine - 128000
        var2 = var1 * var1 * self.p6
        var2 += (var1 * self.p5) << 17
        var2 += self.p4 << 35
        var1 = ((var1 * var1 * self.p3) >> 8) + ((var1 * self.p2) << 12)
        var1 = (((1 << 47) + var1) * self.p1) >> 33
        if var1 == 0:
            return 0
        # C divides towards zero, Python towards minus infinity; both operands are positive within the part's range.
        p = (((1048576 - adc) << 31) - var2) * 3125 // var1
        var1 = (self.p9 * (p >> 13) * (p >> 13)) >> 25
        var2 = (self.p8 * p) >> 19
        return ((p + var1 + var2) >> 8) + (self.p7 << 4)

    def humidity(self, adc: int, t_fine: int) -> int:
        """Return the relative humidity in 1/1024 % (bme280_compensate_H_int32)."""
        v = t_fine - 76800
        left = ((adc << 14) - (self.h4 << 20) - self.h5 * v + 16384) >> 15
        right = ((((((v * self.h6) >> 10) * (((v * self.h3) >> 11) + 32768)) >> 10) + 2097152) * self.h2 + 8192) >> 14
        v = left * right
        v -= ((((v >> 15) * (v >> 15)) >> 7) * self.h1) >> 4
        return min(max(v, 0), 419430400) >> 12


class Conversion(NamedTuple):
    """One measurement as the part made it: what the data sheet's formulas give for the raw values it showed.

    Attributes:
        time: the world's seconds since 1970.
        temperature: in 0.01 degrees Celsius.
        humidity: in 1/1024 %, None if skipped.
        pressure: in 1/256 Pa, None if skipped.
    """

    time: float
    temperature: int | None
    humidity: int | None
    pressure: int | None

    @property
    def readings(self) -> int:
        """How many quantities were measured."""
        return sum(value is not None for value in self[1:])


class Bme280:
    """One BME280 in the emulated world.

    Forced mode is modelled, which is how a board that sleeps between readings uses the part; in normal mode the model
    does not measure.

    Args:
        address: 0x76, or 0x77 with SDO high.
        world: weather at a moment (seconds since 1970); raises NoWeatherError where there is none, and then the part
            is silent on the bus.
        now: the world's seconds since 1970.
        monotonic: the machine's seconds; conversions take real time, as the driver's waiting does.
        calibration: this part's words.

    Attributes:
        conversions: every measurement that the part has made and that was fetched from it.
        end_at: the world's second from which on the part is silent, None for never.
        fault: what is wrong with it.
    """

    def __init__(
        self,
        address: int,
        world: Callable[[float], Sample],
        now: Callable[[], float],
        monotonic: Callable[[], float],
        calibration: Calibration | None = None,
    ) -> None:
        self.address = address
        self.calibration = calibration or Calibration()
        self.conversions: list[Conversion] = []
        self.end_at: float | None = None
        self.fault = Fault.NONE
        self._world = world
        self._now = now
        self._monotonic = monotonic
        self._registers = bytearray(256)
        self._pointer = 0
        self._ready_at = 0.0
        self._busy_until: float | None = None
        self._pending: tuple[Conversion, bytes] | None = None
        self._made: Conversion | None = None  # not fetched yet
        self._power_on()

    @property
    def readings(self) -> int:
        """How many quantities it has measured and handed over."""
        return sum(conversion.readings for conversion in self.conversions)

    def power_on(self) -> None:
        """Start as after the supply voltage has come."""
        self._power_on()

    def write(self, data: bytes) -> None:
        """Take a write: a register address alone, or pairs of address and value (section 6.2.1)."""
        self._settle()
        if not data:
            return
        self._pointer = data[0]
        for register, value in zip(data[0::2], data[1::2], strict=False):
            self._set(register, value)

    def read(self, size: int) -> bytes:
        """Return registers from the last address written on (section 6.2.2)."""
        self._settle()
        start = self._pointer
        if self._made is not None and start <= _DATA and start + size >= _DATA + _DATA_SIZE:
            self.conversions.append(self._made)
            self._made = None
        return bytes(self._registers[(start + i) & 0xFF] for i in range(size))

    def _power_on(self) -> None:
        registers = self._registers
        registers[:] = bytes(256)
        first, second = self.calibration.registers()
        registers[_CALIB_0 : _CALIB_0 + len(first)] = first
        registers[_CALIB_26 : _CALIB_26 + len(second)] = second
        registers[_ID] = CHIP_ID
        registers[_DATA : _DATA + _DATA_SIZE] = _data(_SKIPPED, _SKIPPED, _SKIPPED_HUMIDITY)
        registers[_STATUS] = 0x01  # im_update: calibration is being copied
        self._humidity_setting = 0
        self._busy_until = None
        self._pending = self._made = None
        self._ready_at = self._monotonic() + _START_UP_S

    def _settle(self) -> None:
        """Bring the registers up to this moment; raise NakError if the part is silent."""
        now = self._now()
        if self.end_at is not None and now >= self.end_at:
            raise NakError
        try:
            self._world(now)
        except NoWeatherError:
            raise NakError from None
        moment = self._monotonic()
        if self._registers[_STATUS] & 1 and moment >= self._ready_at:
            self._registers[_STATUS] &= ~1
        if self._busy_until is not None and moment >= self._busy_until and self._pending is not None:
            conversion, data = self._pending
            self._registers[_DATA : _DATA + _DATA_SIZE] = data
            self._registers[_STATUS] &= ~8
            self._registers[_CTRL_MEAS] &= ~3  # back to sleep
            self._made = conversion
            self._busy_until = self._pending = None

    def _set(self, register: int, value: int) -> None:
        if register == _RESET and value == _RESET_WORD:
            self._power_on()
        elif register == _CTRL_HUM:
            self._registers[_CTRL_HUM] = value & 7
        elif register == _CONFIG:
            self._registers[_CONFIG] = value & 0xFD
        elif register == _CTRL_MEAS:
            self._registers[_CTRL_MEAS] = value
            self._humidity_setting = self._registers[_CTRL_HUM]  # takes effect only now (section 5.4.3)
            if value & 3 in _FORCED and self._busy_until is None:
                self._convert(value >> 5, value >> 2 & 7, self._humidity_setting)

    def _convert(self, temperature_setting: int, pressure_setting: int, humidity_setting: int) -> None:
        time = self._now()
        sample = self._world(time)
        adc_t = raw_temperature(self.calibration, sample.temperature)
        filtered = bool(self._registers[_CONFIG] >> 2 & 7)
        adc_t = _coarse(adc_t, temperature_setting, filtered)
        t_fine = self.calibration.t_fine(adc_t)
        adc_p = _coarse(raw_pressure(self.calibration, sample.pressure * 256, t_fine), pressure_setting, filtered)
        adc_h = raw_humidity(self.calibration, round(sample.humidity * 1024 / 100), t_fine)
        # Without temperature the other two cannot be compensated: the formulas get the skipped value's t_fine.
        if not temperature_setting:
            t_fine = self.calibration.t_fine(_SKIPPED)
        conversion = Conversion(
            time,
            self.calibration.temperature(t_fine) if temperature_setting else None,
            self.calibration.humidity(adc_h, t_fine) if humidity_setting else None,
            self.calibration.pressure(adc_p, t_fine) if pressure_setting else None,
        )
        data = _data(
            adc_p if pressure_setting else _SKIPPED,
            adc_t if temperature_setting else _SKIPPED,
            adc_h if humidity_setting else _SKIPPED_HUMIDITY,
        )
        self._pending = (conversion, data)
        self._registers[_STATUS] |= 8  # measuring
        self._busy_until = self._monotonic() + conversion_time(temperature_setting, pressure_setting, humidity_setting)


def conversion_time(temperature_setting: int, pressure_setting: int, humidity_setting: int) -> float:
    """Return the longest time of one conversion in seconds for osrs_t, osrs_p and osrs_h (section 9.1)."""
    t, p, h = (_OVERSAMPLING[setting] for setting in (temperature_setting, pressure_setting, humidity_setting))
    ms = 1.25 + 2.3 * t + (2.3 * p + 0.575 if p else 0) + (2.3 * h + 0.575 if h else 0)
    return ms / 1000


def raw_temperature(calibration: Calibration, centi: int) -> int:
    """Return the 20-bit ADC value that compensates to a temperature in 0.01 degrees Celsius, or the nearest."""
    return _nearest(lambda adc: calibration.temperature(calibration.t_fine(adc)), centi, 1 << 20)


def raw_pressure(calibration: Calibration, pascal_256: int, t_fine: int) -> int:
    """Return the 20-bit ADC value that compensates to a pressure in 1/256 Pa, or the nearest."""
    # The pressure falls as the ADC value rises.
    top = (1 << 20) - 1
    return top - _nearest(lambda mirrored: calibration.pressure(top - mirrored, t_fine), pascal_256, 1 << 20)


def raw_humidity(calibration: Calibration, percent_1024: int, t_fine: int) -> int:
    """Return the 16-bit ADC value that compensates to a relative humidity in 1/1024 %, or the nearest."""
    return _nearest(lambda adc: calibration.humidity(adc, t_fine), percent_1024, 1 << 16)


def _nearest(function: Callable[[int], int], wanted: int, size: int) -> int:
    """Return the x in 0 to size - 1 at which a rising function is nearest to `wanted`, in the middle of equals."""
    first = _first_at_least(function, wanted, size)
    if first == size:
        return size - 1
    if function(first) == wanted:
        return (first + _first_at_least(function, wanted + 1, size) - 1) // 2
    if first and wanted - function(first - 1) <= function(first) - wanted:
        return first - 1
    return first


def _first_at_least(function: Callable[[int], int], wanted: int, size: int) -> int:
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if function(middle) < wanted:
            low = middle + 1
        else:
            high = middle
    return low


def _coarse(adc: int, setting: int, filtered: bool) -> int:
    """Drop the bits that a low oversampling does not resolve: 16 bits at x1 to 20 at x16, 20 with the filter on."""
    if filtered or not setting:
        return adc
    step = 1 << max(0, 5 - setting)
    return min((adc + step // 2) // step * step, (1 << 20) - step)


def _data(pressure: int, temperature: int, humidity: int) -> bytes:
    return (pressure << 4).to_bytes(3, "big") + (temperature << 4).to_bytes(3, "big") + humidity.to_bytes(2, "big")
