"""Maxim DS18B20 (temperature) on 1-Wire, bit by bit.

Source: DS18B20 data sheet 19-7487, revision 6: ROM commands and search, function commands, scratchpad (figure 8),
temperature data (table 1), CRC (x^8 + x^5 + x^4 + 1, Maxim application note 27), conversion times (table 2).
Powered by its own wire; parasite power is not modelled.
"""

from __future__ import annotations

from collections.abc import Callable

from trigpoint_tools.emulator.parts.fault import Distortion, Fault

FAMILY = 0x28
_SEARCH_ROM = 0xF0
_READ_ROM = 0x33
_MATCH_ROM = 0x55
_SKIP_ROM = 0xCC
_CONVERT = 0x44
_WRITE_SCRATCHPAD = 0x4E
_READ_SCRATCHPAD = 0xBE
_COPY_SCRATCHPAD = 0x48
_RECALL = 0xB8
_READ_POWER = 0xB4
_CONVERSION_S = (0.09375, 0.1875, 0.375, 0.75)  # 9 to 12 bits
_POWER_ON_RAW = 0x0550  # +85 degrees


def crc8(data: bytes) -> int:
    """Return the Maxim CRC-8: reflected polynomial 0x8C, initial value 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc


def rom_of(serial: int) -> bytes:
    """Return the 64-bit ROM code of a serial number: family, 48 bits, CRC."""
    code = bytes((FAMILY,)) + serial.to_bytes(6, "little")
    return code + bytes((crc8(code),))


class Ds18b20:
    """One DS18B20.

    Args:
        rom: its ROM code, 8 bytes.
        world: the temperature in 0.01 degrees Celsius; None where there is none, and then the part is not there.
        monotonic: the machine's seconds, in which conversions take their time.
        pace: 1.0 for the data sheet's conversion times; a test may hurry.
        now: the world's seconds since 1970, for `results`; by default `monotonic`.

    Attributes:
        raw: if set, the value in 1/16 degrees that it measures instead of the world's.
        fault: what is wrong with it.
        results: the conversions it has made whose result was fetched: the moment of their end, and the raw value.
    """

    def __init__(
        self,
        rom: bytes,
        world: Callable[[], int | None],
        monotonic: Callable[[], float],
        pace: float = 1.0,
        now: Callable[[], float] | None = None,
    ) -> None:
        self.rom = rom
        self.raw: int | None = None
        self.results: list[tuple[float, int]] = []
        self.pace = pace
        self._fault = Fault.NONE
        self._world = world
        self._monotonic = monotonic
        self._now = now or monotonic
        self._eeprom = bytes((0x4B, 0x46, 0x7F))
        self._distortion = Distortion()
        self.power_on()

    @property
    def fault(self) -> Fault:
        """What is wrong with it."""
        if self._fault == Fault.NONE and self.raw is None and self._world() is None:
            return Fault.MISSING
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self._fault = fault

    @property
    def readings(self) -> int:
        """How many quantities it has measured and handed over."""
        return len(self.results)

    def power_on(self) -> None:
        """Start as after the supply voltage has come: +85 degrees in the scratchpad, settings from EEPROM."""
        self._scratchpad = bytearray(_POWER_ON_RAW.to_bytes(2, "little") + self._eeprom + b"\xff\x0c\x10")
        self._converted: tuple[float, int] | None = None
        self._handed: tuple[float, int] | None = None  # on its way to the board
        self._end: float | None = None
        self._state = "deaf"
        self._in = 0
        self._in_bits = 0
        self._out: list[int] = []
        self._expected = b""
        self._collected = bytearray()

    def reset(self) -> None:
        """Hear a reset pulse: a ROM command comes next."""
        self._settle()
        self._state = "rom"
        self._out = []
        if self._handed is not None:
            self._converted, self._handed = self._handed, None
        self._in = self._in_bits = 0
        self._collected.clear()

    def write_bit(self, bit: int) -> None:
        """Take a bit."""
        if self._state == "deaf":
            return
        if self._state == "search":
            self._chosen(bit)
            return
        self._in |= bit << self._in_bits
        self._in_bits += 1
        if self._in_bits == 8:
            byte, self._in, self._in_bits = self._in, 0, 0
            self._byte(byte)

    def read_bit(self) -> int:
        """Return a bit; during a conversion 0, else 1 where there is nothing to say."""
        self._settle()
        if self._state == "search":
            bit = self._rom_bit(self._place)
            self._asked += 1
            return bit if self._asked == 1 else 1 - bit
        if self._out:
            bit = self._out.pop(0)
            if not self._out and self._handed is not None:
                self.results.append(self._handed)  # to the last bit
                self._handed = None
            return bit
        if self._state == "converting":
            return int(self._end is None)
        return 1

    def _byte(self, byte: int) -> None:
        if self._state == "rom":
            self._rom_command(byte)
        elif self._state == "match":
            self._collected.append(byte)
            if len(self._collected) == 8:
                self._state = "function" if bytes(self._collected) == self.rom else "deaf"
                self._collected.clear()
        elif self._state == "function":
            self._function(byte)
        elif self._state == "settings":
            self._collected.append(byte)
            if len(self._collected) == 3:
                config = self._collected[2] & 0x60 | 0x1F
                self._scratchpad[2:5] = bytes((*self._collected[:2], config))
                self._collected.clear()
                self._state = "deaf"

    def _rom_command(self, byte: int) -> None:
        if byte == _SEARCH_ROM:
            self._state = "search"
            self._place = self._asked = 0
        elif byte == _READ_ROM:
            self._say(self.rom)
            self._state = "function"
        elif byte == _MATCH_ROM:
            self._state = "match"
        else:
            self._state = "function" if byte == _SKIP_ROM else "deaf"

    def _function(self, byte: int) -> None:
        self._state = "deaf"
        if byte == _CONVERT:
            self._end = self._monotonic() + _CONVERSION_S[self._scratchpad[4] >> 5 & 3] * self.pace
            self._state = "converting"
        elif byte == _WRITE_SCRATCHPAD:
            self._state = "settings"
        elif byte == _READ_SCRATCHPAD:
            content = bytes(self._scratchpad)
            self._say(self._distortion.of(self.fault, content + bytes((crc8(content),))))
            self._handed, self._converted = self._converted, None
            self._state = "said"
        elif byte == _COPY_SCRATCHPAD:
            self._eeprom = bytes(self._scratchpad[2:5])
        elif byte == _RECALL:
            self._scratchpad[2:5] = self._eeprom

    def _say(self, data: bytes) -> None:
        self._out = [byte >> i & 1 for byte in data for i in range(8)]

    def _rom_bit(self, place: int) -> int:
        return self.rom[place // 8] >> place % 8 & 1

    def _chosen(self, bit: int) -> None:
        if bit != self._rom_bit(self._place):
            self._state = "deaf"
            return
        self._place += 1
        self._asked = 0
        if self._place == 64:
            self._state = "function"

    def _settle(self) -> None:
        if self._end is None or self._monotonic() < self._end:
            return
        self._end = None
        value = self.raw if self.raw is not None else raw(self._world() or 0)
        # Lower resolutions leave their undefined low bits at 0 here.
        value &= ~((1 << 3 - (self._scratchpad[4] >> 5 & 3)) - 1)
        self._scratchpad[0:2] = value.to_bytes(2, "little", signed=True)
        self._converted = (self._now(), value)


def raw(centi: int) -> int:
    """Return the value in 1/16 degrees nearest to a temperature in 0.01 degrees Celsius, within -55 to +125."""
    return min(max((centi * 16 + 50) // 100, -880), 2000)
