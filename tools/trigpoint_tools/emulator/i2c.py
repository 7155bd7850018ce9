"""The I2C wires of an emulated board and the parts on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from trigpoint_tools.emulator.errors import HardwareError
from trigpoint_tools.emulator.parts.fault import Distortion, Fault

_ENODEV = 19
_ETIMEDOUT = 116
_CLOCKS = 9  # what a part that waits for the rest of a byte and its acknowledgement needs to let go of SDA


class NakError(Exception):
    """Nobody acknowledged the address or a byte."""


class Part(Protocol):
    """A part on an I2C bus, seen from its pins. One that can fail has an attribute `fault` besides."""

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


@runtime_checkable
class WakingPart(Protocol):
    """A part that sleeps until SDA is held low for long enough."""

    def sda_low(self, seconds: float) -> None:
        """SDA was low for so long."""
        ...


class I2CBus:
    """Two wires with parts on them, all at different addresses.

    The wires belong either to the chip's I2C unit, which makes transfers, or to plain pins, by which the board can free
    a bus that hangs: `attach` and `detach`.

    Args:
        scl: pin number of the clock wire.
        sda: pin number of the data wire.
        parts: what is soldered on.

    Attributes:
        recoveries: how often a part that held SDA was made to let go.
    """

    def __init__(self, scl: int, sda: int, parts: Iterable[Part]) -> None:
        self.scl = scl
        self.sda = sda
        self.recoveries = 0
        self._parts: dict[int, Part] = {}
        for part in parts:
            if part.address in self._parts:
                raise ValueError(f"two parts at I2C address 0x{part.address:02x}")
            self._parts[part.address] = part
        self._distortion = Distortion()
        self._attached = True
        self._stretcher: Part | None = None
        self._holder: Part | None = None
        self._clocks = 0
        self._driven = (1, 1)  # what plain pins put on scl and sda

    def power_on(self) -> None:
        """Start as after the supply voltage has come: no part holds a wire."""
        self._stretcher = self._holder = None
        self._driven = (1, 1)
        self._attached = True

    def attach(self) -> None:
        """Give the wires to the chip's I2C unit."""
        self._attached = True

    def detach(self) -> None:
        """Give the wires to plain pins."""
        self._attached = False

    def levels(self) -> tuple[int, int]:
        """Return the levels of scl and sda."""
        if self._stretcher is not None and _fault(self._stretcher) != Fault.STRETCHED:
            self._stretcher = None
        scl, sda = self._driven
        if self._stretcher is not None:
            scl = 0
        if self._holder is not None and self._clocks < _CLOCKS:
            sda = 0
        return scl, sda

    def drive(self, scl: int, sda: int) -> None:
        """Put levels on the wires by plain pins with open drain: 1 lets go."""
        before = self.levels()
        self._driven = (scl, sda)
        after = self.levels()
        if self._holder is None:
            return
        if after[0] > before[0] and sda:
            self._clocks += 1
        if after[0] and before[0] and after[1] > before[1] and self._clocks >= _CLOCKS:
            self._holder = None  # a STOP
            self.recoveries += 1

    def transfer(self, address: int, data: bytes, size: int, frequency: int = 100_000) -> bytes:
        """Write `data`, then read `size` bytes after a repeated start; either may be nothing.

        Address 0 is eight low bits on SDA, which nobody acknowledges; at a low frequency (hertz) they wake parts that
        have an `sda_low(seconds)`.

        Raises:
            HardwareError: ENODEV, as the ESP32 says when nobody acknowledges; ETIMEDOUT when a wire is held low or does
                not belong to the I2C unit.
        """
        if not self._attached or self._holder is not None or self.levels() != (1, 1):
            raise HardwareError(_ETIMEDOUT)
        if address == 0:
            for sleeper in self._parts.values():
                if isinstance(sleeper, WakingPart):
                    sleeper.sda_low(8 / frequency)
        part = self._parts.get(address)
        fault = _fault(part)
        if part is None or fault == Fault.MISSING:
            raise HardwareError(_ENODEV)
        if fault == Fault.STUCK:
            self._holder, self._clocks = part, 0
            raise HardwareError(_ETIMEDOUT)
        if fault == Fault.STRETCHED:
            self._stretcher = part
            raise HardwareError(_ETIMEDOUT)
        try:
            if data or not size:
                part.write(data)
            return self._distortion.of(fault, part.read(size)) if size else b""
        except NakError:
            raise HardwareError(_ENODEV) from None


def _fault(part: Part | None) -> Fault:
    return getattr(part, "fault", Fault.NONE)


def transfer(buses: Iterable[I2CBus], payload: bytes) -> bytes:
    """Carry out a transfer as the board's I2C class sends it: scl, sda, address, size (2), frequency in kHz (2), data.

    A board that names the wrong pins talks to nobody, as in life.
    """
    if len(payload) < 7:
        raise HardwareError(_ENODEV)
    scl, sda, address = payload[:3]
    size = int.from_bytes(payload[3:5], "little")
    for bus in buses:
        if (bus.scl, bus.sda) == (scl, sda):
            frequency = int.from_bytes(payload[5:7], "little") * 1000 or 1000
            return bus.transfer(address, payload[7:], size, frequency)
    raise HardwareError(_ENODEV)
