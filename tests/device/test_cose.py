"""Opening acks on the board: only what the key's owner sealed gets through, whatever the bytes."""

import hmac
from collections.abc import Iterator

import cbor2
import pytest
from boardrunner import BoardError, BoardProcess
from hypothesis import given, settings
from hypothesis import strategies as st

KEY = bytes(range(32))

SETUP = """
from trig import cose, hkdf

def attempt(key, data):
    # The payload, or the message of the CoseError. Anything else is a defect and comes out as it is.
    try:
        return cose.mac0_open(key, data)
    except cose.CoseError as error:
        return str(error)

def steps(a, b):
    # How many bytes of each are looked at by the comparison.
    class Counted:
        looks = 0
        def __init__(self, data):
            self.data = data
        def __len__(self):
            return len(self.data)
        def __getitem__(self, at):
            Counted.looks += 1
            return self.data[at]
    hkdf.equal(Counted(a), Counted(b))
    return Counted.looks
"""


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess(SETUP) as process:
        yield process


def seal(payload: bytes, key: bytes = KEY, protected: bytes = b"\xa1\x01\x04", context: str = "MAC0") -> bytes:
    mac = hmac.digest(key, cbor2.dumps([context, protected, b"", payload]), "sha256")[:8]
    return cbor2.dumps(cbor2.CBORTag(17, [protected, {}, payload, mac]))


ACK = seal(cbor2.dumps({1: 70_000, 2: 1_700_000_000_000}))


@settings(max_examples=200, deadline=None)
@given(payload=st.binary(max_size=200), key=st.binary(min_size=32, max_size=32))
def test_opens_what_was_sealed(board: BoardProcess, payload: bytes, key: bytes) -> None:
    assert board.call("attempt", key, seal(payload, key)) == payload


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes(board: BoardProcess, data: bytes) -> None:
    assert isinstance(board.call("attempt", KEY, data), str)


def test_every_changed_bit_is_refused(board: BoardProcess) -> None:
    assert board.call("attempt", KEY, ACK) == cbor2.dumps({1: 70_000, 2: 1_700_000_000_000})
    for bit in range(8 * len(ACK)):
        changed = bytearray(ACK)
        changed[bit // 8] ^= 1 << bit % 8
        assert isinstance(board.call("attempt", KEY, bytes(changed)), str)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_mutations_are_refused(board: BoardProcess, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(ACK)))
    end = data.draw(st.integers(at, len(ACK)))
    changed = ACK[:at] + data.draw(st.binary(max_size=12)) + ACK[end:]
    result = board.call("attempt", KEY, changed)
    assert isinstance(result, str) or changed == ACK


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (seal(b"x", key=bytes(32)), "MAC is wrong"),
        (seal(b"x", context="MAC"), "MAC is wrong"),
        (seal(b"x", context="Signature1"), "MAC is wrong"),
        (seal(b"x", protected=b"\xa1\x01\x05"), "not HMAC 256/64 alone"),
        (seal(b"x", protected=b"\xa2\x01\x04\x04\x41\x00"), "not HMAC 256/64 alone"),
        (seal(b"x", protected=b""), "not HMAC 256/64 alone"),
        (ACK + b"\0", "1 bytes too many"),
        (ACK[:-1], "ends early"),
        (ACK[1:], "array at byte 0, want tag"),
        (b"\xd2" + ACK[1:], "not a COSE_Mac0"),
        (b"\xd1\x85" + ACK[2:] + b"\0", "not a COSE_Mac0"),
        (ACK.replace(b"\xa0", b"\xa1\x00\x00"), "unprotected header is not empty"),
        (bytes(257), "longer than 256 bytes"),
        (b"", "ends early at byte 0"),
    ],
)
def test_reasons(board: BoardProcess, message: bytes, reason: str) -> None:
    with pytest.raises(BoardError, match=reason) as error:
        board.call("trig.cose.mac0_open", KEY, message)
    assert error.value.kind == "CoseError"


def test_short_macs_are_refused(board: BoardProcess) -> None:
    # A comparison of as many bytes as the sender sent would take the empty MAC for right.
    protected, unprotected, payload, mac = cbor2.loads(ACK).value
    for size in range(8):
        message = cbor2.dumps(cbor2.CBORTag(17, [protected, unprotected, payload, mac[:size]]))
        assert board.call("attempt", KEY, message) == "MAC is wrong"


def test_comparison_looks_at_every_byte(board: BoardProcess) -> None:
    for place in range(8):
        other = bytearray(8)
        other[place] = 1
        assert board.call("steps", bytes(8), bytes(other)) == 16
    assert board.call("trig.hkdf.equal", bytes(8), bytes(8)) is True
