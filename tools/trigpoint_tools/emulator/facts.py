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
    """One BME280 and where it is soldered.

    Attributes:
        scl: pin number of the clock wire.
        sda: pin number of the data wire.
        address: I2C address, 0x76 or 0x77.
    """

    scl: int = 22
    sda: int = 21
    address: int = 0x76


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
    """

    mac: str
    heap: int
    ssid: str
    password: str
    wiring: tuple[Wiring, ...]
    secure_element: SecureElementWiring | None = None

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


def wiring_of(config: Mapping[str, Any]) -> tuple[Wiring, ...]:
    """Return the BME280s that a board's configuration names; whatever else it says is not soldered on.

    The configuration may be wrong, that is for the board to find out: a bad field only means that no part is there.
    """
    sensors = config.get("sensors")
    found = []
    for sensor in sensors if isinstance(sensors, list) else []:
        if isinstance(sensor, dict) and sensor.get("type") == "bme280":
            wiring = Wiring(**{key: sensor[key] for key in ("scl", "sda", "address") if key in sensor})
            if wiring.address in (0x76, 0x77) and isinstance(wiring.scl, int) and isinstance(wiring.sda, int):
                found.append(wiring)
    return tuple(dict.fromkeys(found))


def secure_element_of(config: Mapping[str, Any]) -> SecureElementWiring | None:
    """Return the ATECC608 that a board's configuration names, None if it names none or names it badly."""
    chip = config.get("secure_element")
    if not isinstance(chip, dict):
        return None
    places = {key: chip[key] for key in ("scl", "sda", "address") if key in chip}
    if not {"scl", "sda"} <= places.keys() or not all(isinstance(place, int) for place in places.values()):
        return None
    return SecureElementWiring(**places)
