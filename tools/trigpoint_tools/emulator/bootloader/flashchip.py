"""The SPI NOR flash chip of a board: one file, in which bits can be cleared by writing and set only by erasing."""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path

from trigpoint_tools.emulator.errors import EmulatorError

SECTOR = 4096
_BLOCK = 65536
_SIZES = tuple(1 << power for power in range(20, 25))
_WINBOND_Q = 0x40EF  # manufacturer 0xEF, memory type 0x40 (data sheet W25Q32JV, section 7.1)


class FlashChip:
    """The chip whose content is the file at `path`. Its size is the file's: 1, 2, 4, 8 or 16 MiB.

    All of it is written at once to the file, so that a program that is killed leaves what a board would have. One
    program at a time can have it.

    Raises:
        EmulatorError: there is no such file, its size is no chip's, or another program has it.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("r+b")
        except OSError as error:
            raise EmulatorError(f"cannot open the flash image {path}: {error.strerror}") from error
        try:
            size = path.stat().st_size
            if size not in _SIZES:
                raise EmulatorError(f"{path} has {size:,} bytes; a flash chip has 1, 2, 4, 8 or 16 MiB")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise EmulatorError(f"{path} is in use by another program; stop that first") from None
            self._cells = mmap.mmap(self._file.fileno(), 0)
        except EmulatorError:
            self._file.close()
            raise

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self._cells)

    @property
    def jedec_id(self) -> int:
        """The answer to command 0x9F, first byte lowest: manufacturer, type, and the size as a power of two."""
        return _WINBOND_Q | (self.size.bit_length() - 1) << 16

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes; the chip's addresses wrap around, as they do on the wire."""
        offset %= self.size
        data = self._cells[offset : offset + length]
        return data if len(data) == length else data + self.read(0, length - len(data))

    def program(self, offset: int, data: bytes) -> None:
        """Clear the bits that are 0 in `data`; a bit that is 0 already stays so until it is erased.

        Raises:
            ValueError: it goes beyond the end.
        """
        end = offset + len(data)
        if offset < 0 or end > self.size:
            raise ValueError("beyond the end of the flash")
        old = int.from_bytes(self._cells[offset:end], "little")
        self._cells[offset:end] = (old & int.from_bytes(data, "little")).to_bytes(len(data), "little")

    def erase(self, offset: int, length: int) -> None:
        """Set all bits of the sectors that the range touches.

        Raises:
            ValueError: it goes beyond the end.
        """
        start = offset - offset % SECTOR
        end = -(-(offset + length) // SECTOR) * SECTOR
        if start < 0 or end > self.size:
            raise ValueError("beyond the end of the flash")
        for at in range(start, end, _BLOCK):
            count = min(_BLOCK, end - at)
            self._cells[at : at + count] = b"\xff" * count

    def view(self) -> memoryview:
        """All of it, to read from."""
        return memoryview(self._cells).toreadonly()

    def close(self) -> None:
        """Let go of the file."""
        self._cells.close()
        self._file.close()


def create(path: Path, size: int = 4 << 20) -> None:
    """Make the file of an erased chip. A board's private key will be in it, so its mode is 0600.

    Raises:
        EmulatorError: no chip has this size.
        FileExistsError: there is such a file already: a board's flash is not to be lost by mistake.
    """
    if size not in _SIZES:
        raise EmulatorError(f"a flash chip has 1, 2, 4, 8 or 16 MiB, not {size} bytes")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for _ in range(size // _BLOCK):
            file.write(b"\xff" * _BLOCK)
