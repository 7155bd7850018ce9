"""Acks: edges of both numbers, and that nothing but the key's own ack opens."""

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from samples import BOARD, BOARD_PRIVATE, mutated
from trigpoint.wire import ack, cbor
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey

LINK_PRIVATE = ec.derive_private_key(int.from_bytes(bytes(range(1, 33)), "big"), ec.SECP256R1())
LINK = PublicKey.of(LINK_PRIVATE)
KEY = ack.derive_key(LINK_PRIVATE, BOARD)
SEQS = st.integers(0, 2**32 - 1) | st.sampled_from([0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1])
TIMES = st.integers(0, 2**63 - 1) | st.sampled_from([0, 23, 24, 65536, 2**32 - 1, 2**32, 2**63 - 1])


def forge(payload: bytes, *, protected: bytes = b"\xa1\x01\x04", unprotected: bytes = b"\xa0", size: int = 8) -> bytes:
    """Seal any payload with the right key: what only a broken gateway sends."""
    structure = cbor.encode(["MAC0", protected, b"", payload])
    mac = hmac.digest(KEY, structure, hashlib.sha256)[:size]
    return b"\xd1\x84" + cbor.encode(protected) + unprotected + cbor.encode(payload) + cbor.encode(mac)


@given(SEQS, TIMES)
def test_round_trip(seq: int, time_ms: int) -> None:
    sealed = ack.seal(KEY, seq, time_ms)
    assert ack.open_ack(KEY, sealed) == (seq, time_ms)
    assert sealed == forge(cbor.encode({1: seq, 2: time_ms}))


@given(mutated(st.builds(lambda seq, time_ms: ack.seal(KEY, seq, time_ms), SEQS, TIMES)) | st.binary(max_size=70))
def test_nothing_else_opens(data: bytes) -> None:
    try:
        opened = ack.open_ack(KEY, data)
    except WireError:
        return
    assert ack.seal(KEY, *opened) == data


def test_every_changed_bit_is_refused() -> None:
    sealed = ack.seal(KEY, 70_000, 1_700_000_000_000)
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError):
            ack.open_ack(KEY, bytes(changed))


@pytest.mark.parametrize(
    "data",
    [
        forge(cbor.encode({1: 2**32, 2: 0})),
        forge(cbor.encode({1: 0, 2: 2**63})),
        forge(cbor.encode({1: -1, 2: 0})),
        forge(cbor.encode({1: True, 2: 0})),
        forge(cbor.encode({1: 0, 2: None})),
        forge(cbor.encode({1: 0})),
        forge(cbor.encode({1: 0, 2: 0, 3: 0})),
        forge(cbor.encode([0, 0])),
        forge(b"\xa2\x02\x00\x01\x00"),
        forge(b"\xa2\x01\x18\x05\x02\x00"),
        forge(cbor.encode({1: 0, 2: 0}), size=16),
        forge(cbor.encode({1: 0, 2: 0}), size=7),
        forge(cbor.encode({1: 0, 2: 0}), protected=b"\xa1\x01\x05"),
        forge(cbor.encode({1: 0, 2: 0}), unprotected=b"\xa1\x04\x41\x00"),
        b"\xd2" + forge(cbor.encode({1: 0, 2: 0}))[1:],
        forge(cbor.encode({1: 0, 2: 0})) + b"\x00",
        b"",
        bytes(1000),
    ],
)
def test_other_messages(data: bytes) -> None:
    with pytest.raises(WireError):
        ack.open_ack(KEY, data)


@pytest.mark.parametrize(("seq", "time_ms"), [(-1, 0), (2**32, 0), (0, -1), (0, 2**63)])
def test_numbers_out_of_range_are_not_sealed(seq: int, time_ms: int) -> None:
    with pytest.raises(WireError):
        ack.seal(KEY, seq, time_ms)


def test_another_boards_key_does_not_open() -> None:
    stranger = ec.derive_private_key(5, ec.SECP256R1())
    other = ack.derive_key(LINK_PRIVATE, PublicKey.of(stranger))
    with pytest.raises(WireError) as caught:
        ack.open_ack(other, ack.seal(KEY, 0, 0))
    assert caught.value.reason == "signature"


def test_key_derivation_by_hand() -> None:
    """RFC 5869 with an empty salt, from hmac alone, and ECDH from the board's side."""
    secret = BOARD_PRIVATE.exchange(ec.ECDH(), LINK.key)
    extracted = hmac.digest(bytes(32), secret, hashlib.sha256)
    info = b"trig/1/ack" + BOARD.kid + LINK.kid
    assert hmac.digest(extracted, info + b"\x01", hashlib.sha256) == KEY
