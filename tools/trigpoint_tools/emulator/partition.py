"""Where in a flash image something lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Partition:
    """A range of bytes of a file: `size` of them from `start` on."""

    path: Path
    start: int
    size: int
