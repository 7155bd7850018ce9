"""What a board has printed."""

from __future__ import annotations

import threading
from collections import deque
from itertools import islice


class Console:
    """The newest lines of a board's output, written by one thread and read by others.

    Args:
        lines: how many lines are kept.
        longest: how many characters of a line are kept.
    """

    def __init__(self, lines: int = 2000, longest: int = 10_000) -> None:
        self._lines: deque[str] = deque(maxlen=lines)
        self._partial = b""
        self._since_mark = 0
        self._longest = longest
        self._changed = threading.Condition()

    def mark(self) -> None:
        """Let `wait_for` look only at what comes from now on."""
        with self._changed:
            if self._partial:
                self._lines.append(self._text(self._partial))
            self._partial = b""
            self._since_mark = 0

    def write(self, data: bytes) -> None:
        """Take output as it comes."""
        with self._changed:
            *complete, self._partial = (self._partial + data).split(b"\n")
            for line in complete:
                self._lines.append(self._text(line))
                self._since_mark += 1
            self._partial = self._partial[: self._longest]
            self._changed.notify_all()

    def lines(self) -> list[str]:
        """Return the kept lines, an unfinished last one included."""
        with self._changed:
            return [*self._lines, *([self._text(self._partial)] if self._partial else [])]

    def wait_for(self, text: str, timeout: float) -> bool:
        """Wait until a line since the mark contains `text`; return whether one does."""
        with self._changed:
            return self._changed.wait_for(lambda: self._shows(text), timeout)

    def _shows(self, text: str) -> bool:
        newest = islice(reversed(self._lines), self._since_mark)
        return text in self._text(self._partial) or any(text in line for line in newest)

    def _text(self, line: bytes) -> str:
        return line.rstrip(b"\r").decode("utf-8", "replace")[: self._longest]
