"""The manifest of an update: what an application consists of, and whether this board may take it (protocol, 15)."""

import sys

from micropython import const

from trig.cbor import CborError, Reader
from trig.update import entry

MAX_FILE = const(131072)
_MAX_SIZE = const(4096)
_MAX_FILES = const(64)
_MAX_PATH = const(64)
_MAX_FAMILY = const(32)
_NAME = const("abcdefghijklmnopqrstuvwxyz0123456789_")
_START = const(("trig/start.py", "trig/start.mpy"))


class ManifestError(ValueError):
    """Not a manifest, or none for this board now; the message names the field."""


class Manifest:
    """A manifest that is well formed.

    Attributes:
        version, follows: integers.
        family: text.
        micropython: three integers.
        files_at, count: where in the bytes the first file's entry is, and how many there are.
    """

    def __init__(self, data):
        """Read one. Raises ManifestError."""
        try:
            reader = Reader(data, _MAX_SIZE)
            _entry(reader.map() == 5, "manifest")
            _entry(reader.integer() == 1, "version")
            self.version = reader.unsigned()
            _entry(0 < self.version <= 0xFFFFFFFF, "version")
            _entry(reader.integer() == 2, "family")
            self.family = reader.text()
            _entry(0 < len(self.family) <= _MAX_FAMILY, "family")
            _entry(reader.integer() == 3 and reader.array() == 3, "micropython")
            self.micropython = (reader.unsigned(), reader.unsigned(), reader.unsigned())
            _entry(max(self.micropython) < 256, "micropython")
            _entry(reader.integer() == 4, "follows")
            self.follows = reader.unsigned()
            _entry(self.follows < self.version, "follows")
            _entry(reader.integer() == 5, "files")
            count = reader.array()
            _entry(0 < count <= _MAX_FILES, "files")
            self._data = data
            self.count = count
            self.files_at = reader.at
            last = ""
            starts = False
            for i in range(count):
                path, size, digest = entry(reader)
                _entry(_good_path(path) and path > last, "files[{}].path".format(i))
                _entry(size <= MAX_FILE, "files[{}].size".format(i))
                _entry(len(digest) == 32, "files[{}].sha256".format(i))
                starts = starts or path in _START
                last = path
            reader.end()
        except CborError as error:
            raise ManifestError("manifest: " + str(error))
        _entry(starts, "files: trig/start")

    def files(self):
        """Yield (path, size, SHA-256) of each, from the bytes: all at once would be 10 KB of heap."""
        reader = Reader(self._data, _MAX_SIZE)
        reader.at = self.files_at
        for _ in range(self.count):
            yield entry(reader)

    def check(self, version, family):
        """Raise ManifestError unless a board of this family that has confirmed ``version`` may take it."""
        if self.version <= version:
            raise ManifestError("version: {} is not above {}".format(self.version, version))
        if self.follows > version:
            raise ManifestError("follows: needs version {}, this is {}".format(self.follows, version))
        if self.family != family:
            raise ManifestError("family: this board is " + family)
        if tuple(sys.implementation.version[:3]) < self.micropython:
            raise ManifestError("micropython: {}.{}.{} is needed".format(*self.micropython))


def _entry(good, name):
    if not good:
        raise ManifestError(name + ": missing or out of range")


def _good_path(path):
    if len(path) > _MAX_PATH:
        return False
    stem, _, ending = path.rpartition(".")
    names = stem.split("/")
    if ending not in ("py", "mpy") or names[0] != "trig" or not 2 <= len(names) <= 5:
        return False
    for name in names:
        if not name:
            return False
        for character in name:
            if character not in _NAME:
                return False
    return True
