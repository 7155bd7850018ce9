"""The pins of an emulated board as plain inputs and outputs: levels, edges, interrupts and pulse counters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from trigpoint_tools.emulator.i2c import I2CBus

OPEN_DRAIN = 7  # values of the ESP32's machine.Pin
OUT = 3
IN = 1
PULL_UP = 2
KEEP = 255  # for a setting that stays as it is
RISING = 1
FALLING = 2


@dataclass
class _Pad:
    mode: int = 0
    pull: int = 0
    value: int = 0
    outside: int | None = None
    trigger: int = 0


@dataclass
class _Counter:
    pin: int
    edge: int
    value: int = 0


class Pins:
    """All pins of one chip.

    Args:
        buses: the I2C buses, whose wires can be driven as plain pins.
        interrupt: called with a pin's number at each edge for which the board wants an interrupt.
    """

    def __init__(self, buses: Iterable[I2CBus], interrupt: Callable[[int], None]) -> None:
        self._buses = tuple(buses)
        self._interrupt = interrupt
        self._pads: dict[int, _Pad] = {}
        self._counters: dict[int, _Counter] = {}

    def reset(self) -> None:
        """Start as after any reset: all pins are inputs, nothing counts. What is outside stays as it is."""
        for pad in self._pads.values():
            pad.mode = pad.pull = pad.value = pad.trigger = 0
        self._counters.clear()
        for bus in self._buses:
            bus.attach()

    def set(self, pin: int, mode: int, pull: int, value: int) -> None:
        """Configure a pin as machine.Pin does; a mode takes the pin away from the I2C unit."""
        pad = self._pad(pin)
        self._change(pin, lambda: self._configure(pad, mode, pull, value))
        for bus in self._buses:
            if pin in (bus.scl, bus.sda):
                if mode != KEEP:
                    bus.detach()
                bus.drive(self._driven(bus.scl), self._driven(bus.sda))

    def attach(self, scl: int, sda: int) -> None:
        """Give two pins to the I2C unit, which lets go of both wires."""
        for pin in (scl, sda):
            self._configure(self._pad(pin), 0, 0, 0)
        for bus in self._buses:
            if (bus.scl, bus.sda) == (scl, sda):
                bus.drive(1, 1)
                bus.attach()

    def level(self, pin: int) -> int:
        """Return the level that the board would read."""
        for bus in self._buses:
            if pin in (bus.scl, bus.sda):
                return bus.levels()[0 if pin == bus.scl else 1] & self._driven(pin)
        pad = self._pad(pin)
        if pad.mode == OUT:
            return pad.value
        if pad.mode == OPEN_DRAIN and not pad.value:
            return 0
        if pad.outside is not None:
            return pad.outside
        return int(pad.mode == OPEN_DRAIN or pad.pull == PULL_UP)

    def watch(self, pin: int, trigger: int) -> None:
        """Ask for interrupts at edges; 0 for none."""
        self._pad(pin).trigger = trigger

    def count(self, unit: int, pin: int, edge: int) -> None:
        """Start a pulse counter at zero."""
        self._counters[unit] = _Counter(pin, edge)

    def counted(self, unit: int) -> int:
        """Return a pulse counter's value."""
        return self._counters[unit].value

    def drive(self, pin: int, level: int | None) -> None:
        """Put a level on a pin from outside; None takes it away again."""
        pad = self._pad(pin)

        def change() -> None:
            pad.outside = level

        self._change(pin, change)

    def pulse(self, pin: int, count: int = 1) -> None:
        """Pull a pin down and let it go, `count` times: what a reed switch or an S0 output does."""
        for _ in range(count):
            self.drive(pin, 0)
            self.drive(pin, None)

    def _pad(self, pin: int) -> _Pad:
        return self._pads.setdefault(pin, _Pad())

    def _driven(self, pin: int) -> int:
        pad = self._pad(pin)
        return pad.value if pad.mode in (OUT, OPEN_DRAIN) else 1

    @staticmethod
    def _configure(pad: _Pad, mode: int, pull: int, value: int) -> None:
        pad.mode = pad.mode if mode == KEEP else mode
        pad.pull = pad.pull if pull == KEEP else pull
        pad.value = pad.value if value == KEEP else value

    def _change(self, pin: int, change: Callable[[], None]) -> None:
        before = self.level(pin)
        change()
        after = self.level(pin)
        if before == after:
            return
        edge = RISING if after > before else FALLING
        for counter in self._counters.values():
            if counter.pin == pin and counter.edge & edge:
                counter.value += 1
        if self._pad(pin).trigger & edge:
            self._interrupt(pin)
