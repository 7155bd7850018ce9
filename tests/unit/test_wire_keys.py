"""Public keys and ES256: the curve, low s, and agreement with other implementations."""

import hashlib

import ecdsa
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import BOARD, BOARD_PRIVATE, mutated
from trigpoint.wire import cbor, keys
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import ORDER, PublicKey

SIGNATURE = keys.sign(BOARD_PRIVATE, b"sample")


def spell(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def test_rfc_6979_signature_with_low_s() -> None:
    """RFC 6979 appendix A.2.5, message "sample", SHA-256; its s is above half the order, so ours is n - s."""
    r = 0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716
    s = 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8
    assert spell(r, ORDER - s) == SIGNATURE
    assert BOARD.verify(SIGNATURE, b"sample")
    assert not BOARD.verify(spell(r, s), b"sample")


@given(st.binary(max_size=100))
def test_signatures_verify_elsewhere(message: bytes) -> None:
    other = ecdsa.VerifyingKey.from_string(BOARD.x + BOARD.y, curve=ecdsa.NIST256p)
    signature = keys.sign(BOARD_PRIVATE, message)
    assert other.verify(signature, message, hashfunc=hashlib.sha256)
    assert BOARD.verify(signature, message)
    assert not BOARD.verify(signature, message + b"\x00")


@pytest.mark.parametrize("r", [0, 1, ORDER - 1, ORDER, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, ORDER // 2, ORDER // 2 + 1, ORDER - 1, ORDER, 2**256 - 1])
def test_signatures_at_the_edges(r: int, s: int) -> None:
    assert not BOARD.verify(spell(r, s), b"sample")


@pytest.mark.parametrize(("s", "holds"), [(ORDER // 2, True), (ORDER // 2 + 1, False)])
def test_s_at_the_limit(s: int, holds: bool) -> None:
    """With the nonce 1, r is the generator's x; then a private key can be found for any wanted s."""
    r = ec.derive_private_key(1, ec.SECP256R1()).public_key().public_numbers().x % ORDER
    digest = int.from_bytes(hashlib.sha256(b"sample").digest(), "big")
    public = ec.derive_private_key((s - digest) * pow(r, -1, ORDER) % ORDER, ec.SECP256R1()).public_key()
    numbers = public.public_numbers()
    key = PublicKey(numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"))
    elsewhere = ecdsa.VerifyingKey.from_string(key.x + key.y, curve=ecdsa.NIST256p)
    assert elsewhere.verify(spell(r, s), b"sample", hashfunc=hashlib.sha256)
    assert key.verify(spell(r, s), b"sample") is holds


@pytest.mark.parametrize("length", [0, 63, 65, 128])
def test_signatures_of_other_lengths(length: int) -> None:
    assert not BOARD.verify((SIGNATURE * 2)[:length], b"sample")


@settings(max_examples=50)
@given(mutated(st.just(SIGNATURE)))
def test_mutated_signatures(signature: bytes) -> None:
    assert BOARD.verify(signature, b"sample") == (signature == SIGNATURE)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (bytes(32), bytes(32)),
        (BOARD.x, bytes(32)),
        (BOARD.x, BOARD.x),
        (BOARD.y, BOARD.x),
        (b"\xff" * 32, BOARD.y),
        (BOARD.x[1:], BOARD.y),
        (BOARD.x, BOARD.y + b"\x00"),
        (b"", b""),
    ],
)
def test_points_that_are_not_on_the_curve(x: bytes, y: bytes) -> None:
    with pytest.raises(WireError):
        PublicKey(x, y)


def test_coordinates_are_reduced() -> None:
    """x + p and y + p mean the same point but are no second spelling of it: x is small enough for that here."""
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    x = 5
    y = pow((x**3 - 3 * x + 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B) % p, (p + 1) // 4, p)
    PublicKey(x.to_bytes(32, "big"), y.to_bytes(32, "big"))
    with pytest.raises(WireError):
        PublicKey((x + p).to_bytes(32, "big"), y.to_bytes(32, "big"))


def test_kid_is_the_hash_of_the_cose_key() -> None:
    assert BOARD.kid == hashlib.sha256(cbor.encode(BOARD.to_cose())).digest()
    assert PublicKey.from_cose(cbor.decode(cbor.encode(BOARD.to_cose()))) == BOARD


@pytest.mark.parametrize(
    "change",
    [{1: 1}, {1: 4}, {-1: 2}, {-1: True}, {-2: 5}, {-2: BOARD.x.hex()}, {-3: True}, {2: b"kid"}, {3: -7}, {-4: b""}],
)
def test_other_cose_keys(change: dict[int, object]) -> None:
    with pytest.raises(WireError):
        PublicKey.from_cose({**BOARD.to_cose(), **change})


@pytest.mark.parametrize("item", [None, 5, [], {}, b"", {1: 2, -1: 1, -2: BOARD.x}])
def test_what_is_no_cose_key(item: object) -> None:
    with pytest.raises(WireError):
        PublicKey.from_cose(item)
