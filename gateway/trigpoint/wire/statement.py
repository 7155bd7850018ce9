"""The statement: what a board signs (docs/protocol.md sections 3 and 4).

A gateway parses each statement once, and all other work on it should cost little beside its P-256 verification (about
60 us). The general way (decode with cbor2, encode again, compare, then check each field) was measured at three times
the cost of matching `grammar`'s patterns, and has the rules spread over as many lines of code. But to take a statement
of 18 readings apart into 90 pieces costs, too. So what boards send again and again is read by its layout, at a third.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import cycle, islice
from operator import itemgetter, ne
from typing import NamedTuple

from trigpoint.wire import cbor, grammar
from trigpoint.wire.errors import WireError
from trigpoint.wire.layout import Layout, Layouts, Number

MAX_SIZE = 4_096
MAX_READINGS = 255
NO_PREV = bytes(32)
"""`prev` of a key's first statement."""

DOUBTFUL_AFTER_S = 600
"""How far a board's clock may run ahead of the arrival before a reading's time is marked doubtful."""

LABEL_SEQ = -65537
LABEL_PREV = -65538
LABEL_OLDEST = -65539

_SIG_STRUCTURE = b"\x84\x6aSignature1"
"""Array of four, and its first item, the context (RFC 9052 section 4.4)."""

_PROTECTED = 4
"""Where the content of the protected header is in a statement: behind its tag, array, and head of two bytes."""

_SIGNATURE = 2 + 64
"""Bytes of the signature at a statement's end, with its head."""


class Reading(NamedTuple):
    """One quantity at one time: value = mantissa * 10 ** exponent, in `unit`.

    Attributes:
        name: 1 to 64 characters, local to the board.
        unit: SenML unit (RFC 8428 section 12.1).
        mantissa: -(2^31 - 1) to 2^31 - 1.
        exponent: -18 to 0; 0 for a value written as an integer or as `4([0, m])`.
        t: seconds, added to the statement's base time; without one, counted from the moment of signing, so 0 or less.
    """

    name: str
    unit: str
    mantissa: int
    exponent: int
    t: int


Kind = tuple[str, str, int]
"""Name, unit and exponent of a reading."""


class Columns(NamedTuple):
    """The readings of a statement, without an object for each: whoever adds them up works on these.

    Attributes:
        kinds: what is measured, in turn: reading number i is of `kinds[i % len(kinds)]`. No shorter row would say it.
        mantissas: of each reading.
        offsets: `t` of each reading.
    """

    kinds: tuple[Kind, ...]
    mantissas: tuple[int, ...]
    offsets: tuple[int, ...]


class Statement(NamedTuple):
    """A statement of the right shape. Whether its signature holds is for `PublicKey.verify` to say.

    Attributes:
        raw: the whole message, tag included.
        kid: board id, 32 bytes.
        seq: 0 to 2^32 - 1.
        prev: entry of the statement before, 32 bytes; zeros at seq 0.
        oldest: lowest seq that the board still holds, at most seq.
        base_time: seconds since 1970, or None if the times are relative.
        columns: the 1 to 255 readings, in the form in which they are parsed.
    """

    raw: bytes
    kid: bytes
    seq: int
    prev: bytes
    oldest: int
    base_time: int | None
    columns: Columns

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The readings one by one, in their order."""
        kinds, mantissas, offsets = self.columns
        return tuple(
            Reading(name, unit, mantissa, exponent, t)
            for (name, unit, exponent), mantissa, t in zip(cycle(kinds), mantissas, offsets, strict=False)
        )

    @property
    def entry(self) -> bytes:
        """SHA-256 of the whole statement: its entry in the log, and the next statement's `prev`."""
        return hashlib.sha256(self.raw).digest()

    @property
    def protected(self) -> bytes:
        """Content of the protected header's byte string."""
        return self.raw[_PROTECTED : self._unprotected]

    @property
    def payload(self) -> bytes:
        """Content of the payload's byte string: the SenML pack."""
        head = self._unprotected + 1
        return self.raw[head + max(1, self.raw[head] - 0x56) : -_SIGNATURE]

    @property
    def signature(self) -> bytes:
        """The signature, r || s, 64 bytes."""
        return self.raw[-64:]

    def to_be_signed(self) -> bytes:
        """Return the Sig_structure whose SHA-256 is signed (RFC 9052 section 4.4); see `sig_structure`."""
        # Both byte strings are spelled there as they are here, so nothing is encoded again.
        raw, unprotected = self.raw, self._unprotected
        return b"".join((_SIG_STRUCTURE, raw[2:unprotected], b"\x40", raw[unprotected + 1 : -_SIGNATURE]))

    @property
    def _unprotected(self) -> int:
        """Where the unprotected header is: behind the protected one, which says how long it is."""
        return _PROTECTED + self.raw[_PROTECTED - 1]


def sig_structure(protected: bytes, payload: bytes) -> bytes:
    """Return the encoded Sig_structure with context `Signature1` and empty external_aad."""
    return b"".join(
        (_SIG_STRUCTURE, cbor.head(2, len(protected)), protected, b"\x40", cbor.head(2, len(payload)), payload)
    )


def reading_time(base_time: int | None, t: int, arrival_ms: int) -> tuple[int, str]:
    """Return when a reading was taken, and on whose word (protocol section 4).

    Args:
        base_time: the statement's base time in seconds since 1970, or None.
        t: the reading's own offset, in seconds.
        arrival_ms: when the statement arrived, in milliseconds since 1970.

    Returns:
        Seconds since 1970, and `board`, `arrival` (the gateway's estimate) or `doubtful` (the board says it lies in
        the future).
    """
    arrival_s = arrival_ms // 1000
    if base_time is None:
        return arrival_s + t, "arrival"
    time_s = base_time + t
    return time_s, "doubtful" if time_s > arrival_s + DOUBTFUL_AFTER_S else "board"


def parse(raw: bytes) -> Statement:
    """Read a statement; its signature is not checked.

    Raises:
        WireError: `size` unless there are 1 to 4,096 bytes; `shape`, with the field at fault, for every byte
            that sections 1, 3 and 4 of the protocol do not allow.
    """
    if not 1 <= len(raw) <= MAX_SIZE:
        raise WireError("size", "statement", f"{len(raw)} bytes, 1 to {MAX_SIZE} allowed")
    known = _LAYOUTS.read(raw)
    if known is not None:
        return _read_again(raw, *known)
    header = grammar.HEADER.match(raw)
    if header is None:
        raise grammar.header_fault(raw)
    kid, seq_item, prev, oldest_item, length = header.group("kid", "seq", "prev", "oldest", "length")
    start, end = header.start("protected"), header.start("unprotected")
    if raw[start - 1] != end - start:
        raise WireError("shape", "protected header", "its length is not that of its six entries")
    payload_start = header.end()
    payload_end = payload_start + _integer(length)
    if raw[payload_end : payload_end + 2] != b"\x58\x40" or len(raw) != payload_end + _SIGNATURE:
        raise WireError("shape", "signature", "not a byte string of 64 bytes that ends the message")
    seq, oldest = _integer(seq_item), _integer(oldest_item)
    _check_chain(seq, prev, oldest)
    base_time, columns = _parse_pack(raw[payload_start:payload_end])
    statement = Statement(raw, kid, seq, prev, oldest, base_time, columns)
    if len(columns.offsets) > 1 and _LAYOUTS.is_worth_learning():
        _learn(statement)
    return statement


def _check_chain(seq: int, prev: bytes, oldest: int) -> None:
    if seq == 0 and prev != NO_PREV:
        raise WireError("shape", "prev", "not zeros at seq 0")
    if oldest > seq:
        raise WireError("shape", "oldest", f"{oldest} is above seq {seq}")


class _Places(NamedTuple):
    """What is where in statements of a layout, and what they have in common.

    Attributes:
        kid: where it is in the message.
        prev: likewise.
        base_time: its place among the integers; None if times are relative.
        mantissas: takes them out of the integers.
        offsets: likewise; behind the integers there is a zero for those that are not in the message.
        kinds: of the readings, see `Columns`.
    """

    kid: slice
    prev: slice
    base_time: int | None
    mantissas: Callable[[Sequence[int]], tuple[int, ...]]
    offsets: Callable[[Sequence[int]], tuple[int, ...]]
    kinds: tuple[Kind, ...]


_LAYOUTS: Layouts[_Places] = Layouts()


def _read_again(raw: bytes, values: Sequence[int], places: _Places) -> Statement:
    """Read a statement of a known layout, given its integers."""
    seq, oldest, prev = values[0], values[1], raw[places.prev]
    _check_chain(seq, prev, oldest)
    base_time = None if places.base_time is None else values[places.base_time]
    values = (*values, 0)
    columns = Columns(places.kinds, places.mantissas(values), places.offsets(values))
    return Statement(raw, raw[places.kid], seq, prev, oldest, base_time, columns)


def _learn(statement: Statement) -> None:
    """Learn the layout of a statement of several readings."""
    raw, is_relative = statement.raw, statement.base_time is None
    header = grammar.HEADER.match(raw)
    assert header is not None
    numbers = [Number(*header.span(name), 0, 2**32 - 1) for name in ("seq", "oldest")]
    base_time: int | None = None
    mantissas, offsets = [], []
    position = header.end() + (2 if raw[header.end()] == 0x98 else 1)
    record = grammar.RELATIVE if is_relative else grammar.FIRST_ABSOLUTE
    for _ in statement.columns.offsets:
        match = record.match(raw, position)
        assert match is not None
        position = match.end()
        mantissas.append(len(numbers))
        numbers.append(Number(*match.span("mantissa"), 0, 2**31 - 1 - (raw[match.start("mantissa")] >> 5)))
        offsets.append(len(numbers) if match["timed"] else -1)
        if match["timed"]:
            numbers.append(Number(*match.span("t"), *((0, 2**28 - 2) if is_relative else (1, 2**28 - 1))))
        if record is grammar.FIRST_ABSOLUTE:
            base_time, record = len(numbers), grammar.ABSOLUTE
            numbers.append(Number(*match.span("bt"), 2**28, 2**33 - 1))
    kid, prev = header.span("kid"), header.span("prev")
    _LAYOUTS.learn(
        Layout(raw, numbers, (kid, prev, (len(raw) - 64, len(raw)))),
        _Places(
            slice(*kid), slice(*prev), base_time, itemgetter(*mantissas), itemgetter(*offsets), statement.columns.kinds
        ),
    )


def _parse_pack(pack: bytes) -> tuple[int | None, Columns]:
    """Read the payload: the base time, if it has one, and the readings."""
    count, position = pack[0] & 0x1F, 1
    if pack[0] == 0x98 and len(pack) > 1 and pack[1] >= 24:
        count, position = pack[1], 2
    elif not 0x81 <= pack[0] <= 0x97:
        raise WireError("shape", "readings", f"not an array of 1 to {MAX_READINGS} records")
    start = position
    first = grammar.FIRST_ABSOLUTE.match(pack, position)
    if first is None:
        base_time = None
        records = grammar.RELATIVE.findall(pack, position)
    else:
        *record, base = first.groups(b"")
        base_time = _integer(base)
        records = [record, *grammar.ABSOLUTE.findall(pack, first.end())]
    if len(records) != count:
        raise grammar.pack_fault(pack, start, count)
    wholes, _, kinds, mantissas, offsets = zip(*records, strict=True)
    # findall skips what does not match, so all is records only if their lengths add up.
    if sum(map(len, wholes)) != len(pack) - start:
        raise grammar.pack_fault(pack, start, count)
    return base_time, Columns(_turn(kinds), tuple(map(_integer, mantissas)), tuple(map(_integer, offsets)))


def _turn(items: Sequence[bytes]) -> tuple[Kind, ...]:
    """Return the kinds of records, without those that come again and again in the same order."""
    length = len(set(items))
    if any(map(ne, items, islice(items, length, None))):
        length = len(items)
    return tuple(map(_kind, items[:length]))


@lru_cache(maxsize=16_384)
def _integer(item: bytes) -> int:
    """Return the number in an integer's encoding, or in the head of a byte string; 0 for none.

    What a board measures and when it does so is much the same from one statement to the next, hence the cache.
    """
    if not item:
        return 0
    number = item[0] & 0x1F if len(item) == 1 else int.from_bytes(item[1:], "big")
    return ~number if item[0] & 0x20 else number


@lru_cache(maxsize=1_024)
def _kind(item: bytes) -> Kind:
    """Return name, unit and exponent of a record from their encoding; a gateway meets the same few again and again."""
    name, end = _text(item, 1, b"\x01")
    unit, end = _text(item, end + 1, b"\x02")
    # After the key of v stands the value's number, or first 4([exponent, ...]): two bytes of heads and the exponent.
    return name, unit, _integer(item[end + 3 :]) if len(item) > end + 1 else 0


def _text(item: bytes, start: int, next_key: bytes) -> tuple[str, int]:
    """Return the text string that starts there and has the next key after it, and where it ends."""
    length, body = (item[start + 1], start + 2) if item[start] == 0x78 else (item[start] - 0x60, start + 1)
    end = item.index(next_key, body)
    text = item[body:end].decode()
    if len(text) != length:
        raise WireError("shape", "readings", f"the text {text!r} has not the length of {length} that it claims")
    return text, end


def build(
    *,
    kid: bytes,
    seq: int,
    prev: bytes,
    oldest: int,
    base_time: int | None,
    readings: Sequence[Reading],
    sign: Callable[[bytes], bytes],
) -> bytes:
    """Encode a statement as a board would, for tests and load generators.

    The values are not checked: a test of refusals needs those that no board would send.

    Args:
        kid: board id.
        seq: number of the statement.
        prev: entry of the one before.
        oldest: lowest seq still held.
        base_time: seconds since 1970, or None for relative times.
        readings: written as integers where the exponent is 0.
        sign: makes the 64-byte signature of a Sig_structure.
    """
    protected = cbor.encode({1: -7, 3: 112, 4: kid, LABEL_SEQ: seq, LABEL_PREV: prev, LABEL_OLDEST: oldest})
    records: list[dict[int, object]] = []
    for reading in readings:
        value = cbor.Decimal(reading.exponent, reading.mantissa) if reading.exponent else reading.mantissa
        record: dict[int, object] = {0: reading.name, 1: reading.unit, 2: value}
        if reading.t:
            record[6] = reading.t
        records.append(record)
    if base_time is not None:
        records[0][-3] = base_time
    payload = cbor.encode(records)
    return cbor.encode(cbor.Tag(cbor.TAG_SIGN1, [protected, {}, payload, sign(sig_structure(protected, payload))]))
