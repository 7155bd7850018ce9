"""What a board has printed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class Console:
    """The newest lines of a board's output, written by one thread and read by others.

    Args:
        lines: how many lines are kept.
        longest: how many characters of a line are kept.
    """

    def __init__(self, lines: int = 2000, longest: int = 10_000) -> None:
        self._lines: deque[str] = deque(maxlen=lines)
        self._partial = b""
        self._longest = longest
        self._changed = threading.Condition()

    def write(self, data: bytes) -> None:
        """Take output as it comes."""
        with self._changed:
            *complete, self._partial = (self._partial + data).split(b"\n")
            for line in complete:
                self._lines.append(self._text(line))
            self._partial = self._partial[: self._longest]
            self._changed.notify_all()

    def lines(self) -> list[str]:
        """Return the kept lines, an unfinished last one included."""
        with self._changed:
            return [*self._lines, *([self._text(self._partial)] if self._partial else [])]

    def wait_for(self, wanted: Callable[[list[str]], bool], timeout: float) -> bool:
        """Wait until the lines are as wanted; return whether they are."""
        with self._changed:
            return self._changed.wait_for(
                lambda: wanted([*self._lines, *([self._text(self._partial)] if self._partial else [])]), timeout
            )

    def _text(self, line: bytes) -> str:
        return line.rstrip(b"\r").decode("utf-8", "replace")[: self._longest]
