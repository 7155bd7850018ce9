"""MicroPython's releases by version: from the cache on this machine, else from micropython.org, and never but by hash.

A release counts by its SHA-256 alone: it is checked when it is fetched, before it gets its name in the cache, and again
each time it is taken from there. Where the hash comes from: `releases.toml` beside this file, or the person who gave it
once with --sha256.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import json
import os
import re
import tomllib
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from trigpoint.errors import OperatorError

from trigpoint_tools.serial.image import CHIPS, MOST_BYTES, Firmware, inspect, load, pieces, title, titles

__all__ = [
    "LATEST",
    "SITE",
    "Cache",
    "Firmware",
    "Release",
    "cache_directory",
    "file_name",
    "inspect",
    "is_version",
    "load",
    "pieces",
    "shipped",
]

SITE: Final = "https://micropython.org/resources/firmware"
"""Where releases are."""

LATEST: Final = "v1.29.0"
"""The release that `trigpoint board flash` takes if it is told nothing."""

_PAGE = "https://micropython.org/download"
_VERSION = re.compile(r"v?(\d+\.\d+)(?:\.(\d+))?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PATIENCE_S = 30


@dataclass(frozen=True)
class Release:
    """A release of MicroPython.

    Attributes:
        day: as in its files' names, YYYYMMDD.
        sha256: chip to the hash of its file, hexadecimal, where it is known.
    """

    day: str
    sha256: Mapping[str, str]


@functools.cache
def shipped() -> dict[str, Release]:
    """Return the releases that this installation knows, by version."""
    text = resources.files("trigpoint_tools.serial").joinpath("releases.toml").read_text("utf-8")
    return {version: Release(entry["day"], entry["sha256"]) for version, entry in tomllib.loads(text).items()}


def is_version(text: str) -> bool:
    """Return whether `text` names a release and not a file."""
    return _VERSION.fullmatch(text) is not None


def file_name(version: str, chip: str, releases: Mapping[str, Release] | None = None) -> str:
    """Return the name of a release's file.

    Raises:
        OperatorError: the release is not known, or there is none for this chip.
    """
    releases = shipped() if releases is None else releases
    version = _whole(version)
    if chip not in CHIPS:
        raise OperatorError(f"Trigpoint does not run on {title(chip)}: take a board with {titles()}")
    if version not in releases:
        raise OperatorError(
            f"the release {version} is not known here, which knows {', '.join(releases)}: fetch its .bin from "
            f"{_PAGE}/{CHIPS[chip][0]}/ and give it with --firmware FILE"
        )
    return f"{CHIPS[chip][0]}-{releases[version].day}-{version}.bin"


class Cache:
    """Releases on this machine.

    Args:
        directory: where they are kept, with `pins.json`: file name to SHA-256, as people have given them.
        site: where they are fetched from.
        releases: which there are, by version; by default those that are shipped.
    """

    def __init__(self, directory: Path, site: str = SITE, releases: Mapping[str, Release] | None = None) -> None:
        self._directory = directory
        self._site = site.rstrip("/")
        self._releases = shipped() if releases is None else releases

    def release(self, version: str, chip: str, sha256: str | None = None) -> Firmware:
        """Return a release's file, from the cache or, if it is not there, from the site.

        Args:
            version: such as v1.29.0.
            chip: as esptool names it.
            sha256: its hash, hexadecimal, if it is not pinned yet; it is from then on.

        Raises:
            OperatorError: its hash is not known or is another one, or it cannot be fetched.
        """
        name = file_name(version, chip, self._releases)
        wanted = self._pin(name, self._releases[_whole(version)].sha256.get(chip), sha256)
        path = self._directory / name
        try:
            if not path.exists():
                self._fetch(name, path, wanted)
            elif hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
                path.unlink()
                raise OperatorError(
                    f"{path} is not the file that is pinned and is removed: run this again to fetch it anew"
                )
            if sha256 is not None:
                self._remember(name, wanted)
        except OSError as error:
            raise OperatorError(
                f"cannot keep releases in {self._directory}: {error.strerror}; name another folder in TRIGPOINT_CACHE"
            ) from error
        return load(path, chip)

    def _pin(self, name: str, published: str | None, given: str | None) -> str:
        given = None if given is None else given.lower()
        if given is not None and not _DIGEST.fullmatch(given):
            raise OperatorError("a SHA-256 is 64 hexadecimal digits: copy it again")
        kept = self._pins().get(name)
        known = published or kept
        if known is None and given is None:
            raise OperatorError(
                f"no SHA-256 of {name} is known here, and micropython.org publishes none: fetch {self._site}/{name}, "
                "compare its `sha256sum` with that of a copy fetched elsewhere, and give it once with --sha256; it is "
                "remembered"
            )
        if known is not None and given not in (None, known):
            where = "comes with Trigpoint" if published else f"is in {self._directory / 'pins.json'}"
            raise OperatorError(
                f"{name} is pinned to {known}, which {where}, and you gave another hash: find out which is right"
            )
        return known or given or ""

    def _pins(self) -> dict[str, str]:
        path = self._directory / "pins.json"
        try:
            pins: Any = json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
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
                data = response.read(MOST_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise OperatorError(
                f"cannot fetch {url}: {reason}; without a network, put that file at {path}, or give another with "
                "--firmware FILE"
            ) from error
        if len(data) > MOST_BYTES:
            raise OperatorError(f"{url} is larger than any firmware; nothing of it was kept")
        if hashlib.sha256(data).hexdigest() != wanted:
            raise OperatorError(f"{url} has not the pinned SHA-256 {wanted}; nothing of it was kept. Do not use it")
        _replace(path, data)


def _whole(version: str) -> str:
    """Return a version as releases name it: v1.29 is v1.29.0."""
    parsed = _VERSION.fullmatch(version)
    return version if parsed is None else f"v{parsed[1]}.{parsed[2] or 0}"


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
