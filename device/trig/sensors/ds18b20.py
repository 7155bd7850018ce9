"""Maxim DS18B20: temperature on 1-Wire, in sixteenths of a degree, which are whole ten-thousandths.

Source: DS18B20 data sheet 19-7487, revision 6. Parts need their own supply wire; parasite power is not driven.

The stock driver (``ds18x20``) returns floats. Nor does it tell a measured +85 degrees from the +85 with which the part
wakes up, when its supply failed during a conversion. Here the two alarm registers, otherwise unused, get another mark
before each conversion: a part that has started anew does not know it. The mark also refuses the nine zeros of a wire
that is shorted to ground, whose CRC is right.
"""

import asyncio
import struct

from micropython import const

from trig.sensors import Sensor, SensorError, prefixed

_FAMILY = const(0x28)
_SKIP_ROM = const(0xCC)
_MATCH_ROM = const(0x55)
_WRITE_SCRATCHPAD = const(0x4E)
_CONVERT = const(0x44)
_READ_SCRATCHPAD = const(0xBE)
_TWELVE_BITS = const(0x7F)
_CONVERT_MS = const(760)  # 750 ms at most
_SIXTEENTH = const(625)  # in 0.0001 degrees


def open_sensor(entry, machine, bus):
    """Return the sensor for its checked entry in config.json."""
    from onewire import OneWire

    return Ds18b20(OneWire(machine.Pin(entry["pin"])), bytes.fromhex(entry["rom"]), entry["name"], entry["pin"])


def scan(pin):
    """Return the ROM codes of the DS18B20s on a pin, as text for ``config.json``'s ``rom``."""
    from machine import Pin
    from onewire import OneWire

    wire = OneWire(Pin(pin))
    return [bytes(rom).hex() for rom in wire.scan() if rom[0] == _FAMILY and not wire.crc8(rom)]


class Ds18b20(Sensor):
    """One DS18B20; the shape is that of ``trig.sensors``."""

    limit_ms = 3000

    def __init__(self, wire, rom, name, pin):
        """Take a ``onewire.OneWire``, the part's ROM code (empty if it is alone), the readings' prefix and the pin."""
        self.part = "DS18B20 " + (name or rom.hex() or "pin {}".format(pin))
        self.channels = prefixed(name, (("temperature", "Cel", -4),))
        self._wire = wire
        self._rom = rom
        self._mark = 0
        self._data = bytearray(9)

    async def measure(self, out):
        """Measure once; ``out`` gets the temperature (0.0001 Cel)."""
        data = self._data
        wire = self._wire
        self._mark = mark = self._mark + 1 & 0xFFFF
        self._select()
        wire.write(bytes((_WRITE_SCRATCHPAD, mark >> 8, mark & 255, _TWELVE_BITS)))
        self._select()
        wire.writebyte(_CONVERT)
        await asyncio.sleep_ms(_CONVERT_MS)
        self._select()
        wire.writebyte(_READ_SCRATCHPAD)
        wire.readinto(data)
        if wire.crc8(data):
            raise SensorError(self.part + ": checksum is wrong")
        if (data[2] << 8 | data[3]) != mark or data[4] != _TWELVE_BITS:
            raise SensorError(self.part + ": started anew while it measured, or the wire is shorted")
        temperature = struct.unpack_from("<h", data)[0] * _SIXTEENTH
        if not -550000 <= temperature <= 1250000:
            raise SensorError("{}: {} x 0.0001 Cel is beyond what it can measure".format(self.part, temperature))
        out[0] = temperature

    def _select(self):
        wire = self._wire
        if not wire.reset():
            raise SensorError(self.part + ": nobody on the wire")
        if self._rom:
            wire.writebyte(_MATCH_ROM)
            wire.write(self._rom)
        else:
            wire.writebyte(_SKIP_ROM)
