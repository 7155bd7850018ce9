"""How each part looks, drawn into a frame that its pins' labels leave free. Not to scale; what tells it is drawn."""

from __future__ import annotations

from trigpoint_tools.wiring.shapes import COPPER, FAINT, INK, box, disc, stroke, text

_STEEL = "#c9d0d6"
_STEEL_EDGE = "#8b98a3"
_BLACK = "#2c3238"


def breakout(x: float, y: float, width: float, height: float, fill: str) -> str:
    """A breakout board with two mounting holes."""
    holes = "".join(disc(x + width - 16, at, 6, "#fbfaf7", stroke=COPPER, width=2) for at in (y + 16, y + height - 16))
    return box(x, y, width, height, fill, radius=10) + holes


def bme280(x: float, y: float) -> str:
    """A square metal lid with a hole."""
    return box(x - 26, y - 26, 52, 52, _STEEL, stroke=_STEEL_EDGE, radius=4) + disc(x + 12, y - 12, 4, _BLACK)


def sht4x(x: float, y: float) -> str:
    """A black square with an opening, on three pads a side."""
    pads = "".join(box(x + side, y + at, 8, 7, COPPER, radius=1) for side in (-31, 23) for at in (-18, -4, 10))
    return pads + box(x - 24, y - 24, 48, 48, _BLACK, radius=3) + disc(x, y, 9, "#0f1215", stroke="#59636d")


def scd4x(x: float, y: float) -> str:
    """A metal box with a white membrane."""
    lid = box(x - 36, y - 36, 72, 72, _STEEL, stroke=_STEEL_EDGE, radius=5)
    membrane = box(x - 22, y - 22, 44, 44, "#f6f4ee", stroke=_STEEL_EDGE, radius=22)
    return lid + membrane + text(x, y + 5, "CO₂", size=13, anchor="middle", fill=FAINT, weight=600)


def pms5003(x: float, y: float) -> str:
    """A fan behind its grille, and the slot of the air's way out."""
    grille = "".join(disc(x, y, radius, "none", stroke="#5f7f9f", width=2) for radius in (13, 22, 31, 39))
    spokes = stroke(f"M{x - 39:g} {y:g}h78M{x:g} {y - 39:g}v78", "#5f7f9f")
    return disc(x, y, 44, "#1e3b57") + grille + spokes + disc(x, y, 8, "#5f7f9f")


def ds18b20(x: float, y: float) -> str:
    """A steel probe at a cable."""
    cable = stroke(f"M{x - 62:g} {y:g}h36", _BLACK, width=11)
    sleeve = box(x - 34, y - 11, 16, 22, _BLACK, radius=4)
    return cable + box(x - 24, y - 10, 92, 20, _STEEL, stroke=_STEEL_EDGE, radius=10) + sleeve


def moisture_probe(x: float, y: float) -> str:
    """A blade that goes into the soil."""
    blade = (
        f'<path d="M{x - 60:g} {y - 22:g} h36 v8 h78 l14 14 l-14 14 h-78 v8 h-36 '
        f'a6 6 0 0 1 -6 -6 v-32 a6 6 0 0 1 6 -6z" fill="#1d5c46"/>'
    )
    track = stroke(f"M{x - 10:g} {y - 5:g}h58M{x - 10:g} {y + 5:g}h58", "#63a78b")
    return blade + track + box(x - 52, y - 9, 18, 18, _BLACK, radius=2)


def transmitter(x: float, y: float) -> str:
    """A transmitter's head with its display."""
    head = box(x - 44, y - 32, 88, 64, "#e8e6df", stroke=_STEEL_EDGE, radius=12)
    shown = box(x - 30, y - 20, 60, 26, "#cfd9c6", stroke="#93a388", radius=4)
    return (
        head
        + shown
        + text(x, y - 1, "12.0 mA", size=13, anchor="middle", mono=True)
        + text(x, y + 24, "own supply", size=11.5, anchor="middle", fill=FAINT)
    )


def contact(x: float, y: float) -> str:
    """A reed contact in its glass, and the magnet on the rocker that closes it."""
    glass = box(x - 52, y - 13, 104, 26, "#e3eef2", stroke="#8fb0bd", radius=13)
    reeds = stroke(f"M{x - 52:g} {y + 2:g}h56M{x + 52:g} {y - 4:g}h-56", _STEEL_EDGE, width=4)
    magnet = box(x - 22, y - 44, 22, 16, "#cf3f37", radius=2) + box(x, y - 44, 22, 16, "#8b98a3", radius=2)
    return glass + reeds + magnet


def soic8(x: float, y: float) -> str:
    """A chip with eight legs and the mark of pin 1."""
    legs = "".join(box(x + side, y + at, 14, 8, _STEEL, radius=1.5) for side in (-46, 32) for at in (-34, -14, 6, 26))
    body = box(x - 34, y - 44, 68, 88, _BLACK, radius=5)
    return (
        legs
        + body
        + disc(x - 22, y - 32, 4.5, "#59636d")
        + text(x, y + 5, "ATECC608", size=11.5, anchor="middle", fill="#c9d0d6", weight=600)
    )


def module(x: float, y: float) -> str:
    """A board's radio module: antenna and metal can."""
    antenna = stroke(f"M{x + 12:g} {y + 36:g}v-24h12v24h12v-24h12v24h12v-24h10", COPPER, width=3)
    can = box(x + 92, y + 6, 150, 38, _STEEL, stroke=_STEEL_EDGE, radius=4)
    return (
        box(x, y, 252, 50, "#17202a", radius=5)
        + antenna
        + can
        + text(x + 167, y + 30, "ESP32 family", size=13.5, anchor="middle", fill=INK, weight=600)
    )
