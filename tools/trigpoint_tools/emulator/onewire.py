"""The 1-Wire nets of an emulated board, bit by bit: all parts on one wire, which is low if any of them pulls it low."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from trigpoint_tools.emulator.parts.fault import Fault


class OneWirePart(Protocol):
    """A part on a 1-Wire net."""

    fault: Fault

    def reset(self) -> None:
        """Hear a reset pulse; a part that is there answers with its presence pulse."""
        ...

    def write_bit(self, bit: int) -> None:
        """Take a bit that the board has written."""
        ...

    def read_bit(self) -> int:
        """Return the bit that the part puts into a read slot; 1 leaves the wire alone."""
        ...


class OneWireNet:
    """One wire and the parts on it.

    Args:
        pin: number of the pin.
        parts: what is soldered on.
    """

    def __init__(self, pin: int, parts: Iterable[OneWirePart]) -> None:
        self.pin = pin
        self._parts = tuple(parts)

    def reset(self) -> bool:
        """Send a reset pulse; return whether the wire was low afterwards, as by a presence pulse."""
        there = False
        for part in self._there():
            if part.fault != Fault.STUCK:
                part.reset()
            there = True
        return there

    def write(self, value: int, bits: int) -> None:
        """Write so many bits, the lowest first."""
        for i in range(bits):
            bit = 0 if self._held() else value >> i & 1
            for part in self._there():
                part.write_bit(bit)

    def read(self, bits: int) -> int:
        """Read so many bits, the lowest first."""
        value = 0
        for i in range(bits):
            bit = 0 if self._held() else 1
            for part in self._there():
                bit &= part.read_bit()
            value |= bit << i
        return value

    def _there(self) -> list[OneWirePart]:
        return [part for part in self._parts if part.fault != Fault.MISSING]

    def _held(self) -> bool:
        return any(part.fault == Fault.STUCK for part in self._parts)
