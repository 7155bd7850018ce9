"""The manifest of an update: what an application consists of, and whether this board may take it (protocol, 15)."""

import sys

from micropython import const

from trig.cbor import CborError, Reader

MAX_FILE = const(131072)
_MAX_SIZE = const(4096)
_MAX_FILES = const(64)
_MAX_PATH = const(64)
_MAX_FAMILY = const(32)
_NAME = "abcdefghijklmnopqrstuvwxyz0123456789_"
_START = ("trig/start.py", "trig/start.mpy")

# By the number in sys.implementation._mpy: what native code in a .mpy file would run on (MicroPython, .mpy files).
_SETS = ("any", "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp", "xtensa", "xtensawin",
    "rv32imc", "rv64imc")  # fmt: skip


class ManifestError(ValueError):
    """Not a manifest, or none for this board now; the message names the field."""


def family():
    """The boards that run the same files as this one: platform and instruction set, such as esp32-xtensawin."""
    number = getattr(sys.implementation, "_mpy", 0) >> 10 & 15
    return sys.platform + "-" + (_SETS[number] if number < len(_SETS) else str(number))


class Manifest:
    """A manifest that is well formed.

    Attributes:
        version, follows: integers.
        family: text.
        micropython: three integers.
        files: list of (path, size, SHA-256).
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
            self.files = []
            last = ""
            for i in range(count):
                where = "files[{}]".format(i)
                _entry(reader.array() == 3, where)
                path = reader.text()
                _entry(_good_path(path) and path > last, where + ".path")
                size = reader.unsigned()
                _entry(size <= MAX_FILE, where + ".size")
                digest = bytes(reader.byte_string())
                _entry(len(digest) == 32, where + ".sha256")
                self.files.append((path, size, digest))
                last = path
            reader.end()
        except CborError as error:
            raise ManifestError("manifest: " + str(error))
        _entry(any(file[0] in _START for file in self.files), "files: trig/start")

    def check(self, version):
        """Raise ManifestError unless a board that has confirmed ``version`` may take this application."""
        if self.version <= version:
            raise ManifestError("version: {} is not above {}".format(self.version, version))
        if self.follows > version:
            raise ManifestError("follows: needs version {}, this is {}".format(self.follows, version))
        if self.family != family():
            raise ManifestError("family: this board is " + family())
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
