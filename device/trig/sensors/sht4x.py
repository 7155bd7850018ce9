"""Sensirion SHT4x: temperature and humidity over I2C, in integers.

Source: SHT4x data sheet, version 6: timing (table 5), commands (table 8), conversion (section 4.6).
"""

import asyncio

from micropython import const

from trig.sensors import Sensor, SensorError, prefixed
from trig.sensors.sensirion import celsius, word

_MEASURE = const(b"\xfd")  # high repeatability
_MEASURE_MS = const(10)  # 8.3 ms at most


def open_sensor(entry, machine, bus):
    """Return the sensor for its checked entry in config.json."""
    return Sht4x(bus, entry["address"], entry["name"])


class Sht4x(Sensor):
    """One SHT4x on an I2C bus; the shape is that of ``trig.sensors``."""

    limit_ms = 1000

    def __init__(self, bus, address, name=""):
        """Take a ``trig.i2c.Bus``, the part's address (0x44 to 0x46) and a prefix for its readings' names."""
        self.part = "SHT4x " + (name or hex(address))
        self.channels = prefixed(name, (("temperature", "Cel", -2), ("humidity", "%RH", -2)))
        self._bus = bus
        self._address = address
        self._data = bytearray(6)

    async def measure(self, out):
        """Measure once; ``out`` gets temperature (0.01 Cel) and humidity (0.01 %RH)."""
        try:
            self._bus.writeto(self._address, _MEASURE)
            await asyncio.sleep_ms(_MEASURE_MS)
            self._bus.readfrom_into(self._address, self._data)
        except OSError as error:
            raise SensorError("{}: no answer on the bus ({})".format(self.part, error))
        temperature = celsius(word(self._data, 0, self.part))
        # The line runs from -6 to 119 %; what lies outside 0 to 100 % is to be cropped (section 4.6).
        humidity = (12500 * word(self._data, 1, self.part) + 32767) // 65535 - 600
        if not -4000 <= temperature <= 12500:
            raise SensorError("{}: {} x 0.01 Cel is beyond what it can measure".format(self.part, temperature))
        out[0] = temperature
        out[1] = min(max(humidity, 0), 10000)
