"""Sensirion SCD4x: CO2, temperature and humidity over I2C, in integers.

Source: SCD4x data sheet, version 1.6: commands (table 9), periodic measurement (section 3.6), altitude (3.7), low
power (3.9). The part measures by itself, every 30 or 5 seconds, and the newest value is fetched: only so does its
self-calibration work, which wants to see fresh air once a week. CO2 is a ratio in SenML: 500 ppm is 500 * 10^-6.
"""

import asyncio
import time

from micropython import const

from trig.sensors import Sensor, SensorError, prefixed
from trig.sensors.sensirion import celsius, crc8, word

_ADDRESS = const(0x62)
_START = const(b"\x21\xb1")
_START_LOW_POWER = const(b"\x21\xac")
_STOP = const(b"\x3f\x86")
_READY = const(b"\xe4\xb8")
_READ = const(b"\xec\x05")
_SERIAL = const(b"\x36\x82")

_STOP_MS = const(500)
_COMMAND_MS = const(2)  # 1 ms at most
_POLL_MS = const(250)
_PERIOD_MS = const(6500)  # 5 s and a margin
_PERIOD_LOW_POWER_MS = const(33000)  # about 30 s
_START_MS = const(1000)


def open_sensor(entry, machine, bus):
    """Return the sensor for its checked entry in config.json."""
    return Scd4x(bus, entry["name"], entry["low_power"], entry["altitude_m"])


class Scd4x(Sensor):
    """One SCD40 or SCD41 on an I2C bus; the shape is that of ``trig.sensors``."""

    def __init__(self, bus, name="", low_power=True, altitude_m=0):
        """Take a ``trig.i2c.Bus``, a prefix for the readings' names, the interval (30 s, else 5 s) and the altitude."""
        self.part = "SCD4x " + (name or hex(_ADDRESS))
        self.channels = prefixed(name, (("co2", "/", -6), ("temperature", "Cel", -2), ("humidity", "%RH", -2)))
        self._bus = bus
        self._start_command = _START_LOW_POWER if low_power else _START
        self._period_ms = _PERIOD_LOW_POWER_MS if low_power else _PERIOD_MS
        self.limit_ms = self._period_ms + _START_MS + 2000
        altitude = bytearray(b"\x24\x27\0\0\0")  # set_sensor_altitude
        altitude[2] = altitude_m >> 8
        altitude[3] = altitude_m & 255
        altitude[4] = crc8(altitude, 2)
        self._altitude = bytes(altitude)
        self._running = False
        self._data = bytearray(9)
        self._word = memoryview(self._data)[:3]

    async def measure(self, out):
        """Fetch the newest value; ``out`` gets CO2 (ppm), temperature (0.01 Cel) and humidity (0.01 %RH)."""
        try:
            if not self._running:
                await self._start()
            await self._wait()
            await self._ask(_READ, self._data)
        except OSError as error:
            # A part that lost its power has stopped measuring.
            self._running = False
            raise SensorError("{}: no answer on the bus ({})".format(self.part, error))
        co2 = word(self._data, 0, self.part)
        temperature = celsius(word(self._data, 1, self.part))
        humidity = (10000 * word(self._data, 2, self.part) + 32767) // 65535
        if not (0 < co2 <= 40000 and -1000 <= temperature <= 6000):
            raise SensorError(
                "{}: {} ppm, {} x 0.01 Cel is beyond what it can measure".format(self.part, co2, temperature)
            )
        out[0] = co2
        out[1] = temperature
        out[2] = humidity

    async def _start(self):
        # While it measures, as after a reset of the board alone, it takes no settings.
        self._bus.writeto(_ADDRESS, _STOP)
        await asyncio.sleep_ms(_STOP_MS)
        await self._ask(_SERIAL, self._data)
        for i in range(3):
            word(self._data, i, self.part)
        self._bus.writeto(_ADDRESS, self._altitude)
        await asyncio.sleep_ms(_COMMAND_MS)
        self._bus.writeto(_ADDRESS, self._start_command)
        self._running = True

    async def _wait(self):
        began = time.ticks_ms()
        while time.ticks_diff(time.ticks_ms(), began) < self._period_ms:
            await self._ask(_READY, self._word)
            if word(self._word, 0, self.part) & 0x07FF:
                return
            await asyncio.sleep_ms(_POLL_MS)
        self._running = False
        raise SensorError(self.part + ": has no new value")

    async def _ask(self, command, answer):
        self._bus.writeto(_ADDRESS, command)
        await asyncio.sleep_ms(_COMMAND_MS)
        self._bus.readfrom_into(_ADDRESS, answer)
