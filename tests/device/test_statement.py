"""Statements from the board, read back by libraries that are not ours."""

import hashlib
from collections.abc import Iterator

import cbor2
import pytest
from boardrunner import BoardError, BoardProcess
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

SETUP = """
from trig import keys, senml, statement

key = keys.KeyPair(bytes(31) + b"\\x2a")
_buffer = bytearray(statement.MAX_SIZE)

def build(seq, prev, oldest, readings, base_time, now, kid=key.kid, size=statement.MAX_SIZE):
    pack = senml.Pack()
    for reading in readings:
        pack.add(*reading)
    return statement.build(memoryview(_buffer)[:size], kid=kid, seq=seq, prev=prev, oldest=oldest, pack=pack,
                           base_time=base_time, now=now, sign=key.sign)

def build_full(name):
    pack = senml.Pack()
    try:
        while True:
            pack.add(name, "Cel", -0x7fffffff, -18, 0x0fffffff * (len(pack) > 0))
    except senml.PackFull:
        pass
    return statement.build(_buffer, kid=key.kid, seq=0xffffffff, prev=b"\\xff" * 32, oldest=0xffffffff, pack=pack,
                           base_time=(1 << 33) - 1, now=None, sign=key.sign)

def identity():
    return (key.kid, key.x, key.y)
"""

READING = ("temperature", "Cel", 2150, -2, 0)


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess(SETUP) as process:
        yield process


def check(board: BoardProcess, raw: bytes) -> list[object]:
    """Check what every statement has to be, with cbor2 and cryptography; return protected header and payload."""
    kid, x, y = board.call("identity")
    message = cbor2.loads(raw)
    assert message.tag == 18
    protected, unprotected, payload, signature = message.value
    assert unprotected == {}
    assert cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature])) == raw
    header = cbor2.loads(protected)
    assert list(header) == [1, 3, 4, -65537, -65538, -65539]
    assert cbor2.dumps(header) == protected
    assert (header[1], header[3], header[4]) == (-7, 112, kid)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
    return [header, payload]


@settings(max_examples=100, deadline=None)
@given(
    chain=st.integers(1, 2**32 - 1).flatmap(
        lambda seq: st.tuples(st.just(seq), st.binary(min_size=32, max_size=32), st.integers(0, seq))
    ),
    count=st.integers(1, 60),
    base_time=st.integers(2**28, 2**33 - 1),
)
def test_statements_hold(board: BoardProcess, chain: tuple[int, bytes, int], count: int, base_time: int) -> None:
    seq, prev, low = chain
    readings = [("t", "Cel", 2150 + index, -2, index) for index in range(count)]
    raw = board.call("build", seq, prev, low, readings, base_time, None)
    assert isinstance(raw, bytes)
    header, payload = check(board, raw)
    assert isinstance(header, dict) and isinstance(payload, bytes)
    assert (header[-65537], header[-65538], header[-65539]) == (seq, prev, low)
    records = cbor2.loads(payload)
    assert [record.get(6, 0) for record in records] == list(range(count))
    assert records[0][-3] == base_time


@pytest.mark.parametrize("count", [1, 8, 9, 10, 11])
def test_payload_heads_of_one_two_and_three_bytes(board: BoardProcess, count: int) -> None:
    raw = board.call("build", 0, bytes(32), 0, [READING] * count, None, 0)
    assert isinstance(raw, bytes)
    _, payload = check(board, raw)
    assert cbor2.loads(payload) == [{0: "temperature", 1: "Cel", 2: cbor2.loads(b"\xc4\x82\x21\x19\x08\x66")}] * count


@pytest.mark.parametrize("name", ["a", "a" * 23, "a" * 24, "a" * 64])
def test_a_full_pack_fits(board: BoardProcess, name: str) -> None:
    raw = board.call("build_full", name)
    assert isinstance(raw, bytes) and len(raw) <= 4096
    check(board, raw)


def test_same_input_same_bytes(board: BoardProcess) -> None:
    first = board.call("build", 0, bytes(32), 0, [READING], 2**28, None)
    assert board.call("build", 0, bytes(32), 0, [READING], 2**28, None) == first
    assert isinstance(first, bytes)
    prev = hashlib.sha256(first).digest()
    assert board.call("build", 1, prev, 0, [READING], 2**28, None) != first


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((0, bytes(32), 1, [READING], 2**28, None), "StatementError", "oldest is not 0 to seq"),
        ((0, bytes(32), -1, [READING], 2**28, None), "StatementError", "oldest is not 0 to seq"),
        ((2**32, bytes(32), 0, [READING], 2**28, None), "StatementError", "seq does not fit"),
        ((-1, bytes(32), 0, [READING], 2**28, None), "StatementError", "seq does not fit"),
        ((0, bytes(31) + b"\1", 0, [READING], 2**28, None), "StatementError", "prev is not"),
        ((1, bytes(31), 0, [READING], 2**28, None), "StatementError", "prev is not"),
        ((1, bytes(32), 0, [], 2**28, None), "SenmlError", "pack is empty"),
        ((1, bytes(32), 0, [READING], 5, None), "SenmlError", "base time"),
        ((1, bytes(32), 0, [READING], 2**28, None, bytes(31)), "StatementError", "kid is not 32 bytes"),
        ((1, bytes(32), 0, [READING], 2**28, None, bytes(32), 150), "CborError", "buffer full"),
    ],
)
def test_refused(board: BoardProcess, arguments: tuple[object, ...], kind: str, message: str) -> None:
    with pytest.raises(BoardError, match=message) as error:
        board.call("build", *arguments)
    assert error.value.kind == kind
