"""The board's CBOR: every refusal of the reader, its bounds, and what fuzzing brings out of it."""

from collections.abc import Iterator

import pytest
from boardrunner import BoardError, BoardProcess
from hypothesis import given, settings
from hypothesis import strategies as st

SETUP = """
import gc
import cborvalue as cbor

def attempt(data):
    # The encoding of what was read, or the message of the CborError. Anything else is a defect and comes out as it is.
    try:
        value = cbor.decode(data)
    except cbor.CborError as error:
        return str(error)
    return cbor.encode(value)

def decode(data, size, depth, items):
    return cbor.decode(data, size, depth, items)

def claim(data):
    # How many bytes a reader allocates before it gives up.
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    try:
        cbor.decode(data)
    except cbor.CborError:
        return gc.mem_alloc() - before
    finally:
        gc.enable()

def head(name, argument):
    writer = cbor.Writer(bytearray(16))
    getattr(writer, name)(argument)
    return writer.buffer[:writer.length]

def read(name, data):
    return getattr(cbor.Reader(data), name)()

def write(size, start, names, arguments):
    # What the buffer holds after the writes, whether or not the last one failed, and its message.
    buffer = bytearray(b"\\xee" * size)
    writer = cbor.Writer(buffer, start)
    try:
        for name, argument in zip(names, arguments):
            getattr(writer, name)(argument)
    except cbor.CborError as error:
        return [buffer, writer.length, str(error)]
    return [buffer, writer.length, ""]

def wrapped(start, size):
    buffer = bytearray(start + size + 3)
    writer = cbor.Writer(buffer, start)
    mark = writer.open_bytes()
    writer.raw(bytes((i & 255 for i in range(size))))
    writer.close_bytes(mark)
    return buffer[start:writer.length]
"""


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess(SETUP) as process:
        yield process


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        ("", "ends early at byte 0"),
        ("0000", "1 bytes too many"),
        ("1817", "shortest form at byte 0"),
        ("1900ff", "shortest form at byte 0"),
        ("1a0000ffff", "shortest form at byte 0"),
        ("1b00000000ffffffff", "shortest form at byte 0"),
        ("3817", "shortest form"),
        ("5801ff", "shortest form"),
        ("780161", "shortest form"),
        ("980100", "shortest form"),
        ("b8010000", "shortest form"),
        ("d81200", "shortest form"),
        ("18", "ends early"),
        ("1b00000001000000", "ends early"),
        ("1c", "indefinite or reserved"),
        ("1f", "indefinite or reserved"),
        ("5f4100ff", "indefinite or reserved"),
        ("7f6161ff", "indefinite or reserved"),
        ("9fff", "indefinite or reserved"),
        ("bfff", "indefinite or reserved"),
        ("f4", "simple value or float"),
        ("f6", "simple value or float"),
        ("f90000", "simple value or float"),
        ("ff", "simple value or float"),
        ("42ff", "2 bytes claimed"),
        ("5bffffffffffffffff00", "bytes claimed"),
        ("7bffffffffffffffff61", "bytes claimed"),
        ("9bffffffffffffffff", "too many items"),
        ("bbffffffffffffffff", "too many items"),
        ("8201", "ends early"),
        ("a101", "ends early"),
        ("c2", "ends early"),
        ("a201000100", "out of order or twice"),
        ("a202000100", "out of order or twice"),
        ("a220001818 00", "out of order or twice"),
        ("a2616100 0100", "out of order or twice"),
        ("a18000", "neither number nor string"),
        ("a1a000", "neither number nor string"),
        ("a1c10000", "neither number nor string"),
        ("6180", "not UTF-8"),
        ("61ff", "not UTF-8"),
        ("62c328", "not UTF-8"),
        ("62c080", "not UTF-8"),
        ("63e08080", "not UTF-8"),
        ("63eda080", "not UTF-8"),
        ("64f4908080", "not UTF-8"),
        ("64f0808080", "not UTF-8"),
        ("61c3", "not UTF-8"),
    ],
)
def test_refused(board: BoardProcess, encoded: str, message: str) -> None:
    with pytest.raises(BoardError, match=message) as error:
        board.call("cborvalue.decode", bytes.fromhex(encoded))
    assert error.value.kind == "CborError"


def test_bounds(board: BoardProcess) -> None:
    def outcome(data: str, size: int, depth: int, items: int) -> object:
        try:
            return board.call("decode", bytes.fromhex(data), size, depth, items)
        except BoardError as error:
            assert error.kind == "CborError"
            return error.text

    assert outcome("00", 1, 0, 1) == 0
    assert outcome("0000", 1, 0, 1) == "longer than 1 bytes"
    assert outcome("818100", 9, 2, 9) == [[0]]
    assert outcome("818100", 9, 1, 9) == "too deep at byte 1"
    assert outcome("c1c100", 9, 1, 9) == "too deep at byte 1"
    assert outcome("a1008100", 9, 1, 9) == "too deep at byte 2"
    assert outcome("830000 00", 9, 1, 4) == [0, 0, 0]
    assert outcome("83000000", 9, 1, 3) == "too many items at byte 0"
    assert outcome("8281008100", 9, 2, 4) == "too many items at byte 3"
    assert outcome("a201000200", 9, 1, 5) == {1: 0, 2: 0}
    assert outcome("a201000200", 9, 1, 4) == "too many items at byte 4"


@settings(max_examples=600, deadline=None)
@given(st.binary(max_size=80))
def test_random_bytes(board: BoardProcess, data: bytes) -> None:
    result = board.call("attempt", data)
    assert result == data or isinstance(result, str)


@pytest.mark.soak
@settings(max_examples=200_000, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_long(board: BoardProcess, data: bytes) -> None:
    result = board.call("attempt", data)
    assert result == data or isinstance(result, str)


def test_claims_allocate_nothing(board: BoardProcess) -> None:
    for head in ("9b", "bb", "5b", "7b"):
        assert int(str(board.call("claim", bytes.fromhex(head + "7fffffffffffffff")))) < 2048


def test_the_dearest_input_fits_a_small_heap() -> None:
    # As many items as a reader takes by default, each an object of its own.
    entries = b"".join(bytes([key, 0x80]) if key < 24 else bytes([0x18, key, 0x80]) for key in range(255))
    with BoardProcess("import cborvalue as cbor\ndef count(data): return len(cbor.decode(data))", heap="128k") as small:
        assert small.call("count", b"\x99\x01\xff" + b"\x80" * 511) == 511
        assert small.call("count", b"\xb8\xff" + entries) == 255


@pytest.mark.parametrize("name", ["unsigned", "integer", "byte_string", "text", "array", "map", "tag", "kind"])
def test_each_read_refuses_the_other_kinds(board: BoardProcess, name: str) -> None:
    wanted = {"unsigned": {0}, "integer": {0, 1}, "byte_string": {2}, "text": {3}, "array": {4}, "map": {5}, "tag": {6}}
    for major in range(8):
        if name == "kind" or major in wanted[name]:
            board.call("read", name, bytes([major << 5]))
        else:
            with pytest.raises(BoardError, match="at byte 0, want") as error:
                board.call("read", name, bytes([major << 5]))
            assert error.value.kind == "CborError"
    with pytest.raises(BoardError, match="ends early at byte 0"):
        board.call("read", name, b"")


@pytest.mark.parametrize("size", [0, 1, 23, 24, 255, 256, 1000])
@pytest.mark.parametrize("start", [0, 7])
def test_byte_string_written_in_place(board: BoardProcess, start: int, size: int) -> None:
    content = bytes(i & 255 for i in range(size))
    head = bytes([0x40 + size]) if size < 24 else bytes([0x58, size]) if size < 256 else b"\x59" + size.to_bytes(2)
    assert board.call("wrapped", start, size) == head + content


@pytest.mark.parametrize("argument", [0, 23, 24, 255, 256, 65535, 65536, 2**30, 2**32 - 1, 2**32, 2**64 - 1])
def test_writer_never_goes_past_its_buffer(board: BoardProcess, argument: int) -> None:
    encoded = bytes(board.call("head", "integer", argument))
    for room in range(len(encoded) + 2):
        buffer, length, message = board.call("write", 3 + room, 3, ["integer"], [argument])
        if room < len(encoded):
            assert (length, message) == (3, "buffer full at byte 3")
            assert buffer == b"\xee" * (3 + room)
        else:
            assert (length, message) == (3 + len(encoded), "")
            assert buffer == (b"\xee" * 3 + encoded).ljust(3 + room, b"\xee")


def test_writer_refuses(board: BoardProcess) -> None:
    for value, message in [
        (2**64, "beyond 64 bits"),
        (-(2**64) - 1, "beyond 64 bits"),
        (True, "no encoding for bool"),
        (None, "no encoding for NoneType"),
        ({None: 0}, "map key that is NoneType"),
        ({True: 0}, "map key that is bool"),
    ]:
        with pytest.raises(BoardError, match=message) as error:
            board.call("cborvalue.encode", value)
        assert error.value.kind == "CborError"
    with pytest.raises(BoardError, match="buffer full"):
        board.call("cborvalue.encode", bytes(4096))
