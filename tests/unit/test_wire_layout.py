"""What is read by its layout is read as it is parsed: the same statement, or the same error."""

import itertools
from unittest.mock import patch

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from samples import READINGS, build_statement, statement_fields
from trigpoint.wire import layout, statement
from trigpoint.wire.errors import WireError
from trigpoint.wire.layout import Layouts
from trigpoint.wire.statement import Reading

# Where arguments and major types end, and where the wire's own bounds are.
EDGES = [0x00, 0x01, 0x02, 0x0F, 0x10, 0x17, 0x18, 0x19, 0x1A, 0x1F, 0x20, 0x37, 0x38, 0x40, 0x7F, 0x80, 0xFE, 0xFF]
CLASSES = [(0, 23), (24, 255), (256, 65_535), (65_536, 2**31 - 1)]


def build(**fields):
    return build_statement(**fields, sign=lambda _: bytes(64))


def learned(*messages):
    layouts = Layouts()
    with patch.object(statement, "_LAYOUTS", layouts), patch.object(layout, "_LEARNED_ONE_IN", 1):
        for raw in messages:
            statement.parse(raw)
    return layouts


def parsed(raw, layouts):
    with patch.object(statement, "_LAYOUTS", layouts):
        try:
            return statement.parse(raw)
        except WireError as error:
            return error.reason, error.field, str(error)


def alike(number, lowest=0, highest=2**31 - 1):
    """Numbers of the same sign and length, between bounds of their absolute value."""
    argument = number if number >= 0 else ~number
    least, most = next(bounds for bounds in CLASSES if argument <= bounds[1])
    if number < 0:
        lowest, highest = max(0, lowest - 1), highest - 1
    least, most = max(least, lowest), min(most, highest)
    arguments = st.integers(least, most) | st.sampled_from([least, most])
    return arguments if number >= 0 else arguments.map(lambda argument: ~argument)


@st.composite
def fields_of_one_layout(draw):
    """Two statements that differ only in numbers of the same lengths, in `prev` and in nothing else."""
    first = draw(statement_fields())
    assume(len(first["readings"]) > 1 and first["seq"] < 2**31 and len(build(**first)) <= statement.MAX_SIZE)
    seq, oldest = draw(alike(first["seq"])), draw(alike(first["oldest"]))
    assume(oldest <= seq)
    other = {"seq": seq, "oldest": oldest, "prev": bytes(range(32)) if seq else bytes(32), "base_time": None}
    if first["base_time"] is not None:
        low, high = (2**28, 2**32 - 1) if first["base_time"] < 2**32 else (2**32, 2**33 - 1)
        other["base_time"] = draw(st.integers(low, high))
    other["readings"] = tuple(
        reading._replace(
            mantissa=draw(alike(reading.mantissa)),
            t=draw(alike(reading.t, 1, 2**28 - 1)) if reading.t else 0,
        )
        for reading in first["readings"]
    )
    return first, other


@given(fields_of_one_layout())
def test_other_numbers_of_the_same_lengths_are_read_by_the_layout(both):
    first, other = both
    layouts, raw = learned(build(**first)), build(**other)
    assert layouts.read(raw) is not None
    found = parsed(raw, layouts)
    assert found == parsed(raw, Layouts())
    assert {key: getattr(found, key) for key in other} == other


@settings(max_examples=200)
@given(statement_fields(), st.data())
def test_any_other_bytes_are_read_as_they_are_parsed(fields, data):
    raw = build(**fields)
    assume(len(fields["readings"]) > 1 and len(raw) <= statement.MAX_SIZE)
    changed = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.sampled_from(EDGES) | st.integers(0, 255))
    assert parsed(bytes(changed), learned(raw)) == parsed(bytes(changed), Layouts())


def test_every_edge_in_every_place_is_read_as_it_is_parsed():
    last = 2**31 - 1
    readings = [Reading("a", "V", number, -2, abs(number)) for number in (5, 77, 7_777, 77_777, -5, -77, -7_777)]
    readings += [Reading("b", "V", last, 0, 2**28 - 1), Reading("b", "V", -last, 0, 2**28 - 1)]
    for base_time, sign, seq, oldest in ((2**32 - 1, 1, 300, 290), (2**33 - 1, 1, 5, 3), (None, -1, 77_777, 77_770)):
        timed = [reading._replace(t=sign * reading.t) for reading in readings]
        raw = build(base_time=base_time, readings=timed, seq=seq, oldest=oldest)
        layouts = learned(raw)
        read = 0
        for at, edge in itertools.product(range(len(raw)), EDGES):
            changed = raw[:at] + bytes([edge]) + raw[at + 1 :]
            assert parsed(changed, layouts) == parsed(changed, Layouts())
            read += layouts.read(changed) is not None
        assert read > len(EDGES) * (64 + 32 + 32)


def test_a_layout_is_learned_from_what_comes_again():
    layouts = Layouts()
    for seq in range(24, 70):
        assert (layouts.read(build(seq=seq)) is not None) == (seq >= 24 + 32)
        parsed(build(seq=seq), layouts)


def test_what_is_kept_is_bounded():
    alike = [build(readings=[Reading(chr(97 + n), "V", 5, 0, 0)] * 2) for n in range(20)]
    layouts = learned(*alike)
    assert [layouts.read(raw) is not None for raw in alike] == [False] * 12 + [True] * 8
    assert layouts.read(build(readings=READINGS)) is None
    many = [build(readings=[Reading("a" * (1 + n % 64), "V", 5, 0, 0)] * (2 + n // 64)) for n in range(600)]
    layouts = learned(*many)
    assert 1 <= sum(layouts.read(raw) is not None for raw in many) <= 128
    assert layouts.read(many[-1]) is not None
