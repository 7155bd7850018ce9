"""The pins of each chip that docs/hardware.md names: what is written to boards, emulated and drawn comes from here.

Left out are pins that decide how the chip boots, those of the flash, of USB and of the console, and on the ESP32 those
of ADC2, which Wi-Fi uses (data sheets of the four chips, strapping pins and pin lists).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SCL: Final = "scl"
SDA: Final = "sda"
SCL_2: Final = "scl of the second bus"
SDA_2: Final = "sda of the second bus"
RX: Final = "rx"
TX: Final = "tx"
ONE_WIRE: Final = "1-Wire"
ANALOG: Final = "analog"
PULSES: Final = "pulses"

_S3: Final = {SCL: 9, SDA: 8, SCL_2: 12, SDA_2: 11, RX: 17, TX: 18, ONE_WIRE: 4, ANALOG: 5, PULSES: 14}

PINS: Final[Mapping[str, Mapping[str, int]]] = {
    "esp32": {SCL: 22, SDA: 21, SCL_2: 18, SDA_2: 19, RX: 16, TX: 17, ONE_WIRE: 4, ANALOG: 34, PULSES: 27},
    "esp32s2": _S3,
    "esp32s3": _S3,
    "esp32c3": {SCL: 7, SDA: 6, RX: 0, TX: 1, ONE_WIRE: 10, ANALOG: 3, PULSES: 5},
    "esp32c6": {SCL: 7, SDA: 6, RX: 18, TX: 19, ONE_WIRE: 10, ANALOG: 3, PULSES: 11},
}
"""Chip, as esptool names it, to wire to GPIO. A C3 and a C6 have one I2C bus for sensors."""

FIELDS: Final[Mapping[str, Mapping[str, str]]] = {
    "bme280": {"scl": SCL, "sda": SDA},
    "sht4x": {"scl": SCL, "sda": SDA},
    "scd4x": {"scl": SCL, "sda": SDA},
    "pms5003": {"rx": RX, "tx": TX},
    "ds18b20": {"pin": ONE_WIRE},
    "analog": {"pin": ANALOG},
    "pulse": {"pin": PULSES},
}
"""Type of sensor to field of its entry in config.json to wire."""


def places(kind: str, chip: str) -> dict[str, int]:
    """Return the fields that say where a sensor is connected, at its usual pins.

    Raises:
        KeyError: there is no such type or chip.
    """
    return {field: PINS[chip][wire] for field, wire in FIELDS[kind].items()}
