"""The bootloader: bytes from the host in, bytes for the host out, and the flash chip between.

The ROM of a real chip runs code that the host puts into its memory: esptool's flasher stub. Here nobody runs it. What
is loaded is counted and thrown away, and from then on the bootloader answers as the stub would, which knows more
commands than the ROM.

    rom --MEM_END with an entry point--> stub --READ_FLASH--> reading --last acknowledgement--> stub
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass

from trigpoint_tools.emulator.bootloader import slip
from trigpoint_tools.emulator.bootloader.chips import Chip
from trigpoint_tools.emulator.bootloader.flashchip import FlashChip
from trigpoint_tools.emulator.bootloader.packets import (
    Command,
    Fault,
    RefusedError,
    Request,
    checksum,
    parse,
    reply,
)
from trigpoint_tools.emulator.bootloader.registers import Registers
from trigpoint_tools.emulator.bootloader.writing import FlashWrite

_SYNC_VALUE = 0x20120707
_SYNC_REPLIES = 8
_SLOW_READ = 64
_RAM = 512 * 1024
_MOST_IN_FLIGHT = 256 * 1024  # bytes: 64 sectors, esptool's own window


@dataclass
class _Read:
    """A READ_FLASH under way: what is still to be sent, and how far the host has acknowledged. All are bytes."""

    offset: int
    length: int
    frame: int
    window: int
    sent: int = 0
    acknowledged: int = 0


class Bootloader:
    """One chip in download mode, from reset to reset.

    Args:
        chip: which chip.
        mac: six bytes.
        flash: its flash.
        restart: called when the host asks for a reset into the application.
    """

    def __init__(self, chip: Chip, mac: bytes, flash: FlashChip, restart: Callable[[], None]) -> None:
        self._chip = chip
        self._flash = flash
        self._restart = restart
        self._registers = Registers(chip, mac, flash)
        self._reader = slip.SlipReader()
        self._stub = False
        self._loaded = 0
        self._write: FlashWrite | None = None
        self._read: _Read | None = None

    def feed(self, data: bytes) -> bytes:
        """Take what the host sent and return what goes back."""
        return b"".join(slip.encode(answer) for frame in self._reader.feed(data) for answer in self._frame(frame))

    def _frame(self, frame: bytes) -> list[bytes]:
        if self._read is not None:
            return self._acknowledged(self._read, frame)
        request = parse(frame)
        if request is None:
            return []
        if request.command == Command.SYNC:
            return [self._reply(request, value=0 if self._stub else _SYNC_VALUE)] * _SYNC_REPLIES
        try:
            return self._answer(request)
        except RefusedError as error:
            return [self._reply(request, fault=error.fault)]

    def _reply(self, request: Request, *, value: int = 0, data: bytes = b"", fault: Fault | None = None) -> bytes:
        return reply(request.command, value=value, data=data, fault=fault, padding=0 if self._stub else 2)

    def _answer(self, request: Request) -> list[bytes]:
        match request.command:
            case Command.READ_REG:
                return [self._reply(request, value=self._registers.read(*request.words(1)))]
            case Command.WRITE_REG:
                self._write_registers(request)
            case Command.GET_SECURITY_INFO if self._chip.security_info:
                info = struct.pack("<I8BII", 0, 0, *bytes(7), self._chip.image_id, 0)
                return [self._reply(request, data=info)]
            case Command.MEM_BEGIN:
                self._begin_load(*request.words(2))
            case Command.MEM_DATA:
                self._load(self._checked(request))
            case Command.MEM_END:
                return self._end_load(request)
            case Command.SPI_ATTACH | Command.SPI_SET_PARAMS | Command.CHANGE_BAUDRATE:
                pass  # the line has no speed here, and the flash is attached
            case Command.FLASH_BEGIN | Command.FLASH_DEFL_BEGIN:
                self._begin_write(request)
            case Command.FLASH_DATA | Command.FLASH_DEFL_DATA:
                self._continue_write(self._checked(request))
            case Command.FLASH_END | Command.FLASH_DEFL_END:
                return self._end_write(request)
            case Command.SPI_FLASH_MD5:
                return [self._reply(request, data=self._md5(*request.words(2)))]
            case Command.READ_FLASH_SLOW if not self._stub:
                offset, length = request.words(2)
                data = self._flash.read(offset, min(length, _SLOW_READ))
                return [self._reply(request, data=data.ljust(_SLOW_READ, b"\0"))]
            case _:
                return self._answer_stub(request)
        return [self._reply(request)]

    def _answer_stub(self, request: Request) -> list[bytes]:
        if not self._stub:
            # The ROM says so under another command's number, and eight times over: that is how esptool tells.
            return [reply(0, fault=Fault.INVALID, padding=2)] * _SYNC_REPLIES
        match request.command:
            case Command.ERASE_FLASH:
                self._flash.erase(0, self._flash.size)
            case Command.ERASE_REGION:
                self._erase(*request.words(2))
            case Command.READ_FLASH:
                return self._begin_read(request)
            case Command.RUN_USER_CODE:
                self._restart()
                return []
            case _:
                raise RefusedError(Fault.STUB_UNKNOWN)
        return [self._reply(request)]

    def _checked(self, request: Request) -> bytes:
        block = request.block()
        if checksum(block) != request.checksum:
            raise RefusedError(Fault.STUB_CHECKSUM if self._stub else Fault.CHECKSUM)
        return block

    def _write_registers(self, request: Request) -> None:
        for at in range(0, len(request.data) - len(request.data) % 16, 16):
            address, value, mask, _delay = struct.unpack_from("<4I", request.data, at)
            self._registers.write(address, value, mask)

    def _begin_load(self, size: int, _blocks: int) -> None:
        if size > _RAM:
            raise RefusedError(Fault.FAILED)
        self._loaded = 0

    def _load(self, block: bytes) -> None:
        self._loaded += len(block)
        if self._loaded > _RAM:
            raise RefusedError(Fault.FAILED)

    def _end_load(self, request: Request) -> list[bytes]:
        stay, _entry = request.words(2)
        answer = self._reply(request)
        if stay or not self._loaded:
            return [answer]
        self._stub = True
        return [answer, b"OHAI"]

    def _begin_write(self, request: Request) -> None:
        size, _blocks, _block_size, offset = request.words(4)
        compressed = request.command == Command.FLASH_DEFL_BEGIN
        self._write = FlashWrite(self._flash, offset, size, compressed=compressed, erases=self._stub)
        if not self._stub and size:
            self._erase(offset, size)

    def _continue_write(self, block: bytes) -> None:
        if self._write is None:
            raise RefusedError(Fault.STUB_FAILED if self._stub else Fault.FAILED)
        self._write.take(block)

    def _end_write(self, request: Request) -> list[bytes]:
        (stay,) = request.words(1)
        self._write = None
        answer = self._reply(request)
        if not stay:
            self._restart()
        return [answer]

    def _erase(self, offset: int, size: int) -> None:
        try:
            self._flash.erase(offset, size)
        except ValueError:
            raise RefusedError(Fault.STUB_FAILED if self._stub else Fault.FAILED) from None

    def _md5(self, offset: int, size: int) -> bytes:
        if offset + size > self._flash.size:
            raise RefusedError(Fault.STUB_FAILED if self._stub else Fault.FAILED)
        digest = hashlib.md5(self._flash.read(offset, size), usedforsecurity=False)
        return digest.digest() if self._stub else digest.hexdigest().encode()

    def _begin_read(self, request: Request) -> list[bytes]:
        offset, length, frame, window = request.words(4)
        if not 0 < frame <= slip.LONGEST // 2 or offset + length > self._flash.size:
            raise RefusedError(Fault.STUB_FAILED)
        self._read = _Read(offset, length, frame, max(frame, min(window * frame, _MOST_IN_FLIGHT)))
        return [self._reply(request), *self._go_on(self._read)]

    def _acknowledged(self, read: _Read, frame: bytes) -> list[bytes]:
        if len(frame) != 4:
            self._read = None  # it has begun to speak of something else: the read is over
            return self._frame(frame)
        read.acknowledged = max(read.acknowledged, min(struct.unpack("<I", frame)[0], read.sent))
        return self._go_on(read)

    def _go_on(self, read: _Read) -> list[bytes]:
        """Send as many frames as may be under way, and after the last acknowledgement the digest of all."""
        frames = []
        while read.sent < read.length and read.sent - read.acknowledged < read.window:
            count = min(read.frame, read.length - read.sent)
            frames.append(self._flash.read(read.offset + read.sent, count))
            read.sent += count
        if read.acknowledged == read.length:
            data = self._flash.read(read.offset, read.length)
            frames.append(hashlib.md5(data, usedforsecurity=False).digest())
            self._read = None
        return frames
