"""SenML packs on the board: bounds of protocol section 4, and that a pack which took a reading can be written."""

from collections.abc import Iterator
from decimal import Decimal

import cbor2
import pytest
from boardrunner import BoardError, BoardProcess
from hypothesis import given, settings
from hypothesis import strategies as st

SETUP = """
from trig import cbor, senml
_filled = None

def new(*arguments):
    global _filled
    _filled = senml.Pack(*arguments)

def add(*reading):
    _filled.add(*reading)

def add_all(readings):
    # How many readings went in before the pack was full.
    new()
    for count, reading in enumerate(readings):
        try:
            _filled.add(*reading)
        except senml.PackFull:
            return count
    return len(readings)

def fill(name, unit, mantissa, exponent, span):
    # The same reading again and again, the later ones `span` seconds after the first, until the pack is full.
    new()
    try:
        while True:
            _filled.add(name, unit, mantissa, exponent, 7 + span * (len(_filled) > 0))
    except senml.PackFull:
        return len(_filled)

def encode(base_time, now):
    writer = cbor.Writer(bytearray(4096))
    _filled.encode(writer, base_time, now)
    return writer.buffer[:writer.length]

def clear():
    _filled.clear()
    return len(_filled)
"""

NAME_START = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
NAMES = st.builds(
    str.__add__, st.sampled_from(NAME_START), st.text(NAME_START + "-:./_", max_size=63)
)  # RFC 8428 section 4.5.1
UNITS = st.text([chr(code) for code in range(0x20, 0x7F)], min_size=1, max_size=16)
MANTISSAS = st.integers(-(2**31) + 1, 2**31 - 1)
EXPONENTS = st.integers(-18, 0)
READINGS = st.tuples(NAMES, UNITS, MANTISSAS, EXPONENTS)
SPAN = 2**28 - 1


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess(SETUP) as process:
        yield process


def expected(readings: list[tuple[str, str, int, int]], times: list[int], base_time: int | None) -> bytes:
    records = []
    for index, (name, unit, mantissa, exponent) in enumerate(readings):
        record: dict[int, object] = {0: name, 1: unit, 2: mantissa}
        if exponent:
            record[2] = cbor2.CBORTag(4, [exponent, mantissa])
        if times[index]:
            record[6] = times[index]
        if index == 0 and base_time is not None:
            record[-3] = base_time
        records.append(record)
    return cbor2.dumps(records)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(READINGS, st.integers(0, SPAN)), min_size=1, max_size=20),
    start=st.integers(0, 2**33),
    base_time=st.integers(2**28, 2**33 - 1),
    wait=st.integers(0, SPAN),
)
def test_packs_equal_cbor2(
    board: BoardProcess,
    rows: list[tuple[tuple[str, str, int, int], int]],
    start: int,
    base_time: int,
    wait: int,
) -> None:
    readings = [reading for reading, _ in rows]
    offsets = sorted(offset for _, offset in rows)
    offsets = [offset - offsets[0] for offset in offsets]
    taken = board.call(
        "add_all", [(*reading, start + offset) for reading, offset in zip(readings, offsets, strict=True)]
    )
    assert taken == len(rows)
    assert board.call("encode", base_time, None) == expected(readings, offsets, base_time)

    now = start + max(wait, offsets[-1])
    relative = [start + offset - now for offset in offsets]
    assert board.call("encode", None, now) == expected(readings, relative, None)


@settings(max_examples=20, deadline=None)
@given(reading=READINGS, mantissa=MANTISSAS)
def test_a_pack_takes_only_what_fits_a_statement(
    board: BoardProcess, reading: tuple[str, str, int, int], mantissa: int
) -> None:
    name, unit, _, exponent = reading
    taken = board.call("fill", name, unit, mantissa, exponent, SPAN)
    assert isinstance(taken, int) and 1 <= taken <= 255
    # A statement has 3,922 bytes for its payload; test_statement.py builds one that is full.
    encoded = board.call("encode", 2**33 - 1, None)
    assert isinstance(encoded, bytes) and len(encoded) <= 3900
    # The bound is an upper one, at most 12 bytes a record too high; a pack that stopped early for nothing is a defect.
    assert taken == 255 or len(encoded) > 3900 - (len(name) + len(unit) + 21) - 12 * taken - 12


@pytest.mark.parametrize("length", range(24, 65))
def test_the_bound_holds_at_the_widest(board: BoardProcess, length: int) -> None:
    board.call("fill", "a" * length, "Cel", -(2**31) + 1, -18, SPAN)
    encoded = board.call("encode", 2**33 - 1, None)
    assert isinstance(encoded, bytes) and len(encoded) <= 3900


def test_values_keep_their_resolution(board: BoardProcess) -> None:
    board.call("new")
    for mantissa, exponent in ((2150, -2), (2000, -2), (0, -1), (-5, -18)):
        board.call("add", "temperature", "Cel", mantissa, exponent, 0)
    encoded = board.call("encode", 2**28, None)
    assert isinstance(encoded, bytes)
    values = [record[2] for record in cbor2.loads(encoded)]
    assert [str(value) for value in values] == ["21.50", "20.00", "0.0", str(Decimal((1, (5,), -18)))]


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        (("", "Cel", 1, 0, 0), "name is not 1 to 64 characters"),
        (("a" * 65, "Cel", 1, 0, 0), "name is not 1 to 64 characters"),
        (("-a", "Cel", 1, 0, 0), "name has a character"),
        (("/a", "Cel", 1, 0, 0), "name has a character"),
        (("a b", "Cel", 1, 0, 0), "name has a character"),
        (("a\u00e4", "Cel", 1, 0, 0), "name has a character"),
        (("a\0", "Cel", 1, 0, 0), "name has a character"),
        (("a", "", 1, 0, 0), "unit is not 1 to 16 characters"),
        (("a", "C" * 17, 1, 0, 0), "unit is not 1 to 16 characters"),
        (("a", "\u00b0C", 1, 0, 0), "unit is not printable ASCII"),
        (("a", "C\n", 1, 0, 0), "unit is not printable ASCII"),
        (("a", "C\x7f", 1, 0, 0), "unit is not printable ASCII"),
        (("a", "Cel", 2**31, 0, 0), "mantissa does not fit 32 bits"),
        (("a", "Cel", -(2**31), 0, 0), "mantissa does not fit 32 bits"),
        (("a", "Cel", 1, 1, 0), "exponent is not -18 to 0"),
        (("a", "Cel", 1, -19, 0), "exponent is not -18 to 0"),
        (("a", "Cel", 1, 0, 99), "time runs back"),
    ],
)
def test_refused_readings_change_nothing(
    board: BoardProcess, reading: tuple[str, str, int, int, int], message: str
) -> None:
    board.call("new")
    board.call("add", "a", "Cel", 1, 0, 100)
    before = board.call("encode", 2**28, None)
    with pytest.raises(BoardError, match=message) as error:
        board.call("add", *reading)
    assert error.value.kind == "SenmlError"
    assert board.call("encode", 2**28, None) == before


def test_full(board: BoardProcess) -> None:
    board.call("new", 2)
    board.call("add", "a", "Cel", 1, 0, 100)
    with pytest.raises(BoardError, match="pack holds 1 readings") as error:
        board.call("add", "a", "Cel", 1, 0, 101 + SPAN)
    assert error.value.kind == "PackFull"
    board.call("add", "a", "Cel", 1, 0, 100 + SPAN)
    with pytest.raises(BoardError, match="pack holds 2 readings"):
        board.call("add", "a", "Cel", 1, 0, 100 + SPAN)
    assert board.call("clear") == 0
    board.call("add", "a", "Cel", 1, 0, 5)
    for capacity in (0, 256):
        with pytest.raises(BoardError, match="capacity"):
            board.call("new", capacity)


@pytest.mark.parametrize(
    ("base_time", "now", "message"),
    [
        (2**28 - 1, None, "base time is not between"),
        (2**33, None, "base time is not between"),
        (-1, None, "base time is not between"),
        (None, 109, "now is before"),
        (None, 101 + SPAN, "too long after"),
    ],
)
def test_times_that_cannot_be_written(
    board: BoardProcess, base_time: int | None, now: int | None, message: str
) -> None:
    board.call("new")
    with pytest.raises(BoardError, match="pack is empty"):
        board.call("encode", base_time, now)
    board.call("add", "a", "Cel", 1, 0, 100)
    board.call("add", "a", "Cel", 1, 0, 110)
    with pytest.raises(BoardError, match=message) as error:
        board.call("encode", base_time, now)
    assert error.value.kind == "SenmlError"
    assert isinstance(board.call("encode", None, 100 + SPAN), bytes)
