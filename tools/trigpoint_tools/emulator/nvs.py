"""A board's non-volatile storage: ESP-IDF's NVS as MicroPython's esp32.NVS shows it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from trigpoint_tools.emulator.errors import EmulatorError, HardwareError

_NOT_FOUND = HardwareError(-0x1102, "ESP_ERR_NVS_NOT_FOUND")
_MAX_BLOB = 1984  # one page's worth: the largest blob that every version of ESP-IDF's NVS takes

Values = dict[str, int | bytes]


class Nvs:
    """Values under (namespace, key), kept in one file that changes as a whole or not at all.

    A value set but not committed is seen by the running board and forgotten at the next boot. The file holds the
    board's private key, so its mode is 0600.

    Args:
        path: the file; made at the first commit.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: Values = {}
        self.power_on()

    def power_on(self) -> None:
        """Forget what was not committed."""
        self._values = _decode(self._path) if self._path.exists() else {}

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
        write_atomically(self._path, _encode(self._values))


def _encode(values: Values) -> bytes:
    stored = {key: value.hex() if isinstance(value, bytes) else value for key, value in values.items()}
    return json.dumps(stored, indent=1).encode()


def _decode(path: Path) -> Values:
    try:
        stored = json.loads(path.read_text())
        return {key: bytes.fromhex(value) if isinstance(value, str) else int(value) for key, value in stored.items()}
    except (ValueError, AttributeError, TypeError):
        raise EmulatorError(
            f"{path} is not an NVS file; remove the board's directory and make the board anew"
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
