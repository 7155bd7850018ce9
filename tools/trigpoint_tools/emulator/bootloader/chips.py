"""What tells one chip of the ESP32 family from another, as esptool asks for it.

The register addresses are those of the chips' technical reference manuals: SPI controller 1 (registers), eFuse
controller (block 0 and block 1), UART 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class SpiRegisters:
    """Addresses of the SPI controller that the flash hangs on.

    Attributes:
        command: a 1 in bit 18 starts a transfer; reads back 0 when it is over.
        user2: the flash command, in its lowest byte.
        miso_length: bits to read, less one.
        data: the first of 16 words of data.
    """

    command: int
    user2: int
    miso_length: int
    data: int


@dataclass(frozen=True)
class Chip:
    """One chip.

    Attributes:
        name: as esptool's `--chip` has it.
        title: as people write it.
        image_id: chip id in the header of its firmware images (ESP-IDF, esp_chip_id_t).
        security_info: whether its ROM answers Get Security Info with the chip id; the ESP32's does not know it.
        magic: the word at 0x40001000, by which esptool knows a chip without security info.
        spi: its flash controller.
        bootloader_offset: where in flash the second stage bootloader lies.
        banner: first line of its boot message.
        fuses: from a MAC address (six bytes) the words that esptool reads: address to value.
    """

    name: str
    title: str
    image_id: int
    security_info: bool
    magic: int
    spi: SpiRegisters
    bootloader_offset: int
    banner: str
    fuses: Callable[[bytes], Mapping[int, int]]


def _esp32_fuses(mac: bytes) -> dict[int, int]:
    block0 = 0x3FF5A000
    return {
        block0 + 4: int.from_bytes(mac[2:], "big"),
        block0 + 8: _mac_check(mac) << 16 | int.from_bytes(mac[:2], "big"),
        block0 + 12: 1 << 15 | 1 << 9 | 1 << 13,  # revision 1 (with the next: 3), package D0WD, 240 MHz
        block0 + 20: 1 << 20 | 1 << 24,  # revision bit 1, minor revision 1
        0x3FF6607C: 1 << 31,  # revision bit 2
        0x3FF40014: 40_000_000 // 115_200,  # UART divider after auto-baud, from which esptool works out the crystal
    }


def _mac_check(mac: bytes) -> int:
    """Return the CRC-8 of a MAC address (polynomial 0x8C reflected), which the ESP32 keeps beside it."""
    crc = 0
    for byte in mac:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc


def _block1_fuses(block1: int, *, revision: Mapping[int, int]) -> Callable[[bytes], dict[int, int]]:
    """Return the fuses of the chips that keep MAC and revision in block 1; `revision`: word number to value."""

    def fuses(mac: bytes) -> dict[int, int]:
        words = {
            block1: int.from_bytes(mac[2:], "big"),
            block1 + 4: 0xFFFE << 16 | int.from_bytes(mac[:2], "big"),
        }
        return words | {block1 + 4 * number: value for number, value in revision.items()}

    return fuses


def _spi(base: int, user2: int, miso_length: int, data: int) -> SpiRegisters:
    return SpiRegisters(base, base + user2, base + miso_length, base + data)


_CHIPS = (
    Chip(
        "esp32",
        "ESP32",
        image_id=0,
        security_info=False,
        magic=0x00F01D83,
        spi=_spi(0x3FF42000, 0x24, 0x2C, 0x80),
        bootloader_offset=0x1000,
        banner="ets Jul 29 2019 12:21:46",
        fuses=_esp32_fuses,
    ),
    Chip(
        "esp32s3",
        "ESP32-S3",
        image_id=9,
        security_info=True,
        magic=0x00000009,
        spi=_spi(0x60002000, 0x20, 0x28, 0x58),
        bootloader_offset=0,
        banner="ESP-ROM:esp32s3-20210327",
        fuses=_block1_fuses(0x60007044, revision={3: 2 << 18, 5: 0}),
    ),
    Chip(
        "esp32c3",
        "ESP32-C3",
        image_id=5,
        security_info=True,
        magic=0x1B31506F,
        spi=_spi(0x60002000, 0x20, 0x28, 0x58),
        bootloader_offset=0,
        banner="ESP-ROM:esp32c3-api1-20210207",
        fuses=_block1_fuses(0x60008844, revision={3: 4 << 18, 5: 0}),
    ),
    Chip(
        "esp32c6",
        "ESP32-C6",
        image_id=13,
        security_info=True,
        magic=0x2CE0806F,
        spi=_spi(0x60003000, 0x20, 0x28, 0x58),
        bootloader_offset=0,
        banner="ESP-ROM:esp32c6-20220919",
        fuses=_block1_fuses(0x600B0844, revision={3: 1 << 18, 4: 1}),
    ),
)

CHIPS: Mapping[str, Chip] = MappingProxyType({chip.name: chip for chip in _CHIPS})
"""The chips that can be emulated, by name."""
