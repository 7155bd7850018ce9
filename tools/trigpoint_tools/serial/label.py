"""A board's label: its id, its fleet and where to verify it, as a QR code with the same in letters below.

Without a link the code holds `trigpoint:<id>?chain=<chain id>&registry=<address>`: enough to find the board in the
registry that knows its key and owner.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import segno
from trigpoint.errors import OperatorError

_SCALE = 4
_BORDER = 4
_LINE = 14
_MAX_LINK = 512


@dataclass(frozen=True)
class Label:
    """What stands on a label.

    Attributes:
        kid: board id, 32 bytes.
        chain_id: EIP-155 chain id.
        registry: address of the DeviceRegistry, 20 bytes.
        fleet: a name for people; empty for none.
        link: where to verify it, with `{kid}` for the id; empty for none.
    """

    kid: bytes
    chain_id: int
    registry: bytes
    fleet: str = ""
    link: str = ""

    @property
    def content(self) -> str:
        """What the code holds."""
        if self.link:
            return self.link.replace("{kid}", self.kid.hex())
        return f"trigpoint:{self.kid.hex()}?chain={self.chain_id}&registry=0x{self.registry.hex()}"

    @property
    def lines(self) -> tuple[str, ...]:
        """What stands below it: the fleet, and the id in two halves."""
        text = self.kid.hex()
        return (*((self.fleet,) if self.fleet else ()), text[:32], text[32:])


def check_link(link: str) -> None:
    """Raise OperatorError unless `link` can stand on a label."""
    if not link.startswith(("https://", "http://")) or "{kid}" not in link or len(link) > _MAX_LINK or " " in link:
        raise OperatorError(f"{link!r} is no link for a label: write it as https://example.org/board/{{kid}}")


def svg(label: Label) -> str:
    """Return the label as an SVG file: the code with its lines of text."""
    code = _code(label)
    side, _ = code.symbol_size(scale=_SCALE, border=_BORDER)
    width = int(max(side, 32 * 6.8 + 2 * _LINE))
    height = int(side + _LINE * (len(label.lines) + 1))
    text = "".join(
        f'<text x="{width / 2:g}" y="{side + _LINE * (number + 0.7):g}">{escape(line)}</text>'
        for number, line in enumerate(label.lines)
    )
    drawn = code.svg_inline(scale=_SCALE, border=_BORDER)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}"><rect width="100%" height="100%" fill="#fff"/>'
        f'<g transform="translate({(width - side) / 2:g} 0)">{drawn}</g>'
        f'<g font-family="monospace" font-size="11" text-anchor="middle">{text}</g></svg>\n'
    )


def terminal(label: Label) -> str:
    """Return the label for a terminal."""
    out = io.StringIO()
    _code(label).terminal(out, compact=True)
    return out.getvalue() + "".join(f"  {line}\n" for line in label.lines)


def save(label: Label, path: Path) -> None:
    """Write the label to a file: .svg with its text, or .png, the code alone.

    Raises:
        OperatorError: it is neither, or cannot be written.
    """
    suffix = path.suffix.lower()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".svg":
            path.write_text(svg(label), encoding="utf-8")
        elif suffix == ".png":
            _code(label).save(str(path), kind="png", scale=2 * _SCALE, border=_BORDER)
        else:
            raise OperatorError(f"a label is an .svg or a .png, or `-` for the terminal, not {path.name!r}")
    except OSError as error:
        raise OperatorError(f"cannot write {path}: {error.strerror}; check the path") from error


def _code(label: Label) -> segno.QRCode:
    return segno.make(label.content, error="m", micro=False)
