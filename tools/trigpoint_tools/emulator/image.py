"""What lies in a board's flash: second stage bootloader, partition table, application (ESP-IDF Programming Guide,
"Partition Tables" and "App Image Format").
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from trigpoint_tools.emulator.bootloader.chips import Chip

TABLE = 0x8000
"""Where the partition table lies."""

_TABLE_SIZE = 0xC00
_ENTRY = struct.Struct("<HBBII16sI")
_ENTRY_MAGIC = 0x50AA
_MD5_MAGIC = 0xEBEB
_IMAGE_MAGIC = 0xE9
_HEADER = struct.Struct("<BBBBIBBBBHBHHB3xB")
_DESCRIPTION_AT = 32
_DESCRIPTION = struct.Struct("<II8x32s32s16s16s32s32s80x")
_DESCRIPTION_MAGIC = 0xABCD5432
_FOUR_MEBIBYTES = 2 << 4
_LEAST_APPLICATION = 4096
_FACTORY = 0x10000
_ROMFS = 0x1E0000
_FILES = 0x200000
_FILES_SUBTYPE = 0x81  # ESP-IDF's number for FAT, as which MicroPython declares its own


class ImageError(Exception):
    """The flash holds nothing that this chip could run; the message is what its bootloader prints."""


@dataclass(frozen=True)
class Entry:
    """One line of a partition table: `type` 0 is an application, 1 is data; `offset` and `size` in bytes."""

    name: str
    type: int
    subtype: int
    offset: int
    size: int


@dataclass(frozen=True)
class Firmware:
    """What a flash holds.

    Attributes:
        project: the application's name.
        version: its version.
        partitions: the table, by name.
    """

    project: str
    version: str
    partitions: dict[str, Entry]


def read(flash: bytes | memoryview, chip: Chip) -> Firmware:
    """Return what the chip would start from a flash with this content.

    Raises:
        ImageError: nothing.
    """
    _check_header(flash, chip.bootloader_offset, chip)
    partitions = _table(flash)
    applications = [entry for entry in partitions.values() if entry.type == 0 and entry.size >= _LEAST_APPLICATION]
    if not applications:
        raise ImageError("E (53) boot: No bootable app partitions in the partition table")
    application = applications[0].offset
    _check_header(flash, application, chip)
    magic, _, version, project, *_ = _DESCRIPTION.unpack_from(flash, application + _DESCRIPTION_AT)
    if magic != _DESCRIPTION_MAGIC:
        raise ImageError("E (61) boot: the application has no description")
    if _text(project) != "micropython":
        raise ImageError(f"E (62) boot: the application is {_text(project)!r}; the emulator runs MicroPython alone")
    return Firmware(_text(project), _text(version), _with_files(partitions, len(flash)))


def _with_files(partitions: dict[str, Entry], size: int) -> dict[str, Entry]:
    """Return the partitions with one for files: where the table has none, MicroPython takes what lies behind it all.

    Source: boardctrl_startup in MicroPython's ports/esp32/main.c.
    """
    if "vfs" not in partitions:
        end = max(entry.offset + entry.size for entry in partitions.values())
        if end < size:
            partitions = {**partitions, "vfs": Entry("vfs", 1, _FILES_SUBTYPE, end, size - end)}
    if not {"nvs", "vfs"} <= partitions.keys():
        raise ImageError("E (63) boot: no room for partitions nvs and vfs, which MicroPython needs")
    return partitions


def _check_header(flash: bytes | memoryview, at: int, chip: Chip) -> None:
    fields = _HEADER.unpack_from(flash, at)
    if fields[0] != _IMAGE_MAGIC:
        raise ImageError(f"invalid header: 0x{struct.unpack_from('<I', flash, at)[0]:08x}")
    if fields[9] != chip.image_id:
        raise ImageError(f"E (41) boot_comm: mismatch chip ID, expected {chip.image_id}, found {fields[9]}")


def _table(flash: bytes | memoryview) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for at in range(TABLE, TABLE + _TABLE_SIZE, _ENTRY.size):
        magic, kind, subtype, offset, size, name, _flags = _ENTRY.unpack_from(flash, at)
        if magic == _MD5_MAGIC:
            if bytes(flash[at + 16 : at + 32]) != _md5(bytes(flash[TABLE:at])):
                raise ImageError("E (47) flash_parts: partition table MD5 mismatch")
            break
        if magic != _ENTRY_MAGIC:
            break
        if offset + size > len(flash):
            raise ImageError(f"E (48) flash_parts: partition {_text(name)} exceeds flash chip size 0x{len(flash):x}")
        entries[_text(name)] = Entry(_text(name), kind, subtype, offset, size)
    if not entries:
        raise ImageError("E (46) flash_parts: partition table invalid")
    return entries


def build(chip: Chip, *, version: str = "v1.29.0", romfs: bool = True) -> bytes:
    """Return a firmware file that stands for MicroPython's: headers that esptool and this emulator know, no code.

    Its partitions are those of MicroPython's ports/esp32/partitions-4MiB-romfs.csv. It begins, like MicroPython's
    files, at the bootloader's offset.

    Args:
        chip: which chip it is for.
        version: which MicroPython it says it is.
        romfs: whether it has a partition for a ROMFS; else its partitions are those of partitions-4MiBplus.csv, which
            the builds on micropython.org have.
    """
    layout = [
        ("nvs", 1, 0x02, 0x9000, 0x6000),
        ("phy_init", 1, 0x01, 0xF000, 0x1000),
        ("factory", 0, 0x00, _FACTORY, (_ROMFS if romfs else _FILES) - _FACTORY),
    ]
    if romfs:
        layout.append(("romfs", 1, 0x8F, _ROMFS, _FILES - _ROMFS))
    table = b"".join(
        _ENTRY.pack(_ENTRY_MAGIC, kind, subtype, offset, length, name.encode(), 0)
        for name, kind, subtype, offset, length in layout
    )
    table += struct.pack("<H14x", _MD5_MAGIC).replace(b"\0", b"\xff") + _md5(table)
    flash = bytearray(b"\xff" * _FACTORY)
    code = _image(chip, b"bootloader")
    flash[chip.bootloader_offset : chip.bootloader_offset + len(code)] = code
    flash[TABLE : TABLE + len(table)] = table
    description = _DESCRIPTION.pack(
        _DESCRIPTION_MAGIC, 0, version.encode(), b"micropython", b"12:00:00", b"Jan  1 2026", b"v5.5", bytes(32)
    )
    return bytes(flash[chip.bootloader_offset :]) + _image(chip, description)


def _image(chip: Chip, content: bytes) -> bytes:
    """Return an image of one segment, with checksum and digest."""
    content += bytes(-len(content) % 4)
    header = _HEADER.pack(
        _IMAGE_MAGIC, 1, 2, _FOUR_MEBIBYTES, 0x40080400, 0xEE, 0, 0, 0, chip.image_id, 0, 0, 0xFFFF, 0, 1
    )
    body = header + struct.pack("<II", 0x3F400020, len(content)) + content
    body += bytes(15 - len(body) % 16)
    folded = 0xEF
    for byte in content:
        folded ^= byte
    body += bytes((folded,))
    return body + hashlib.sha256(body).digest()


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _text(field: bytes) -> str:
    return bytes(field).split(b"\0")[0].decode("ascii", "replace")
