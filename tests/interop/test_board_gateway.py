"""Board and gateway, which share no code, over everything that they say to each other."""

from collections.abc import Iterator

import pytest
from boardrunner import BoardError, BoardProcess
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st
from trigpoint.wire import ack, permit, statement
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.statement import Reading

D = bytes(range(1, 33))
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

SETUP = """
from trig import cose, hkdf, keys, permit, senml, statement

key = keys.KeyPair(bytes(range(1, 33)))
pack = senml.Pack()
buffer = bytearray(statement.MAX_SIZE)

def identity():
    return (key.x, key.y, key.kid)

def build(seq, prev, oldest, readings, base_time, now):
    pack.clear()
    for reading in readings:
        pack.add(*reading)
    return statement.build(buffer, kid=key.kid, seq=seq, prev=prev, oldest=oldest, pack=pack, base_time=base_time,
                           now=now, sign=key.sign)

def open_ack(x, y, data):
    shared = hkdf.hkdf(b"", key.secret(x, y), b"trig/1/ack" + key.kid + keys.thumbprint(x, y), 32)
    return cose.mac0_open(shared, data)

def sign_permit(chain_id, registry, owner, metadata_hash, deadline):
    digest = permit.digest(chain_id, registry, owner, key.x, key.y, metadata_hash, deadline)
    return (digest, key.sign(digest))
"""

NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9\-:./_]{0,63}", fullmatch=True)
UNIT = st.text([chr(code) for code in range(0x20, 0x7F)], min_size=1, max_size=16)
VALUE = st.tuples(NAME, UNIT, st.integers(-(2**31) + 1, 2**31 - 1), st.integers(-18, 0))
SPAN = 2**28 - 1


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess(SETUP) as process:
        yield process


@pytest.fixture(scope="module")
def public(board: BoardProcess) -> PublicKey:
    x, y, kid = board.call("identity")
    key = PublicKey(x, y)
    assert key.kid == kid
    return key


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_statements(board: BoardProcess, public: PublicKey, data: st.DataObject) -> None:
    seq = data.draw(st.integers(0, 2**32 - 1))
    prev = data.draw(st.binary(min_size=32, max_size=32)) if seq else bytes(32)
    oldest = data.draw(st.integers(0, seq))
    rows = data.draw(st.lists(st.tuples(VALUE, st.integers(0, SPAN)), min_size=1, max_size=25))
    times = sorted(time for _, time in rows)
    times = [time - times[0] for time in times]
    absolute = data.draw(st.booleans())
    base_time = data.draw(st.integers(2**28, 2**33 - 1)) if absolute else None
    now = times[-1] + data.draw(st.integers(0, SPAN - times[-1]))

    added = [(*value, time) for (value, _), time in zip(rows, times, strict=True)]
    raw = board.call("build", seq, prev, oldest, added, base_time, now)
    assert isinstance(raw, bytes)

    parsed = statement.parse(raw)
    shift = 0 if absolute else -now
    readings = tuple(Reading(*value, time + shift) for (value, _), time in zip(rows, times, strict=True))
    assert (parsed.kid, parsed.seq, parsed.prev, parsed.oldest) == (public.kid, seq, prev, oldest)
    assert (parsed.base_time, parsed.readings) == (base_time, readings)
    assert public.verify(parsed.signature, parsed.to_be_signed())
    # The gateway's encoder has to find the same bytes, and RFC 6979 the same signature.
    assert raw == statement.build(
        kid=public.kid, seq=seq, prev=prev, oldest=oldest, base_time=base_time, readings=readings, sign=sign
    )


def sign(message: bytes) -> bytes:
    """ES256 as a board does it: RFC 6979 and the lower s."""
    private = ec.derive_private_key(int.from_bytes(D, "big"), ec.SECP256R1())
    der = private.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    r, s = decode_dss_signature(der)
    return r.to_bytes(32, "big") + min(s, N - s).to_bytes(32, "big")


@settings(max_examples=60, deadline=None)
@given(seq=st.integers(0, 2**32 - 1), time_ms=st.integers(0, 2**63 - 1), secret=st.integers(1, N - 1))
def test_acks(board: BoardProcess, public: PublicKey, seq: int, time_ms: int, secret: int) -> None:
    link = ec.derive_private_key(secret, ec.SECP256R1())
    shared = PublicKey.of(link)
    key = ack.derive_key(link, public)
    sealed = ack.seal(key, seq, time_ms)
    payload = board.call("open_ack", shared.x, shared.y, sealed)
    assert isinstance(payload, bytes) and payload in sealed
    other = PublicKey.of(ec.derive_private_key(secret % (N - 1) + 1, ec.SECP256R1()))
    with pytest.raises(BoardError, match="MAC is wrong"):
        board.call("open_ack", other.x, other.y, sealed)


@settings(max_examples=60, deadline=None)
@given(
    chain_id=st.integers(0, 2**256 - 1),
    addresses=st.tuples(st.binary(min_size=20, max_size=20), st.binary(min_size=20, max_size=20)),
    metadata_hash=st.binary(min_size=32, max_size=32),
    deadline=st.integers(0, 2**256 - 1),
)
def test_permits(
    board: BoardProcess,
    public: PublicKey,
    *,
    chain_id: int,
    addresses: tuple[bytes, bytes],
    metadata_hash: bytes,
    deadline: int,
) -> None:
    registry, owner = addresses
    result = board.call("sign_permit", chain_id, registry, owner, metadata_hash, deadline)
    assert isinstance(result, list)
    digest, signature = result
    signed = permit.Permit(owner, public.x, public.y, metadata_hash, deadline, signature[:32], signature[32:])
    assert permit.digest(chain_id, registry, signed) == digest
    assert permit.verify(chain_id, registry, signed)
    assert not permit.verify(chain_id ^ 1, registry, signed)
