"""What a wiring picture is made of: wires, junctions, resistors, capacitors, boards, as SVG text. Units are pixels.

A picture stands on a light sheet of its own and brings its own colours, so it looks the same on a light and on a dark
page. Fonts are the reader's: a page shows an SVG as an image, which loads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

SHEET: Final = "#fbfaf7"
INK: Final = "#22303c"
FAINT: Final = "#657382"
LINE: Final = "#d9d5ca"
COPPER: Final = "#d9a441"
FONT: Final = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
MONO: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace"

# By function, and the same in every picture.
SUPPLY: Final = "#cf3f37"
SUPPLY_5V: Final = "#e2801b"
GROUND: Final = "#36434f"
CLOCK: Final = "#2a6cb5"
DATA: Final = "#1e8a63"
SIGNAL: Final = "#8b4fa0"
SEND: Final = "#2a6cb5"
RECEIVE: Final = "#1e8a63"

_HOP: Final = 6
_BODY: Final = 34
_BANDS: Final = {
    "4.7 kΩ": ("#e5c62d", "#7b4ea3", "#c9352b", "#b8923c"),
    "100 Ω": ("#7a4a25", "#1f1f1f", "#7a4a25", "#b8923c"),
}


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: float = 14,
    fill: str = INK,
    anchor: str = "start",
    weight: int = 400,
    mono: bool = False,
) -> str:
    """A line of text whose baseline is at `y`."""
    font = f' font-family="{MONO}"' if mono else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{fill}" text-anchor="{anchor}" '
        f'font-weight="{weight}"{font}>{escape(words)}</text>'
    )


def box(x: float, y: float, width: float, height: float, fill: str, *, stroke: str = "none", radius: float = 6) -> str:
    """A rectangle with round corners."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" fill="{fill}" '
        f'stroke="{stroke}" stroke-width="1.5"/>'
    )


def disc(x: float, y: float, radius: float, fill: str, *, stroke: str = "none", width: float = 1.5) -> str:
    """A filled circle."""
    return f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{fill}" stroke="{stroke}" stroke-width="{width:g}"/>'


def stroke(path: str, colour: str, *, width: float = 2, dashed: bool = False) -> str:
    """A line along a path."""
    dashes = ' stroke-dasharray="7 6"' if dashed else ""
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}" stroke-linecap="round" '
        f'stroke-linejoin="round"{dashes}/>'
    )


def wire(path: str, colour: str, *, dashed: bool = False) -> str:
    """A wire. Where it crosses what was drawn before, a margin shows which lies on top."""
    return stroke(path, SHEET, width=8) + stroke(path, colour, width=3.5, dashed=dashed)


def pad(x: float, y: float) -> str:
    """A plated hole at the edge of a board."""
    return disc(x, y, 6.5, COPPER) + disc(x, y, 2.6, SHEET)


def upright(x: float, top: float, bottom: float, crossed: Sequence[float], colour: str, *, dashed: bool = False) -> str:
    """A wire down from `top` to `bottom` that hops over the wires at `crossed`."""
    path = f"M{x:g} {top:g}"
    for y in sorted(crossed):
        path += f" V{y - _HOP:g} a{_HOP} {_HOP} 0 0 1 0 {2 * _HOP}"
    return wire(f"{path} V{bottom:g}", colour, dashed=dashed)


def resistor(x: float, middle: float, value: str, *, label_at: str = "end", optional: bool = False) -> str:
    """An upright resistor with the colour code of its value beside its label."""
    top = middle - _BODY / 2
    edge = "#a98f5e"
    dashes = ' stroke-dasharray="4 3"' if optional else ""
    parts = [
        f'<rect x="{x - 8:g}" y="{top:g}" width="16" height="{_BODY}" rx="6" fill="#f0e2c0" stroke="{edge}" '
        f'stroke-width="1.5"{dashes}/>'
    ]
    for at, band in zip((6, 12, 18, 26), _BANDS[value], strict=True):
        parts.append(f'<rect x="{x - 7.2:g}" y="{top + at:g}" width="14.4" height="3.4" fill="{band}"/>')
    offset = -14 if label_at == "end" else 14
    parts.append(text(x + offset, middle + 5, value, size=13, anchor=label_at))
    return "".join(parts)


def capacitor(x: float, middle: float, value: str, *, label_at: str = "start", colour: str = INK) -> str:
    """A capacitor in an upright wire: two plates."""
    plates = f"M{x - 11:g} {middle - 4:g}h22M{x - 11:g} {middle + 4:g}h22"
    gap = f'<rect x="{x - 4:g}" y="{middle - 3:g}" width="8" height="6" fill="{SHEET}"/>'
    offset = 18 if label_at == "start" else -18
    return gap + stroke(plates, colour, width=3) + text(x + offset, middle + 5, value, size=13, anchor=label_at)


def junction(x: float, y: float, colour: str) -> str:
    """Where wires are joined."""
    return disc(x, y, 5, colour, stroke=SHEET)


def lines_of(words: str, longest: int) -> list[str]:
    """Break a sentence into lines of at most so many characters."""
    lines = [""]
    for word in words.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > longest:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines
