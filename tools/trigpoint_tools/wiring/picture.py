"""One picture: the board with each chip's pins on the left, the part on the right, a wire a row between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape

from trigpoint_tools import pins
from trigpoint_tools.wiring import parts
from trigpoint_tools.wiring.shapes import (
    CLOCK,
    DATA,
    FAINT,
    FONT,
    GROUND,
    INK,
    LINE,
    RECEIVE,
    SEND,
    SHEET,
    SIGNAL,
    SUPPLY,
    SUPPLY_5V,
    box,
    capacitor,
    disc,
    junction,
    lines_of,
    pad,
    resistor,
    stroke,
    text,
    upright,
    wire,
)

CHIPS = {"esp32": "ESP32", "esp32s3": "S3", "esp32c3": "C3", "esp32c6": "C6"}
"""The chips that have a column, and its head."""

_COLOURS = {
    "3V3": SUPPLY,
    "5V": SUPPLY_5V,
    "GND": GROUND,
    pins.SCL: CLOCK,
    pins.SDA: DATA,
    pins.RX: RECEIVE,
    pins.TX: SEND,
    pins.ONE_WIRE: DATA,
    pins.ANALOG: SIGNAL,
    pins.PULSES: SIGNAL,
}
_WIDTH = 960
_BOARD = (24, 330)  # left and right edge
_COLUMNS = (68, 124, 180, 236)
_FIELD_X = 316
_PART = (676, 936)
_FIRST_ROW = 222
_ROW = 56
_TOP = 74
_NOTE = 20
_LONGEST = 122


@dataclass(frozen=True)
class Row:
    """One wire.

    Attributes:
        wire: what the board's end is: 3V3, 5V, GND or a wire of `pins`; empty for a pin of the part that does not go
            there.
        label: the name of the part's pin; empty if the wire does not go to the part.
        remark: a word beside that name.
        joins: for such a pin the row that it is tied to; None leaves it open.
        optional: whether the wire may be left out.
        field: its field in config.json, None if it has none.
    """

    wire: str
    label: str = ""
    remark: str = ""
    joins: int | None = None
    optional: bool = False
    field: str | None = None


@dataclass(frozen=True)
class Between:
    """A resistor or capacitor between two wires.

    Attributes:
        kind: `resistor` or `capacitor`.
        value: as printed beside it.
        x: where.
        top, bottom: the rows.
        optional: whether it may be there already.
        label_at: on which side its value stands, as SVG's text-anchor.
    """

    kind: str
    value: str
    x: float
    top: int
    bottom: int
    optional: bool = False
    label_at: str = "end"


@dataclass(frozen=True)
class Picture:
    """What is drawn.

    Attributes:
        name: file name without `wiring-` and ending.
        title: the part.
        measures: what it measures.
        rows: from top to bottom.
        body: colour of the part's board.
        draw: draws the part around a point.
        between: resistors and capacitors.
        notes: sentences below.
        light: whether the part's board is a light one, with dark letters.
    """

    name: str
    title: str
    measures: str
    rows: tuple[Row, ...]
    body: str
    draw: Callable[[float, float], str]
    between: tuple[Between, ...] = ()
    notes: tuple[str, ...] = field(default=())
    light: bool = False


def svg(picture: Picture) -> str:
    """Return the picture as an SVG document."""
    bottom = _y(len(picture.rows) - 1) + 44
    notes = [line for note in picture.notes for line in lines_of(note, _LONGEST)]
    height = bottom + (22 + _NOTE * len(notes) if notes else 0) + 24
    drawn = [
        box(0, 0, _WIDTH, height, SHEET, radius=14),
        text(_BOARD[0] + 2, 34, "Board", size=19, weight=650),
        text(_BOARD[0] + 2, 58, "GPIO numbers, by chip", size=13.5, fill=FAINT),
        text(_PART[0] + 2, 34, picture.title, size=19, weight=650),
        text(_PART[0] + 2, 58, picture.measures, size=13.5, fill=FAINT),
        _board(picture, bottom),
        _part(picture, bottom),
        # What is tied to a wire comes after it, and lies on top.
        *(_wire(picture, at) for at in sorted(range(len(picture.rows)), key=lambda at: not picture.rows[at].wire)),
        *(_between(picture, one) for one in picture.between),
        *(_ends(row, _y(at)) for at, row in enumerate(picture.rows)),
        *(text(_BOARD[0] + 2, bottom + 36 + _NOTE * at, line, size=14, fill=INK) for at, line in enumerate(notes)),
    ]
    words = f"{picture.title}: {_described(picture)}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" role="img" '
        f'aria-labelledby="t d" font-family="{FONT}">\n'
        f'<title id="t">Wiring of {escape(picture.title)}</title>\n<desc id="d">{escape(words)}</desc>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


def _y(row: int) -> float:
    return _FIRST_ROW + row * _ROW


def _described(picture: Picture) -> str:
    """The wires in words, for who does not see the picture."""
    said = []
    for row in picture.rows:
        if row.wire and row.label:
            numbers = pins.PINS["esp32"].get(row.wire)
            where = (
                row.wire
                if numbers is None
                else ", ".join(f"{title} GPIO {pins.PINS[chip][row.wire]}" for chip, title in CHIPS.items())
            )
            said.append(f"{row.label} to {where}")
        elif row.label:
            said.append(f"{row.label} {row.remark or 'open'}")
    said += [f"{one.value} between {_end(picture, one.top)} and {_end(picture, one.bottom)}" for one in picture.between]
    return "; ".join(said) + "."


def _end(picture: Picture, row: int) -> str:
    return picture.rows[row].wire


def _board(picture: Picture, bottom: float) -> str:
    left, right = _BOARD
    drawn = [box(left, _TOP, right - left, bottom - _TOP, "#1f3a54", radius=12), parts.module(left + 27, _TOP + 16)]
    drawn += [
        text(x, _FIRST_ROW - 40, title, size=13.5, fill="#9fc0dd", anchor="middle", weight=600)
        for x, title in zip(_COLUMNS, CHIPS.values(), strict=True)
    ]
    if any(row.field for row in picture.rows):
        drawn.append(text(_FIELD_X - 10, _FIRST_ROW - 40, "field", size=13.5, fill="#9fc0dd", anchor="end"))
    for at, row in enumerate(picture.rows):
        if not row.wire:
            continue
        y = _y(at)
        if row.wire in pins.PINS["esp32"]:
            drawn += [
                text(x, y + 6, str(pins.PINS[chip][row.wire]), size=17, fill="#ffffff", anchor="middle", weight=600)
                for x, chip in zip(_COLUMNS, CHIPS, strict=True)
            ]
            if row.field:
                drawn.append(text(_FIELD_X - 10, y + 5, row.field, size=13.5, fill="#9fc0dd", anchor="end", mono=True))
        else:
            middle = (_COLUMNS[0] + _COLUMNS[-1]) / 2
            for near, far in ((_COLUMNS[0] - 14, middle - 34), (middle + 34, _COLUMNS[-1] + 14)):
                drawn.append(stroke(f"M{near:g} {y:g}H{far:g}", "#48698a", width=1.5))
            drawn.append(text(middle, y + 6, row.wire, size=17, fill="#ffffff", anchor="middle", weight=600))
    return "".join(drawn)


def _part(picture: Picture, bottom: float) -> str:
    left, right = _PART
    top = _TOP
    ink, faint = (INK, FAINT) if picture.light else ("#ffffff", "#d5dde4")
    edge = LINE if picture.light else "none"
    frame = (
        parts.breakout(left, top, right - left, bottom - top, picture.body)
        if not picture.light
        else box(left, top, right - left, bottom - top, picture.body, stroke=edge, radius=10)
    )
    drawn = [frame]
    for at, row in enumerate(picture.rows):
        if row.label:
            y = _y(at)
            drawn.append(text(left + 20, y + (-1 if row.remark else 5), row.label, size=15, fill=ink, weight=650))
            if row.remark:
                drawn.append(text(left + 20, y + 15, row.remark, size=12, fill=faint))
    drawn.append(picture.draw((left + right) / 2, (top + _FIRST_ROW - 36) / 2 + 2))
    return "".join(drawn)


def _wire(picture: Picture, at: int) -> str:
    row, y = picture.rows[at], _y(at)
    left, right = _BOARD[1], _PART[0]
    if row.wire:
        ends = [one.x for one in picture.between if at in (one.top, one.bottom)]
        end = right if row.label else max(ends)
        return wire(f"M{left:g} {y:g}H{end:g}", _COLOURS[row.wire], dashed=row.optional)
    if row.joins is None:
        stub = right - 26
        return stroke(f"M{stub:g} {y:g}H{right:g}", FAINT) + disc(stub - 4, y, 4, SHEET, stroke=FAINT)
    colour = _COLOURS[picture.rows[row.joins].wire]
    bend = right - 46
    path = f"M{bend:g} {_y(row.joins):g}V{y - 10 if row.joins < at else y + 10:g}"
    turn = 10 if row.joins < at else -10
    return wire(f"{path}q0 {turn} 10 {turn}H{right:g}", colour) + junction(bend, _y(row.joins), colour)


def _between(picture: Picture, one: Between) -> str:
    top, bottom = _y(one.top), _y(one.bottom)
    crossed = [_y(at) for at in range(one.top + 1, one.bottom) if picture.rows[at].wire]
    above, below = (_COLOURS[picture.rows[at].wire] for at in (one.top, one.bottom))
    # The body stands in the gap that is next to the upper wire, a capacitor's next to the lower one.
    if one.kind == "resistor":
        middle = top + _ROW / 2
        drawn = upright(one.x, top, middle, (), above) + upright(one.x, middle, bottom, crossed, below)
        drawn += resistor(one.x, middle, one.value, label_at=one.label_at, optional=one.optional)
    else:
        middle = bottom - _ROW / 2
        drawn = upright(one.x, top, middle, crossed, above) + upright(one.x, middle, bottom, (), below)
        drawn += capacitor(one.x, middle, one.value, label_at=one.label_at)
    return drawn + junction(one.x, top, above) + junction(one.x, bottom, below)


def _ends(row: Row, y: float) -> str:
    return (pad(_BOARD[1], y) if row.wire else "") + (pad(_PART[0], y) if row.label else "")
