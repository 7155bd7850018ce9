"""The flash chip of a serial board and what lies in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trigpoint_tools.emulator.bootloader.chips import CHIPS
from trigpoint_tools.emulator.bootloader.flashchip import SECTOR, FlashChip, create
from trigpoint_tools.emulator.errors import EmulatorError, HardwareError
from trigpoint_tools.emulator.image import TABLE, ImageError, build, read
from trigpoint_tools.emulator.nvspartition import NvsPartition

_MIB = 1 << 20
# Around the ends of sectors, and close enough to each other to meet.
_places = st.builds(lambda sector, near: sector * SECTOR + near, st.integers(1, 3), st.integers(-60, 60))


@pytest.fixture
def chip(tmp_path: Path) -> Iterator[FlashChip]:
    create(tmp_path / "flash.bin", _MIB)
    flash = FlashChip(tmp_path / "flash.bin")
    yield flash
    flash.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("program"), _places, st.binary(min_size=1, max_size=100)),
            st.tuples(st.just("erase"), _places, st.integers(1, 2 * SECTOR)),
        ),
        max_size=12,
    )
)
def test_programming_clears_bits_and_only_erasing_a_sector_sets_them(chip: FlashChip, steps: list) -> None:
    chip.erase(0, chip.size)
    expected = bytearray(b"\xff" * 6 * SECTOR)
    for what, at, argument in steps:
        if what == "program":
            chip.program(at, argument)
            for place, byte in enumerate(argument, at):
                expected[place] &= byte
        else:
            chip.erase(at, argument)
            first, last = at // SECTOR, (at + argument - 1) // SECTOR
            expected[first * SECTOR : (last + 1) * SECTOR] = b"\xff" * SECTOR * (last - first + 1)
    assert chip.read(0, len(expected)) == expected


def test_nothing_is_written_beyond_the_end_and_reading_wraps_around(chip: FlashChip) -> None:
    for call in (lambda: chip.program(_MIB - 1, b"ab"), lambda: chip.erase(_MIB, 1), lambda: chip.program(-1, b"a")):
        with pytest.raises(ValueError, match="beyond the end"):
            call()
    chip.program(_MIB - 1, b"a")
    chip.program(0, b"b")
    assert chip.read(_MIB - 1, 2) == b"ab"


def test_what_is_no_chip_is_refused_and_a_chip_has_one_owner(chip: FlashChip, tmp_path: Path) -> None:
    with pytest.raises(EmulatorError, match="in use by another program"):
        FlashChip(tmp_path / "flash.bin")
    (tmp_path / "odd.bin").write_bytes(bytes(5000))
    (tmp_path / "empty.bin").touch()
    for name, words in (("odd.bin", "5,000 bytes"), ("empty.bin", "0 bytes"), ("none.bin", "cannot open")):
        with pytest.raises(EmulatorError, match=words):
            FlashChip(tmp_path / name)
    assert (tmp_path / "flash.bin").stat().st_mode & 0o777 == 0o600


def _flash(name: str, size: int = 4 * _MIB) -> bytearray:
    content = bytearray(b"\xff" * size)
    firmware = build(CHIPS[name])
    at = CHIPS[name].bootloader_offset
    content[at : at + len(firmware)] = firmware
    return content


@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("size", [4 * _MIB, 16 * _MIB])
def test_the_stand_in_is_recognised_and_files_take_what_is_left(name: str, size: int) -> None:
    firmware = read(_flash(name, size), CHIPS[name])
    assert firmware.project == "micropython"
    files = firmware.partitions["vfs"]
    assert (files.offset, files.size) == (2 * _MIB, size - 2 * _MIB)
    assert firmware.partitions["romfs"].size == 128 * 1024


def test_each_fault_of_an_image_is_named() -> None:
    chip = CHIPS["esp32"]
    with pytest.raises(ImageError, match="invalid header: 0xffffffff"):
        read(b"\xff" * 4 * _MIB, chip)
    flash = _flash("esp32c3")
    flash[0x1000:0x2000] = flash[:0x1000]
    with pytest.raises(ImageError, match="mismatch chip ID, expected 0, found 5"):
        read(flash, chip)
    flash = _flash("esp32")
    flash[TABLE + 4] ^= 1
    with pytest.raises(ImageError, match="MD5 mismatch"):
        read(flash, chip)
    flash = _flash("esp32")
    flash[TABLE : TABLE + 0xC00] = b"\xff" * 0xC00
    with pytest.raises(ImageError, match="partition table invalid"):
        read(flash, chip)
    flash = _flash("esp32")
    at = flash.index(b"micropython")
    flash[at : at + 5] = b"blink"
    with pytest.raises(ImageError, match="blinkpython"):
        read(flash, chip)
    with pytest.raises(ImageError, match="exceeds flash chip size"):
        read(_flash("esp32")[: 1 * _MIB], chip)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 0x10FF), st.binary(min_size=1, max_size=40)), max_size=6))
def test_a_damaged_image_raises_nothing_else(damages: list[tuple[int, bytes]]) -> None:
    flash = _flash("esp32s3")
    for at, data in damages:
        # Header of the bootloader, partition table, application.
        start = (at if at < 64 else TABLE + at - 64) if at < 0x1000 else 0x10000 + at - 0x1000
        flash[start : start + len(data)] = data
    try:
        firmware = read(flash, CHIPS["esp32s3"])
    except ImageError:
        return
    assert all(entry.offset + entry.size <= len(flash) for entry in firmware.partitions.values())


class _PowerCutError(Exception):
    pass


class _Failing:
    """A flash chip whose power goes before a chosen erase or write, or in its middle."""

    def __init__(self, chip: FlashChip, cut: int, *, halfway: bool) -> None:
        self._chip = chip
        self._left = cut
        self._halfway = halfway

    def read(self, offset: int, length: int) -> bytes:
        return self._chip.read(offset, length)

    def program(self, offset: int, data: bytes) -> None:
        if self._cut():
            if self._halfway:
                self._chip.program(offset, data[: len(data) // 2])
            raise _PowerCutError
        self._chip.program(offset, data)

    def erase(self, offset: int, length: int) -> None:
        if self._cut():
            if self._halfway:
                self._chip.erase(offset, length // 2)
            raise _PowerCutError
        self._chip.erase(offset, length)

    def _cut(self) -> bool:
        self._left -= 1
        return self._left < 0


@pytest.mark.parametrize("halfway", [False, True])
@pytest.mark.parametrize("cut", range(3))
def test_nvs_has_the_old_or_the_new_values_whenever_the_power_goes(chip: FlashChip, cut: int, halfway: bool) -> None:
    for saved in range(1, 6):
        whole = NvsPartition(chip, 0x9000, 0x6000)
        old = whole.load()
        new = b"values %d" % saved * saved * 100
        failing = NvsPartition(_Failing(chip, cut, halfway=halfway), 0x9000, 0x6000)  # type: ignore[arg-type]
        with pytest.raises(_PowerCutError):
            failing.save(new)
        assert whole.load() in (old, new)
        whole.save(new)
        assert NvsPartition(chip, 0x9000, 0x6000).load() == new
    whole.save(b"x" * (0x3000 - 44))
    with pytest.raises(HardwareError):
        whole.save(b"x" * (0x3000 - 43))
    chip.erase(0x9000, 0x6000)
    assert whole.load() is None
