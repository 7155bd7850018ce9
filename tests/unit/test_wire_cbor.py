"""Deterministic CBOR: what is accepted has one spelling, and nothing costs more than its size."""

import io
import time
import tracemalloc

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import mutated
from trigpoint.wire import cbor
from trigpoint.wire.errors import WireError

KEYS = st.integers(-(2**64), 2**64 - 1) | st.text(max_size=30) | st.binary(max_size=30)
LEAVES = (
    st.integers(-(2**64), 2**64 - 1)
    | st.integers(-300, 300)
    | st.text(max_size=30)
    | st.binary(max_size=300)
    | st.booleans()
    | st.none()
    | st.builds(cbor.Decimal, st.integers(-18, 18), st.integers(-(2**64), 2**64 - 1))
)
ITEMS = st.recursive(
    LEAVES,
    lambda items: (
        st.lists(items, max_size=6)
        | st.dictionaries(KEYS, items, max_size=6)
        | st.builds(cbor.Tag, st.sampled_from([cbor.TAG_MAC0, cbor.TAG_SIGN1]), items)
    ),
    max_leaves=12,
)
PLAIN = st.recursive(
    st.integers(-(2**64), 2**64 - 1) | st.text(max_size=9) | st.binary(max_size=300) | st.booleans() | st.none(),
    lambda items: st.lists(items, max_size=6) | st.dictionaries(KEYS, items, max_size=6),
    max_leaves=12,
)


@given(ITEMS)
def test_round_trip(item: object) -> None:
    assert cbor.decode(cbor.encode(item), max_depth=40) == item


@given(PLAIN)
def test_agrees_with_cbor2(item: object) -> None:
    assert cbor2.loads(cbor.encode(item)) == item


@given(st.binary(max_size=60) | mutated(ITEMS.map(cbor.encode)))
def test_whatever_is_accepted_is_the_one_spelling(data: bytes) -> None:
    try:
        item = cbor.decode(data)
    except WireError:
        return
    assert cbor.encode(item) == data


@pytest.mark.parametrize(
    "data",
    [
        "1800", "1817", "190000", "1900ff", "1a0000ffff", "1b00000000ffffffff", "3800", "3817", "5800", "581700",
        "7800", "9800", "b800", "1c", "1d", "1e", "1f", "5fff", "7fff", "9fff", "bfff", "ff", "f7", "f0", "e0", "f818",
        "f820", "f90000", "fa00000000", "fb0000000000000000", "a2010201 03", "a202000100", "a1f500", "a1f600",
        "a18000", "c000", "c24101", "d81200", "c48101", "c4820101ff", "c482f501", "c48200f4", "c4830000 00", "61ff",
        "62c3", "0000", "", "41", "81", "a101", "d2", "9b7fffffffffffffff", "bb7fffffffffffffff", "5b7fffffffffffffff",
        "a220000100", "a2616100 4000",
    ],
)  # fmt: skip
def test_refused(data: str) -> None:
    with pytest.raises(WireError):
        cbor.decode(bytes.fromhex(data))


def test_keys_are_in_bytewise_order() -> None:
    """RFC 8949 section 4.2.1, its own example; RFC 7049's length-first order differs from it."""
    keys = [10, 100, -1, "z", "aa", b"\x00"]
    encoded = cbor.encode(dict.fromkeys(keys, 0))
    assert encoded.hex(" ") == "a6 0a 00 18 64 00 20 00 41 00 00 61 7a 00 62 61 61 00".replace("  ", " ")
    assert cbor.decode(encoded) == dict.fromkeys(keys, 0)


def test_bounds() -> None:
    nested = b"\x81" * 8 + b"\x00"
    cbor.decode(nested, max_depth=8)
    with pytest.raises(WireError, match="nested deeper"):
        cbor.decode(nested, max_depth=7)
    with pytest.raises(WireError, match="nested deeper"):
        cbor.decode(b"\x81" * 16_000 + b"\x00")
    cbor.decode(b"\x83\x00\x00\x00", max_items=4)
    with pytest.raises(WireError, match="too many items"):
        cbor.decode(b"\x83\x00\x00\x00", max_items=3)
    cbor.decode(b"\x43abc", max_size=4)
    with pytest.raises(WireError) as caught:
        cbor.decode(b"\x43abc", max_size=3)
    assert caught.value.reason == "size"


def test_claimed_lengths_take_no_memory() -> None:
    tracemalloc.start()
    for initial in (0x5B, 0x7B, 0x9B, 0xBB):
        for claimed in (2**20, 2**40, 2**63, 2**64 - 1):
            with pytest.raises(WireError):
                cbor.decode(bytes((initial,)) + claimed.to_bytes(8, "big") + bytes(100))
    assert tracemalloc.get_traced_memory()[1] < 1 << 19
    tracemalloc.stop()


def test_the_bytes_that_cost_most_take_little_time() -> None:
    start = time.process_time()
    cbor.decode(b"\x99\x0f\xff" + b"\x00" * 0xFFF)
    for data in (b"\x99\x3f\xf0" + b"\x00" * 0x3FF0, b"\x80" * 16_384):
        with pytest.raises(WireError):
            cbor.decode(data)
    assert time.process_time() - start < 0.2


@pytest.mark.parametrize("item", [1.5, 2**64, -(2**64) - 1, {1.5: 0}, [object()], bytearray(b"a"), io.BytesIO()])
def test_what_the_wire_has_not_is_not_written(item: object) -> None:
    with pytest.raises(WireError):
        cbor.encode(item)
