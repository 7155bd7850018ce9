"""Improv's frames: the same file under CPython and under MicroPython, against any bytes that a console may bring."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest
from boardrunner import DEVICE, BoardProcess, run
from hypothesis import given, settings
from hypothesis import strategies as st
from improvclient import HEADER, RESULT, RPC, command, frame, texts
from improvclient import settings as wifi

NOTHING, COMMAND, INVALID, CTRL_C = range(4)


def _module() -> ModuleType:
    """Load device/trig/improv.py into CPython, which lacks only `micropython.const`."""
    spec = importlib.util.spec_from_file_location("improv", DEVICE / "trig" / "improv.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "micropython", SimpleNamespace(const=lambda value: value))
        spec.loader.exec_module(module)
    return module


improv = _module()

_BOARD = """
from trig import improv
def events(data):
    parser = improv.Parser()
    found = []
    for byte in data:
        event = parser.feed(byte)
        if event:
            found.append([event, bytes(parser.data[:parser.length]) if event == improv.COMMAND else b""])
    return found
"""


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess(_BOARD) as process:
        yield process


def events(data: bytes) -> list[list[object]]:
    """Return what a new parser finds: event, and a command's data."""
    parser = improv.Parser()
    found = []
    for byte in data:
        event = parser.feed(byte)
        if event:
            found.append([event, bytes(parser.data[: parser.length]) if event == COMMAND else b""])
    return found


def _prefixes() -> list[bytes]:
    return [HEADER[:end] for end in range(1, len(HEADER) + 1)]


# Pieces of which mistakes are made: frames, their beginnings, their insides, keys.
_pieces = st.one_of(
    st.binary(max_size=20),
    st.builds(command, st.integers(0, 255), st.binary(max_size=253)),
    st.builds(frame, st.sampled_from((RPC, RESULT, 0, 255)), st.binary(max_size=255)),
    st.sampled_from((HEADER, HEADER[:3], b"I", b"\x03", b"\n", b"\r\x03", b"\r\x01", bytes((RPC, 2)))),
)
_consoles = st.lists(_pieces, max_size=6).map(b"".join)
# What people type and programs print: nothing that is a frame's head.
_talk = st.binary(max_size=40).filter(lambda data: HEADER not in data and not data.endswith(tuple(_prefixes())))


@given(_consoles)
def test_any_bytes_give_events_and_nothing_else(data: bytes) -> None:
    for event, content in events(data):
        assert event in (COMMAND, INVALID, CTRL_C)
        if event == COMMAND:
            assert isinstance(content, bytes)
            head = HEADER + bytes((RPC, len(content))) + content
            assert head + bytes((sum(head) & 255,)) in data
            assert content[1] == len(content) - 2


@settings(max_examples=60)
@given(data=_consoles)
def test_micropython_finds_the_same(board: BoardProcess, data: bytes) -> None:
    assert board.call("events", data) == [[event, content] for event, content in events(data)]


@given(_talk, st.integers(0, 255), st.binary(max_size=253), _talk)
def test_a_command_is_found_between_other_talk(before: bytes, number: int, content: bytes, after: bytes) -> None:
    expected = [[CTRL_C, b""]] * before.count(3) + [[COMMAND, bytes((number, len(content))) + content]]
    assert events(before + command(number, content) + after) == expected + [[CTRL_C, b""]] * after.count(3)


@given(st.lists(st.sampled_from(_prefixes()[:-1]), max_size=4).map(b"".join), st.integers(0, 255))
def test_a_command_is_found_behind_beginnings_of_others(before: bytes, number: int) -> None:
    assert [COMMAND, bytes((number, 0))] in events(before + command(number))


@given(st.integers(0, 255), st.binary(max_size=60), st.data())
def test_a_changed_command_is_never_taken_and_the_next_one_is(number: int, content: bytes, data: st.DataObject) -> None:
    good = command(number, content)
    at = data.draw(st.integers(0, len(good) - 2))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    parser = improv.Parser()
    assert COMMAND not in [parser.feed(byte) for byte in bad]
    parser.reset()  # as after silence
    assert [event for event in map(parser.feed, good) if event] == [COMMAND]


@given(st.binary(max_size=40), st.binary(max_size=70))
def test_wifi_settings_are_taken_within_their_bounds(ssid: bytes, password: bytes) -> None:
    (found,) = events(wifi(ssid, password))
    assert found[0] == COMMAND
    answer = improv.settings(memoryview(found[1])[2:])
    try:
        words = (ssid.decode(), password.decode())
    except UnicodeDecodeError:
        assert answer is None
        return
    good = 1 <= len(ssid) <= 32 and (not password or 8 <= len(password) <= 64)
    assert answer == (words if good else None)


@given(st.binary(max_size=120))
def test_any_other_settings_are_none(data: bytes) -> None:
    answer = improv.settings(data)
    if answer is not None:
        ssid, password = (text.encode() for text in answer)
        assert data == bytes((len(ssid),)) + ssid + bytes((len(password),)) + password


@given(st.integers(0, 255), st.lists(st.text(max_size=12), max_size=5))
def test_results_are_as_the_specification_has_them(number: int, words: list[str]) -> None:
    data = improv.result(number, words)
    assert data[:1] == b"\n"
    assert data == b"\n" + frame(RESULT, data[10:-2])
    assert data[10] == number
    assert [text.decode() for text in texts(data[10:-2])] == words


def test_feeding_takes_no_memory() -> None:
    data = b"log\r\n" + wifi(b"hut", b"0123456789") + b"\x03" + wifi(b"hut", b"x" * 64)[:-3] + b"IMP"
    run(
        f"""
import micropython
from trig.improv import Parser
parser, data = Parser(), {data!r}
for _ in range(2):
    micropython.heap_lock()
    for byte in data:
        parser.feed(byte)
    micropython.heap_unlock()
    parser.reset()
"""
    )


_PARTS = """
import asyncio
from trig import improv, provision

class Station:
    def __init__(self): self.on = False
    def isconnected(self): return self.on
    def active(self, on): pass
    def disconnect(self): self.on = False
    def scan(self):
        return [(b"far", b"", 1, -80, 3, False), (b"near", b"", 1, -40, 0, False), (b"far", b"", 6, -60, 3, False),
                (b"", b"", 1, -50, 3, False), (b"\\xff", b"", 1, -50, 3, False)]

class Wifi:
    def __init__(self, station): self.station = station
    async def join(self, ssid, password):
        await asyncio.sleep_ms(20)
        self.station.on = password == "0123456789"
        return self.station.on

def service(keep=lambda *_: None):
    global station, sent
    station, sent = Station(), []
    return provision.Service(Wifi(station), station, lambda data: sent.append(data[8:-2]), keep, ("C", "N", "H"))

def packed(*words):
    return b"".join(bytes((len(word),)) + word for word in words)

def ask(it, number, data=b""):
    del sent[:]
    it.take(memoryview(bytes((number, len(data))) + data))
"""


def test_what_is_not_kept_is_not_provisioned() -> None:
    run(
        _PARTS
        + """
def keep(ssid, password):
    raise OSError(28)
async def main():
    it = service(keep)
    ask(it, 1, packed(b"hut", b"0123456789"))
    await asyncio.sleep_ms(60)
    assert sent == [b"\\x02\\x01\\x00", b"\\x01\\x01\\x03", b"\\x01\\x01\\x02", b"\\x02\\x01\\xff"], sent
    assert not station.on
asyncio.run(main())
"""
    )


def test_one_thing_at_a_time_and_the_newest_wish_counts_after_a_scan() -> None:
    run(
        _PARTS
        + """
async def main():
    it = service()
    ask(it, 1, packed(b"hut", b"0123456789"))
    for number in (1, 3, 4, 5, 6, 7, 200):
        ask(it, number)
        assert sent == [b"\\x02\\x01\\x00", b"\\x02\\x01\\xff"], sent
    await asyncio.sleep_ms(60)
    ask(it, 4)
    found = [b"\\x04\\x0e\\x04\\x0c\\x04near\\x03-40\\x02NO", b"\\x04\\x0e\\x04\\x0c\\x03far\\x03-60\\x03YES"]
    assert sent[1:] == found + [b"\\x04\\x02\\x04\\x00"], sent
    assert station.on  # to look around does not cost the network
    for data in (b"\\x00", packed(b"", b"0123456789"), packed(b"hut", b"short"), packed(b"hut", b"0123456789") + b"x"):
        ask(it, 1, data)
        assert sent == [b"\\x02\\x01\\x00", b"\\x02\\x01\\x01"], sent
    it = service()
    it.begin([("hut", "0123456789")])
    ask(it, 4)  # and this ends the try under way, for the driver does not do both
    await asyncio.sleep_ms(60)
    assert not station.on
asyncio.run(main())
"""
    )


def test_a_board_that_ran_goes_on_when_nothing_has_come_for_a_minute() -> None:
    run(
        _PARTS
        + """
class Clock:
    now = 0
    def ticks_ms(self):
        Clock.now += 500
        return Clock.now
    def ticks_diff(self, a, b): return a - b
class Silence:
    POLLIN = 1
    def poll(self, *_): return self if not _ else []
    def register(self, *_): pass
provision.time, provision.select = Clock(), Silence()
assert asyncio.run(provision._listen(service(), [], True))
assert 60000 <= Clock.now < 62000, Clock.now
async def unconfigured():
    task = asyncio.create_task(provision._listen(service(), [], False))
    for _ in range(300):
        await asyncio.sleep_ms(1)
        Clock.now += 100000
    assert not task.done()
asyncio.run(unconfigured())
"""
    )
