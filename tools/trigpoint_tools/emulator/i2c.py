"""The I2C wires of an emulated board and the parts on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from trigpoint_tools.emulator.errors import HardwareError

_ENODEV = 19


class NakError(Exception):
    """Nobody acknowledged the address or a byte."""


class Part(Protocol):
    """A part on an I2C bus, seen from its pins."""

    @property
    def address(self) -> int:
        """The 7-bit address to which the part answers."""
        ...

    def write(self, data: bytes) -> None:
        """Take the bytes of a write, perhaps none (the bus scan); raise NakError to refuse."""
        ...

    def read(self, size: int) -> bytes:
        """Return `size` bytes for a read; raise NakError to refuse."""
        ...


class I2CBus:
    """Two wires with parts on them, all at different addresses.

    Args:
        scl: pin number of the clock wire.
        sda: pin number of the data wire.
        parts: what is soldered on.
    """

    def __init__(self, scl: int, sda: int, parts: Iterable[Part]) -> None:
        self.scl = scl
        self.sda = sda
        self._parts: dict[int, Part] = {}
        for part in parts:
            if part.address in self._parts:
                raise ValueError(f"two parts at I2C address 0x{part.address:02x}")
            self._parts[part.address] = part

    def transfer(self, address: int, data: bytes, size: int) -> bytes:
        """Write `data`, then read `size` bytes after a repeated start; either may be nothing.

        Raises:
            HardwareError: ENODEV, as the ESP32 says when nobody acknowledges.
        """
        part = self._parts.get(address)
        if part is None:
            raise HardwareError(_ENODEV)
        try:
            if data or not size:
                part.write(data)
            return part.read(size) if size else b""
        except NakError:
            raise HardwareError(_ENODEV) from None


def transfer(buses: Iterable[I2CBus], payload: bytes) -> bytes:
    """Carry out a transfer as the board's I2C class sends it: scl, sda, address, size (2 bytes), data.

    A board that names the wrong pins talks to nobody, as in life.
    """
    if len(payload) < 5:
        raise HardwareError(_ENODEV)
    scl, sda, address = payload[:3]
    size = int.from_bytes(payload[3:5], "little")
    for bus in buses:
        if (bus.scl, bus.sda) == (scl, sda):
            return bus.transfer(address, payload[5:], size)
    raise HardwareError(_ENODEV)
