"""Permits: the ABI encoding against eth_abi, and that every field is under the signature."""

import hashlib
from dataclasses import replace

import eth_abi
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import BOARD, sign
from trigpoint.wire import permit
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import ORDER
from trigpoint.wire.permit import Permit

REGISTRY = b"\x11" * 20
UNSIGNED = Permit(b"\x22" * 20, BOARD.x, BOARD.y, b"\x33" * 32, 2_000_000_000, bytes(32), bytes(32))
TYPES = ["bytes32", "uint256", "address", "address", "bytes32", "bytes32", "bytes32", "uint256"]


def message(chain_id: int, registry: bytes, unsigned: Permit) -> bytes:
    fields = (unsigned.owner.hex(), unsigned.x, unsigned.y, unsigned.metadata_hash, unsigned.deadline)
    return eth_abi.encode(TYPES, (b"trig/1/permit", chain_id, registry.hex(), *fields))


def signed(unsigned: Permit = UNSIGNED, chain_id: int = 31337, registry: bytes = REGISTRY) -> Permit:
    signature = sign(message(chain_id, registry, unsigned))
    return replace(unsigned, r=signature[:32], s=signature[32:])


@given(
    st.integers(0, 2**256 - 1), st.binary(min_size=20, max_size=20), st.binary(min_size=20, max_size=20),
    st.binary(min_size=32, max_size=32), st.integers(0, 2**256 - 1),
)  # fmt: skip
def test_digest_is_of_the_abi_encoding(
    chain_id: int, registry: bytes, owner: bytes, metadata_hash: bytes, deadline: int
) -> None:
    unsigned = replace(UNSIGNED, owner=owner, metadata_hash=metadata_hash, deadline=deadline)
    expected = hashlib.sha256(message(chain_id, registry, unsigned)).digest()
    assert permit.digest(chain_id, registry, unsigned) == expected


def test_a_good_permit() -> None:
    assert permit.verify(31337, REGISTRY, signed())


def test_every_field_is_bound() -> None:
    good = signed()
    assert not permit.verify(1, REGISTRY, good)
    assert not permit.verify(31337, b"\x12" * 20, good)
    for field in ("owner", "x", "y", "metadata_hash", "r", "s"):
        value = bytearray(getattr(good, field))
        value[-1] ^= 1
        assert not permit.verify(31337, REGISTRY, replace(good, **{field: bytes(value)})), field
    assert not permit.verify(31337, REGISTRY, replace(good, deadline=good.deadline + 1))


def test_high_s() -> None:
    good = signed()
    high = (ORDER - int.from_bytes(good.s, "big")).to_bytes(32, "big")
    assert not permit.verify(31337, REGISTRY, replace(good, s=high))


@pytest.mark.parametrize("field", ["owner", "x", "y", "metadata_hash", "r", "s"])
def test_lengths(field: str) -> None:
    value = getattr(UNSIGNED, field)
    for wrong in (value[:-1], value + b"\x00", b""):
        with pytest.raises(WireError) as caught:
            replace(UNSIGNED, **{field: wrong})
        assert caught.value.field == field


@pytest.mark.parametrize("number", [-1, 2**256])
def test_numbers_out_of_range(number: int) -> None:
    with pytest.raises(WireError):
        replace(UNSIGNED, deadline=number)
    with pytest.raises(WireError):
        permit.digest(number, REGISTRY, UNSIGNED)
    with pytest.raises(WireError):
        permit.digest(1, REGISTRY[1:], UNSIGNED)
