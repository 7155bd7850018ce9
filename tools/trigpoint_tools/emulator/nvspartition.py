"""NVS in the flash chip itself, so that erasing the chip erases the board's key, as on a board.

The layout is not ESP-IDF's, which nothing outside the chip reads: the partition's two halves hold the values in turn,
each with a number and a digest, and the newest whole one counts. So power may go at any write.
"""

from __future__ import annotations

import hashlib
import struct

from trigpoint_tools.emulator.bootloader.flashchip import FlashChip
from trigpoint_tools.emulator.errors import HardwareError

_HEAD = struct.Struct("<4sII32s")
_MAGIC = b"TNVS"
_NO_SPACE = HardwareError(-0x1105, "ESP_ERR_NVS_NOT_ENOUGH_SPACE")


class NvsPartition:
    """A `trigpoint_tools.emulator.nvs.Storage` in `size` bytes of a flash chip from `start` on."""

    def __init__(self, flash: FlashChip, start: int, size: int) -> None:
        self._flash = flash
        self._half = size // 2
        self._starts = (start, start + self._half)

    def load(self) -> bytes | None:
        """Return the newest values, None if neither half holds any."""
        return max((self._read(start) for start in self._starts), key=lambda found: found[0])[1]

    def save(self, data: bytes) -> None:
        """Write the half that holds the older values."""
        if _HEAD.size + len(data) > self._half:
            raise _NO_SPACE
        numbers = [self._read(start)[0] for start in self._starts]
        older = self._starts[numbers.index(min(numbers))]
        head = _HEAD.pack(_MAGIC, max(numbers) + 1, len(data), hashlib.sha256(data).digest())
        self._flash.erase(older, self._half)
        self._flash.program(older + _HEAD.size, data)
        self._flash.program(older, head)

    def _read(self, start: int) -> tuple[int, bytes | None]:
        magic, number, length, digest = _HEAD.unpack(self._flash.read(start, _HEAD.size))
        if magic != _MAGIC or _HEAD.size + length > self._half:
            return 0, None
        data = self._flash.read(start + _HEAD.size, length)
        return (number, data) if hashlib.sha256(data).digest() == digest else (0, None)
