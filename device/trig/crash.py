"""The crash ring: what the last crashes said, kept on flash through resets and power cuts.

One small file for each crash, named by its number, so that writing one needs little memory and cannot harm the others.
At the prompt: ``import trig.crash; trig.crash.show()``.
"""

import io
import json
import os
import sys

from micropython import const

DIRECTORY = "/crash"
_KEEP = const(4)
_MAX_TEXT = const(480)
_REPORTED = const("reported")


class _Tail(io.IOBase):
    # The end of what is written: a traceback's last frames and its error say more than its first.
    def __init__(self):
        self.text = bytearray()

    def write(self, data):
        self.text += data
        if len(self.text) > _MAX_TEXT:
            self.text = self.text[-_MAX_TEXT:]
        return len(data)


def traceback(error):
    """The last 480 bytes of an exception's traceback, as text."""
    tail = _Tail()
    sys.print_exception(error, tail)
    return bytes(byte if 32 <= byte < 127 or byte == 10 else 63 for byte in tail.text).decode().strip()


class Crashes:
    """The ring. No method raises: a board that crashes must still restart, whatever its flash says.

    Attributes:
        count: crashes recorded since the file system was made.
    """

    def __init__(self, directory=DIRECTORY):
        self._directory = directory
        self._numbers = []
        try:
            # Named, not taken from the files' contents: one that a power cut left empty still counts.
            self._numbers = sorted(int(name) for name in os.listdir(directory) if name.isdigit())
        except OSError:
            pass
        self.count = self._numbers[-1] if self._numbers else 0

    def record(self, text, uptime_s, unix=None):
        """Keep one more; the oldest beyond four goes.

        Args:
            text: what happened; its last 480 characters are kept.
            uptime_s: seconds since the board started.
            unix: seconds since 1970, None while the time is not known.
        """
        self.count += 1
        self._numbers.append(self.count)
        try:
            if self.count == 1 or not self._exists():
                os.mkdir(self._directory)
            with open(self._path(self.count), "w") as file:
                json.dump({"uptime_s": uptime_s, "time": unix, "text": text[-_MAX_TEXT:]}, file)
            while len(self._numbers) > _KEEP:
                os.remove(self._path(self._numbers.pop(0)))
        except (OSError, MemoryError):
            pass

    def entries(self):
        """Yield the kept ones, the oldest first: dicts with number, uptime_s, time and text."""
        for number in self._numbers:
            try:
                with open(self._path(number)) as file:
                    kept = json.load(file)
                entry = {name: kept[name] for name in ("uptime_s", "time", "text")}
            except (OSError, ValueError, KeyError, TypeError):
                continue
            entry["number"] = number
            yield entry

    def news(self):
        """The newest crash, None if ``reported`` has been called since it was recorded."""
        try:
            with open(self._path(_REPORTED)) as file:
                reported = int(file.read())
        except (OSError, ValueError):
            reported = 0
        found = None
        if self.count > reported:
            for entry in self.entries():
                found = entry
        return found

    def reported(self):
        """Note that the crashes up to now have been told upstream."""
        try:
            with open(self._path(_REPORTED), "w") as file:
                file.write(str(self.count))
        except OSError:
            pass

    def _exists(self):
        try:
            os.stat(self._directory)
            return True
        except OSError:
            return False

    def _path(self, name):
        return "{}/{}".format(self._directory, name)


def show(directory=DIRECTORY):
    """Print the crashes that are kept."""
    for entry in Crashes(directory).entries():
        print("crash {number}, {uptime_s} s after the start, at {time} s since 1970:".format(**entry))
        print(entry["text"])
