"""Statements: each edge of each field, second spellings, and the patterns against a plain reference parser."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import BOARD, MAX_OFFSET, READINGS, build_statement, mutated, sign, statement_fields
from trigpoint.wire import cbor, statement
from trigpoint.wire.errors import WireError
from trigpoint.wire.statement import Reading

VALID = build_statement()
HEADER = {1: -7, 3: 112, 4: BOARD.kid, -65537: 7, -65538: bytes(range(32)), -65539: 5}
RECORD = {0: "temperature", 1: "Cel", 2: cbor.Decimal(-2, 2150), -3: 1_700_000_000}
PLAIN = {0: "temperature", 1: "Cel", 2: 0}


def assemble(protected: bytes, payload: bytes, signature: bytes = bytes(64), unprotected: bytes = b"\xa0") -> bytes:
    parts = cbor.encode(protected) + unprotected + cbor.encode(payload) + cbor.encode(signature)
    return b"\xd2\x84" + parts


def with_header(**changes: object) -> bytes:
    return assemble(cbor.encode({**HEADER, **{int(k[1:].replace("_", "-")): v for k, v in changes.items()}}), PAYLOAD)


PROTECTED = cbor.encode(HEADER)
PAYLOAD = cbor.encode([RECORD])


def with_records(*records: object) -> bytes:
    return assemble(PROTECTED, cbor.encode(list(records)))


def refused(raw: bytes, field: str, reason: str = "shape") -> None:
    with pytest.raises(WireError) as caught:
        statement.parse(raw)
    assert (caught.value.reason, caught.value.field) == (reason, field), caught.value


def reference(raw: bytes) -> tuple[object, ...]:
    """Read a statement the plain way: decode it all, then check each field. Raises WireError or AssertionError."""
    assert 1 <= len(raw) <= 4096
    message = cbor.decode(raw)
    assert isinstance(message, cbor.Tag) and message.number == 18
    assert isinstance(message.value, list) and len(message.value) == 4
    protected, unprotected, payload, signature = message.value
    assert unprotected == {} and isinstance(unprotected, dict)
    assert isinstance(signature, bytes) and len(signature) == 64
    assert isinstance(protected, bytes) and isinstance(payload, bytes)
    header = cbor.decode(protected)
    assert isinstance(header, dict) and set(header) == {1, 3, 4, -65537, -65538, -65539}
    kid, seq, prev, oldest = header[4], header[-65537], header[-65538], header[-65539]
    assert header[1] == -7 and header[3] == 112
    assert all(isinstance(value, bytes) and len(value) == 32 for value in (kid, prev))
    assert type(seq) is int and 0 <= seq < 2**32 and type(oldest) is int and 0 <= oldest <= seq
    assert seq or prev == bytes(32)
    pack = cbor.decode(payload)
    assert isinstance(pack, list) and 1 <= len(pack) <= 255
    base_time, readings = None, []
    for place, record in enumerate(pack):
        assert isinstance(record, dict)
        if place == 0 and -3 in record:
            base_time = record.pop(-3)
            assert type(base_time) is int and 2**28 <= base_time < 2**33
        assert set(record) | {6} == {0, 1, 2, 6}
        name, unit, value, t = record[0], record[1], record[2], record.get(6, 0)
        assert isinstance(name, str) and 1 <= len(name) <= 64 and name.isascii()
        assert name[0].isalnum() and all(c.isalnum() or c in "-:./_" for c in name)
        assert isinstance(unit, str) and 1 <= len(unit) <= 16 and unit.isascii() and unit.isprintable()
        decimal = value if isinstance(value, cbor.Decimal) else cbor.Decimal(0, value)
        assert type(decimal.mantissa) is int and abs(decimal.mantissa) <= 2**31 - 1 and -18 <= decimal.exponent <= 0
        assert type(t) is int and abs(t) < 2**28 and (6 not in record or t != 0)
        assert t >= 0 if base_time is not None else t <= 0
        readings.append(Reading(name, unit, decimal.mantissa, decimal.exponent, t))
    return kid, seq, prev, oldest, base_time, tuple(readings), protected, payload, signature


def outcome(raw: bytes) -> tuple[object, ...] | None:
    try:
        s = statement.parse(raw)
    except WireError:
        return None
    assert s.raw == raw
    return s.kid, s.seq, s.prev, s.oldest, s.base_time, s.readings, s.protected, s.payload, s.signature


def reference_outcome(raw: bytes) -> tuple[object, ...] | None:
    try:
        return reference(raw)
    except (WireError, AssertionError):
        return None


@given(statement_fields())
def test_what_is_built_is_read(fields: dict[str, object]) -> None:
    raw = build_statement(**fields, sign=lambda _: b"\x05" * 64)
    if len(raw) > 4096:
        refused(raw, "statement", "size")
        return
    assert outcome(raw) == reference(raw)
    parsed = statement.parse(raw)
    assert {key: getattr(parsed, key) for key in fields} == fields


@given(mutated(statement_fields().map(lambda f: build_statement(**f, sign=lambda _: bytes(64)))))
def test_mutated_messages_are_read_as_the_reference_reads_them(raw: bytes) -> None:
    assert outcome(raw) == reference_outcome(raw)


@settings(max_examples=300)
@given(
    mutated(
        statement_fields().map(
            lambda f: statement.parse(build_statement(**{**f, "readings": f["readings"][:9]})).payload
        )
    )
)
def test_mutated_packs_are_read_as_the_reference_reads_them(payload: bytes) -> None:
    raw = assemble(PROTECTED, payload)
    assert outcome(raw) == reference_outcome(raw)


@given(mutated(st.just(PROTECTED)))
def test_mutated_headers_are_read_as_the_reference_reads_them(protected: bytes) -> None:
    raw = assemble(protected, PAYLOAD)
    assert outcome(raw) == reference_outcome(raw)


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: VALID[:60] + tail))
def test_random_bytes_are_refused(raw: bytes) -> None:
    assert outcome(raw) == reference_outcome(raw)


def test_every_changed_byte_is_refused_or_read_as_something_else() -> None:
    before = outcome(VALID)
    for at in range(len(VALID)):
        for bit in range(8):
            changed = bytearray(VALID)
            changed[at] ^= 1 << bit
            assert outcome(bytes(changed)) == reference_outcome(bytes(changed)) != before


def test_signature_covers_protected_header_and_payload() -> None:
    parsed = statement.parse(VALID)
    assert parsed.to_be_signed() == cbor.encode(["Signature1", parsed.protected, b"", parsed.payload])
    assert BOARD.verify(parsed.signature, parsed.to_be_signed())
    assert parsed.signature == sign(parsed.to_be_signed())


@pytest.mark.parametrize("length", [4096, 4097])
def test_size_limit(length: int) -> None:
    many = [Reading("n" * 40, "Cel", 5, 0, 0)] * 70
    while (missing := length - len(build_statement(readings=many))) > 40:
        many.append(Reading("m" * 24, "C", 5, 0, 0))
    many[-1] = many[-1]._replace(name="m" * (24 + missing))
    raw = build_statement(readings=many)
    assert len(raw) == length
    if length == 4096:
        assert len(statement.parse(raw).readings) == len(many)
    else:
        refused(raw, "statement", "size")


def test_empty_message() -> None:
    refused(b"", "statement", "size")


@pytest.mark.parametrize("count", [1, 23, 24, 255])
def test_number_of_readings(count: int) -> None:

    short = [{0: "a", 1: "b", 2: 0}] * count
    assert len(statement.parse(with_records(*short)).readings) == count


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        (b"\x80", "readings"),
        (b"\x98\x01" + cbor.encode(PLAIN), "readings"),
        (b"\x99\x00\x01" + cbor.encode(PLAIN), "readings"),
        (b"\x99\x01\x00" + cbor.encode({0: "a", 1: "b", 2: 0}) * 256, "readings"),
        (b"\x9f" + cbor.encode(PLAIN) + b"\xff", "readings"),
        (b"\x81" + cbor.encode(PLAIN) + b"\x00", "readings"),
        (b"\x81" + cbor.encode(PLAIN) * 2, "readings"),
        (b"\x82" + cbor.encode(PLAIN), "readings[1].record"),
        (b"\xa0", "readings"),
        (b"\x98", "readings"),
    ],
)
def test_arrays_that_are_not_the_readings(payload: bytes, field: str) -> None:
    refused(assemble(PROTECTED, payload), field)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({0: ""}, "n"),
        ({0: "a" * 65}, "n"),
        ({0: "-a"}, "n"),
        ({0: "a b"}, "n"),
        ({0: "é"}, "n"),
        ({0: b"a"}, "n"),
        ({1: ""}, "u"),
        ({1: "u" * 17}, "u"),
        ({1: "°C"}, "u"),
        ({1: "a\n"}, "u"),
        ({1: "a\x7f"}, "u"),
        ({2: 2**31}, "v"),
        ({2: -(2**31)}, "v"),
        ({2: 2**63}, "v"),
        ({2: True}, "v"),
        ({2: "21.5"}, "v"),
        ({2: cbor.Decimal(1, 1)}, "v"),
        ({2: cbor.Decimal(-19, 1)}, "v"),
        ({2: cbor.Decimal(-2, 2**31)}, "v"),
        ({2: cbor.Decimal(-2, -(2**31))}, "v"),
        ({6: 0}, "t"),
        ({6: -1}, "t"),
        ({6: 2**28}, "t"),
        ({-3: 2**28 - 1}, "bt"),
        ({-3: 2**33}, "bt"),
        ({-3: -1}, "bt"),
        ({5: 1}, "t"),
        ({7: 1}, "t"),
        ({-2: "Cel"}, "t"),
    ],
)
def test_record_fields_out_of_range(change: dict[int, object], field: str) -> None:
    record = {**RECORD, **change}
    assert reference_outcome(with_records(record)) is None
    with pytest.raises(WireError) as caught:
        statement.parse(with_records(record))
    assert caught.value.field.startswith("readings[0]")
    if len(record) < 6:
        assert caught.value.field == f"readings[0].{field}"


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_missing_record_fields(missing: int) -> None:
    record = {key: value for key, value in RECORD.items() if key != missing}
    with pytest.raises(WireError):
        statement.parse(with_records(record))


@pytest.mark.parametrize(
    "record",
    [
        {**RECORD, 0: "Z" * 64, 1: " " * 16},
        {**RECORD, 0: "0-:./_", 1: "~"},
        {**RECORD, 0: "x" * 24},
        {**RECORD, 2: 2**31 - 1, 6: MAX_OFFSET},
        {**RECORD, 2: -(2**31 - 1), -3: 2**28},
        {**RECORD, 2: cbor.Decimal(-18, -(2**31 - 1)), -3: 2**33 - 1},
        {**RECORD, 2: cbor.Decimal(0, 2**31 - 1), -3: 2**32},
        {**PLAIN, 6: -MAX_OFFSET},
        {**PLAIN, 6: -1},
    ],
)
def test_record_fields_at_the_edge_of_their_range(record: dict[int, object]) -> None:
    raw = with_records(record)
    assert outcome(raw) == reference(raw)


def test_base_time_only_in_the_first_record() -> None:
    refused(with_records(RECORD, RECORD), "readings[1].t")
    refused(with_records(PLAIN, RECORD), "readings[1].t")


def test_times_have_the_sign_of_their_mode() -> None:
    refused(with_records(RECORD, {**PLAIN, 6: -1}), "readings[1].t")
    refused(with_records(PLAIN, {**PLAIN, 6: 1}), "readings[1].t")
    refused(with_records({**PLAIN, 6: -(2**28)}), "readings[0].t")


SPELLINGS = [
    # what stands in a record, and a second spelling of the same value
    (b"\x00\x6btemp", b"\x00\x78\x0btemp"),
    (b"\x01\x63Cel", b"\x01\x78\x03Cel"),
    (b"\x01\x63Cel", b"\x01\x7f\x63Cel\xff"),
    (b"\x02\xc4\x82\x21", b"\x02\xd8\x04\x82\x21"),
    (b"\x02\xc4\x82\x21", b"\x02\xc4\x98\x02\x21"),
    (b"\xc4\x82\x21", b"\xc4\x82\x38\x01"),
    (b"\x19\x08\x66", b"\x1a\x00\x00\x08\x66"),
    (b"\x19\x08\x66", b"\x1b\x00\x00\x00\x00\x00\x00\x08\x66"),
    (b"\x19\x08\x66", b"\xc2\x42\x08\x66"),
    (b"\x22\x1a\x65\x53\xf1\x00", b"\x22\x1b\x00\x00\x00\x00\x65\x53\xf1\x00"),
    (b"\x22\x1a\x65\x53\xf1\x00", b"\x38\x02\x1a\x65\x53\xf1\x00"),
    (b"\x81\xa4", b"\x81\xb8\x04"),
    (b"\x81\xa4", b"\x81\xbf"),
    (b"\x01\x63Cel\x02\xc4\x82\x21\x19\x08\x66", b"\x02\xc4\x82\x21\x19\x08\x66\x01\x63Cel"),
]


@pytest.mark.parametrize(("valid", "other"), SPELLINGS)
def test_second_spellings_of_a_record(valid: bytes, other: bytes) -> None:
    assert valid in PAYLOAD
    raw = assemble(PROTECTED, PAYLOAD.replace(valid, other))
    with pytest.raises(WireError):
        statement.parse(raw)
    assert reference_outcome(raw) is None


@pytest.mark.parametrize(
    ("valid", "other"),
    [
        (b"\xa6\x01", b"\xb8\x06\x01"),
        (b"\x01\x26", b"\x01\x38\x06"),
        (b"\x03\x18\x70", b"\x03\x19\x00\x70"),
        (b"\x04\x58\x20", b"\x04\x59\x00\x20"),
        (b"\x3a\x00\x01\x00\x00\x07", b"\x3a\x00\x01\x00\x00\x18\x07"),
        (b"\x3a\x00\x01\x00\x02\x05", b"\x3a\x00\x01\x00\x02\x18\x05"),
        (b"\x3a\x00\x01\x00\x02\x05", b"\x3b\x00\x00\x00\x00\x00\x01\x00\x02\x05"),
        (b"\x01\x26\x03\x18\x70", b"\x03\x18\x70\x01\x26"),
    ],
)
def test_second_spellings_of_the_header(valid: bytes, other: bytes) -> None:
    assert PROTECTED.count(valid) == 1
    raw = assemble(PROTECTED.replace(valid, other), PAYLOAD)
    with pytest.raises(WireError):
        statement.parse(raw)
    assert reference_outcome(raw) is None


@pytest.mark.parametrize(
    "raw",
    [
        VALID[1:],
        b"\xd8\x12" + VALID[1:],
        b"\xd1" + VALID[1:],
        b"\xd9\xd9\xf7" + VALID,
        VALID + b"\x00",
        VALID[:-1],
        b"\xd2\x85" + VALID[2:] + b"\x00",
        b"\xd2\x9f" + VALID[2:] + b"\xff",
        assemble(PROTECTED, PAYLOAD, bytes(63)),
        assemble(PROTECTED, PAYLOAD, bytes(65)),
        assemble(PROTECTED, PAYLOAD, unprotected=b"\xa1\x01\x26"),
        assemble(PROTECTED, PAYLOAD, unprotected=b"\xb8\x00"),
        assemble(PROTECTED, b""),
        assemble(b"", PAYLOAD),
        b"\xd2\x84\x59\x00" + VALID[3:],
        b"\xd2\x84\x58\xff" + VALID[4:],
        b"\xd2\x84" + cbor.encode(PROTECTED) + b"\xa0\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",
    ],
)
def test_messages_of_another_shape(raw: bytes) -> None:
    with pytest.raises(WireError) as caught:
        statement.parse(raw)
    assert caught.value.reason == "shape"
    assert reference_outcome(raw) is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"_1": -8}, "alg"),
        ({"_3": 110}, "content type"),
        ({"_4": bytes(31)}, "kid"),
        ({"_4": bytes(33)}, "kid"),
        ({"__65537": 2**32}, "seq"),
        ({"__65537": -1}, "seq"),
        ({"__65538": bytes(31)}, "prev"),
        ({"__65539": 2**32}, "oldest"),
        ({"__65539": 8}, "oldest"),
        ({"__65537": 0, "__65539": 0}, "prev"),
        ({"_2": [1]}, "protected header"),
    ],
)
def test_header_fields_out_of_range(changes: dict[str, object], field: str) -> None:
    refused(with_header(**changes), field)


def test_the_bytes_that_cost_most_take_little_time() -> None:
    """Names that never end, records that break at their last byte: matching stays linear."""
    record = cbor.encode({0: "a" * 64, 1: "~" * 16, 2: 2**31 - 1, 6: 5})
    worst = [
        assemble(PROTECTED, b"\x98\x2a" + record[:-1] * 42),
        assemble(PROTECTED, b"\x98\x26" + record * 37 + record[:-1] + b"\x00"),
        assemble(PROTECTED, b"\x81\xa3\x00\x78\x40" + b"a" * 3700),
        assemble(PROTECTED, b"\x98\xff" + b"\xa3\x00\x61a\x01\x61" * 500),
        assemble(PROTECTED, b"\x98\xff" + b"\xa3\x00\x61a\x01\x61b\x02\x00" * 400),
    ]
    start = time.process_time()
    for raw in worst:
        assert len(raw) <= 4096
        with pytest.raises(WireError):
            statement.parse(raw)
    assert time.process_time() - start < 0.5


def test_readings_are_plain_tuples() -> None:
    assert statement.parse(VALID).readings == READINGS
