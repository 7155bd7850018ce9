"""The browser's side of Improv Serial in a few lines, over a terminal: what to send, and what came."""

from __future__ import annotations

import os
import re
import select
import time
from pathlib import Path
from typing import Self

HEADER = b"IMPROV\x01"
STATE, ERROR, RPC, RESULT = 1, 2, 3, 4
READY, PROVISIONING, PROVISIONED = 2, 3, 4
UNABLE = 3
_FRAME = re.compile(re.escape(HEADER) + rb"([\x01-\x04])(.)", re.DOTALL)


def frame(kind: int, data: bytes) -> bytes:
    """Return a frame as the specification has it, with the new line that clients put behind it."""
    head = HEADER + bytes((kind, len(data))) + data
    return head + bytes((sum(head) & 255, 10))


def command(number: int, data: bytes = b"") -> bytes:
    """Return a command's frame."""
    return frame(RPC, bytes((number, len(data))) + data)


def settings(ssid: bytes, password: bytes) -> bytes:
    """Return the frame that sends Wi-Fi settings."""
    return command(1, bytes((len(ssid),)) + ssid + bytes((len(password),)) + password)


def texts(data: bytes) -> list[bytes]:
    """Return the texts in a result's data."""
    assert data[1] == len(data) - 2
    found, at = [], 2
    while at < len(data):
        found.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    assert at == len(data)
    return found


class Client:
    """A terminal's other end. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_NOCTTY)
        self.seen = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def send(self, data: bytes) -> None:
        """Send bytes."""
        os.write(self._file, data)

    def wait_for(self, text: bytes, timeout: float = 20) -> bytes:
        """Return what came up to this text, and forget it."""
        end = time.monotonic() + timeout
        while text not in self.seen:
            self._more(end, text)
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def frame(self, timeout: float = 20) -> tuple[int, bytes]:
        """Return type and data of the next frame; what is printed before it is passed over."""
        end = time.monotonic() + timeout
        while True:
            found = _FRAME.search(self.seen)
            if found is not None:
                stop = found.end() + found[2][0]
                if len(self.seen) > stop + 1:
                    body, self.seen = self.seen[found.start() : stop + 1], self.seen[stop + 1 :]
                    assert self.seen[:1] == b"\n"
                    assert sum(body[:-1]) & 255 == body[-1]
                    return found[1][0], body[9:-1]
            self._more(end, HEADER)

    def ask(self, number: int, data: bytes = b"") -> tuple[int, bytes]:
        """Send a command; return the first frame of its answer, after the one that takes an older error back."""
        self.send(command(number, data))
        assert self.frame() == (ERROR, b"\0")
        return self.frame()

    def _more(self, end: float, wanted: bytes) -> None:
        assert time.monotonic() < end, f"no {wanted!r} in {self.seen!r}"
        if select.select([self._file], [], [], 0.1)[0]:
            self.seen += os.read(self._file, 4096)
