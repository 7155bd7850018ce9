"""SLIP frames (RFC 1055): how the bootloader's requests and replies are told apart on a serial line."""

from __future__ import annotations

_END = 0xC0
_ESCAPE = 0xDB
_ESCAPED = {0xDC: 0xC0, 0xDD: 0xDB}

LONGEST = 64 * 1024
"""Bytes of a frame. esptool's longest holds a block of 16 KiB; what is longer is noise."""


def encode(frame: bytes) -> bytes:
    """Return a frame as it goes over the line."""
    return b"\xc0" + frame.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"


class SlipReader:
    """Takes bytes as they come and gives whole frames.

    What is no frame (a boot message, a console's text, a frame that is too long or badly escaped) is dropped without
    an error, as the ROM does: the line carries other things too.
    """

    def __init__(self) -> None:
        self._frame = bytearray()
        self._inside = False
        self._escaping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that these bytes complete."""
        frames: list[bytes] = []
        at = 0
        while at < len(data):
            if not self._inside:
                at = data.find(_END, at) + 1
                if not at:
                    break
                self._begin()
                continue
            at = self._take(data, at, frames)
        return frames

    def _begin(self) -> None:
        self._inside = True
        self._escaping = False
        self._frame.clear()

    def _take(self, data: bytes, at: int, frames: list[bytes]) -> int:
        """Take what lies before the next special byte, and that byte; return where to go on."""
        if self._escaping:
            self._escaping = False
            plain = _ESCAPED.get(data[at])
            if plain is None:
                self._inside = False
                return at
            self._frame.append(plain)
            return at + 1
        end = _next_special(data, at)
        self._frame += data[at:end]
        if len(self._frame) > LONGEST:
            self._inside = False
            return end
        if end == len(data):
            return end
        if data[end] == _ESCAPE:
            self._escaping = True
        elif self._frame:
            frames.append(bytes(self._frame))
            self._inside = False
        else:
            self._begin()  # two ENDs in a row: the second one begins a frame
        return end + 1


def _next_special(data: bytes, at: int) -> int:
    places = [place for place in (data.find(_END, at), data.find(_ESCAPE, at)) if place >= 0]
    return min(places, default=len(data))
