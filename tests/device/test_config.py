"""config.json: what is accepted, and that every error names its field."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from boardrunner import DEVICE, BoardError, BoardProcess, run
from hypothesis import given, settings
from hypothesis import strategies as st

# Public keys of docs/protocol.md: the link key of section 13, the owner key of section 14.
LINK_KEY = (
    "515c3d6eb9e396b904d3feca7f54fdcd0cc1e997bf375dca515ad0a6c3b4035f"
    "4536be3a50f318fbf9a5475902a221502bef0d57e08c53b2cc0a56f17d9f9354"
)
OWNER_KEY = (
    "1f140146bfb1b251f84f4ddbe0d4cdcfd77afd984a9520e35794021f8312bb9e"
    "ec995a08b1fa7704df3dcc0b50a9665263fb7711f95f9f8a449c5096e47c892b"
)

GOOD: dict[str, Any] = {
    "version": 1,
    "wifi": [{"ssid": "home", "password": "secret-enough"}],
    "broker": {"host": "10.0.0.2", "port": 8883, "tls": True, "ca": "/ca.der", "password": "", "keepalive_s": 60},
    "ntp": {"host": "ntp.example", "port": 123},
    "link_key": LINK_KEY,
    "sensors": [{"type": "bme280", "name": "", "i2c": 0, "scl": 22, "sda": 21, "address": 118}],
    "sample_s": 3600,
    "batch": {"samples": 6, "age_s": 21600},
    "resend_s": 30,
    "owner_key": OWNER_KEY,
    "trial_s": 600,
    "secure_element": {"i2c": 0, "scl": 22, "sda": 21, "address": 96, "slot": 0},
}

_SETUP = """
import json
from trig import config
def check(text):
    c = config.check(json.loads(text))
    c["link_key"] = c["link_key"].hex()
    c["owner_key"] = c["owner_key"].hex()
    return json.dumps(c)
"""


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess(_SETUP, heap="600k") as process:
        yield process


def _check(board: BoardProcess, config: Any) -> Any:
    return json.loads(str(board.call("check", json.dumps(config))))


def test_good_configuration_is_returned_as_it_is(board: BoardProcess) -> None:
    assert _check(board, GOOD) == {**GOOD, "battery": None}


def test_battery_mode_has_no_batch(board: BoardProcess) -> None:
    config = {**GOOD, "battery": {}}
    with pytest.raises(BoardError, match=r"^ConfigError: batch: "):
        _check(board, config)
    del config["batch"]
    assert _check(board, config)["battery"] == {"connect_every": 6, "awake_s": 60}
    for wrong, field in (
        ({"battery": {"connect_every": 0}}, "battery.connect_every"),
        ({"battery": {"awake_s": 1000}}, "battery.awake_s"),
        ({"battery": {"sleep": 1}}, "battery.sleep"),
        ({"battery": 6}, "battery"),
        ({"sample_s": 9}, "sample_s"),
        ({"sensors": [{"type": "pulse", "pin": 4, "quantity": "rain", "unit": "m"}]}, "sensors.0..type"),
    ):
        with pytest.raises(BoardError, match=f"^ConfigError: {field}: "):
            _check(board, {**config, **wrong})


def test_defaults(board: BoardProcess) -> None:
    short = {
        "version": 1,
        "wifi": [{"ssid": "home"}],
        "broker": {"host": "gateway.local", "ca": "/ca.der"},
        "link_key": LINK_KEY,
        "sensors": [{"type": "bme280", "scl": 22, "sda": 21}],
    }
    full = _check(board, short)
    assert full["broker"]["port"] == 8883 and full["broker"]["tls"] is True
    assert full["secure_element"] is None
    short["secure_element"] = {"scl": 22, "sda": 21}
    assert _check(board, short)["secure_element"] == GOOD["secure_element"]
    assert full["sample_s"] == 3600 and full["batch"] == {"samples": 6, "age_s": 21600}


def _at(config: Any, path: list[Any], value: Any) -> Any:
    changed = copy.deepcopy(config)
    place = changed
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (["version"], 2, "version"),
        (["version"], ..., "version: missing"),
        (["wifi"], [], "wifi"),
        (["wifi"], {}, "wifi"),
        (["wifi", 0, "ssid"], "", "wifi[0].ssid"),
        (["wifi", 0, "ssid"], 5, "wifi[0].ssid"),
        (["wifi", 0, "password"], "short", "wifi[0].password"),
        (["broker"], ..., "broker: missing"),
        (["secure_element"], None, "secure_element: want an object"),
        (["secure_element", "scl"], ..., "secure_element.scl: missing"),
        (["secure_element", "scl"], 23, "secure_element.i2c: a sensor uses it with other pins"),
        (["secure_element", "address"], 118, "secure_element.address: a sensor has it on this bus"),
        (["secure_element", "address"], 128, "secure_element.address"),
        (["secure_element", "slot"], 16, "secure_element.slot"),
        (["secure_element", "key"], 1, "secure_element.key: no such field"),
        (["broker", "port"], 0, "broker.port"),
        (["broker", "port"], 65536, "broker.port"),
        (["broker", "port"], True, "broker.port"),
        (["broker", "port"], 1.5, "broker.port"),
        (["broker", "tls"], 1, "broker.tls"),
        (["broker", "ca"], "", "broker.ca"),
        (["broker", "user"], "x", "broker.user: no such field"),
        (["link_key"], "ab", "link_key"),
        (["link_key"], "zz" * 64, "link_key"),
        (["link_key"], "ab" * 64, "link_key"),  # no point of the curve
        (["owner_key"], "ab" * 64, "owner_key"),
        (["sensors"], [], "sensors"),
        (["sensors", 0], 7, "sensors[0]"),
        (["sensors", 0, "type"], "sht11", "sensors[0].type"),
        (["sensors", 0, "type"], ["bme280"], "sensors[0].type"),
        (["sensors", 0, "address"], 0x75, "sensors[0].address"),
        (["sensors", 0, "name"], "two words", "sensors[0].name"),
        (["sensors"], GOOD["sensors"] * 2, "sensors[1].name: used twice"),
        (["sensors"], [*GOOD["sensors"], {**GOOD["sensors"][0], "name": "b"}], "sensors[1].address: used twice"),
        (["sensors"], [*GOOD["sensors"], {**GOOD["sensors"][0], "name": "b", "scl": 5}], "sensors[1].i2c"),
        (["sample_s"], 0, "sample_s"),
        (["batch", "samples"], 256, "batch.samples"),
        (["resend_s"], "30", "resend_s"),
        (["typo"], 1, "typo: no such field"),
    ],
)
def test_error_names_the_field(board: BoardProcess, path: list[Any], value: Any, named: str) -> None:
    with pytest.raises(BoardError) as caught:
        _check(board, _at(GOOD, path, value))
    assert caught.value.kind == "ConfigError"
    assert named in caught.value.text


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(GOOD)), inner, max_size=4),
    max_leaves=8,
)
_PATHS = [["wifi"], ["wifi", 0], ["broker"], ["broker", "host"], ["sensors"], ["sensors", 0], ["batch"], ["link_key"]]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(_PATHS), _JSON)
def test_nothing_but_config_error_comes_out(board: BoardProcess, path: list[Any], value: Any) -> None:
    try:
        _check(board, _at(GOOD, path, value))
    except BoardError as error:
        assert error.kind == "ConfigError", error


@settings(max_examples=100, deadline=None)
@given(_JSON)
def test_any_json_is_checked(board: BoardProcess, value: Any) -> None:
    with pytest.raises(BoardError) as caught:
        _check(board, value)
    assert caught.value.kind == "ConfigError"


def test_unreadable_files(board: BoardProcess, tmp_path: Any) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "large.json").write_text(" " * 9000)
    for name, word in (("absent", "cannot be read"), ("broken.json", "not JSON"), ("large.json", "more than")):
        with pytest.raises(BoardError) as caught:
            board.call("trig.config.load", str(tmp_path / name))
        assert caught.value.kind == "ConfigError" and word in caught.value.text


def test_the_readmes_example_is_good(board: BoardProcess) -> None:
    text = (DEVICE / "README.md").read_text().partition("```json\n")[2].partition("```")[0]
    checked = _check(board, json.loads(text))
    assert checked["broker"]["tls"] and checked["sensors"][0]["address"] == 0x76 and checked["sample_s"] == 600


def test_every_module_is_in_the_readme() -> None:
    table = (DEVICE / "README.md").read_text().partition("\n## What is where\n")[2].partition("\n## ")[0]
    modules = {path.name for path in (DEVICE / "trig").glob("*.py")} - {"__init__.py"}
    assert modules == {name.removeprefix("trig/") for name in re.findall("`([a-z0-9_/]+[.]py)`", table)} & modules


def test_every_field_is_in_the_readme_with_its_default() -> None:
    table = (DEVICE / "README.md").read_text().partition("\n## Configuration\n")[2].partition("\n## ")[0]
    rows = {cells[1].strip(): cells[2].strip() for line in table.splitlines() if len(cells := line.split("|")) > 4}
    code = "from trig import config\nfor n, r in config._ROOT.items(): print(n, r[3] if len(r) > 3 else '-', sep='=')"
    for line in run(code, heap="600k").splitlines():
        name, _, default = line.partition("=")
        found = [shown for field, shown in rows.items() if field.startswith((f"`{name}`", f"`{name}."))]
        assert found, f"{name} is not in device/README.md"
        if default.isdigit():
            assert found == [default], name
        elif default in ("", "None"):
            assert found == ["none"], name
