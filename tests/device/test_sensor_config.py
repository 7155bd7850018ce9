"""The sensors of config.json: every type's fields, bounds and defaults, and what two must not share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from boardrunner import BoardError, BoardProcess
from hypothesis import given, settings
from hypothesis import strategies as st
from test_config import GOOD

_SETUP = """
import json
from trig import config, sensors
def check(text):
    return json.dumps(config.check(json.loads(text))["sensors"])
"""

I2C = {"name": "", "i2c": 0, "scl": 22, "sda": 21}
FULL: dict[str, dict[str, Any]] = {
    "bme280": {**I2C, "address": 0x76},
    "sht4x": {**I2C, "address": 0x44},
    "scd4x": {**I2C, "address": 0x62, "low_power": True, "altitude_m": 0},
    "pms5003": {"name": "", "uart": 1, "rx": 16, "tx": -1, "warm_up_s": 30},
    "ds18b20": {"name": "", "pin": 4, "rom": ""},
    "analog": {
        "name": "",
        "pin": 34,
        "quantity": "level",
        "unit": "m",
        "exponent": 0,
        "low_mv": 400,
        "low": 0,
        "high_mv": 2000,
        "high": 4,
        "min_mv": 0,
        "max_mv": 3300,
    },
    "pulse": {
        "name": "",
        "pin": 27,
        "debounce_ms": 0,
        "quantity": "",
        "unit": "",
        "per_pulse": 1,
        "exponent": 0,
    },
}
NEEDED = {
    "bme280": ("scl", "sda"),
    "sht4x": ("scl", "sda"),
    "scd4x": ("scl", "sda"),
    "pms5003": ("rx",),
    "ds18b20": ("pin",),
    "analog": ("pin", "quantity", "unit", "low_mv", "low", "high_mv", "high"),
    "pulse": ("pin",),
}


def entry(kind: str, **changes: Any) -> dict[str, Any]:
    return {"type": kind, **FULL[kind], **changes}


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess(_SETUP, heap="600k") as process:
        yield process


def check(board: BoardProcess, sensors: list[Any], **changes: Any) -> Any:
    config = {key: value for key, value in GOOD.items() if key != "secure_element"}
    return json.loads(str(board.call("check", json.dumps({**config, "sensors": sensors, **changes}))))


@pytest.mark.parametrize("kind", FULL)
def test_defaults_and_what_is_needed(board: BoardProcess, kind: str) -> None:
    least = {"type": kind, **{field: FULL[kind][field] for field in NEEDED[kind]}}
    assert check(board, [least]) == [entry(kind)]
    for field in NEEDED[kind]:
        without = {key: value for key, value in least.items() if key != field}
        with pytest.raises(BoardError) as caught:
            check(board, [without])
        assert caught.value.kind == "ConfigError" and f"sensors[0].{field}: missing" in caught.value.text


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("sht4x", "address", 0x47),
        ("sht4x", "address", 0x43),
        ("scd4x", "address", 0x61),
        ("scd4x", "low_power", 1),
        ("scd4x", "altitude_m", 3001),
        ("pms5003", "uart", 0),
        ("pms5003", "rx", 49),
        ("pms5003", "tx", -2),
        ("pms5003", "warm_up_s", 46),
        ("ds18b20", "pin", -1),
        ("ds18b20", "rom", "28ff"),
        ("ds18b20", "rom", "28ff641e8216036"),
        ("ds18b20", "rom", "28ff641e8216036g"),
        ("analog", "quantity", "two words"),
        ("analog", "quantity", ""),
        ("analog", "unit", "ppm"),  # a secondary unit
        ("analog", "unit", "m "),
        ("analog", "unit", "m kg"),
        ("analog", "exponent", 1),
        ("analog", "exponent", -10),
        ("analog", "high_mv", 400),
        ("analog", "high_mv", 3301),
        ("analog", "low", 1000001),
        ("analog", "max_mv", 0),
        ("pulse", "quantity", "count"),
        ("pulse", "unit", "m3"),  # without a quantity
        ("pulse", "per_pulse", 0),
        ("pulse", "debounce_ms", 5001),
        ("pulse", "typo", 1),
    ],
)
def test_error_names_the_field(board: BoardProcess, kind: str, field: str, value: Any) -> None:
    with pytest.raises(BoardError) as caught:
        check(board, [entry("bme280", name="other", scl=1, sda=2, i2c=1), entry(kind, **{field: value})])
    named = "quantity" if (kind, field) == ("pulse", "unit") else field
    assert caught.value.kind == "ConfigError" and caught.value.text.startswith(f"sensors[1].{named}: ")


ROM = "28ff641e8216036c"


@pytest.mark.parametrize(
    ("first", "second", "fault"),
    [
        (entry("sht4x"), entry("sht4x", name="b"), "address: used twice"),
        (entry("scd4x"), entry("scd4x", name="b"), "address: used twice"),
        (entry("sht4x"), entry("scd4x", name="b", sda=23), "i2c: used with other pins"),
        (entry("sht4x"), entry("bme280", name="b", i2c=1), "scl: this pin is used"),
        (entry("sht4x"), entry("ds18b20", name="b", pin=21), "pin: this pin is used"),
        (entry("pms5003"), entry("pms5003", name="b", rx=17), "uart: used twice"),
        (entry("pms5003"), entry("pms5003", name="b", uart=2), "rx: this pin is used"),
        (entry("pms5003", tx=27), entry("pulse", name="b"), "pin: this pin is used"),
        (entry("ds18b20", rom=ROM), entry("ds18b20", name="b"), "rom: want another"),
        (entry("ds18b20", rom=ROM), entry("ds18b20", name="b", rom=ROM.upper()), "rom: want another"),
        (entry("analog"), entry("pulse", name="b", pin=34), "pin: this pin is used"),
        (entry("analog"), entry("pulse"), "name: used twice"),
    ],
)
def test_two_that_cannot_both_be(
    board: BoardProcess, first: dict[str, Any], second: dict[str, Any], fault: str
) -> None:
    with pytest.raises(BoardError) as caught:
        check(board, [first, second])
    assert caught.value.text.startswith(f"sensors[1].{fault}")


def test_parts_that_share_a_bus_are_fine(board: BoardProcess) -> None:
    together = [
        entry("bme280", name="a"),
        entry("sht4x", name="b"),
        entry("sht4x", name="c", address=0x45),
        entry("scd4x", name="d"),
        entry("ds18b20", name="e", rom=ROM),
        entry("ds18b20", name="f", rom="28ff641e82160300"),
        entry("scd4x", name="g", i2c=1, scl=18, sda=19),
        entry("pulse", name="h", quantity="depth", unit="m", per_pulse=2, exponent=-4),
    ]
    assert check(board, together) == together


def test_nobody_counts_while_a_battery_board_sleeps(board: BoardProcess) -> None:
    config = {key: value for key, value in GOOD.items() if key not in ("secure_element", "batch")}
    with pytest.raises(BoardError) as caught:
        board.call(
            "check", json.dumps({**config, "battery": {}, "sensors": [entry("sht4x"), entry("pulse", name="p")]})
        )
    assert caught.value.text.startswith("sensors[1].type: ")


_FIELDS = sorted({field for fields in FULL.values() for field in fields})
_VALUES = st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=20) | st.just([]) | st.just({})


@settings(max_examples=300)
@given(st.sampled_from(sorted(FULL)), st.dictionaries(st.sampled_from(_FIELDS), _VALUES, max_size=3))
def test_nothing_but_config_error_comes_out(board: BoardProcess, kind: str, changes: dict[str, Any]) -> None:
    try:
        check(board, [entry(kind, **changes)])
    except BoardError as error:
        assert error.kind == "ConfigError", error
