"""Bosch BME280: temperature, humidity and pressure over I2C, in integers.

Source: data sheet BST-BME280-DS002, register map in chapter 5, compensation in section 4.2.3 (32-bit temperature and
humidity, 64-bit pressure). The 64-bit pressure formula resolves 1/256 Pa where the 32-bit one of section 8.2 rounds to
1 Pa, which is coarser than the part's noise; the larger integers cost a millisecond a reading.

The part sleeps between readings (forced mode, oversampling 1, no filter: section 3.5.1, weather monitoring).
"""

import asyncio
import struct

from micropython import const

from trig.sensors import Sensor, SensorError, prefixed

_ID = const(0xD0)
_CTRL_HUM = const(0xF2)
_STATUS = const(0xF3)
_CTRL_MEAS = const(0xF4)
_CONFIG = const(0xF5)
_DATA = const(0xF7)
_CALIBRATION_1 = const(0x88)
_CALIBRATION_2 = const(0xE1)

_CHIP_ID = const(0x60)
_OVERSAMPLE_HUMIDITY_1 = const(0x01)
_FORCED_OVERSAMPLE_1 = const(0x25)
_MEASURING = const(0x08)
_COPYING = const(0x01)
_NO_FILTER = const(0x00)

_MEASURE_MS = const(10)  # 9.3 ms at most with oversampling 1 (section 9.1)
_POLL_MS = const(2)
_POLLS = const(20)

_SKIPPED_20 = const(0x80000)  # what the data registers hold before the first measurement (section 5.4.7)
_SKIPPED_16 = const(0x8000)


def open_sensor(entry, machine, bus):
    """Return the sensor for its checked entry in config.json."""
    return Bme280(bus, entry["address"], entry["name"])


class Calibration:
    """The part's trimming words (section 4.2.2, table 16)."""

    def __init__(self, first, second):
        """Take registers 0x88 to 0xA1 (26 bytes) and 0xE1 to 0xE7 (7 bytes)."""
        self.t1, self.t2, self.t3 = struct.unpack_from("<Hhh", first, 0)
        self.p = struct.unpack_from("<Hhhhhhhhh", first, 6)
        self.h1 = first[25]
        self.h2, self.h3 = struct.unpack_from("<hB", second, 0)
        # H4 and H5 are signed 12-bit words that share a byte.
        self.h4 = _signed(second[3] << 4 | second[4] & 0x0F, 12)
        self.h5 = _signed(second[5] << 4 | second[4] >> 4, 12)
        self.h6 = _signed(second[6], 8)

    def fine_temperature(self, raw):
        """The fine temperature that the other formulas take, from a 20-bit raw value."""
        first = (((raw >> 3) - (self.t1 << 1)) * self.t2) >> 11
        second = (raw >> 4) - self.t1
        return first + ((((second * second) >> 12) * self.t3) >> 14)

    def temperature(self, fine):
        """Hundredths of a degree Celsius."""
        return (fine * 5 + 128) >> 8

    def pressure(self, raw, fine):
        """Tenths of a pascal, from a 20-bit raw value; 0 if the calibration words would divide by zero."""
        p1, p2, p3, p4, p5, p6, p7, p8, p9 = self.p
        first = fine - 128000
        second = first * first * p6
        second += (first * p5) << 17
        second += p4 << 35
        first = ((first * first * p3) >> 8) + ((first * p2) << 12)
        first = (((1 << 47) + first) * p1) >> 33
        if first == 0:
            return 0
        value = (((1048576 - raw) << 31) - second) * 3125
        # C divides towards zero.
        value = value // first if (value >= 0) == (first > 0) else -(-value // first)
        value += ((p9 * (value >> 13) * (value >> 13)) >> 25) + ((p8 * value) >> 19)
        # The data sheet's result is in 1/256 Pa.
        value = ((value) >> 8) + (p7 << 4)
        return (value * 10 + 128) >> 8

    def humidity(self, raw, fine):
        """Hundredths of a percent of relative humidity, 0 to 10,000, from a 16-bit raw value."""
        value = fine - 76800
        scale = ((((value * self.h6) >> 10) * (((value * self.h3) >> 11) + 32768)) >> 10) + 2097152
        value = (((raw << 14) - (self.h4 << 20) - self.h5 * value) + 16384) >> 15
        value *= (scale * self.h2 + 8192) >> 14
        value -= ((((value >> 15) * (value >> 15)) >> 7) * self.h1) >> 4
        value = min(max(value, 0), 419430400) >> 12
        # The data sheet's result is in 1/1024 %RH.
        return (value * 100 + 512) >> 10


class Bme280(Sensor):
    """One BME280 on an I2C bus; the shape is that of ``trig.sensors``."""

    limit_ms = 1000

    def __init__(self, bus, address, name=""):
        """Take a ``trig.i2c.Bus``, the part's address (0x76 or 0x77) and a prefix for its readings' names."""
        self.part = "BME280 " + (name or hex(address))
        self.channels = prefixed(name, (("temperature", "Cel", -2), ("humidity", "%RH", -2), ("pressure", "Pa", -1)))
        self._bus = bus
        self._address = address
        self._calibration = None
        self._data = bytearray(8)
        self._byte = bytearray(1)

    async def measure(self, out):
        """Measure once; ``out`` gets temperature (0.01 Cel), humidity (0.01 %RH) and pressure (0.1 Pa)."""
        try:
            if self._calibration is None:
                await self._start()
            bus = self._bus
            # The humidity setting takes effect with the next write to ctrl_meas (section 5.4.3).
            bus.writeto_mem(self._address, _CTRL_HUM, bytes((_OVERSAMPLE_HUMIDITY_1,)))
            bus.writeto_mem(self._address, _CTRL_MEAS, bytes((_FORCED_OVERSAMPLE_1,)))
            await asyncio.sleep_ms(_MEASURE_MS)
            await self._wait(_MEASURING, "is still measuring")
            bus.readfrom_mem_into(self._address, _DATA, self._data)
        except OSError as error:
            # A part that lost its power has lost its state: check it and read its calibration again.
            self._calibration = None
            raise SensorError("{}: no answer on the bus ({})".format(self.part, error))
        self._compensate(out)

    async def _start(self):
        bus = self._bus
        bus.readfrom_mem_into(self._address, _ID, self._byte)
        if self._byte[0] != _CHIP_ID:
            raise SensorError("{}: chip id 0x{:02x}, want 0x60".format(self.part, self._byte[0]))
        await self._wait(_COPYING, "is still reading its memory")
        bus.writeto_mem(self._address, _CONFIG, bytes((_NO_FILTER,)))
        calibration = Calibration(
            bus.readfrom_mem(self._address, _CALIBRATION_1, 26), bus.readfrom_mem(self._address, _CALIBRATION_2, 7)
        )
        if calibration.t1 in (0, 0xFFFF) or calibration.p[0] in (0, 0xFFFF):
            raise SensorError(self.part + ": calibration words are empty")
        self._calibration = calibration

    async def _wait(self, bit, what):
        for _ in range(_POLLS):
            self._bus.readfrom_mem_into(self._address, _STATUS, self._byte)
            if not self._byte[0] & bit:
                return
            await asyncio.sleep_ms(_POLL_MS)
        self._calibration = None
        raise SensorError("{}: {}".format(self.part, what))

    def _compensate(self, out):
        data = self._data
        pressure = data[0] << 12 | data[1] << 4 | data[2] >> 4
        temperature = data[3] << 12 | data[4] << 4 | data[5] >> 4
        humidity = data[6] << 8 | data[7]
        # Each of these is a value that may also be measured; all three at once are not.
        if temperature == _SKIPPED_20 and pressure == _SKIPPED_20 and humidity == _SKIPPED_16:
            self._calibration = None
            raise SensorError(self.part + ": nothing was measured")
        calibration = self._calibration
        fine = calibration.fine_temperature(temperature)
        out[0] = calibration.temperature(fine)
        out[1] = calibration.humidity(humidity, fine)
        out[2] = calibration.pressure(pressure, fine)
        if not (-4500 <= out[0] <= 9000 and 250_000 <= out[2] <= 1_150_000):
            self._calibration = None
            raise SensorError(
                "{}: {} x 0.01 Cel, {} x 0.1 Pa is beyond what it can measure".format(self.part, out[0], out[2])
            )


def _signed(word, bits):
    return word - (1 << bits) if word >> (bits - 1) else word
