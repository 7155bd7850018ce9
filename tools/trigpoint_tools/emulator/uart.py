"""The serial lines of an emulated board."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from trigpoint_tools.emulator.errors import HardwareError
from trigpoint_tools.emulator.parts.fault import Distortion, Fault


class SerialPart(Protocol):
    """A part at the other end of a serial line."""

    fault: Fault

    @property
    def baud(self) -> int:
        """Bits per second at which it speaks and listens."""
        ...

    def hear(self, data: bytes) -> None:
        """Take what the board has sent."""
        ...

    def say(self) -> bytes:
        """Return what the part has sent since it was last asked."""
        ...


class SerialLine:
    """Two wires from the board to one part.

    Args:
        tx: number of the pin on which the board sends; -1 if that wire is missing.
        rx: number of the pin on which it receives.
        part: what is at the other end.
    """

    def __init__(self, tx: int, rx: int, part: SerialPart) -> None:
        self.tx = tx
        self.rx = rx
        self.part = part


class Uart:
    """One of the chip's UARTs: a receive buffer of fixed size; what does not fit is lost, as on the ESP32."""

    def __init__(self) -> None:
        self._sends: SerialPart | None = None
        self._hears: SerialPart | None = None
        self._baud = 0
        self._room = 0
        self._received = bytearray()
        self._distortion = Distortion()

    def init(self, lines: Iterable[SerialLine], tx: int, rx: int, baud: int, room: int) -> None:
        """Configure it: the lines on the board, its pins, its speed, bytes of receive buffer."""
        self._sends = self._hears = None
        for line in lines:
            if rx == line.rx:
                self._hears = line.part
                self._hears.say()  # what was said before nobody has heard
            if tx == line.tx and tx >= 0:
                self._sends = line.part
        self._baud, self._room = baud, room
        self._received.clear()

    def write(self, data: bytes) -> None:
        """Send bytes; a part that listens at another speed hears none of them."""
        if self._sends is not None and self._sends.baud == self._baud and self._sends.fault != Fault.MISSING:
            self._sends.hear(data)

    def any(self) -> int:
        """Return how many received bytes wait."""
        self._receive()
        return len(self._received)

    def read(self, size: int) -> bytes:
        """Return at most `size` of the bytes that wait."""
        self._receive()
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def _receive(self) -> None:
        if self._hears is None:
            return
        data = self._hears.say()
        fault = self._hears.fault
        if fault in (Fault.MISSING, Fault.STUCK):
            return
        if self._hears.baud != self._baud:
            fault = Fault.GARBAGE
        self._received += self._distortion.of(fault, data)[: self._room - len(self._received)]


class Uarts:
    """The chip's three UARTs and the lines to them."""

    def __init__(self, lines: Iterable[SerialLine]) -> None:
        self._lines = tuple(lines)
        self._uarts = (Uart(), Uart(), Uart())

    def unit(self, number: int) -> Uart:
        """Return one of them; HardwareError if the chip has no such."""
        if not 0 <= number < len(self._uarts):
            raise HardwareError(22)
        return self._uarts[number]

    def init(self, number: int, tx: int, rx: int, baud: int, room: int) -> None:
        """Configure one of them."""
        self.unit(number).init(self._lines, tx, rx, baud, room)
