"""Board, OpenSSL and the `ecdsa` package each verify what the others sign; board and cbor2 write the same bytes."""

import hashlib
from collections.abc import Iterator

import cbor2
import ecdsa
import pytest
from boardrunner import BoardError, BoardProcess
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from hypothesis import given, settings
from hypothesis import strategies as st

N = ecdsa.NIST256p.order
PREHASHED = ec.ECDSA(Prehashed(hashes.SHA256()))

SETUP = """
import cborvalue as cbor
from trig import p256

def thaw(value):
    # Maps come as lists of pairs under "map", tags as pairs under "tag": JSON has neither with our keys.
    if isinstance(value, list):
        if value and value[0] == "tag":
            return cbor.Tagged(value[1], thaw(value[2]))
        if value and value[0] == "map":
            return {key: thaw(item) for key, item in value[1]}
        return [thaw(item) for item in value[1]]
    return value

def encode(value):
    return cbor.encode(thaw(value))

def recode(data):
    return cbor.encode(cbor.decode(data, 4096, 12, 512))

def sign(d, digest):
    return p256.public(d) + (p256.sign(d, digest),)
"""


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess(SETUP) as process:
        yield process


def low(s: int) -> int:
    return min(s, N - s)


SECRETS = st.one_of(
    st.integers(1, N - 1), st.sampled_from([1, 2, 3, N - 1, N - 2, (N + 1) // 2, 2**128, 2**255]), st.integers(1, 2**32)
).map(lambda d: d.to_bytes(32, "big"))
DIGESTS = st.one_of(
    st.binary(min_size=32, max_size=32), st.sampled_from([bytes(32), b"\xff" * 32, N.to_bytes(32, "big")])
)


@settings(max_examples=120, deadline=None)
@given(d=SECRETS, digest=DIGESTS)
def test_others_verify_what_the_board_signs(board: BoardProcess, d: bytes, digest: bytes) -> None:
    result = board.call("sign", d, digest)
    assert isinstance(result, list)
    x, y, signature = result
    private = ec.derive_private_key(int.from_bytes(d, "big"), ec.SECP256R1())
    numbers = private.public_key().public_numbers()
    assert (x, y) == (numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    assert s == low(s)
    private.public_key().verify(encode_dss_signature(r, s), digest, PREHASHED)
    assert ecdsa.VerifyingKey.from_string(x + y, curve=ecdsa.NIST256p).verify_digest(signature, digest)
    # RFC 6979 leaves no choice, so the ecdsa package has to come to the same signature.
    peer = ecdsa.SigningKey.from_string(d, curve=ecdsa.NIST256p)
    assert signature == peer.sign_digest_deterministic(
        digest, hashlib.sha256, sigencode=ecdsa.util.sigencode_string_canonize
    )


@settings(max_examples=60, deadline=None)
@given(d=SECRETS, digest=DIGESTS, flip=st.integers(0, 511))
def test_board_verifies_what_others_sign(board: BoardProcess, d: bytes, digest: bytes, flip: int) -> None:
    private = ec.derive_private_key(int.from_bytes(d, "big"), ec.SECP256R1())
    numbers = private.public_key().public_numbers()
    x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
    r, s = decode_dss_signature(private.sign(digest, PREHASHED))
    signature = r.to_bytes(32, "big") + low(s).to_bytes(32, "big")
    assert board.call("trig.p256_points.verify", x, y, digest, signature) is True
    high = r.to_bytes(32, "big") + (N - low(s)).to_bytes(32, "big")
    assert board.call("trig.p256_points.verify", x, y, digest, high) is False

    peer = ecdsa.SigningKey.from_string(d, curve=ecdsa.NIST256p)
    theirs = peer.sign_digest(digest, sigencode=ecdsa.util.sigencode_string_canonize)
    assert board.call("trig.p256_points.verify", x, y, digest, theirs) is True
    changed = bytearray(signature)
    changed[flip // 8] ^= 1 << flip % 8
    assert board.call("trig.p256_points.verify", x, y, digest, bytes(changed)) is False
    with pytest.raises(InvalidSignature):
        r, s = int.from_bytes(changed[:32], "big"), int.from_bytes(changed[32:], "big")
        private.public_key().verify(encode_dss_signature(r, s), digest, PREHASHED)


@settings(max_examples=60, deadline=None)
@given(d=SECRETS, peer=SECRETS)
def test_the_same_shared_secret(board: BoardProcess, d: bytes, peer: bytes) -> None:
    mine = ec.derive_private_key(int.from_bytes(d, "big"), ec.SECP256R1())
    theirs = ec.derive_private_key(int.from_bytes(peer, "big"), ec.SECP256R1())
    numbers = theirs.public_key().public_numbers()
    x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
    assert board.call("trig.p256_points.ecdh", d, x, y) == mine.exchange(ec.ECDH(), theirs.public_key())


# CBOR. cbor2's canonical mode is RFC 7049's, which sorts short keys first; RFC 8949 sorts by bytes alone. So the maps
# are sorted here, and cbor2 writes them as they come.

INTEGERS = st.one_of(
    st.integers(-(2**64), 2**64 - 1),
    st.integers(0, 64).flatmap(lambda bits: st.sampled_from([2**bits - 1, -(2**bits)])),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
BYTES = st.binary(max_size=40)
KEYS = st.one_of(INTEGERS, TEXTS, BYTES)


def tagged(items: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    # Tags to which cbor2 gives a meaning of its own are left to the vectors.
    return st.tuples(st.just("tag"), st.integers(70_000, 2**64 - 1), items)


def mapped(items: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.tuples(st.just("map"), st.lists(st.tuples(KEYS, items), max_size=8, unique_by=lambda pair: pair[0]))


VALUES = st.recursive(
    st.one_of(INTEGERS, TEXTS, BYTES),
    lambda items: st.one_of(st.tuples(st.just("list"), st.lists(items, max_size=30)), tagged(items), mapped(items)),
    max_leaves=20,
)


def plain(value: object) -> object:
    """The value as cbor2 takes it, maps sorted as RFC 8949 section 4.2.1 says."""
    match value:
        case ("tag", int(number), item):
            return cbor2.CBORTag(number, plain(item))
        case ("map", list(pairs)):
            return {key: plain(item) for key, item in sorted(pairs, key=lambda pair: cbor2.dumps(pair[0]))}
        case ("list", list(items)):
            return [plain(item) for item in items]
    return value


@settings(max_examples=400, deadline=None)
@given(VALUES)
def test_board_and_cbor2_write_the_same_bytes(board: BoardProcess, value: object) -> None:
    encoded = cbor2.dumps(plain(value))
    assert board.call("encode", value) == encoded
    assert board.call("recode", encoded) == encoded


@settings(max_examples=300, deadline=None)
@given(value=VALUES, data=st.data())
def test_what_the_board_reads_has_one_spelling(board: BoardProcess, value: object, data: st.DataObject) -> None:
    """Mutate valid bytes: what still reads writes back to the same bytes."""
    encoded = cbor2.dumps(plain(value))
    at = data.draw(st.integers(0, len(encoded)))
    end = data.draw(st.integers(at, min(len(encoded), at + 4)))
    changed = encoded[:at] + data.draw(st.binary(max_size=4)) + encoded[end:]
    try:
        again = board.call("recode", changed)
    except BoardError as error:
        assert error.kind == "CborError"
    else:
        assert again == changed
