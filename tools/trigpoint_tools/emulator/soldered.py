"""What is soldered on an emulated board: makes the parts and the wires to them from the board's facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from trigpoint_tools.emulator.facts import Wiring
from trigpoint_tools.emulator.i2c import I2CBus
from trigpoint_tools.emulator.i2c import Part as I2CPart
from trigpoint_tools.emulator.onewire import OneWireNet
from trigpoint_tools.emulator.parts.bme280 import Bme280, Calibration
from trigpoint_tools.emulator.parts.ds18b20 import Ds18b20, rom_of
from trigpoint_tools.emulator.parts.fault import Fault
from trigpoint_tools.emulator.parts.pms5003 import Pms5003
from trigpoint_tools.emulator.parts.probe import Probe
from trigpoint_tools.emulator.parts.scd4x import Scd4x
from trigpoint_tools.emulator.parts.sht4x import Sht4x
from trigpoint_tools.emulator.uart import SerialLine
from trigpoint_tools.emulator.weather import NoWeatherError, Sample


class Part(Protocol):
    """What all parts have in common."""

    fault: Fault

    @property
    def readings(self) -> int:
        """How many quantities it has measured."""
        ...

    def power_on(self) -> None:
        """Start as after the supply voltage has come."""
        ...


@dataclass
class Soldered:
    """The parts of one board and how they are connected.

    Attributes:
        parts: all parts, in the order of the wiring.
        i2c: the parts on each pair of scl and sda.
        lines: serial lines.
        onewire: the parts on each 1-Wire pin.
        probes: the analog voltage at each pin.
    """

    parts: list[Part] = field(default_factory=list)
    i2c: dict[tuple[int, int], list[I2CPart]] = field(default_factory=dict)
    lines: list[SerialLine] = field(default_factory=list)
    onewire: dict[int, list[Ds18b20]] = field(default_factory=dict)
    probes: dict[int, Probe] = field(default_factory=dict)

    def buses(self) -> list[I2CBus]:
        """Return the I2C buses."""
        return [I2CBus(scl, sda, parts) for (scl, sda), parts in self.i2c.items()]

    def nets(self) -> list[OneWireNet]:
        """Return the 1-Wire nets."""
        return [OneWireNet(pin, parts) for pin, parts in self.onewire.items()]


def solder(
    wiring: Iterable[Wiring],
    mac: bytes,
    world: Callable[[float], Sample],
    now: Callable[[], float],
    monotonic: Callable[[], float],
) -> Soldered:
    """Make the parts that the facts name; each has a serial number or calibration of its own, from the board's id."""
    on = Soldered()

    def temperature() -> int | None:
        try:
            return world(now()).temperature
        except NoWeatherError:
            return None

    for i, wires in enumerate(wiring):
        seed = mac + bytes((i,))
        part: Part
        match wires.type:
            case "bme280":
                bme280 = Bme280(wires.address, world, now, monotonic, Calibration.of_part(seed))
                on.i2c.setdefault((wires.scl, wires.sda), []).append(bme280)
                part = bme280
            case "sht4x":
                sht4x = Sht4x(wires.address, world, now, monotonic, int.from_bytes(seed[-4:], "big"))
                on.i2c.setdefault((wires.scl, wires.sda), []).append(sht4x)
                part = sht4x
            case "scd4x":
                scd4x = Scd4x(monotonic, int.from_bytes(seed[-6:], "big"))
                on.i2c.setdefault((wires.scl, wires.sda), []).append(scd4x)
                part = scd4x
            case "pms5003":
                part = pms5003 = Pms5003(monotonic)
                on.lines.append(SerialLine(wires.tx, wires.rx, pms5003))
            case "ds18b20":
                rom = bytes.fromhex(wires.rom) or rom_of(int.from_bytes(seed[-6:], "big"))
                part = ds18b20 = Ds18b20(rom, temperature, monotonic, now=now)
                on.onewire.setdefault(wires.pin, []).append(ds18b20)
            case _:
                part = on.probes.setdefault(wires.pin, Probe())
        on.parts.append(part)
    return on
