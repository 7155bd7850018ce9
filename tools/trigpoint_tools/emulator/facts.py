"""What is fixed about an emulated board when it is made: its chip, what is soldered on, which Wi-Fi is in reach."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trigpoint_tools.emulator.errors import EmulatorError
from trigpoint_tools.emulator.nvs import write_atomically

_HEAP = re.compile(r"([1-9][0-9]{0,8})([kKmM]?)")
_UNITS = {"": 1, "k": 1024, "m": 1024 * 1024}


@dataclass(frozen=True)
class Wiring:
    """One sensor and where it is soldered; the fields that its type does not have are left as they are.

    Attributes:
        scl: pin number of the I2C clock wire.
        sda: pin number of the I2C data wire.
        address: I2C address.
        type: the sensor's type, as the board's configuration names it.
        pin: pin number of a 1-Wire part or an analog voltage.
        tx: pin on which the board sends to a serial part, -1 if that wire is missing.
        rx: pin on which the board receives.
        rom: ROM code of a 1-Wire part, 16 hexadecimal digits, or empty for one of the emulator's choice.
    """

    scl: int = 22
    sda: int = 21
    address: int = 0x76
    type: str = "bme280"
    pin: int = -1
    tx: int = -1
    rx: int = -1
    rom: str = ""


@dataclass(frozen=True)
class SecureElementWiring:
    """An ATECC608 and where it is soldered.

    Attributes:
        scl: pin number of the clock wire.
        sda: pin number of the data wire.
        address: 7-bit I2C address.
    """

    scl: int
    sda: int
    address: int = 0x60


@dataclass(frozen=True)
class Facts:
    """A board's facts.

    Attributes:
        mac: the unique id, 12 hexadecimal digits.
        heap: bytes of heap for the board's code.
        ssid: name of the access point in reach.
        password: its key, empty for an open network.
        wiring: the sensors.
        secure_element: the ATECC608, None if there is none.
        chip: which chip of the family it is.
    """

    mac: str
    heap: int
    ssid: str
    password: str
    wiring: tuple[Wiring, ...]
    secure_element: SecureElementWiring | None = None
    chip: str = "esp32"

    def save(self, path: Path) -> None:
        """Write the facts to a file, mode 0600: the Wi-Fi's key is in it."""
        write_atomically(path, json.dumps(asdict(self), indent=1).encode())

    @classmethod
    def load(cls, path: Path) -> Facts:
        """Read what `save` has written.

        Raises:
            EmulatorError: there is no such file, or it holds something else.
        """
        try:
            stored = json.loads(path.read_text())
            chip = stored.pop("secure_element", None)
            facts = cls(
                **{**stored, "wiring": tuple(Wiring(**wires) for wires in stored["wiring"])},
                secure_element=SecureElementWiring(**chip) if chip else None,
            )
            bytes.fromhex(facts.mac)
        except FileNotFoundError:
            raise EmulatorError(f"{path.parent} holds no board; make one there first") from None
        except (ValueError, KeyError, TypeError):
            raise EmulatorError(f"{path} is damaged; make the board anew") from None
        return facts


def heap_bytes(text: str) -> int:
    """Return the bytes that a heap size means, written as for `-X heapsize`: 160k, 1M, 65536."""
    match = _HEAP.fullmatch(text)
    if match is None:
        raise EmulatorError(f"heap {text!r} is no size; write it as 160k, 1M or 65536")
    return int(match[1]) * _UNITS[match[2].lower()]


def access_point_of(config: Mapping[str, Any]) -> tuple[str, str]:
    """Return name and key of the first network that a board's configuration names, or of an open one of our own."""
    try:
        return str(config["wifi"][0]["ssid"]), str(config["wifi"][0].get("password", ""))
    except (LookupError, TypeError, AttributeError):
        return "trigpoint", ""


_I2C_ADDRESSES = {"bme280": (0x76, 0x77), "sht4x": (0x44, 0x45, 0x46), "scd4x": (0x62,)}
_WIRES = {"pms5003": ("tx", "rx"), "ds18b20": ("pin",), "analog": ("pin",)}
_ROM = re.compile(r"([0-9a-fA-F]{16})?")


def wiring_of(config: Mapping[str, Any]) -> tuple[Wiring, ...]:
    """Return the sensors that a board's configuration names; whatever else it says is not soldered on.

    The configuration may be wrong, that is for the board to find out: a bad field only means that no part is there.
    """
    sensors = config.get("sensors")
    found = [_wiring(sensor) for sensor in (sensors if isinstance(sensors, list) else []) if isinstance(sensor, dict)]
    return tuple(dict.fromkeys(wiring for wiring in found if wiring is not None))


def _wiring(sensor: Mapping[str, Any]) -> Wiring | None:
    kind = sensor.get("type")
    if not isinstance(kind, str):
        return None
    if kind in _I2C_ADDRESSES:
        wiring = Wiring(
            type=kind,
            scl=sensor.get("scl", Wiring.scl),
            sda=sensor.get("sda", Wiring.sda),
            address=sensor.get("address", _I2C_ADDRESSES[kind][0]),
        )
        good = _pin(wiring.scl) and _pin(wiring.sda) and wiring.address in _I2C_ADDRESSES[kind]
    elif kind in _WIRES:
        wiring = Wiring(type=kind, rom=sensor.get("rom", ""), **{wire: sensor.get(wire, -1) for wire in _WIRES[kind]})
        wires = [getattr(wiring, wire) for wire in _WIRES[kind]]
        good = _pin(wires[-1]) and (_pin(wires[0]) or wires[0] == -1)
        good = good and isinstance(wiring.rom, str) and _ROM.fullmatch(wiring.rom) is not None
    else:
        return None
    return wiring if good else None


def _pin(value: object) -> bool:
    return type(value) is int and 0 <= value <= 48


def secure_element_of(config: Mapping[str, Any]) -> SecureElementWiring | None:
    """Return the ATECC608 that a board's configuration names, None if it names none or names it badly."""
    chip = config.get("secure_element")
    if not isinstance(chip, dict):
        return None
    places = {key: chip[key] for key in ("scl", "sda", "address") if key in chip}
    if not {"scl", "sda"} <= places.keys() or not all(isinstance(place, int) for place in places.values()):
        return None
    return SecureElementWiring(**places)
