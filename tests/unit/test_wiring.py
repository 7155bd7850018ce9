"""One table of pins: what is drawn, documented, written to boards and emulated agrees."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from trigpoint.commands.emulate import _surroundings
from trigpoint_tools import pins
from trigpoint_tools.emulator.bootloader.chips import CHIPS
from trigpoint_tools.serial.settings import default_sensor
from trigpoint_tools.wiring.__main__ import IMAGES
from trigpoint_tools.wiring.picture import CHIPS as COLUMNS
from trigpoint_tools.wiring.picture import Picture, svg
from trigpoint_tools.wiring.pictures import PICTURES

DOCS = IMAGES.parent
HARDWARE = (DOCS / "hardware.md").read_text()

# A row's first cell in docs/hardware.md to the wire that it is about: in the table of pins, and in "Pin by pin".
_ROWS = {
    "I2C clock": pins.SCL,
    "I2C data": pins.SDA,
    'second bus, clock (`"i2c": 1`)': pins.SCL_2,
    "second bus, data": pins.SDA_2,
    "serial, board receives": pins.RX,
    "serial, board sends": pins.TX,
    "1-Wire": pins.ONE_WIRE,
    "analog": pins.ANALOG,
    "pulses": pins.PULSES,
    "`scl`": pins.SCL,
    "`sda`": pins.SDA,
    '`scl`, `"i2c": 1`': pins.SCL_2,
    '`sda`, `"i2c": 1`': pins.SDA_2,
    "`rx`": pins.RX,
    "`tx`": pins.TX,
}


def _tables(text: str) -> list[list[list[str]]]:
    """Return each table's rows of cells, the head first."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()] for block in blocks]


def test_the_tables_in_the_documents_have_the_pins() -> None:
    seen = []
    for head, _, *rows in _tables(HARDWARE):
        columns = {chip: head.index(title) for chip, title in COLUMNS.items() if title in head}
        for row in rows:
            if row[0] in _ROWS and len(columns) == len(COLUMNS):
                seen.append(row[0])
                for chip, at in columns.items():
                    number = pins.PINS[chip].get(_ROWS[row[0]])
                    assert re.split(r"[ (]", row[at])[0] == ("none" if number is None else str(number)), row
    assert sorted(seen) == sorted([*_ROWS, "1-Wire", "analog", "pulses"])  # these three are in both tables


def test_the_examples_have_the_pins_of_an_esp32() -> None:
    seen = set()
    for text in re.findall(r"^    (\{\"type\".*?\})$", HARDWARE, re.MULTILINE | re.DOTALL):
        for line in re.sub(r"\n {5}", " ", text).splitlines():
            entry = json.loads(line.strip())
            if entry["name"] != "meter":  # the second pulse counter of the same board
                assert {field: entry[field] for field in pins.FIELDS[entry["type"]]} == pins.places(
                    entry["type"], "esp32"
                )
                seen.add(entry["type"])
    assert seen == set(pins.FIELDS)


def test_the_first_steps_have_the_pins() -> None:
    readme = (DOCS.parent / "device" / "README.md").read_text()
    (table,) = (table for table in _tables(readme) if table[0][0] == "BME280")
    for row in table[2:]:
        if row[0] in ("SCL", "SDA"):
            assert row[1:] == [str(pins.PINS[chip][row[0].lower()]) for chip in COLUMNS]


@pytest.mark.parametrize("chip", CHIPS)
def test_boards_are_emulated_with_the_sensor_where_enrolment_says_it_is(chip: str) -> None:
    (sensor,) = _surroundings(chip)["sensors"]
    assert {field: sensor[field] for field in ("scl", "sda")} == pins.places("bme280", chip)
    assert default_sensor("bme280", chip) == {"type": "bme280", **pins.places("bme280", chip)}


def test_no_pin_is_one_that_the_chip_needs_for_itself() -> None:
    # The lists below the table of pins: boot pins, flash, USB, console.
    kept = {
        "esp32": {0, 2, 5, 12, 15, 1, 3, *range(6, 12)},
        "esp32s3": {0, 3, 45, 46, 19, 20, *range(26, 38)},
        "esp32c3": {2, 8, 9, *range(12, 22)},
        "esp32c6": {4, 5, 8, 9, 15, 12, 13, 16, 17, *range(24, 31)},
    }
    for chip, numbers in kept.items():
        used = list(pins.PINS[chip].values())
        assert not numbers & set(used), chip
        assert len(set(used)) == len(used), chip


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: str(picture.name))
def test_the_pictures_are_drawn_from_the_table_and_shown(picture: Picture) -> None:
    path = IMAGES / f"wiring-{picture.name}.svg"
    drawn = svg(picture)
    assert path.read_text() == drawn, "draw them anew: python -m trigpoint_tools.wiring"
    texts = [element.text for element in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    for row in picture.rows:
        for chip in COLUMNS:
            if row.wire in pins.PINS[chip]:
                assert str(pins.PINS[chip][row.wire]) in texts
    where = "signing.md" if picture.name == "atecc608" else "hardware.md"
    assert f"](images/{path.name})" in (DOCS / where).read_text()


def test_no_picture_is_left_over() -> None:
    assert {path.name for path in Path(IMAGES).glob("wiring-*")} == {f"wiring-{one.name}.svg" for one in PICTURES}
