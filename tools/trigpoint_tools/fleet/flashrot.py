"""A board's journal as it lies on flash: read from outside, and rotting.

Bits flip in what the journal's files hold: segment headers, heads, statements, tails (device/trig/journal.py). Not in
the file system's own blocks, nor in the application, nor in both copies of a segment's header: a board that has lost
its journal is broken, makes a new key, and wants to be enrolled anew.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trigpoint.wire.statement import Statement

from trigpoint_tools.demo.evidence import journaled
from trigpoint_tools.emulator import flash
from trigpoint_tools.fleet.schedule import Draw

_FOLDER = "/journal"
_HEADER = 80  # of a segment; it is there twice, and a board whose both copies rot is broken too
_WINDOW = 24  # bytes by which a place in a file is found again on flash
_TRIES = 40


@dataclass(frozen=True)
class Rot:
    """What has rotted.

    Attributes:
        before: all statements that the journal held whole before.
        bits: how many bits have flipped.
        destroyed: seqs of those statements that it no longer holds whole.
    """

    before: tuple[Statement, ...]
    bits: int
    destroyed: tuple[int, ...]


def statements(image: Path) -> list[Statement]:
    """Return the statements that a journal holds whole. The board must be off, or stand still.

    Raises:
        EmulatorError: the flash holds no file system.
    """
    return journaled(flash.read_folder(image, _FOLDER).values())


def rot(image: Path, bits: int, wanted: Collection[int], draw: Draw) -> Rot:
    """Flip bits of a journal, each in a statement whose seq is wanted, or anywhere in it if none is.

    Args:
        image: the flash; the board must be off, or stand still.
        bits: how many.
        wanted: the seqs of statements that are worth hitting.
        draw: decides where.

    Raises:
        EmulatorError: the flash holds no file system.
    """
    segments = list(flash.read_folder(image, _FOLDER).values())
    before = journaled(segments)
    spans = list(_spans(segments, [one.raw for one in before if one.seq in wanted]))
    if not spans:
        spans = [
            (number, start, end)
            for number, segment in enumerate(segments)
            for start, end in ((0, _HEADER), (2 * _HEADER, len(segment)))
            if start < end
        ]
    data = image.read_bytes()
    flipped = 0
    with image.open("r+b") as file:
        for _ in range(_TRIES):
            if flipped == bits or not spans:
                break
            number, start, end = spans[draw.between(0, len(spans) - 1)]
            place = draw.between(start, end - 1)
            window = segments[number][place : place + _WINDOW]
            # Statements have much in common: where it is another's bytes as well, that one would rot too.
            unique = sum(segment.count(window) for segment in segments) == 1
            found = list(_places(data, window)) if len(window) == _WINDOW and unique else []
            # Old copies of a block lie about until they are erased: which is in use the file system alone knows.
            for at in found:
                file.seek(at)
                file.write(bytes((data[at] ^ 1 << draw.between(0, 7),)))
            flipped += bool(found)
    left = {one.seq for one in statements(image)}
    return Rot(tuple(before), flipped, tuple(one.seq for one in before if one.seq not in left))


@contextmanager
def standing_still(pid: int | None) -> Iterator[None]:
    """Stop a board's process for a moment, if there is one, so that its flash can be looked at as it is."""
    if pid is None:
        yield
        return
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        yield  # it has just ended
        return
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _spans(segments: Sequence[bytes], raws: Sequence[bytes]) -> Iterator[tuple[int, int, int]]:
    """Yield (segment, start, end) of each statement."""
    for raw in raws:
        for number, segment in enumerate(segments):
            if (at := segment.find(raw)) >= 0:
                yield number, at, at + len(raw)


def _places(data: bytes, window: bytes) -> Iterator[int]:
    at = data.find(window)
    while at >= 0:
        yield at
        at = data.find(window, at + 1)
