"""Unmodified esptool against the emulated bootloader."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from serialdevice import NO_LINES, Plug, plug
from trigpoint_tools.emulator.bootloader.chips import CHIPS

__all__ = ["plug"]

_APPLICATION = 0x110000


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """A file of 40,000 bytes that no compression makes smaller, and that does not end with a sector."""
    path = tmp_path / "noise.bin"
    path.write_bytes(random.Random(4).randbytes(40_000))
    return path


@pytest.mark.parametrize("chip", CHIPS)
def test_detects_writes_verifies_reads_back_and_erases(plug: Plug, chip: str, noise: Path, tmp_path: Path) -> None:
    device = plug(chip=chip, blank=True)
    printed = device.esptool("write-flash", f"{_APPLICATION:#x}", noise)
    assert CHIPS[chip].title in printed
    assert ":".join(device.cable.facts.mac[at : at + 2] for at in range(0, 12, 2)) in printed
    assert "Hash of data verified" in printed
    assert device.flash[_APPLICATION : _APPLICATION + 40_000] == noise.read_bytes()
    back = tmp_path / "back.bin"
    device.esptool("read-flash", f"{_APPLICATION:#x}", "40000", back)
    assert back.read_bytes() == noise.read_bytes()
    device.esptool("erase-region", f"{_APPLICATION:#x}", "0x1000")
    assert device.flash[_APPLICATION : _APPLICATION + 0x1000] == b"\xff" * 0x1000
    assert device.flash[_APPLICATION + 0x1000 : _APPLICATION + 40_000] == noise.read_bytes()[0x1000:]


def test_writes_plain_and_by_the_rom_alone(plug: Plug, noise: Path) -> None:
    device = plug(blank=True)
    for words in (("write-flash", "--no-compress"), ("--no-stub", "write-flash")):
        device.esptool("erase-flash")
        assert device.flash == b"\xff" * len(device.flash)
        assert "Hash of data verified" in device.esptool(*words, f"{_APPLICATION:#x}", noise)
        assert device.flash[_APPLICATION : _APPLICATION + 40_000] == noise.read_bytes()


def test_a_blank_board_is_flashed_over_its_lines_and_boots(plug: Plug) -> None:
    device = plug(blank=True)
    device.wait_until("nothing")
    printed = device.esptool("write-flash", hex(device.ports.firmware_offset), device.firmware, rfc2217=True)
    assert "Hash of data verified" in printed
    device.wait_until("micropython")
    assert "esp32" in device.mpremote("exec", "import sys; print(sys.platform)")


def test_without_lines_a_sync_enters_the_bootloader_and_letting_go_leaves_it(plug: Plug) -> None:
    device = plug()
    device.wait_until("micropython")
    device.mpremote("exec", "with open('/kept', 'w') as file: file.write('here')")
    device.esptool("flash-id")
    device.wait_until("micropython")
    assert "here" in device.mpremote("exec", "print(open('/kept').read())")


def test_the_image_of_another_chip_is_refused_by_esptool_and_by_the_board(plug: Plug) -> None:
    device, other = plug(blank=True), plug("other", "esp32c3", blank=True)
    printed = device.esptool("write-flash", "0x1000", other.firmware, fails=True)
    assert "is not an ESP32 image" in printed
    device.esptool("write-flash", "--force", "0x1000", other.firmware)
    port = os.open(device.ports.pty, os.O_RDWR | os.O_NOCTTY)
    said = b""
    end = time.monotonic() + 20
    while b"mismatch chip ID, expected 0, found 5" not in said:
        assert time.monotonic() < end, said
        said += os.read(port, 200)
    os.close(port)


def test_a_write_cut_in_the_middle_is_finished_by_a_second_run(plug: Plug, tmp_path: Path) -> None:
    device = plug(blank=True)
    big = tmp_path / "big.bin"
    big.write_bytes(random.Random(5).randbytes(1 << 20))
    words = ["write-flash", f"{_APPLICATION:#x}", str(big)]
    process = subprocess.Popen(
        [sys.executable, "-m", "esptool", "--port", str(device.ports.pty), *NO_LINES, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 60
    while device.flash[_APPLICATION : _APPLICATION + 4096] == b"\xff" * 4096:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.005)
    process.kill()
    process.wait()
    device.wait_until("nothing")
    assert hashlib.sha256(device.flash[_APPLICATION:][: 1 << 20]).digest() != hashlib.sha256(big.read_bytes()).digest()
    device.esptool(*words)
    assert device.flash[_APPLICATION : _APPLICATION + (1 << 20)] == big.read_bytes()


def test_the_flash_outlives_the_cable(plug: Plug, noise: Path) -> None:
    device = plug(blank=True)
    device.esptool("write-flash", f"{_APPLICATION:#x}", noise)
    device.unplug()
    again = plug()
    assert again.flash[_APPLICATION : _APPLICATION + 40_000] == noise.read_bytes()
    again.wait_until("nothing")
