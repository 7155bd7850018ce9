"""What a scenario may say, and what is said about one that is wrong."""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trigpoint_tools.fleet.scenario import FaultKind, ScenarioError, checked, load, parse, seconds

LEAST = 'name = "x"\nduration = "1d"\n[[boards]]\nname = "a"\ncount = 2\n'


def test_the_least_that_a_scenario_says_has_defaults_for_the_rest() -> None:
    scenario = parse(LEAST)
    assert (scenario.count, scenario.duration_s, scenario.boards[0].sample_s, scenario.faults) == (2, 86_400, 3600, ())
    assert scenario.start_s == 1_359_936_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('duration = "1d"\n[[boards]]\nname = "a"\ncount = 1\n', "name: missing"),
        (LEAST.replace('"1d"', '"a week"'), "duration: 'a week' is no length of time"),
        (LEAST.replace('"1d"', '""'), "duration: want a length of time"),
        (LEAST.replace('"1d"', "true"), "duration: want a length of time"),
        (LEAST.replace('"1d"', '"9m"'), "duration: input should be greater than or equal to 600"),
        (LEAST.replace("count = 2", "count = 0"), "boards.0.count: input should be greater than or equal to 1"),
        (LEAST.replace("count = 2", 'count = "2"'), "boards.0.count: input should be a valid integer"),
        (LEAST.replace("count = 2", "count = 2\ncolour = 1"), "boards.0.colour: no such field"),
        ("speeed = 1\n" + LEAST, "speeed: no such field"),
        ("speed = nan\n" + LEAST, "speed: input should be a finite number"),
        ("start = 2014-05-01T00:00:00Z\n" + LEAST, "start: want a run that lies between"),
        (LEAST + 'sensors = "lidar"\n', "boards.0.sensors.0: input should be 'bme280', 'sht4x' or 'ds18b20'"),
        (LEAST + 'sensors = ["sht4x", "sht4x"]\n', "boards.0: sensors: a type stands there twice"),
        (LEAST + 'sample = "20s"\n', "boards.0.sample: 20 s of the world last 0.011 s of ours"),
        (LEAST + '[[boards]]\nname = "a"\ncount = 1\n', "boards: two groups are called a"),
        (LEAST + '[[boards]]\nname = "b"\ncount = 1999\n', "boards: 2001 boards in all"),
        (LEAST + '[[faults]]\nkind = "rust"\nat = "1h"\n', "faults.0.kind: input should be 'wifi-loss'"),
        (LEAST + '[[faults]]\nkind = "tcp-reset"\n', "faults.0: want either `at` or `every`"),
        (LEAST + '[[faults]]\nkind = "tcp-reset"\nat = "1h"\nevery = "1h"\n', "faults.0: want either `at` or `every`"),
        (LEAST + '[[faults]]\nkind = "tcp-reset"\nat = "2d"\n', "faults.0.at: the run is over by then"),
        (LEAST + '[[faults]]\nkind = "tcp-reset"\nevery = "2d"\n', "faults.0.every: longer than the run"),
        (LEAST + '[[faults]]\nkind = "tcp-reset"\nat = "1h"\nlasts = "1h"\n', "faults.0: lasts: tcp-reset happens at"),
        (LEAST + '[[faults]]\nkind = "power-cut"\nat = "1h"\n', "faults.0: lasts: say how long it lasts"),
        (LEAST + '[[faults]]\nkind = "power-cut"\nat = "1h"\nlasts = ["2h", "1h"]\n', "faults.0: lasts: say how long"),
        (
            LEAST + '[[faults]]\nkind = "power-cut"\nat = "1h"\nlasts = "1h"\namount = 3\n',
            "faults.0: amount: power-cut has none",
        ),
        (
            LEAST + '[[faults]]\nkind = "packet-loss"\nat = "1h"\nlasts = "1h"\namount = 20\n',
            "faults.0: amount: want 0.01 to 0.9 (share of segments that is lost)",
        ),
        (
            LEAST + '[[faults]]\nkind = "power-cut"\nat = "1h"\nlasts = "1h"\ngroups = "b"\n',
            "faults.0.groups: there is no group b; there are a",
        ),
        (
            LEAST + '[[faults]]\nkind = "power-cut"\nat = "1h"\nlasts = "1h"\nshare = 0.5\nboards = 1\n',
            "faults.0: want either `share` or `boards`",
        ),
        (
            LEAST + '[[faults]]\nkind = "broker-restart"\nat = "1h"\nlasts = "1h"\nshare = 0.5\n',
            "faults.0: broker-restart hits no board in particular",
        ),
        (
            LEAST + 'secure_element = true\n[[faults]]\nkind = "cloned-key"\nat = "1h"\n',
            "faults.0.groups: the keys of these boards are in secure elements",
        ),
        ("name = ", "scenario is not TOML"),
    ],
)
def test_what_is_wrong_is_said_with_its_field(text: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_a_scenario_is_named(tmp_path: Path) -> None:
    for content in (b"\xff\xfe", b"#" * (1 << 20) + b"##"):
        (tmp_path / "x.toml").write_bytes(content)
        with pytest.raises(ScenarioError, match=r"x\.toml .*is it a scenario"):
            load(tmp_path / "x.toml")
    with pytest.raises(ScenarioError, match=r"cannot read .*nowhere\.toml: No such file"):
        load(tmp_path / "nowhere.toml")


@given(st.integers(0, 20), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_lengths_of_time_add_up(days: int, hours: int, minutes: int, rest: int) -> None:
    assert seconds(f"{days}d {hours}h{minutes}m {rest}s") == 86_400 * days + 3600 * hours + 60 * minutes + rest


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(list(FaultKind)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "name",
        "seed",
        "duration",
        "speed",
        "boards",
        "faults",
        "count",
        "sensors",
        "kind",
        "at",
        "every",
        "lasts",
        "amount",
    ]
)


@given(st.dictionaries(KEYS, VALUES | st.lists(st.dictionaries(KEYS, VALUES), max_size=2), max_size=6))
def test_nothing_else_comes_out_of_a_wrong_one(fields: dict[str, object]) -> None:
    whole = tomllib.loads(LEAST) | fields
    try:
        checked(whole, "this")
    except ScenarioError as error:
        assert str(error).startswith("this: ")


@given(st.text(max_size=60))
def test_no_text_does_worse_than_that(text: str) -> None:
    with contextlib.suppress(ScenarioError):
        parse(text)
