"""Requests to the bootloader and its replies (Espressif, "Serial Protocol", esptool documentation)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum


class Command(IntEnum):
    """What a host can ask. Those from ERASE_FLASH on are the stub's alone."""

    FLASH_BEGIN = 0x02
    FLASH_DATA = 0x03
    FLASH_END = 0x04
    MEM_BEGIN = 0x05
    MEM_END = 0x06
    MEM_DATA = 0x07
    SYNC = 0x08
    WRITE_REG = 0x09
    READ_REG = 0x0A
    SPI_SET_PARAMS = 0x0B
    SPI_ATTACH = 0x0D
    READ_FLASH_SLOW = 0x0E
    CHANGE_BAUDRATE = 0x0F
    FLASH_DEFL_BEGIN = 0x10
    FLASH_DEFL_DATA = 0x11
    FLASH_DEFL_END = 0x12
    SPI_FLASH_MD5 = 0x13
    GET_SECURITY_INFO = 0x14
    ERASE_FLASH = 0xD0
    ERASE_REGION = 0xD1
    READ_FLASH = 0xD2
    RUN_USER_CODE = 0xD3


class Fault(IntEnum):
    """Why a request failed, the second status byte: the ROM's codes, then the stub's."""

    INVALID = 0x05
    FAILED = 0x06
    CHECKSUM = 0x07
    INFLATE = 0x0B
    STUB_LENGTH = 0xC0
    STUB_CHECKSUM = 0xC1
    STUB_BLOCK_SIZE = 0xC2
    STUB_FAILED = 0xC4
    STUB_TOO_MUCH = 0xC8
    STUB_TOO_LITTLE = 0xC9
    STUB_UNKNOWN = 0xFF


class RefusedError(Exception):
    """A request that fails; `fault` is what the host is told."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.name)
        self.fault = fault


@dataclass(frozen=True)
class Request:
    """One request: its command byte, its data and the checksum that comes with it."""

    command: int
    data: bytes
    checksum: int

    def words(self, count: int) -> tuple[int, ...]:
        """Return the first `count` 32-bit words of the data.

        Raises:
            RefusedError: it is shorter.
        """
        if len(self.data) < 4 * count:
            raise RefusedError(Fault.INVALID)
        return struct.unpack_from(f"<{count}I", self.data)

    def block(self) -> bytes:
        """Return the data of a block: what follows its length, its number and two reserved words.

        Raises:
            RefusedError: the length is not that of the data.
        """
        length = self.words(4)[0]
        if len(self.data) != 16 + length:
            raise RefusedError(Fault.INVALID)
        return self.data[16:]


def parse(frame: bytes) -> Request | None:
    """Return the request in a frame, None if it is none: the ROM does not answer noise."""
    if len(frame) < 8:
        return None
    direction, command, size, checksum = struct.unpack_from("<BBHI", frame)
    if direction or size != len(frame) - 8:
        return None
    return Request(command, frame[8:], checksum)


def reply(command: int, *, value: int = 0, data: bytes = b"", fault: Fault | None = None, padding: int) -> bytes:
    """Return a reply's frame.

    Args:
        command: the request's.
        value: the word in the header.
        data: what comes before the status.
        fault: why the request failed, None if it did not.
        padding: bytes after the two of the status: two from the ROM, none from the stub.
    """
    status = bytes((1, fault)) if fault is not None else b"\0\0"
    body = data + status + bytes(padding)
    return struct.pack("<BBHI", 1, command, len(body), value) + body


def checksum(data: bytes) -> int:
    """Return the XOR of all bytes and 0xEF."""
    folded = 0xEF
    for byte in data:
        folded ^= byte
    return folded
