"""The chip's registers, as far as the bootloader's host looks at them."""

from __future__ import annotations

from trigpoint_tools.emulator.bootloader.chips import Chip
from trigpoint_tools.emulator.bootloader.flashchip import FlashChip

_MAGIC = 0x40001000
_START = 1 << 18
_READ_ID = 0x9F
_READ_STATUS = 0x05
_KEPT = 256
"""Registers that remember what was written. The host writes a dozen; a hostile one must not fill the memory."""


class Registers:
    """Reads and writes of 32-bit words. An address that nothing is known of reads as what was written there, or 0.

    Args:
        chip: which chip.
        mac: six bytes.
        flash: what hangs on its SPI controller.
    """

    def __init__(self, chip: Chip, mac: bytes, flash: FlashChip) -> None:
        self._spi = chip.spi
        self._flash = flash
        self._fixed = {_MAGIC: chip.magic, **chip.fuses(mac)}
        self._written: dict[int, int] = {}

    def read(self, address: int) -> int:
        """Return the word at an address."""
        if address in self._fixed:
            return self._fixed[address]
        return self._written.get(address, 0)

    def write(self, address: int, value: int, mask: int) -> None:
        """Write the bits of a word that are set in `mask`."""
        value = self.read(address) & ~mask | value & mask
        if address == self._spi.command:
            if value & _START:
                self._transfer()
            value &= ~_START
        if address in self._written or len(self._written) < _KEPT:
            self._written[address] = value

    def _transfer(self) -> None:
        command = self.read(self._spi.user2) & 0xFF
        bits = (self.read(self._spi.miso_length) & 0xFFF) + 1
        answer = {_READ_ID: self._flash.jedec_id, _READ_STATUS: 0}.get(command, 0)
        self._written[self._spi.data] = answer & (1 << min(bits, 32)) - 1
