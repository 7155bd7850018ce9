"""A write to flash that goes on: where it has got to, and what comes next."""

from __future__ import annotations

import zlib

from trigpoint_tools.emulator.bootloader.flashchip import SECTOR, FlashChip
from trigpoint_tools.emulator.bootloader.packets import Fault, RefusedError

_INFLATED_AT_ONCE = 1 << 20


class FlashWrite:
    """Plain or compressed blocks that go to flash one after the other.

    Args:
        flash: the chip.
        offset: where the first one goes.
        size: bytes to come, after inflation.
        compressed: whether the blocks are one zlib stream.
        erases: whether each sector is erased when the write reaches it, as the stub does; the ROM erases all first.

    Raises:
        RefusedError: it would go beyond the end of the chip.
    """

    def __init__(self, flash: FlashChip, offset: int, size: int, *, compressed: bool, erases: bool) -> None:
        if offset + size > flash.size:
            raise RefusedError(Fault.FAILED)
        self._flash = flash
        self._at = offset
        self._end = offset + size
        self._inflate = zlib.decompressobj() if compressed else None
        self._erased_to = offset if erases else self._end

    def take(self, block: bytes) -> None:
        """Write one block.

        Raises:
            RefusedError: the stream is damaged, or there is more than was announced.
        """
        if self._inflate is None:
            self._write(block)
            return
        while block:
            if self._inflate.eof:
                raise RefusedError(Fault.STUB_TOO_MUCH)  # zlib would keep in memory what follows its stream
            try:
                plain = self._inflate.decompress(block, _INFLATED_AT_ONCE)
            except zlib.error:
                raise RefusedError(Fault.INFLATE) from None
            self._write(plain)
            block = self._inflate.unconsumed_tail

    def _write(self, data: bytes) -> None:
        data = data[: max(0, self._end - self._at)]  # the last block of a plain write is filled up
        if not data:
            return
        while self._erased_to < self._at + len(data):
            self._flash.erase(self._erased_to, 1)
            self._erased_to += SECTOR - self._erased_to % SECTOR
        self._flash.program(self._at, data)
        self._at += len(data)
