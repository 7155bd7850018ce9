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
class BootWords:
    """How a chip's ROM words its boot message (ESP-IDF, esp_rom/include/*/rom/rtc.h; strapping pins as on most boards).

    Attributes:
        banner: the first line.
        power_on: reset by power or the EN pin.
        software: reset by the chip's own software, machine.reset() and the task watchdog among it.
        deep_sleep: end of deep sleep.
        watchdog: reset by the watchdog that the ROM sets itself: it found nothing to start.
        flash: boot mode with GPIO0 high.
        download: boot mode with GPIO0 low.
    """

    banner: str
    power_on: str
    software: str
    deep_sleep: str
    watchdog: str
    flash: str
    download: str

    def message(self, cause: str, mode: str) -> str:
        """Return the boot message, several lines, from two of the attributes."""
        return f"{self.banner}\r\n\r\nrst:{cause},boot:{mode}\r\n"


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
        words: its boot message.
        fuses: from a MAC address (six bytes) the words that esptool reads: address to value.
    """

    name: str
    title: str
    image_id: int
    security_info: bool
    magic: int
    spi: SpiRegisters
    bootloader_offset: int
    words: BootWords
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


def _words(rom: str, *, flash: str, download: str) -> BootWords:
    """Return the words of the chips that came after the ESP32."""
    return BootWords(
        banner=f"ESP-ROM:{rom}",
        power_on="0x1 (POWERON)",
        software="0xc (RTC_SW_CPU_RST)",
        deep_sleep="0x5 (DSLEEP)",
        watchdog="0x10 (RTCWDT_RTC_RST)",
        flash=flash,
        download=download,
    )


_CHIPS = (
    Chip(
        "esp32",
        "ESP32",
        image_id=0,
        security_info=False,
        magic=0x00F01D83,
        spi=_spi(0x3FF42000, 0x24, 0x2C, 0x80),
        bootloader_offset=0x1000,
        words=BootWords(
            banner="ets Jul 29 2019 12:21:46",
            power_on="0x1 (POWERON_RESET)",
            software="0xc (SW_CPU_RESET)",
            deep_sleep="0x5 (DEEPSLEEP_RESET)",
            watchdog="0x10 (RTCWDT_RTC_RESET)",
            flash="0x13 (SPI_FAST_FLASH_BOOT)",
            download="0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))",
        ),
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
        words=_words("esp32s3-20210327", flash="0x8 (SPI_FAST_FLASH_BOOT)", download="0x0 (DOWNLOAD(USB/UART0))"),
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
        words=_words(
            "esp32c3-api1-20210207", flash="0xc (SPI_FAST_FLASH_BOOT)", download="0x4 (DOWNLOAD(USB/UART0/1))"
        ),
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
        words=_words(
            "esp32c6-20220919", flash="0xc (SPI_FAST_FLASH_BOOT)", download="0x4 (DOWNLOAD(USB/UART0/SDIO_REI_FEO))"
        ),
        fuses=_block1_fuses(0x600B0844, revision={3: 1 << 18, 4: 1}),
    ),
)

CHIPS: Mapping[str, Chip] = MappingProxyType({chip.name: chip for chip in _CHIPS})
"""The chips that can be emulated, by name."""
