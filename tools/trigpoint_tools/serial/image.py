"""Looks into a firmware file of MicroPython before it is written to a board: chip, version, partitions.

Sources: ESP-IDF Programming Guide, "App Image Format" and "Partition Tables"; ports/esp32/makeimg.py in MicroPython,
which puts bootloader, partition table and application into one file that begins at the bootloader's offset.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trigpoint.errors import OperatorError

LEAST: Final = "v1.27.0"
"""The oldest release that the board's code runs on."""

# A chip's name at esptool: its build at micropython.org, the id in its images' headers (ESP-IDF, esp_chip_id_t) and
# where the second stage bootloader lies, with which the file begins.
CHIPS: Final[dict[str, tuple[str, int, int]]] = {
    "esp32": ("ESP32_GENERIC", 0, 0x1000),
    "esp32s2": ("ESP32_GENERIC_S2", 2, 0x1000),
    "esp32s3": ("ESP32_GENERIC_S3", 9, 0),
    "esp32c3": ("ESP32_GENERIC_C3", 5, 0),
    "esp32c6": ("ESP32_GENERIC_C6", 13, 0),
}
MOST_BYTES: Final = 16 << 20
"""No firmware file is larger."""

_HEADER = struct.Struct("<B11xH")  # magic, chip id (ESP-IDF, esp_image_header_t)
_DESCRIPTION = struct.Struct("<II8x32s32s")  # magic, secure version, version, project (ESP-IDF, esp_app_desc_t)
_ENTRY = struct.Struct("<HBBII16s4x")  # magic, type, subtype, offset, size, name
_ENTRY_MAGIC = 0x50AA
_TABLE = 0x8000
_TABLE_SIZE = 0xC00
_IMAGE_MAGIC = 0xE9
_DESCRIPTION_MAGIC = 0xABCD5432
_APPLICATION = 0x10000
_DESCRIPTION_AT = 32
_DATA = 1
_NVS = 2
_VERSION = re.compile(r"v?(\d+)\.(\d+)")


@dataclass(frozen=True)
class Firmware:
    """A file that can be written to a board.

    Attributes:
        path: the file.
        chip: the chip it is for, as esptool names it.
        offset: where in flash it belongs.
        version: MicroPython's, as it says itself, such as v1.27.0.
        sha256: of the file, hexadecimal.
        keep: from where to where in flash the board keeps its NVS, and in it its key: not to be written.
        rom: from where to where in flash a ROMFS can lie; (0, 0) where the build has no room for one, as
            micropython.org's have not.
    """

    path: Path
    chip: str
    offset: int
    version: str
    sha256: str
    keep: tuple[int, int]
    rom: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class _Partition:
    kind: int
    subtype: int
    start: int
    end: int
    name: str


def inspect(path: Path, data: bytes, chip: str) -> Firmware:
    """Look into a firmware file before it is written to a board with `chip`.

    Raises:
        OperatorError: it is no firmware, not MicroPython, too old, for another chip, or the copy of another board's
            flash; with the remedy.
    """
    if chip not in CHIPS:
        raise OperatorError(f"Trigpoint does not run on {title(chip)}: take a board with {titles()}")
    _, wanted, offset = CHIPS[chip]
    if len(data) < _HEADER.size or data[0] != _IMAGE_MAGIC:
        raise OperatorError(
            f"{path} is no firmware for a chip of this family: take the .bin of a release, whole, from micropython.org"
        )
    _, number = _HEADER.unpack_from(data)
    if number != wanted:
        other = next((title(name) for name, (_, known, _) in CHIPS.items() if known == number), f"chip number {number}")
        raise OperatorError(f"{path} is for {other} and this board is {title(chip)}: take the file for it")
    if _described(data, _DESCRIPTION_AT) is not None:
        raise OperatorError(f"{path} is an update file, the application alone: take the whole .bin, not the .app-bin")
    at = _APPLICATION - offset + _DESCRIPTION_AT
    if len(data) < at + _DESCRIPTION.size:
        raise OperatorError(f"{path} is cut off: fetch the whole .bin from micropython.org again")
    found = _described(data, at)
    if found is None or found[1] != "micropython":
        what = found[1] if found and found[1] else "no application that names itself"
        raise OperatorError(f"{path} holds {what}, not MicroPython: take a file from micropython.org")
    version = found[0]
    parsed = _VERSION.match(version)
    if parsed and (int(parsed[1]), int(parsed[2])) < _least():
        raise OperatorError(f"{path} is MicroPython {version}; Trigpoint needs {LEAST} or newer")
    partitions = _partitions(data, offset)
    keep = next(((p.start, p.end) for p in partitions if (p.kind, p.subtype) == (_DATA, _NVS)), (0, 0))
    if not partitions or keep == (0, 0):
        raise OperatorError(f"{path} has no partition table, or none with NVS: take a file from micropython.org")
    start, end = (at - offset for at in keep)
    if data[start:end].strip(b"\xff") or len(data) + offset > max(p.end for p in partitions):
        raise OperatorError(
            f"{path} is a copy of a board's flash, and perhaps of its key: take the .bin of a release from "
            "micropython.org"
        )
    rom = next(((p.start, p.end) for p in partitions if p.kind == _DATA and p.name == "romfs"), (0, 0))
    return Firmware(path, chip, offset, version, hashlib.sha256(data).hexdigest(), keep, rom)


def pieces(firmware: Firmware, data: bytes) -> list[tuple[int, bytes]]:
    """Cut a firmware file in two, before and behind NVS, as (offset in flash, content).

    MicroPython's files fill NVS with erased flash: written as a whole, they would take the key of a board with them.
    """
    start, end = (at - firmware.offset for at in firmware.keep)
    return [(firmware.offset, data[:start]), (firmware.keep[1], data[end:])]


def load(path: Path, chip: str) -> Firmware:
    """Look into the firmware file `path`; see `inspect`."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise OperatorError(f"{path} is larger than any firmware: take the .bin of a release")
        return inspect(path, path.read_bytes(), chip)
    except OSError as error:
        raise OperatorError(
            f"cannot read {path}: {error.strerror}; give a file, or a version such as {LEAST}"
        ) from error


def title(chip: str) -> str:
    """Return a chip's name as it is printed on it: esp32s3 is an ESP32-S3."""
    return chip.upper() if chip in ("esp32", "esp8266") else f"{chip[:5].upper()}-{chip[5:].upper()}"


def titles() -> str:
    """Return the chips that Trigpoint runs on, for a sentence."""
    return ", ".join(map(title, CHIPS))


def _described(data: bytes, at: int) -> tuple[str, str] | None:
    """Return the version and the project in an application's description, None if there is none."""
    if len(data) < at + _DESCRIPTION.size:
        return None
    magic, _, version, project = _DESCRIPTION.unpack_from(data, at)
    return (_text(version), _text(project)) if magic == _DESCRIPTION_MAGIC else None


def _partitions(data: bytes, offset: int) -> list[_Partition]:
    """Return what a firmware file's partition table says."""
    found = []
    for at in range(_TABLE - offset, min(_TABLE - offset + _TABLE_SIZE, len(data) - _ENTRY.size), _ENTRY.size):
        magic, kind, subtype, start, size, name = _ENTRY.unpack_from(data, at)
        if magic != _ENTRY_MAGIC:
            break
        found.append(_Partition(kind, subtype, start, start + size, _text(name)))
    return found


def _least() -> tuple[int, int]:
    major, minor, _ = LEAST.removeprefix("v").split(".")
    return int(major), int(minor)


def _text(field: bytes) -> str:
    return "".join(chr(byte) for byte in field.split(b"\0")[0] if 32 <= byte < 127)
