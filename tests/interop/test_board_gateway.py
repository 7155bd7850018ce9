"""What the board writes the gateway reads, and the other way round, byte for byte, on generated input.

The board's side is `device/trig` under MicroPython.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from boardrunner import BoardError, BoardProcess
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import BOARD, BOARD_PRIVATE, build_statement, mutated, statement_fields
from trigpoint.wire import ack, permit, statement
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.permit import Permit

SECRET = BOARD_PRIVATE.private_numbers().private_value.to_bytes(32, "big")
LINK_PRIVATE = ec.derive_private_key(int.from_bytes(bytes(range(1, 33)), "big"), ec.SECP256R1())
LINK = PublicKey.of(LINK_PRIVATE)
KEY = ack.derive_key(LINK_PRIVATE, BOARD)

SETUP = """
from trig import cbor, keys, permit, senml, statement, uplink
from trig.signer import Signer

pair = None
buffer = bytearray(4096)

def make_key(d):
    global pair
    pair = keys.KeyPair(d)
    return [pair.x, pair.y, pair.kid]

def build(seq, prev, oldest, base_time, now, readings):
    pack = senml.Pack(255, 4096)
    for reading in readings:
        pack.add(*reading)
    return statement.build(buffer, kid=pair.kid, seq=seq, prev=prev, oldest=oldest, pack=pack,
        base_time=base_time, now=now, sign=pair.sign)

def ack_key(link_key):
    return Signer(pair, None, None, None).ack_key(link_key)

def sign_permit(*fields):
    return Signer(pair, None, None, None).permit(*fields)
"""


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    # The heap is larger than a board's because the test's own server and its JSON live in it too.
    with BoardProcess(SETUP, heap="512k") as process:
        assert process.call("make_key", SECRET) == [BOARD.x, BOARD.y, BOARD.kid]
        yield process


def as_a_board_has_them(fields: dict[str, Any]) -> dict[str, Any]:
    """Put readings in order of time, and the first of a pack with a base time at it: the board's packs are so."""
    readings = sorted(fields["readings"], key=lambda reading: reading.t)
    if fields["base_time"] is not None:
        readings = [reading._replace(t=reading.t - readings[0].t) for reading in readings]
    return {**fields, "readings": tuple(readings)}


@settings(max_examples=60, deadline=None)
@given(statement_fields())
def test_statements(board: BoardProcess, fields: dict[str, Any]) -> None:
    fields = as_a_board_has_them(fields)
    expected = build_statement(**fields)
    if len(expected) > 3_900:
        return  # A board closes a pack before it is that long.
    # The board counts seconds since power-on; with relative times, the moment of signing is its 1,000,000,000.
    now = 10**9
    readings = [[r.name, r.unit, r.mantissa, r.exponent, now + r.t] for r in fields["readings"]]
    raw = board.call("build", fields["seq"], fields["prev"], fields["oldest"], fields["base_time"], now, readings)
    assert raw == expected
    parsed = statement.parse(expected)
    assert parsed.readings == fields["readings"]
    assert BOARD.verify(parsed.signature, parsed.to_be_signed())


SEQS = st.integers(0, 2**32 - 1) | st.sampled_from([0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1])
TIMES = st.integers(0, 2**63 - 1) | st.sampled_from([0, 23, 24, 2**32 - 1, 2**32, 2**63 - 1])


def test_the_same_ack_key(board: BoardProcess) -> None:
    assert board.call("ack_key", LINK.x + LINK.y) == KEY


@settings(max_examples=80, deadline=None)
@given(SEQS, TIMES)
def test_the_board_opens_acks(board: BoardProcess, seq: int, time_ms: int) -> None:
    assert board.call("trig.uplink.open_ack", KEY, ack.seal(KEY, seq, time_ms)) == [seq, time_ms]


@settings(max_examples=150, deadline=None)
@given(mutated(st.builds(lambda seq, time_ms: ack.seal(KEY, seq, time_ms), SEQS, TIMES)) | st.binary(max_size=60))
def test_both_refuse_the_same_acks(board: BoardProcess, data: bytes) -> None:
    try:
        ours: list[int] | None = list(ack.open_ack(KEY, data))
    except WireError:
        ours = None
    try:
        theirs = board.call("trig.uplink.open_ack", KEY, data)
    except BoardError as error:
        assert error.kind == "AckError"
        theirs = None
    assert ours == theirs


ADDRESSES = st.binary(min_size=20, max_size=20)
HASHES = st.binary(min_size=32, max_size=32)
UINT256 = st.integers(0, 2**256 - 1) | st.sampled_from([0, 1, 31337, 2**64, 2**256 - 1])


@settings(max_examples=40, deadline=None)
@given(st.tuples(UINT256, ADDRESSES, ADDRESSES, HASHES, UINT256))
def test_permits(board: BoardProcess, fields: tuple[int, bytes, bytes, bytes, int]) -> None:
    chain_id, registry, owner, metadata_hash, deadline = fields
    unsigned = Permit(owner, BOARD.x, BOARD.y, metadata_hash, deadline, bytes(32), bytes(32))
    digest = board.call("trig.permit.digest", chain_id, registry, owner, BOARD.x, BOARD.y, metadata_hash, deadline)
    assert digest == permit.digest(chain_id, registry, unsigned)
    signature = board.call("sign_permit", chain_id, registry, owner, metadata_hash, deadline)
    assert isinstance(signature, bytes)
    assert permit.verify(chain_id, registry, replace(unsigned, r=signature[:32], s=signature[32:]))
