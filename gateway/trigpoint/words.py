"""Numbers of things, as people say them."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number and its noun: `1 board`, `2 boards`, `1,000 boards`; `many` where the plural has no plain s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
