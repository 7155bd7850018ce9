"""Paths and contents of the log's public files, as C2SP tlog-tiles names them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trigpoint.log.merkle import MAX_SIZE, ProofError
from trigpoint.log.tree import HASH_SIZE, TILE_HEIGHT, TILE_WIDTH

_MATCH_PATH = re.compile(
    r"tile/(?P<level>0|[1-9][0-9]?|entries)/(?P<index>(?:x[0-9]{3}/){0,4}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)
_MAX_LEVEL = 63
_ENTRY_SIZE = 2 + HASH_SIZE
_MAX_INDEX = MAX_SIZE >> TILE_HEIGHT


@dataclass(frozen=True)
class TilePath:
    """What a path names.

    Attributes:
        level: 0 to 63, or None for a bundle of entries.
        index: place of the tile in its level, from 0.
        width: hashes or entries in it, 1 to 256; 256 is a full one.
    """

    level: int | None
    index: int
    width: int


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a tile: `tile/0/x001/234`, or `tile/0/x001/234.p/12` for one of 12 hashes.

    Raises:
        ProofError: if level, index or width is out of range.
    """
    if not 0 <= level <= _MAX_LEVEL:
        raise ProofError(f"tile level {level}, 0 to {_MAX_LEVEL} allowed")
    return f"tile/{level}/{_numbered(index, width)}"


def entries_path(index: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a bundle of entries: `tile/entries/x001/234`, or with `.p/<width>` if it is not full.

    Raises:
        ProofError: if index or width is out of range.
    """
    return f"tile/entries/{_numbered(index, width)}"


def parse_path(path: str) -> TilePath:
    """Read the path of a tile or bundle.

    Raises:
        ProofError: for all that `tile_path` and `entries_path` cannot give.
    """
    match = _MATCH_PATH.fullmatch(path)
    if match is None:
        raise ProofError("not the path of a tile")
    level = None if match["level"] == "entries" else int(match["level"])
    index = int(match["index"].replace("x", "").replace("/", ""))
    width = int(match["width"] or TILE_WIDTH)
    if path != (entries_path(index, width) if level is None else tile_path(level, index, width)):
        raise ProofError("not the path of a tile: its number has needless digits")
    return TilePath(level, index, width)


def entry_bundle(entries: Sequence[bytes]) -> bytes:
    """Return the content of a bundle: before each entry of 32 bytes, its length as two bytes, big-endian.

    Raises:
        ProofError: unless there are 1 to 256 entries of 32 bytes.
    """
    if not 1 <= len(entries) <= TILE_WIDTH or any(len(entry) != HASH_SIZE for entry in entries):
        raise ProofError(f"a bundle has 1 to {TILE_WIDTH} entries of {HASH_SIZE} bytes")
    return b"".join([b"\x00\x20" + entry for entry in entries])


def parse_entry_bundle(data: bytes, count: int) -> list[bytes]:
    """Return the entries of a bundle, 32 bytes each.

    Args:
        data: the bundle's content.
        count: how many entries it must hold, 1 to 256.

    Raises:
        ProofError: for all that `entry_bundle` does not give for so many entries.
    """
    if len(data) != count * _ENTRY_SIZE:
        raise ProofError(f"a bundle of {len(data)} bytes; {count} entries take {count * _ENTRY_SIZE}")
    entries = [data[at + 2 : at + _ENTRY_SIZE] for at in range(0, len(data), _ENTRY_SIZE)]
    if data != entry_bundle(entries):
        raise ProofError("a bundle with an entry that is not 32 bytes long")
    return entries


def tile_width(size: int, level: int, index: int) -> int:
    """Return how many hashes a tile has in a log of `size` leaves: 0 if there is none, up to 256 if it is full.

    With level 0 it is also how many entries a bundle has.
    """
    return max(0, min(TILE_WIDTH, (size >> TILE_HEIGHT * level) - index * TILE_WIDTH))


def _numbered(index: int, width: int) -> str:
    """Return the number in groups of three digits, all but the last with an x before it, and the partial's width."""
    if not 0 <= index <= _MAX_INDEX:
        raise ProofError(f"tile index {index}, 0 to 2^40 - 1 allowed")
    if not 1 <= width <= TILE_WIDTH:
        raise ProofError(f"tile width {width}, 1 to {TILE_WIDTH} allowed")
    index, group = divmod(index, 1000)
    text = f"{group:03d}"
    while index:
        index, group = divmod(index, 1000)
        text = f"x{group:03d}/{text}"
    return text if width == TILE_WIDTH else f"{text}.p/{width}"
