"""The bootloader against whatever comes over the line."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trigpoint_tools.emulator.bootloader.chips import CHIPS
from trigpoint_tools.emulator.bootloader.flashchip import FlashChip, create
from trigpoint_tools.emulator.bootloader.packets import Command, checksum
from trigpoint_tools.emulator.bootloader.rom import Bootloader
from trigpoint_tools.emulator.bootloader.slip import LONGEST, SlipReader, encode

_MAC = bytes.fromhex("240ac4010203")

frames = st.binary(min_size=1, max_size=200)
words = st.one_of(st.integers(0, 0xFFFFFFFF), st.sampled_from((0, 1, 16, 4096, 1 << 20, (1 << 20) - 1, 0xFFFFFFFF)))


@pytest.fixture(scope="module")
def flash(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlashChip]:
    path: Path = tmp_path_factory.mktemp("flash") / "flash.bin"
    create(path, 1 << 20)
    chip = FlashChip(path)
    yield chip
    chip.close()


@given(st.lists(frames, max_size=5), st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_slip_gives_back_what_was_encoded_however_it_is_cut(sent: list[bytes], cuts: list[int]) -> None:
    line = b"".join(map(encode, sent))
    reader = SlipReader()
    got = []
    at = turn = 0
    while at < len(line):
        size = cuts[turn % len(cuts)]
        got += reader.feed(line[at : at + size])
        at += size
        turn += 1
    assert got == sent


@given(st.lists(st.binary(max_size=300), max_size=10), frames)
def test_slip_is_in_step_again_after_any_noise(noise: list[bytes], frame: bytes) -> None:
    reader = SlipReader()
    for part in noise:
        reader.feed(part)
    assert reader.feed(encode(frame))[-1] == frame


def test_slip_drops_what_is_too_long_and_what_is_badly_escaped() -> None:
    reader = SlipReader()
    for _ in range(5):
        assert reader.feed(b"x" * LONGEST) == []
    assert len(reader._frame) <= LONGEST
    assert reader.feed(b"\xc0") == []
    assert reader.feed(b"a\xdbb\xc0\xdb\xc0") == []
    assert reader.feed(b"ok\xc0") == [b"ok"]


def _request(command: int, data: bytes, folded: int | None = None) -> bytes:
    return encode(struct.pack("<BBHI", 0, command, len(data), checksum(data[16:]) if folded is None else folded) + data)


_requests = st.builds(
    lambda command, numbers, tail: _request(command, struct.pack(f"<{len(numbers)}I", *numbers) + tail),
    st.one_of(st.sampled_from(Command).map(int), st.integers(0, 255)),
    st.lists(words, max_size=5),
    st.binary(max_size=40),
)
_blocks = st.builds(
    lambda command, data: _request(command, struct.pack("<4I", len(data), 0, 0, 0) + data),
    st.sampled_from((Command.FLASH_DATA, Command.FLASH_DEFL_DATA, Command.MEM_DATA)).map(int),
    st.binary(max_size=200),
)
_acknowledgements = st.builds(lambda number: encode(struct.pack("<I", number)), words)
_START_STUB = _request(Command.MEM_DATA, struct.pack("<4I", 4, 0, 0, 0) + b"code") + _request(
    Command.MEM_END, struct.pack("<2I", 0, 0x40080000)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    st.sampled_from(sorted(CHIPS)),
    st.booleans(),
    st.lists(st.one_of(_requests, _blocks, _acknowledgements, st.binary(max_size=100)), max_size=12),
)
def test_no_request_makes_the_bootloader_raise_or_grow(
    flash: FlashChip, chip: str, stub: bool, line: list[bytes]
) -> None:
    restarts = []
    bootloader = Bootloader(CHIPS[chip], _MAC, flash, lambda: restarts.append(1))
    if stub:
        assert b"OHAI" in bootloader.feed(_START_STUB)
    for data in line:
        # Nothing that is asked for is longer than the chip, twice for SLIP's escapes, and some headers.
        assert len(bootloader.feed(data)) <= 2 * (flash.size + 4096)
    assert len(bootloader._registers._written) <= 257
    # Two ENDs, so that whatever was begun is over; then it still answers.
    bootloader.feed(b"\xc0\xc0")
    bootloader.feed(_request(Command.SYNC, b"\x07\x07\x12\x20" + 32 * b"\x55"))
    assert bootloader.feed(_request(Command.READ_REG, struct.pack("<I", 0x40001000)))


_MOST = 0xFFFFFFFF


@pytest.mark.parametrize("stub", [False, True])
@pytest.mark.parametrize("numbers", [(_MOST,) * 5, (0, _MOST, 0, 0), (0, _MOST, 4096, 64), (_MOST, 0, 4096, _MOST)])
def test_no_offset_and_no_size_is_believed(flash: FlashChip, stub: bool, numbers: tuple[int, ...]) -> None:
    for command in Command:
        bootloader = Bootloader(CHIPS["esp32s3"], _MAC, flash, lambda: None)
        if stub:
            bootloader.feed(_START_STUB)
        answer = bootloader.feed(_request(command, struct.pack(f"<{len(numbers)}I", *numbers)))
        assert len(answer) < 4096
        assert bootloader.feed(_request(Command.READ_REG, struct.pack("<I", 0x40001000)))


def test_a_stream_that_goes_on_after_its_end_is_refused(flash: FlashChip) -> None:
    import zlib

    bootloader = Bootloader(CHIPS["esp32"], _MAC, flash, lambda: None)
    bootloader.feed(_START_STUB)
    bootloader.feed(_request(Command.FLASH_DEFL_BEGIN, struct.pack("<4I", 8, 2, 64, 0x1000)))
    whole = zlib.compress(b"firmware")
    block = struct.pack("<4I", len(whole), 0, 0, 0) + whole
    assert bootloader.feed(_request(Command.FLASH_DEFL_DATA, block))[9:11] == b"\0\0"
    more = struct.pack("<4I", 4, 1, 0, 0) + b"more"
    assert bootloader.feed(_request(Command.FLASH_DEFL_DATA, more))[9:11] == b"\1\xc8"
    assert flash.read(0x1000, 8) == b"firmware"
