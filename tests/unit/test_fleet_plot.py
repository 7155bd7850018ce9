"""The report's plots: well-formed whatever the data are, nothing drawn outside, peaks never thinned away."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from trigpoint_tools.fleet import axis, plot
from trigpoint_tools.fleet.markup import make, write
from trigpoint_tools.fleet.plot import NARROW, WIDE, Bar, Dot, Lane, Line, Size
from trigpoint_tools.fleet.result import Latency

BEGIN = 1_360_249_200.0
SIZES = st.sampled_from([WIDE, NARROW])
SPANS = st.floats(1, 10 * 366 * 86400).map(lambda length: (BEGIN, BEGIN + length))
POINTS = st.lists(st.tuples(st.floats(BEGIN - 1e6, BEGIN + 1e9), st.floats(0, 1e9)), max_size=60).map(sorted)
TEXT = st.text(max_size=20)


def numbers(element: ET.Element) -> list[tuple[str, float]]:
    found = []
    for part in element.iter():
        for name in ("x", "x1", "x2", "cx", "y", "y1", "y2", "cy", "width", "height"):
            if name in part.attrib and part.tag != "svg":
                found.append((name, float(part.attrib[name])))
        for place, value in enumerate(re.findall(r"-?[\d.]+", part.get("d", ""))):
            found.append(("xy"[place % 2], float(value)))
    return found


@given(SIZES, SPANS, POINTS, POINTS, st.lists(st.tuples(TEXT, TEXT, st.booleans()), max_size=4))
def test_a_timeline_is_well_formed_and_stays_inside(
    size: Size,
    span: tuple[float, float],
    values: list[plot.Point],
    bars: list[plot.Point],
    named: list[tuple[str, str, bool]],
) -> None:
    lanes = [
        Lane(title, "wifi", [Bar(at, at + length, said, "#x") for at, length in bars], shade)
        for title, said, shade in named
    ]
    dots = [Dot(at, value, "dot") for at, value in bars]
    drawn = plot.timeline(size, span, "what", lines=[Line("a", values, filled=True)], lanes=lanes, dots=dots)
    again = ET.fromstring(write(drawn))
    assert [part.tag for part in again.iter()] == [f"{{http://www.w3.org/2000/svg}}{part.tag}" for part in drawn.iter()]
    width, height = map(float, drawn.attrib["viewBox"].split()[2:])
    for name, value in numbers(drawn):
        assert -0.1 <= value <= (width if name in ("x", "x1", "x2", "cx", "width") else height) + plot._LEAST_BAR + 0.1


@given(SIZES, st.lists(st.floats(0, 1e8), max_size=50))
@example(WIDE, [])
@example(WIDE, [0.0])
@example(NARROW, [1000.0] * 3)
def test_a_histogram_counts_every_value_once_and_stays_inside(size: Size, values: list[float]) -> None:
    latency = Latency.of(values)
    assert all(begin < end for begin, end, _ in latency.bins)
    assert all(before[1] <= after[0] * (1 + 1e-9) for before, after in pairwise(latency.bins))
    drawn = plot.histogram(size, latency.bins, "what", [axis.Mark(latency.p50, "half"), axis.Mark(latency.most, "all")])
    ET.fromstring(write(drawn))
    said = [title.text or "" for title in drawn.iter("title")]
    assert sum(int(text.rsplit(": ", 1)[1].replace(",", "")) for text in said) == len(values)
    width, height = map(float, drawn.attrib["viewBox"].split()[2:])
    for name, value in numbers(drawn):
        assert -0.1 <= value <= (width if name in ("x", "x1", "x2", "cx", "width") else height) + 0.1


@given(st.lists(st.floats(0, 1e8), min_size=1, max_size=50))
def test_percentiles_are_values_that_were_there(values: list[float]) -> None:
    latency = Latency.of(values)
    assert {latency.p50, latency.p90, latency.p99, latency.most} <= set(values)
    assert latency.p50 <= latency.p90 <= latency.p99 <= latency.most == max(values)
    assert sum(value <= latency.p90 for value in values) >= 0.9 * len(values)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.integers(4, 60))
def test_thinning_keeps_the_ends_the_order_and_the_extremes(values: list[float], most: int) -> None:
    points = [(float(at), value) for at, value in enumerate(values)]
    kept = plot.thin(points, most)
    assert len(kept) <= max(most + 2, 4)
    assert kept == sorted(kept)
    assert set(kept) <= set(points)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert max(value for _, value in kept) == max(values)
    assert min(value for _, value in kept) == min(values)


@given(st.floats(0, 1e12), st.integers(2, 9))
def test_marks_of_counts_reach_beyond_the_highest_value(high: float, most: int) -> None:
    marks = axis.counts(high, most)
    assert marks[0].at == 0
    assert marks[-1].at >= high * (1 - 1e-9)
    assert 2 <= len(marks) <= most + 1
    assert len({mark.label for mark in marks}) == len(marks)


@given(SPANS, st.integers(3, 9))
def test_marks_of_time_lie_inside_and_are_few(span: tuple[float, float], most: int) -> None:
    marks = axis.times(*span, most=most)
    assert all(span[0] <= mark.at <= span[1] for mark in marks)
    assert len(marks) <= most + 1


def test_a_day_is_marked_by_hours_and_a_week_by_days() -> None:
    midnight = 1_360_281_600  # 2013-02-08T00:00Z
    assert [mark.label for mark in axis.times(midnight, midnight + 86400)] == [
        *("8 Feb", "03:00", "06:00", "09:00", "12:00", "15:00", "18:00", "21:00", "9 Feb")
    ]
    assert [mark.label for mark in axis.times(midnight - 3600, midnight + 6 * 86400)] == [
        *("8 Feb", "9 Feb", "10 Feb", "11 Feb", "12 Feb", "13 Feb", "14 Feb")
    ]


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [
        *((0, "0 ms"), (0.12, "0.1 ms"), (999, "999 ms"), (1000, "1 s"), (1440, "1.4 s"), (12_400, "12 s")),
        *((60_000, "1 min"), (210_000, "3.5 min"), (3_600_000, "1 h"), (360_000_000, "100 h")),
    ],
)
def test_lengths_of_time_are_written_as_people_do(milliseconds: float, said: str) -> None:
    assert axis.seconds(milliseconds) == said


@given(TEXT, TEXT, TEXT)
def test_text_never_becomes_markup(first: str, second: str, third: str) -> None:
    element = make("p", first, make("b", second), third, title=first)
    again = ET.fromstring(write(element))
    assert [part.tag for part in again.iter()] == ["p", "b"]
    assert set(again.attrib) == {"title"}
