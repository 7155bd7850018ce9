"""Numbers of things, as people say them."""

from __future__ import annotations

from typing import Final

_PLURALS: Final = {"address": "addresses", "entry": "entries", "leaf": "leaves"}


def counted(number: int, thing: str) -> str:
    """Return a number and its noun: `1 board`, `2 boards`, `1,000 leaves`."""
    return f"{number:,} {thing if number == 1 else _PLURALS.get(thing, thing + 's')}"
