"""Where an axis has its marks, and what is written at them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_HOUR = 3600
_DAY = 24 * _HOUR
_TIME_STEPS = (
    *(60, 300, 900, 1800),
    *(_HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR),
    *(_DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY, 28 * _DAY, 91 * _DAY, 364 * _DAY),
)


class Mark(NamedTuple):
    """A place on an axis and its label."""

    at: float
    label: str


def counts(high: float, most: int = 5) -> list[Mark]:
    """Return round marks from 0 to the first one that is not below `high`: at most `most` and one more.

    Args:
        high: the largest value, 0 or more.
        most: how many steps there may be.
    """
    step = _round_step(max(high, 1) / most)
    return [Mark(step * place, short(step * place)) for place in range(math.ceil(max(high, 1) / step - 1e-9) + 1)]


def times(begin: float, end: float, most: int = 8) -> list[Mark]:
    """Return marks between two times in seconds since 1970 (UTC), on full hours or days: at most `most` and one more.

    A mark at midnight names the day, others the hour.
    """
    span = max(end - begin, 1.0)
    step = next((step for step in _TIME_STEPS if span / step <= most), max(_TIME_STEPS[-1], math.ceil(span / most)))
    first = datetime.fromtimestamp(begin, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    marks = []
    at = first + timedelta(seconds=step * math.ceil((begin - first.timestamp()) / step))
    while at.timestamp() <= end:
        day = at.hour == at.minute == 0
        marks.append(Mark(at.timestamp(), f"{at.day} {at:%b}" if day else f"{at:%H:%M}"))
        at += timedelta(seconds=step)
    return marks


def powers(low: float, high: float) -> list[Mark]:
    """Return marks at 1, 10, 100 ... milliseconds that lie between two such times, as `seconds` writes them."""
    exponents = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    return [Mark(10.0**exponent, seconds(10.0**exponent)) for exponent in exponents]


def seconds(milliseconds: float) -> str:
    """Return a length of time as people write it: `340 ms`, `1.4 s`, `12 s`, `3.5 min`, `2.1 h`."""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms" if milliseconds >= 1 or milliseconds == 0 else f"{milliseconds:.1f} ms"
    for size, unit in ((3_600_000.0, "h"), (60_000.0, "min"), (1000.0, "s")):
        if milliseconds >= size:
            value = milliseconds / size
            return f"{value:.1f}".removesuffix(".0") + f" {unit}" if value < 10 else f"{value:.0f} {unit}"
    raise AssertionError  # one second and more has been answered above


def short(value: float) -> str:
    """Return a count for a narrow place: `940`, `12k`, `2.5M`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _round_step(least: float) -> int:
    """Return the least of 1, 2, 5, 10, 20 ... that is not below `least`."""
    power = int(10 ** math.floor(math.log10(max(least, 1))))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least - 1e-9)
