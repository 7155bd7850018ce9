"""MicroPython's firmware files: looked into before they are written, and fetched by version.

A release counts by its SHA-256 alone: it is checked when it is fetched, before it gets its name in the cache, and
again each time it is taken from there.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import struct
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trigpoint.errors import OperatorError

SITE: Final = "https://micropython.org/resources/firmware"
"""Where releases are."""

LATEST: Final = "v1.27.0"
"""The release that `trigpoint board flash` takes if it is told nothing; the oldest that the board's code runs on."""

# Day of a release, as in its files' names.
_RELEASES = {"v1.27.0": "20251209"}
# A chip's name at esptool: its build at micropython.org, the id in its images' headers (ESP-IDF, esp_chip_id_t) and
# where the second stage bootloader lies, with which the file begins.
_CHIPS: dict[str, tuple[str, int, int]] = {
    "esp32": ("ESP32_GENERIC", 0, 0x1000),
    "esp32s2": ("ESP32_GENERIC_S2", 2, 0x1000),
    "esp32s3": ("ESP32_GENERIC_S3", 9, 0),
    "esp32c3": ("ESP32_GENERIC_C3", 5, 0),
    "esp32c6": ("ESP32_GENERIC_C6", 13, 0),
}
_HEADER = struct.Struct("<B11xH")  # magic, chip id (ESP-IDF, esp_image_header_t)
_DESCRIPTION = struct.Struct("<II8x32s32s")  # magic, secure version, version, project (ESP-IDF, esp_app_desc_t)
_ENTRY = struct.Struct("<HBBII20x")  # magic, type, subtype, offset, size (ESP-IDF, "Partition Tables")
_ENTRY_MAGIC = 0x50AA
_TABLE = 0x8000
_TABLE_SIZE = 0xC00
_IMAGE_MAGIC = 0xE9
_DESCRIPTION_MAGIC = 0xABCD5432
_APPLICATION = 0x10000
_DESCRIPTION_AT = 32
_VERSION = re.compile(r"v?(\d+\.\d+(?:\.\d+)?)")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LEAST = (1, 27)
_MOST_BYTES = 16 << 20
_PATIENCE_S = 30


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
    """

    path: Path
    chip: str
    offset: int
    version: str
    sha256: str
    keep: tuple[int, int]


def inspect(path: Path, data: bytes, chip: str) -> Firmware:
    """Look into a firmware file before it is written to a board with `chip`.

    Raises:
        OperatorError: it is no firmware, not MicroPython, too old, or for another chip; with the remedy.
    """
    if chip not in _CHIPS:
        raise OperatorError(f"Trigpoint does not run on {chip.upper()}: take a board with {_titles()}")
    _, wanted, offset = _CHIPS[chip]
    if len(data) < _HEADER.size or data[0] != _IMAGE_MAGIC:
        raise OperatorError(
            f"{path} is no firmware for a chip of this family: take the .bin of a release, whole, from micropython.org"
        )
    _, number = _HEADER.unpack_from(data)
    if number != wanted:
        other = next((name for name, (_, known, _) in _CHIPS.items() if known == number), f"chip number {number}")
        raise OperatorError(f"{path} is for {other.upper()} and this board is {chip.upper()}: take the file for it")
    at = _APPLICATION - offset + _DESCRIPTION_AT
    if len(data) < at + _DESCRIPTION.size:
        raise OperatorError(f"{path} is cut off, or an update file: take the whole .bin from micropython.org")
    magic, _, version, project = _DESCRIPTION.unpack_from(data, at)
    if magic != _DESCRIPTION_MAGIC or _text(project) != "micropython":
        what = _text(project) if magic == _DESCRIPTION_MAGIC and _text(project) else "no application that names itself"
        raise OperatorError(f"{path} holds {what}, not MicroPython: take a file from micropython.org")
    parsed = _VERSION.match(_text(version))
    if parsed and tuple(int(part) for part in parsed[1].split(".")[:2]) < _LEAST:
        raise OperatorError(f"{path} is MicroPython {_text(version)}; Trigpoint needs {LATEST} or newer")
    return Firmware(path, chip, offset, _text(version), hashlib.sha256(data).hexdigest(), _nvs(data, offset))


def pieces(firmware: Firmware, data: bytes) -> list[tuple[int, bytes]]:
    """Cut a firmware file in two, before and behind NVS, as (offset in flash, content).

    MicroPython's files fill NVS with erased flash: written as a whole, they would take the key of a board with them.
    """
    start, end = (at - firmware.offset for at in firmware.keep)
    blank = data[start:end].strip(b"\xff") == b""
    if not 0 < start < end < len(data) or not blank:
        return [(firmware.offset, data)]
    return [(firmware.offset, data[:start]), (firmware.keep[1], data[end:])]


def _nvs(data: bytes, offset: int) -> tuple[int, int]:
    """Return where the partition table of a firmware file has NVS; (0, 0) if nowhere."""
    for at in range(_TABLE - offset, min(_TABLE - offset + _TABLE_SIZE, len(data) - _ENTRY.size), _ENTRY.size):
        magic, kind, subtype, start, size = _ENTRY.unpack_from(data, at)
        if magic != _ENTRY_MAGIC:
            break
        if (kind, subtype) == (1, 2):
            return start, start + size
    return 0, 0


def load(path: Path, chip: str) -> Firmware:
    """Look into the firmware file `path`; see `inspect`."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise OperatorError(f"{path} is larger than any firmware: take the .bin of a release")
        return inspect(path, path.read_bytes(), chip)
    except OSError as error:
        raise OperatorError(
            f"cannot read {path}: {error.strerror}; give a file, or a version such as {LATEST}"
        ) from error


def is_version(text: str) -> bool:
    """Return whether `text` names a release and not a file."""
    return _VERSION.fullmatch(text) is not None


def file_name(version: str, chip: str) -> str:
    """Return the name of a release's file.

    Raises:
        OperatorError: the release is not known, or there is none for this chip.
    """
    version = "v" + version.removeprefix("v")
    if chip not in _CHIPS:
        raise OperatorError(f"Trigpoint does not run on {chip.upper()}: take a board with {_titles()}")
    if version not in _RELEASES:
        raise OperatorError(
            f"the release {version} is not known here; known are {', '.join(_RELEASES)}. Fetch its .bin yourself and "
            "give the file"
        )
    return f"{_CHIPS[chip][0]}-{_RELEASES[version]}-{version}.bin"


class Cache:
    """Releases on this machine.

    Args:
        directory: where they are kept, with `pins.json`: file name to SHA-256.
        site: where they are fetched from.
    """

    def __init__(self, directory: Path, site: str = SITE) -> None:
        self._directory = directory
        self._site = site.rstrip("/")

    def release(self, version: str, chip: str, sha256: str | None = None) -> Firmware:
        """Return a release's file, from the cache or, if it is not there, from the site.

        Args:
            version: such as v1.27.0.
            chip: as esptool names it.
            sha256: its hash, hexadecimal, if it is not pinned yet; it is from then on.

        Raises:
            OperatorError: its hash is not known or is another one, or it cannot be fetched.
        """
        name = file_name(version, chip)
        wanted = self._pin(name, sha256)
        path = self._directory / name
        if not path.exists():
            self._fetch(name, path, wanted)
        elif hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            path.unlink()
            raise OperatorError(f"{path} had changed on this machine and is removed: run this again to fetch it anew")
        if sha256 is not None:
            self._remember(name, wanted)
        return load(path, chip)

    def _pin(self, name: str, given: str | None) -> str:
        known = self._pins().get(name)
        if given is not None and not _DIGEST.fullmatch(given.lower()):
            raise OperatorError("a SHA-256 is 64 hexadecimal digits: copy it again")
        if given is not None and known is not None and given.lower() != known:
            raise OperatorError(
                f"{name} is pinned to {known}, and you gave another hash: find out which is right, then correct "
                f"{self._directory / 'pins.json'}"
            )
        wanted = known or (given.lower() if given else None)
        if wanted is None:
            raise OperatorError(
                f"the SHA-256 of {name} is not pinned on this machine: give it with --sha256, from a source that you "
                "trust; it is remembered"
            )
        return wanted

    def _pins(self) -> dict[str, str]:
        path = self._directory / "pins.json"
        try:
            pins: Any = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise OperatorError(f"cannot read {path}: correct it or remove it") from error
        if not isinstance(pins, dict) or not all(
            isinstance(pin, str) and _DIGEST.fullmatch(pin) for pin in pins.values()
        ):
            raise OperatorError(f"{path} is not a list of file names with their SHA-256: correct it or remove it")
        return pins

    def _remember(self, name: str, digest: str) -> None:
        pins = {**self._pins(), name: digest}
        _replace(self._directory / "pins.json", json.dumps(pins, indent=2, sort_keys=True).encode() + b"\n")

    def _fetch(self, name: str, path: Path, wanted: str) -> None:
        url = f"{self._site}/{name}"
        try:
            # The site is ours to choose, and what comes from it counts by its hash.
            with urllib.request.urlopen(url, timeout=_PATIENCE_S) as response:  # noqa: S310
                data = response.read(_MOST_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise OperatorError(f"cannot fetch {url}: {reason}; without a network, put the file at {path}") from error
        if len(data) > _MOST_BYTES:
            raise OperatorError(f"{url} is larger than any firmware; nothing of it was kept")
        if hashlib.sha256(data).hexdigest() != wanted:
            raise OperatorError(f"{url} has not the pinned SHA-256 {wanted}; nothing of it was kept. Do not use it")
        self._directory.mkdir(parents=True, exist_ok=True)
        _replace(path, data)


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def cache_directory() -> Path:
    """Return where releases are kept: TRIGPOINT_CACHE, else trigpoint/ in the user's cache (XDG base directories)."""
    named = os.environ.get("TRIGPOINT_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trigpoint" / "firmware"


def _titles() -> str:
    return ", ".join(name.upper() for name in _CHIPS)


def _text(field: bytes) -> str:
    return "".join(chr(byte) for byte in field.split(b"\0")[0] if 32 <= byte < 127)
