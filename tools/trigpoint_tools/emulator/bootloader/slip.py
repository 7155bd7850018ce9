"""SLIP frames (RFC 1055): how the bootloader's requests and replies are told apart on a serial line."""

from __future__ import annotations

import re

_END = b"\xc0"
_ESCAPE = b"\xdb"
_ESCAPED = {b"\xdb\xdc": b"\xc0", b"\xdb\xdd": b"\xdb"}
_ESCAPES = re.compile(rb"\xdb.?", re.DOTALL)

LONGEST = 64 * 1024
"""Bytes of a frame on the line. esptool's longest holds a block of 16 KiB; what is longer is noise."""


def encode(frame: bytes) -> bytes:
    """Return a frame as it goes over the line."""
    return _END + frame.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + _END


class SlipReader:
    """Takes bytes as they come and gives whole frames.

    What lies between two ENDs is a frame, whatever it is: so a reader that begins in the middle, or after a boot
    message, is in step again at the next END. A frame that is too long or badly escaped is dropped without an error, as
    the ROM does: the line carries other things too.
    """

    def __init__(self) -> None:
        self._frame = bytearray()
        self._too_long = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that these bytes complete; no frame is empty."""
        *ended, rest = data.split(_END)
        frames = []
        for part in ended:
            self._take(part)
            frame = None if self._too_long else _decode(bytes(self._frame))
            if frame:
                frames.append(frame)
            self._frame.clear()
            self._too_long = False
        self._take(rest)
        return frames

    def _take(self, part: bytes) -> None:
        if self._too_long or len(self._frame) + len(part) > LONGEST:
            self._too_long = True
            self._frame.clear()
        else:
            self._frame += part


def _decode(line: bytes) -> bytes | None:
    """Return a frame without its escapes, None if one of them is none."""
    if _ESCAPE not in line:
        return line
    if any(escape not in _ESCAPED for escape in _ESCAPES.findall(line)):
        return None
    return _ESCAPES.sub(lambda found: _ESCAPED[found[0]], line)
