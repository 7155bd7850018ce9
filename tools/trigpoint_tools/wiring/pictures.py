"""The pictures of docs/hardware.md and docs/signing.md: which pin goes where, and what stands between."""

from __future__ import annotations

from typing import Final

from trigpoint_tools import pins
from trigpoint_tools.wiring import parts
from trigpoint_tools.wiring.picture import Between, Picture, Row

_BUS_NOTE: Final = (
    "One pair of resistors for the whole bus; most breakout boards have theirs on them, then leave these away."
)


def _pull_ups(supply: int, clock: int, data: int) -> tuple[Between, ...]:
    return (
        Between("resistor", "4.7 kΩ", 430, supply, clock, optional=True),
        Between("resistor", "4.7 kΩ", 476, supply, data, optional=True, label_at="start"),
    )


_SCL: Final = Row(pins.SCL, "SCL", field="scl")
_SDA: Final = Row(pins.SDA, "SDA", field="sda")

PICTURES: Final = (
    Picture(
        "bme280",
        "BME280",
        "temperature, humidity, pressure",
        (
            Row("", "CSB", "to 3V3", joins=1),
            Row("3V3", "VCC"),
            _SCL,
            _SDA,
            Row("GND", "GND"),
            Row("", "SDO", "to GND", joins=4),
        ),
        "#5b3f8c",
        parts.bme280,
        _pull_ups(1, 2, 3),
        (
            "SDO at GND: address 118 (0x76); at 3V3: 119 (0x77), for a second one on the same bus. Boards with four "
            "pins have CSB and SDO tied already.",
            _BUS_NOTE,
        ),
    ),
    Picture(
        "sht4x",
        "SHT4x",
        "temperature, humidity",
        (Row("3V3", "VDD"), _SCL, _SDA, Row("GND", "VSS")),
        "#8c2f39",
        parts.sht4x,
        _pull_ups(0, 1, 2),
        ("The address is soldered in: 68 (0x44) for -A types, 69 for -B, 70 for -C.", _BUS_NOTE),
    ),
    Picture(
        "scd4x",
        "SCD4x",
        "CO₂, temperature, humidity",
        (Row("3V3", "VDD", "both pins"), _SCL, _SDA, Row("GND", "GND")),
        "#20655f",
        parts.scd4x,
        _pull_ups(0, 1, 2),
        (
            "It draws peaks of 205 mA: short wires, and a 3.3 V regulator that can give them beside the radio.",
            _BUS_NOTE,
        ),
    ),
    Picture(
        "pms5003",
        "PMS5003",
        "fine dust",
        (
            Row("5V", "1 VCC"),
            Row("GND", "2 GND"),
            Row(pins.RX, "5 TX", "it sends", field="rx"),
            Row(pins.TX, "4 RX", "it receives", optional=True, field="tx"),
            Row("", "3 SET", "open", joins=None),
            Row("", "6 RESET", "open", joins=None),
        ),
        "#3f5f80",
        parts.pms5003,
        (),
        (
            "5V is the pin that boards call VIN, VBUS or 5V: the fan needs it. The part's signals are 3.3 V.",
            "The dashed wire lets it sleep between samples; without it the fan runs on, and tx is left out. "
            "On an ESP32-WROVER take 25 for rx and 26 for tx.",
        ),
    ),
    Picture(
        "ds18b20",
        "DS18B20",
        "temperature",
        (
            Row("3V3", "VDD", "red"),
            Row(pins.ONE_WIRE, "DQ", "yellow", field="pin"),
            Row("GND", "GND", "black"),
        ),
        "#f1efe8",
        parts.ds18b20,
        (Between("resistor", "4.7 kΩ", 450, 0, 1),),
        (
            "More of them on the same three wires: one resistor for all, and each with its own rom. Colours differ: "
            "see its sheet.",
        ),
        light=True,
    ),
    Picture(
        "analog",
        "Analog probe",
        "a voltage, such as soil moisture",
        (
            Row("3V3", "VCC"),
            Row(pins.ANALOG, "AOUT", field="pin"),
            Row("GND", "GND"),
        ),
        "#e6efe4",
        parts.moisture_probe,
        (Between("capacitor", "100 nF", 450, 1, 2),),
        (
            "The capacitor goes next to the board. ESP32: pins 32 to 39 only, 0.15 to 2.45 V. S3 and C6: up to 3.1 V. "
            "C3: up to 2.5 V.",
        ),
        light=True,
    ),
    Picture(
        "loop",
        "4 to 20 mA loop",
        "such as a tank's level",
        (Row(pins.ANALOG, "loop +", field="pin"), Row("GND", "loop \u2212")),
        "#f1efe8",
        parts.transmitter,
        (
            Between("resistor", "100 Ω", 440, 0, 1),
            Between("capacitor", "100 nF", 530, 0, 1),
        ),
        ("The whole current flows through the resistor: 4 mA are 0.4 V, 20 mA are 2.0 V. 1 % or better, 0.25 W.",),
        light=True,
    ),
    Picture(
        "pulse",
        "Pulse counter",
        "rain gauge, S0 or water meter",
        (
            Row("3V3", optional=True),
            Row(pins.PULSES, "contact", "or S0+", field="pin"),
            Row("GND", "contact", "or S0\u2212"),
        ),
        "#f1efe8",
        parts.contact,
        (
            Between("resistor", "4.7 kΩ", 440, 0, 1, optional=True),
            Between("capacitor", "1 nF", 530, 1, 2),
        ),
        ("The pin's own pull-up (45 kΩ) is on. The dashed wire and its resistor are for more than a metre of wire.",),
        light=True,
    ),
    Picture(
        "atecc608",
        "ATECC608",
        "keeps the board's key",
        (
            Row("3V3", "8 VCC"),
            Row(pins.SCL, "6 SCL", field="scl"),
            Row(pins.SDA, "5 SDA", field="sda"),
            Row("GND", "4 GND"),
        ),
        "#33475b",
        parts.soic8,
        (*_pull_ups(0, 1, 2), Between("capacitor", "100 nF", 600, 0, 3, label_at="end")),
        (
            "It may share the sensors' bus. 100 nF go next to the chip; boards with the chip on them have it. "
            "Its other pins stay open.",
            _BUS_NOTE,
        ),
    ),
)
