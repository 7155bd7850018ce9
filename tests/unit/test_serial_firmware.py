"""Firmware files: looked into before they are written, fetched once, taken by their hash."""

import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trigpoint.errors import OperatorError
from trigpoint_tools.emulator.bootloader.chips import CHIPS
from trigpoint_tools.emulator.image import build
from trigpoint_tools.serial import firmware
from trigpoint_tools.serial.firmware import Cache, Release
from trigpoint_tools.serial.image import LEAST

NAME = "ESP32_GENERIC-20251209-v1.27.0.bin"
IMAGE = build(CHIPS["esp32"], version="v1.27.0")
DIGEST = hashlib.sha256(IMAGE).hexdigest()
UNPINNED = {"v1.27.0": Release("20251209", {})}
PINNED = {"v1.27.0": Release("20251209", {"esp32": DIGEST})}


@pytest.mark.parametrize("chip", CHIPS)
def test_a_file_for_each_chip(chip: str, tmp_path: Path) -> None:
    path = tmp_path / "firmware.bin"
    path.write_bytes(build(CHIPS[chip]))
    found = firmware.load(path, chip)
    assert (found.offset, found.version) == (CHIPS[chip].bootloader_offset, "v1.29.0")
    assert found.keep == (0x9000, 0xF000)


def test_the_key_is_not_written_over(tmp_path: Path) -> None:
    found = firmware.inspect(tmp_path, IMAGE, "esp32")
    (first, before), (second, behind) = firmware.pieces(found, IMAGE)
    assert (first, first + len(before), second) == (0x1000, 0x9000, 0xF000)
    assert before + IMAGE[0x8000:0xE000] + behind == IMAGE
    assert set(IMAGE[0x8000:0xE000]) == {0xFF}


def test_the_copy_of_a_flash_would_clone_its_key_and_is_refused(tmp_path: Path) -> None:
    used = IMAGE[:0x8000] + b"\x01" + IMAGE[0x8001:]
    with_files = IMAGE + b"\xff" * (0x200000 - 0x1000 - len(IMAGE)) + b"littlefs"
    for data in (used, with_files):
        with pytest.raises(OperatorError, match="is a copy of a board's flash, and perhaps of its key"):
            firmware.inspect(tmp_path, data, "esp32")


def test_room_for_a_romfs_is_found(tmp_path: Path) -> None:
    assert firmware.inspect(tmp_path, IMAGE, "esp32").rom == (0x1E0000, 0x200000)
    assert firmware.inspect(tmp_path, build(CHIPS["esp32"], romfs=False), "esp32").rom == (0, 0)


def test_wrong_firmware(tmp_path: Path) -> None:
    path = tmp_path / "firmware.bin"
    cases = [
        (build(CHIPS["esp32s3"]), "is for ESP32-S3 and this board is ESP32"),
        (b"PK\x03\x04" + bytes(100), "no firmware for a chip of this family"),
        (b"", "no firmware"),
        (IMAGE[:4096], "is cut off"),
        (IMAGE[0xF000:], "is an update file"),
        (IMAGE[:0x7000] + b"\xff" * 0x1000 + IMAGE[0x8000:], "has no partition table"),
        (IMAGE.replace(b"micropython", b"esp-at\0\0\0\0\0"), "holds esp-at, not MicroPython"),
        (build(CHIPS["esp32"], version="v1.22.2"), "MicroPython v1.22.2; Trigpoint needs"),
    ]
    for data, said in cases:
        path.write_bytes(data)
        with pytest.raises(OperatorError, match=said):
            firmware.load(path, "esp32")
    with pytest.raises(OperatorError, match="does not run on ESP8266"):
        firmware.inspect(path, IMAGE, "esp8266")
    with pytest.raises(OperatorError, match="cannot read"):
        firmware.load(tmp_path / "nothing", "esp32")


@given(st.binary(max_size=200), st.integers(0, len(IMAGE)), st.integers(0, len(IMAGE)))
def test_any_file_is_taken_or_refused(noise: bytes, at: int, end: int) -> None:
    for data in (noise, (IMAGE[:at] + noise + IMAGE[at + len(noise) :])[:end]):
        try:
            found = firmware.inspect(Path("f"), data, "esp32")
        except OperatorError:
            continue
        assert sum(len(content) for _, content in firmware.pieces(found, data)) <= len(data)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """A web site that serves a folder: its URL, the folder, and what was asked for."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / NAME).write_bytes(IMAGE)
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None:
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder, asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_release_is_fetched_once_and_then_offline(tmp_path: Path, site: tuple[str, Path, list[str]]) -> None:
    url, _, asked = site
    cache = tmp_path / "cache"
    found = Cache(cache, url, UNPINNED).release("1.27.0", "esp32", DIGEST.upper())
    assert (found.sha256, found.version) == (DIGEST, "v1.27.0")
    assert json.loads((cache / "pins.json").read_text()) == {NAME: DIGEST}
    offline = Cache(cache, "http://127.0.0.1:1", UNPINNED).release("v1.27.0", "esp32")
    assert offline == found
    assert len(asked) == 1


def test_a_release_that_is_not_the_pinned_one_leaves_nothing(tmp_path: Path, site: tuple[str, Path, list[str]]) -> None:
    url, folder, _ = site
    (folder / NAME).write_bytes(IMAGE + b"!")
    cache = tmp_path / "cache"
    with pytest.raises(OperatorError, match="has not the pinned SHA-256"):
        Cache(cache, url, UNPINNED).release("v1.27.0", "esp32", DIGEST)
    assert not cache.exists() or not list(cache.iterdir())


def test_a_release_that_changed_on_disk_is_not_used(tmp_path: Path, site: tuple[str, Path, list[str]]) -> None:
    cache = Cache(tmp_path / "cache", site[0], UNPINNED)
    path = cache.release("v1.27.0", "esp32", DIGEST).path
    path.write_bytes(IMAGE[:-1])
    with pytest.raises(OperatorError, match="is not the file that is pinned"):
        cache.release("v1.27.0", "esp32")
    assert cache.release("v1.27.0", "esp32").sha256 == DIGEST


def test_what_cannot_be_had(tmp_path: Path, site: tuple[str, Path, list[str]]) -> None:
    cache = Cache(tmp_path / "cache", site[0], UNPINNED)
    with pytest.raises(
        OperatorError, match=r"no SHA-256 of ESP32_GENERIC\S+ is known here.*give it once with --sha256"
    ):
        cache.release("v1.27.0", "esp32")
    with pytest.raises(OperatorError, match="64 hexadecimal digits"):
        cache.release("v1.27.0", "esp32", "abc")
    with pytest.raises(OperatorError, match=r"v9\.9\.0 is not known here.*download/ESP32_GENERIC_C3/ and give it with"):
        cache.release("v9.9", "esp32c3", DIGEST)
    with pytest.raises(OperatorError, match=r"cannot fetch .*put that file at"):
        cache.release("v1.27.0", "esp32s3", DIGEST)  # the site has no such file
    with pytest.raises(OperatorError, match="cannot fetch"):
        Cache(tmp_path / "cache", "http://127.0.0.1:1", UNPINNED).release("v1.27.0", "esp32", DIGEST)
    cache.release("v1.27.0", "esp32", DIGEST)
    with pytest.raises(OperatorError, match="you gave another hash"):
        cache.release("v1.27.0", "esp32", "0" * 64)


def test_a_release_that_is_pinned_needs_no_hash(tmp_path: Path, site: tuple[str, Path, list[str]]) -> None:
    cache = Cache(tmp_path / "cache", site[0], PINNED)
    assert cache.release("1.27", "esp32").sha256 == DIGEST
    with pytest.raises(OperatorError, match="which comes with Trigpoint, and you gave another hash"):
        cache.release("1.27", "esp32", "0" * 64)
    with pytest.raises(OperatorError, match="name another folder in TRIGPOINT_CACHE"):
        Cache(Path("/dev/null/cache"), site[0], PINNED).release("1.27", "esp32")


def test_the_releases_that_come_with_trigpoint() -> None:
    releases = firmware.shipped()
    assert max(releases) == firmware.LATEST and min(releases) == LEAST
    for release in releases.values():
        assert re.fullmatch(r"20\d{6}", release.day)
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in release.sha256.values())
        assert set(release.sha256) <= set(CHIPS)
    assert firmware.file_name("1.29", "esp32c6") == "ESP32_GENERIC_C6-20260824-v1.29.0.bin"


def test_versions_are_told_from_files() -> None:
    assert firmware.is_version("v1.27.0") and firmware.is_version("1.27")
    assert not firmware.is_version("ESP32_GENERIC-20251209-v1.27.0.bin")
