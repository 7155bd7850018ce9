"""Plots as SVG: data in, an element out. No colours in here: each part has a class, and the page's style says the rest.

Written here and not taken from a library: matplotlib brings numpy, fonts and 30 MB to draw a line; plotly, bokeh and
vega bring JavaScript, which a report that is opened in ten years, offline, had better do without; pygal is LGPL.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trigpoint_tools.fleet import axis
from trigpoint_tools.fleet.axis import Mark
from trigpoint_tools.fleet.markup import Element, make, number

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """Values over time.

    Attributes:
        look: its class in the page's style.
        points: (time in seconds since 1970, value), in order of time.
        filled: whether what is below it is filled.
    """

    look: str
    points: Sequence[Point]
    filled: bool = False


@dataclass(frozen=True)
class Bar:
    """Something that lasted. `link` is where a click leads, such as `#fault-3`."""

    begin: float
    end: float
    title: str
    link: str | None = None


@dataclass(frozen=True)
class Lane:
    """Bars of one kind, in a row of their own below the plot; with `shade` they darken the plot above them as well."""

    title: str
    look: str
    bars: Sequence[Bar]
    shade: bool = False


@dataclass(frozen=True)
class Dot:
    """One thing that happened, at a time and a height."""

    at: float
    value: float
    title: str


@dataclass(frozen=True)
class Size:
    """How large a plot is, in the units of its own drawing, and how much room its labels take.

    Attributes:
        width: of the whole picture.
        height: of the plot alone, without labels and lanes.
        left: room for the labels on the left; lanes have their names there if `names_beside`.
        names_beside: whether names of lanes stand beside the lanes, or above each.
        time_marks: how many marks the time has at most.
    """

    width: float
    height: float
    left: float
    names_beside: bool
    time_marks: int


WIDE = Size(960, 240, 128, True, 8)
NARROW = Size(380, 190, 40, False, 4)

_RIGHT = 14.0
_TOP = 10.0
_LABELS = 24.0
_LANE = 18.0
_NAME = 15.0
_LEAST_BAR = 2.0
_LETTER = 5.6


@dataclass(frozen=True)
class _Frame:
    """The plot's rectangle, and where values lie in it."""

    size: Size
    begin: float
    end: float
    high: float

    @property
    def right(self) -> float:
        return self.size.width - _RIGHT

    @property
    def bottom(self) -> float:
        return _TOP + self.size.height

    def x(self, at: float) -> float:
        share = (at - self.begin) / max(self.end - self.begin, 1e-9)
        return self.size.left + min(max(share, 0.0), 1.0) * (self.right - self.size.left)

    def y(self, value: float) -> float:
        return self.bottom - min(max(value / self.high, 0.0), 1.0) * self.size.height


def timeline(
    size: Size,
    span: tuple[float, float],
    describe: str,
    *,
    lines: Sequence[Line] = (),
    dots: Sequence[Dot] = (),
    lanes: Sequence[Lane] = (),
    marked: Sequence[Mark] = (),
) -> Element:
    """Draw lines and dots over time, with lanes of bars below them on the same axis.

    Args:
        size: `WIDE` or `NARROW`.
        span: the first and the last second shown, since 1970.
        describe: what the picture shows, for those who cannot see it.
        lines: drawn in this order, the last on top.
        dots: drawn over the lines.
        lanes: from top to bottom.
        marked: moments to be marked with their names.
    """
    values = [value for line in lines for _, value in line.points] + [dot.value for dot in dots]
    marks = axis.counts(max(values, default=0.0), most=4)
    frame = _Frame(size, *span, high=marks[-1].at)
    lane_height = _LANE if size.names_beside else _LANE + _NAME
    height = frame.bottom + _LABELS + (lane_height * len(lanes) + 4 if lanes else 0)
    picture = _picture(size, height, describe)
    for lane in lanes:
        if lane.shade:
            for bar in lane.bars:
                picture.append(_bar(frame, bar, f"shade {lane.look}", _TOP, size.height))
    picture.append(_grid(frame, marks, axis.times(*span, most=size.time_marks)))
    for line in lines:
        _extend(picture, _line(frame, line))
    for dot in dots:
        picture.append(
            make("circle", make("title", dot.title), class_="dot", cx=frame.x(dot.at), cy=frame.y(dot.value), r=3.2)
        )
    for mark in marked:
        _extend(picture, _flag(frame.x(mark.at), _TOP + 8, frame, mark.label))
    top = frame.bottom + _LABELS
    for lane in lanes:
        _extend(picture, _lane(frame, lane, top))
        top += lane_height
    return picture


def histogram(size: Size, bins: Sequence[tuple[float, float, int]], describe: str, marked: Sequence[Mark]) -> Element:
    """Draw how many of the times are how long, on a logarithmic axis.

    Args:
        size: `WIDE` or `NARROW`.
        bins: (from, to, how many) in milliseconds, rising, from above 0.
        describe: what the picture shows, for those who cannot see it.
        marked: times to be marked with their names, such as percentiles, in rising order.
    """
    low = 10.0 ** math.floor(math.log10(bins[0][0]) + 1e-9) if bins else 1.0
    high = max(10.0 ** math.ceil(math.log10(bins[-1][1]) - 1e-9), low * 10) if bins else 1000.0
    marks = axis.counts(max((count for _, _, count in bins), default=0), most=3)
    flags = 16.0 * len(marked) + 4
    left = 48.0 if size.names_beside else size.left
    bars_height = size.height * 0.8
    frame = _Frame(Size(size.width, bars_height + flags, left, size.names_beside, 0), low, high, marks[-1].at)

    def x(value: float) -> float:
        share = (math.log(max(value, low)) - math.log(low)) / (math.log(high) - math.log(low))
        return left + min(share, 1.0) * (frame.right - left)

    def y(count: float) -> float:
        return frame.bottom - count / frame.high * bars_height

    picture = _picture(size, frame.bottom + _LABELS, describe)
    for mark in marks:
        picture.append(make("line", class_="grid", x1=left, x2=frame.right, y1=y(mark.at), y2=y(mark.at)))
        picture.append(make("text", mark.label, class_="tick", x=left - 8, y=y(mark.at) + 3.5, text_anchor="end"))
    for mark in axis.powers(low, high):
        picture.append(_label_below(x(mark.at), frame, mark.label))
    for begin, end, count in bins:
        said = f"{axis.seconds(begin)} to {axis.seconds(end)}: {count:,}"
        bar = make("rect", make("title", said), class_="bin", x=x(begin) + 0.5, y=y(count))
        bar.set("width", number(max(x(end) - x(begin) - 1, 1)))
        bar.set("height", number(frame.bottom - y(count)))
        picture.append(bar)
    for place, mark in enumerate(marked):
        _extend(picture, _flag(x(mark.at), _TOP + 16.0 * place + 8, frame, mark.label))
    return picture


def thin(points: Sequence[Point], most: int) -> list[Point]:
    """Return at most about `most` of the points: the first, the last, the highest and lowest of each stretch.

    A peak that lasts for one point is what a plot of waiting readings is looked at for; an average would hide it.
    """
    if len(points) <= most or most < 4:
        return list(points)
    stretches = most // 2
    kept: dict[int, Point] = {0: points[0], len(points) - 1: points[-1]}
    for place in range(stretches):
        inside = range(place * len(points) // stretches, (place + 1) * len(points) // stretches)
        for index in (min(inside, key=lambda at: points[at][1]), max(inside, key=lambda at: points[at][1])):
            kept[index] = points[index]
    return [kept[index] for index in sorted(kept)]


def _picture(size: Size, height: float, describe: str) -> Element:
    box = f"0 0 {number(size.width)} {number(height)}"
    look = "wide" if size.names_beside else "narrow"
    return make("svg", xmlns="http://www.w3.org/2000/svg", viewBox=box, class_=f"plot {look}", aria_label=describe)


def _grid(frame: _Frame, marks: Iterable[Mark], times: Iterable[Mark]) -> Element:
    grid = make("g")
    for mark in marks:
        y = frame.y(mark.at)
        grid.append(make("line", class_="grid", x1=frame.size.left, x2=frame.right, y1=y, y2=y))
        grid.append(make("text", mark.label, class_="tick", x=frame.size.left - 8, y=y + 3.5, text_anchor="end"))
    for mark in times:
        x = frame.x(mark.at)
        grid.append(make("line", class_="grid", x1=x, x2=x, y1=frame.bottom, y2=frame.bottom + 4))
        grid.append(_label_below(x, frame, mark.label))
    return grid


def _label_below(x: float, frame: _Frame, label: str) -> Element:
    """Return a label under the axis, moved so far inwards that the picture's edge does not cut it."""
    half = _LETTER * len(label) / 2
    inside = min(max(x, half + 1), frame.size.width - half - 1)
    return make("text", label, class_="tick", x=inside, y=frame.bottom + 16, text_anchor="middle")


def _line(frame: _Frame, line: Line) -> Iterable[Element]:
    places = [(frame.x(at), frame.y(value)) for at, value in thin(line.points, int(frame.right - frame.size.left))]
    if not places:
        return
    path = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in places)
    if line.filled:
        area = f"{path}L{number(places[-1][0])} {number(frame.bottom)}L{number(places[0][0])} {number(frame.bottom)}Z"
        yield make("path", class_=f"area {line.look}", d=area)
    yield make("path", class_=f"line {line.look}", d=path)


def _lane(frame: _Frame, lane: Lane, top: float) -> Iterable[Element]:
    if frame.size.names_beside:
        yield make("text", lane.title, class_="lane", x=frame.size.left - 8, y=top + 11.5, text_anchor="end")
    else:
        yield make("text", lane.title, class_="lane", x=frame.size.left, y=top + 11)
        top += _NAME
    middle = top + 8
    yield make("line", class_="grid", x1=frame.size.left, x2=frame.right, y1=middle, y2=middle)
    for bar in lane.bars:
        yield _bar(frame, bar, f"bar {lane.look}", top + 3, 10)


def _bar(frame: _Frame, bar: Bar, look: str, top: float, height: float) -> Element:
    x, end = frame.x(bar.begin), frame.x(bar.end)
    drawn = make("rect", make("title", bar.title), class_=look, x=x, y=top, width=max(end - x, _LEAST_BAR))
    drawn.set("height", number(height))
    # Hundreds of bars would be hundreds of stops for whoever uses the keyboard, and the log has them all.
    return make("a", drawn, href=bar.link, tabindex="-1") if bar.link else drawn


def _flag(x: float, y: float, frame: _Frame, label: str) -> Iterable[Element]:
    """Yield a line down to the axis with its name at the top, on the side where there is room."""
    yield make("line", class_="flag", x1=x, x2=x, y1=y - 4, y2=frame.bottom)
    beyond = x + 6 + _LETTER * len(label) > frame.right
    yield make(
        "text", label, class_="flag", x=x - 6 if beyond else x + 6, y=y + 4, text_anchor="end" if beyond else None
    )


def _extend(picture: Element, parts: Iterable[Element]) -> None:
    for part in parts:
        picture.append(part)
