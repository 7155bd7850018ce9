"""`python -m trigpoint_tools.wiring`: writes the pictures anew."""

from __future__ import annotations

from pathlib import Path

from trigpoint_tools.wiring.picture import svg
from trigpoint_tools.wiring.pictures import PICTURES

IMAGES = Path(__file__).resolve().parents[3] / "docs" / "images"


def main() -> None:
    """Write docs/images/wiring-*.svg."""
    for picture in PICTURES:
        path = IMAGES / f"wiring-{picture.name}.svg"
        path.write_text(svg(picture))
        print(path.name)


if __name__ == "__main__":
    main()
