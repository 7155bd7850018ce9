"""Cursors: where the next page begins, as text that only the query which gave it can use.

A cursor grants nothing, for what it leads to is checked again, so it needs no secret. It carries a checksum bound
to the query instead: a cursor that was cut, changed or taken to another query is refused rather than misread.
It names a place in append-only data (a seq, a leaf index), never an offset, so appends between two pages
neither repeat nor hide anything.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode

from trigpoint.api.problems import ProblemError

PATTERN = r"^[A-Za-z0-9_-]{22,64}$"
_CHECK_SIZE = 8
_NUMBER_MAX = 2**53  # anybody can compute the checksum, so what it covers is bounded as well
_CURSOR = re.compile(PATTERN)


def encode(query: str, *place: int) -> str:
    """Return the cursor of a place in a query's answer.

    Args:
        query: all that the query asks for but its page size, as text.
        place: one to four numbers, 0 to 2^53 - 1.
    """
    packed = struct.pack(f">{len(place)}q", *place)
    return urlsafe_b64encode(packed + _check(query, packed)).decode().rstrip("=")


def decode(query: str, cursor: str, length: int) -> tuple[int, ...]:
    """Return the `length` numbers of a cursor.

    Raises:
        ProblemError: 400, it is not a cursor that this query gave.
    """
    if _CURSOR.fullmatch(cursor):
        try:
            raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except (binascii.Error, ValueError):
            raw = b""
        packed, check = raw[:-_CHECK_SIZE], raw[-_CHECK_SIZE:]
        if len(packed) == 8 * length and check == _check(query, packed):
            place: tuple[int, ...] = struct.unpack(f">{length}q", packed)
            if all(0 <= number < _NUMBER_MAX for number in place):
                return place
    raise ProblemError(400, "bad-cursor", "cursor: not one that this query gave; begin again without it")


def _check(query: str, packed: bytes) -> bytes:
    return hashlib.sha256(b"trigpoint cursor\0" + query.encode() + b"\0" + packed).digest()[:_CHECK_SIZE]
