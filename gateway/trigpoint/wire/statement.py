"""The statement: what a board signs (docs/protocol.md sections 3 and 4).

A gateway parses each statement once, and all other work on it should cost little beside its P-256
verification (about 60 us). Determinism makes that possible: a valid statement has one spelling, so the shape is a
regular language, and the patterns below *are* the grammar. Each branch is told by its first byte, so matching
takes time linear in the input. The general way (decode with cbor2, encode again, compare, then check each
field) was measured at three times the cost and has the acceptance rules spread over as many lines of code.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from operator import itemgetter
from typing import NamedTuple

from trigpoint.wire import cbor
from trigpoint.wire.errors import WireError

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
    """The readings of a statement as three rows of the same length: what is measured, mantissas, and times `t`.

    Whoever adds readings up works on these: to make a `Reading` of each would cost as much as all else.
    """

    kinds: list[Kind]
    mantissas: list[int]
    offsets: list[int]


@dataclass(frozen=True)
class Statement:
    """A statement of the right shape. Whether its signature holds is for `PublicKey.verify` to say.

    Attributes:
        raw: the whole message, tag included.
        protected: content of the protected header's byte string.
        payload: content of the payload's byte string: the SenML pack.
        signature: r || s, 64 bytes.
        kid: board id, 32 bytes.
        seq: 0 to 2^32 - 1.
        prev: entry of the statement before, 32 bytes; zeros at seq 0.
        oldest: lowest seq that the board still holds, at most seq.
        base_time: seconds since 1970, or None if the times are relative.
        columns: the 1 to 255 readings, in the form in which they are parsed.
    """

    raw: bytes
    protected: bytes
    payload: bytes
    signature: bytes
    kid: bytes
    seq: int
    prev: bytes
    oldest: int
    base_time: int | None
    columns: Columns

    @cached_property
    def readings(self) -> tuple[Reading, ...]:
        """The readings one by one, in their order."""
        return tuple(
            Reading(name, unit, mantissa, exponent, t)
            for (name, unit, exponent), mantissa, t in zip(*self.columns, strict=True)
        )

    @cached_property
    def entry(self) -> bytes:
        """SHA-256 of the whole statement: its entry in the log, and the next statement's `prev`."""
        return hashlib.sha256(self.raw).digest()

    def to_be_signed(self) -> bytes:
        """Return the Sig_structure whose SHA-256 is signed (RFC 9052 section 4.4)."""
        return sig_structure(self.protected, self.payload)


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


# The grammar, as the parts of each pattern with the field that each reads. `.` matches any byte.

_Grammar = tuple[tuple[str, bytes], ...]

_UINT32 = rb"(?:[\x00-\x17]|\x18[\x18-\xff]|\x19[\x01-\xff].|\x1a(?:[\x01-\xff].|\x00[\x01-\xff])..)"

_HEADER: _Grammar = (
    ("tag", rb"\xd2"),
    ("message", rb"\x84"),
    ("protected header", rb"\x58.(?P<protected>\xa6)"),
    ("alg", rb"\x01\x26"),
    ("content type", rb"\x03\x18\x70"),
    ("kid", rb"\x04\x58\x20(?P<kid>.{32})"),
    ("seq", rb"\x3a\x00\x01\x00\x00(?P<seq>" + _UINT32 + rb")"),
    ("prev", rb"\x3a\x00\x01\x00\x01\x58\x20(?P<prev>.{32})"),
    ("oldest", rb"\x3a\x00\x01\x00\x02(?P<oldest>" + _UINT32 + rb")"),
    ("unprotected header", rb"(?P<unprotected>\xa0)"),
    ("payload", rb"(?P<length>[\x41-\x57]|\x58[\x18-\xff]|\x59[\x01-\x10].)"),
)

# A record's map has one pair more when it has a time, which the group `timed` remembers.
_MAP = ("record", rb"(?:\xa3|(?P<timed>\xa4))")
_MAP_WITH_BASE = ("record", rb"(?:\xa4|(?P<timed>\xa5))")
# Neither alphabet holds the key that follows, so a text ends where its alphabet does; `_text` compares its length.
_NAME = ("n", rb"\x00(?:[\x61-\x77]|\x78[\x18-\x40])[A-Za-z0-9][A-Za-z0-9\-:./_]{0,63}(?=\x01)")
_UNIT = ("u", rb"\x01[\x61-\x70][\x20-\x7e]{1,16}(?=\x02)")
_EXPONENT = ("v", rb"\x02(?:\xc4\x82[\x00\x20-\x31])?")
_MANTISSA = (
    "v",
    rb"([\x00-\x17\x20-\x37]|[\x18\x38][\x18-\xff]|[\x19\x39][\x01-\xff]."
    rb"|\x1a(?:[\x01-\x7f].|\x00[\x01-\xff])..|\x3a(?!\x7f\xff\xff\xff)(?:[\x01-\x7f].|\x00[\x01-\xff])..)",
)
_TIME_AFTER = (
    "t",
    rb"(?(timed)\x06([\x01-\x17]|\x18[\x18-\xff]|\x19[\x01-\xff].|\x1a(?:[\x01-\x0f].|\x00[\x01-\xff])..))",
)
_TIME_BEFORE = (
    "t",
    rb"(?(timed)\x06([\x20-\x37]|\x38[\x18-\xff]|\x39[\x01-\xff]."
    rb"|\x3a(?!\x0f\xff\xff\xff)(?:[\x01-\x0f].|\x00[\x01-\xff])..))",
)
_BASE_TIME = ("bt", rb"\x22(\x1a[\x10-\xff]...|\x1b\x00\x00\x00\x01....)")

_KIND = (_NAME, _UNIT, _EXPONENT)
_FIRST_ABSOLUTE: _Grammar = (_MAP_WITH_BASE, *_KIND, _MANTISSA, _TIME_AFTER, _BASE_TIME)
_ABSOLUTE: _Grammar = (_MAP, *_KIND, _MANTISSA, _TIME_AFTER)
_RELATIVE: _Grammar = (_MAP, *_KIND, _MANTISSA, _TIME_BEFORE)


@cache
def _compiled(grammar: _Grammar) -> re.Pattern[bytes]:
    return re.compile(b"".join(part for _, part in grammar), re.DOTALL)


def _record_matcher(grammar: _Grammar) -> re.Pattern[bytes]:
    """Compile a record's grammar with two groups more: all of the record, and its name, unit and exponent together."""
    map_head, name, unit, exponent, *rest = [part for _, part in grammar]
    return re.compile(b"(%b(%b%b%b)%b)" % (map_head, name, unit, exponent, b"".join(rest)), re.DOTALL)


_MATCH_HEADER = _compiled(_HEADER)
_MATCH_FIRST_ABSOLUTE = _record_matcher(_FIRST_ABSOLUTE)
_MATCH_ABSOLUTE = _record_matcher(_ABSOLUTE)
_MATCH_RELATIVE = _record_matcher(_RELATIVE)


def parse(raw: bytes) -> Statement:
    """Read a statement; its signature is not checked.

    Raises:
        WireError: `size` unless there are 1 to 4,096 bytes; `shape`, with the field at fault, for every byte
            that sections 1, 3 and 4 of the protocol do not allow.
    """
    if not 1 <= len(raw) <= MAX_SIZE:
        raise WireError("size", "statement", f"{len(raw)} bytes, 1 to {MAX_SIZE} allowed")
    header = _MATCH_HEADER.match(raw)
    if header is None:
        raise _fault(raw, 0, _HEADER)[1]
    kid, seq_item, prev, oldest_item, length = header.group("kid", "seq", "prev", "oldest", "length")
    start, end = header.start("protected"), header.start("unprotected")
    if raw[start - 1] != end - start:
        raise WireError("shape", "protected header", "its length is not that of its six entries")
    payload_start = header.end()
    payload_end = payload_start + _integer(length)
    if raw[payload_end : payload_end + 2] != b"\x58\x40" or len(raw) != payload_end + 66:
        raise WireError("shape", "signature", "not a byte string of 64 bytes that ends the message")
    seq, oldest = _integer(seq_item), _integer(oldest_item)
    if seq == 0 and prev != NO_PREV:
        raise WireError("shape", "prev", "not zeros at seq 0")
    if oldest > seq:
        raise WireError("shape", "oldest", f"{oldest} is above seq {seq}")
    payload = raw[payload_start:payload_end]
    base_time, columns = _parse_pack(payload)
    return Statement(raw, raw[start:end], payload, raw[payload_end + 2 :], kid, seq, prev, oldest, base_time, columns)


def _parse_pack(pack: bytes) -> tuple[int | None, Columns]:
    """Read the payload: the base time, if it has one, and the readings."""
    count, position = pack[0] & 0x1F, 1
    if pack[0] == 0x98 and len(pack) > 1 and pack[1] >= 24:
        count, position = pack[1], 2
    elif not 0x81 <= pack[0] <= 0x97:
        raise WireError("shape", "readings", f"not an array of 1 to {MAX_READINGS} records")
    start = position
    first = _MATCH_FIRST_ABSOLUTE.match(pack, position)
    if first is None:
        base_time = None
        records = _MATCH_RELATIVE.findall(pack, position)
    else:
        *record, base = first.groups(b"")
        base_time = _integer(base)
        records = [record, *_MATCH_ABSOLUTE.findall(pack, first.end())]
    if len(records) != count:
        raise _pack_fault(pack, start, count)
    wholes, _, kinds, mantissas, offsets = zip(*records, strict=True)
    # findall skips what does not match, so all is records only if their lengths add up.
    if sum(map(len, wholes)) != len(pack) - start:
        raise _pack_fault(pack, start, count)
    return base_time, Columns(list(map(_kind, kinds)), list(map(_integer, mantissas)), list(map(_integer, offsets)))


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


def _pack_fault(pack: bytes, position: int, count: int) -> WireError:
    """Name what is wrong with a payload that is not `count` records."""
    grammars = [_RELATIVE, _FIRST_ABSOLUTE]
    for number in range(count):
        matches = [(match, grammar) for grammar in grammars if (match := _compiled(grammar).match(pack, position))]
        if not matches:
            faults = [_fault(pack, position, grammar, f"readings[{number}].") for grammar in grammars]
            return max(faults, key=itemgetter(0))[1]
        match, grammar = matches[0]
        grammars = [_RELATIVE if grammar is _RELATIVE else _ABSOLUTE]
        position = match.end()
    return WireError("shape", "readings", "bytes after the last record")


def _fault(data: bytes, position: int, grammar: _Grammar, parent: str = "") -> tuple[tuple[int, bool], WireError]:
    """Name the first part that does not match, of a grammar that does not match as a whole.

    Returns:
        How well the grammar fits: bytes matched, and whether the next one is the key of a base time where one should
            be, which tells a bad base time from a bad relative time. And the error.
    """
    matched, end = 0, position
    while matched < len(grammar) - 1 and (match := _compiled(grammar[: matched + 1]).match(data, position)):
        matched, end = matched + 1, match.end()
    part = grammar[matched]
    fits = end, part is _BASE_TIME and data[end : end + 1] == b"\x22"
    return fits, WireError("shape", parent + part[0], "missing, out of range or not in its deterministic encoding")


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
