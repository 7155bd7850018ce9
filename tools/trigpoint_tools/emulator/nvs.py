"""A board's non-volatile storage: ESP-IDF's NVS as MicroPython's esp32.NVS shows it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Protocol

from trigpoint_tools.emulator.errors import EmulatorError, HardwareError

_NOT_FOUND = HardwareError(-0x1102, "ESP_ERR_NVS_NOT_FOUND")
_MAX_BLOB = 1984  # one page's worth: the largest blob that every version of ESP-IDF's NVS takes

Values = dict[str, int | bytes]


class Storage(Protocol):
    """Where values are kept: one block of bytes that changes as a whole or not at all."""

    def load(self) -> bytes | None:
        """Return what was saved last, None if nothing ever was."""

    def save(self, data: bytes) -> None:
        """Replace it; HardwareError if there is no room."""


class StorageFile:
    """A file of its own. It holds the board's private key, so its mode is 0600.

    Args:
        path: the file; made when something is first saved.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> bytes | None:
        """Return the file's content, None if there is no file."""
        return self._path.read_bytes() if self._path.exists() else None

    def save(self, data: bytes) -> None:
        """Replace the file."""
        write_atomically(self._path, data)


class Nvs:
    """Values under (namespace, key).

    A value set but not committed is seen by the running board and forgotten at the next boot.

    Args:
        storage: where they are kept.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._values: Values = {}
        self.power_on()

    def power_on(self) -> None:
        """Forget what was not committed."""
        stored = self._storage.load()
        self._values = {} if stored is None else _decode(stored)

    def get_i32(self, key: str) -> int:
        """Return an integer; HardwareError if there is none."""
        value = self._values.get(key)
        if not isinstance(value, int):
            raise _NOT_FOUND
        return value

    def get_blob(self, key: str) -> bytes:
        """Return a blob; HardwareError if there is none."""
        value = self._values.get(key)
        if not isinstance(value, bytes):
            raise _NOT_FOUND
        return value

    def set(self, key: str, value: int | bytes) -> None:
        """Set an integer or a blob, until commit in memory only."""
        if isinstance(value, bytes) and len(value) > _MAX_BLOB:
            raise HardwareError(-0x110E, "ESP_ERR_NVS_VALUE_TOO_LONG")
        self._values[key] = value

    def erase_key(self, key: str) -> None:
        """Remove a value; HardwareError if there is none."""
        if key not in self._values:
            raise _NOT_FOUND
        del self._values[key]

    def commit(self) -> None:
        """Write all values to disk, at once."""
        self._storage.save(_encode(self._values))


def _encode(values: Values) -> bytes:
    stored = {key: value.hex() if isinstance(value, bytes) else value for key, value in values.items()}
    return json.dumps(stored, indent=1).encode()


def _decode(data: bytes) -> Values:
    try:
        stored = json.loads(data)
        return {key: bytes.fromhex(value) if isinstance(value, str) else int(value) for key, value in stored.items()}
    except (ValueError, AttributeError, TypeError):
        raise EmulatorError(
            "the board's NVS is damaged: remove its directory and make it anew, or erase its flash"
        ) from None


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file's content so that a crash leaves the old or the new; mode 0600."""
    new = path.with_name(path.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
