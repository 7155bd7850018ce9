"""The reset circuit, the ports' terminal and how the raw prompt is followed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trigpoint_tools.emulator.modemlines import ModemLines, Pulse, ResetCircuit
from trigpoint_tools.emulator.terminal import RAW_BANNER, Banner, LineEnds, PromptWatch

_lines = st.builds(ModemLines, st.booleans(), st.booleans())
_UNIX = (
    b'MicroPython 9458e3a23f on 2026-07-05; linux [GCC 14.2.1] version\r\nType "help()" for more information.\r\n>>> '
)
_OURS = b'MicroPython 9458e3a23f on 2026-07-05; my board\r\nType "help()" for more information.\r\n>>> '


def play(circuit: ResetCircuit, *steps: tuple[bool, bool]) -> list[Pulse]:
    """Set (DTR, RTS) one after the other."""
    return [circuit.set(ModemLines(*step)) for step in steps]


def test_esptools_classic_reset_one_line_at_a_time() -> None:
    steps = ((False, True), (True, True), (True, False), (False, False))
    assert play(ResetCircuit(), *steps) == [Pulse.HOLD, Pulse.UNDECIDED, Pulse.DOWNLOAD, Pulse.NOTHING]


def test_both_lines_at_once() -> None:
    assert play(ResetCircuit(), (False, True), (True, False)) == [Pulse.HOLD, Pulse.DOWNLOAD]


def test_the_hard_reset_runs_what_is_in_the_flash() -> None:
    assert play(ResetCircuit(), (False, True), (False, False)) == [Pulse.HOLD, Pulse.RUN]


@pytest.mark.parametrize(
    "steps",
    [
        ((True, False), (True, True)),  # pyserial opens a port
        ((True, True), (True, False), (False, False)),  # mpremote closes one
        ((True, True), (False, False)),  # a program vanishes
    ],
)
def test_opening_and_closing_a_port_resets_nothing(steps: tuple[tuple[bool, bool], ...]) -> None:
    assert set(play(ResetCircuit(), *steps)) == {Pulse.NOTHING}


def test_a_host_that_holds_both_lines_for_long_gets_what_is_in_the_flash() -> None:
    circuit = ResetCircuit()
    assert play(circuit, (False, True), (True, True)) == [Pulse.HOLD, Pulse.UNDECIDED]
    assert circuit.settle()
    assert not circuit.settle()
    assert play(circuit, (True, False)) == [Pulse.NOTHING]


@given(st.lists(_lines, max_size=30))
def test_each_reset_ends_with_one_decision(steps: list[ModemLines]) -> None:
    circuit = ResetCircuit()
    held = rising = False
    for lines in steps:
        pulse = circuit.set(lines)
        if pulse is Pulse.HOLD:
            assert lines.held_in_reset
            assert not held
            held, rising = True, False
        elif pulse is Pulse.UNDECIDED:
            assert held
            held, rising = False, True
        elif pulse is not Pulse.NOTHING:
            assert held or rising
            held = rising = False
            assert (pulse is Pulse.DOWNLOAD) == lines.boot_pressed
        assert held == lines.held_in_reset
    assert circuit.settle() == rising


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut into pieces of these sizes, again and again."""
    pieces, at, turn = [], 0, 0
    while at < len(data):
        pieces.append(data[at : at + sizes[turn % len(sizes)]])
        at += sizes[turn % len(sizes)]
        turn += 1
    return pieces


_sizes = st.lists(st.integers(1, 40), min_size=1, max_size=8)


@given(_sizes)
def test_the_watch_follows_a_session_however_it_is_cut(sizes: list[int]) -> None:
    watch = PromptWatch()

    def printed(data: bytes) -> None:
        for piece in cut(data, sizes):
            watch.printed(piece)

    printed(_UNIX)
    assert not watch.raw
    watch.typed(b"\r\x01")
    printed(b"\r\n>>> \r\n" + RAW_BANNER)
    assert watch.raw
    watch.typed(b"\x05A\x01")
    printed(b"R\x01\x80\x00\x01")
    watch.typed(b"print('\\n>>> ')")
    assert not watch.pasted
    watch.typed(b"\x04")
    assert watch.pasted
    printed(b"\x04\n>>> \n" + RAW_BANNER)
    assert watch.raw  # what a program prints is no prompt
    printed(b"\x04\x04>")
    assert not watch.pasted
    watch.typed(b"\r\x02")
    printed(b"\r\n" + _UNIX[:-4] + b"\r\n>>> ")
    assert not watch.raw


@given(_sizes)
def test_the_watch_stays_raw_when_one_program_follows_the_other_at_once(sizes: list[int]) -> None:
    watch = PromptWatch()
    watch.typed(b"\r\x01")
    watch.printed(b"\r\n>>> \r\n" + RAW_BANNER)
    watch.typed(b"\r\x02\r\x03\r\x01")
    for piece in cut(b"\r\n" + _UNIX + b"\r\n>>> \r\n>>> \r\n" + RAW_BANNER, sizes):
        watch.printed(piece)
    assert watch.raw


def test_a_program_that_prints_the_raw_banner_has_no_raw_prompt() -> None:
    watch = PromptWatch()
    watch.printed(b"\r\n>>> " + RAW_BANNER)
    assert not watch.raw


@given(
    st.lists(st.sampled_from((b"text\r\n", b"Micro", b"MicroPython is fine\r\n", _UNIX, b">>> ")), max_size=6), _sizes
)
def test_the_banner_names_the_board_and_nothing_else_changes(parts: list[bytes], sizes: list[int]) -> None:
    banner = Banner(b"my board")
    shown = b"".join(banner.pass_on(piece) for piece in cut(b"".join(parts), sizes)) + banner.flush()
    assert shown == b"".join(parts).replace(_UNIX, _OURS)


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=4), st.data())
def test_improv_frames_stay_as_they_are(contents: list[bytes], data: st.DataObject) -> None:
    ends = LineEnds()
    for content in contents:
        frame = b"\nIMPROV\x01\x04" + bytes((len(content),)) + content + b"?\n"
        at = data.draw(st.integers(10, len(frame)))
        assert ends.pass_on(frame[:at], raw=False) + ends.pass_on(frame[at:], raw=False) == frame
        assert ends.pass_on(b"log\n", raw=False) == b"log\r\n"


@given(st.lists(st.sampled_from((b"a", b"\n", b"\r\n", b"\r")), max_size=12), _sizes)
def test_lone_line_feeds_get_a_cr(parts: list[bytes], sizes: list[int]) -> None:
    data = b"".join(parts)
    ends = LineEnds()
    shown = b"".join(ends.pass_on(piece, raw=False) for piece in cut(data, sizes))
    assert shown == data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert ends.pass_on(b"\n\x18\n", raw=False) == b"\n\x18\n"
    assert LineEnds().pass_on(data, raw=True) == data
