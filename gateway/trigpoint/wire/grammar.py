"""The grammar of statements (docs/protocol.md sections 3 and 4), as patterns over their bytes.

Determinism gives a valid statement one spelling, so its shape is a regular language, and the patterns *are* the rules.
Each branch is told by its first byte, so matching takes time linear in the input.
"""

from __future__ import annotations

import re
from functools import cache
from operator import itemgetter

from trigpoint.wire.errors import WireError

# Each grammar is the parts of a pattern, with the field that each reads. `.` matches any byte.

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
    rb"(?P<mantissa>[\x00-\x17\x20-\x37]|[\x18\x38][\x18-\xff]|[\x19\x39][\x01-\xff]."
    rb"|\x1a(?:[\x01-\x7f].|\x00[\x01-\xff])..|\x3a(?!\x7f\xff\xff\xff)(?:[\x01-\x7f].|\x00[\x01-\xff])..)",
)
_TIME_AFTER = (
    "t",
    rb"(?(timed)\x06(?P<t>[\x01-\x17]|\x18[\x18-\xff]|\x19[\x01-\xff].|\x1a(?:[\x01-\x0f].|\x00[\x01-\xff])..))",
)
_TIME_BEFORE = (
    "t",
    rb"(?(timed)\x06(?P<t>[\x20-\x37]|\x38[\x18-\xff]|\x39[\x01-\xff]."
    rb"|\x3a(?!\x0f\xff\xff\xff)(?:[\x01-\x0f].|\x00[\x01-\xff])..))",
)
_BASE_TIME = ("bt", rb"\x22(?P<bt>\x1a[\x10-\xff]...|\x1b\x00\x00\x00\x01....)")

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


HEADER = _compiled(_HEADER)
"""All before the payload. Groups: `protected` and `unprotected` begin where these headers do, `length` is the payload's
head, and the others are fields."""

FIRST_ABSOLUTE = _record_matcher(_FIRST_ABSOLUTE)
ABSOLUTE = _record_matcher(_ABSOLUTE)
RELATIVE = _record_matcher(_RELATIVE)
"""Records: the first of a pack that has a base time, all others of it, and those of a pack that has none. Groups: the
whole; `timed`; name, unit and exponent; `mantissa`; `t`; and of the first `bt`."""


def header_fault(raw: bytes) -> WireError:
    """Name what is wrong with the header of a statement that has not the right one."""
    return _fault(raw, 0, _HEADER)[1]


def pack_fault(pack: bytes, position: int, count: int) -> WireError:
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
