"""The enrolment permit's digest against an ABI encoder that is not ours, and its refusals."""

import hashlib
from collections.abc import Iterator

import pytest
from boardrunner import BoardError, BoardProcess
from eth_abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st

ADDRESSES = st.binary(min_size=20, max_size=20)
WORDS = st.binary(min_size=32, max_size=32)
NUMBERS = st.integers(0, 2**256 - 1)
TYPES = ["bytes32", "uint256", "address", "address", "bytes32", "bytes32", "bytes32", "uint256"]


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess() as process:
        yield process


@settings(max_examples=100, deadline=None)
@given(st.tuples(NUMBERS, ADDRESSES, ADDRESSES, WORDS, WORDS, WORDS, NUMBERS))
def test_equals_abi_encode(board: BoardProcess, fields: tuple[int, bytes, bytes, bytes, bytes, bytes, int]) -> None:
    chain_id, registry, owner, *words = fields
    tag = b"trig/1/permit".ljust(32, b"\0")
    encoded = encode(TYPES, [tag, chain_id, "0x" + registry.hex(), "0x" + owner.hex(), *words])
    assert len(encoded) == 256
    assert board.call("trig.permit.digest", *fields) == hashlib.sha256(encoded).digest()


GOOD = [1, bytes(20), bytes(20), bytes(32), bytes(32), bytes(32), 1]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, -1, "chain id does not fit"),
        (0, 2**256, "chain id does not fit"),
        (1, bytes(19), "registry is not 20 bytes"),
        (1, bytes(32), "registry is not 20 bytes"),
        (2, bytes(21), "owner is not 20 bytes"),
        (3, bytes(31), "x is not 32 bytes"),
        (4, bytes(33), "y is not 32 bytes"),
        (5, b"", "metadata hash is not 32 bytes"),
        (6, -1, "deadline does not fit"),
        (6, 2**256, "deadline does not fit"),
    ],
)
def test_refused(board: BoardProcess, place: int, value: object, message: str) -> None:
    arguments: list[object] = [*GOOD]
    arguments[place] = value
    with pytest.raises(BoardError, match=message) as error:
        board.call("trig.permit.digest", *arguments)
    assert error.value.kind == "PermitError"
