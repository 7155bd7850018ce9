"""The dear half of taking in a statement, which needs no state: parse it, verify it, add up its readings."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from trigpoint.store.hours import Cell, Key, cells
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.statement import parse

_KEYS_KEPT = 8_192


class Claim(NamedTuple):
    """What a well formed statement claims, and no more than is needed to decide on it and store it.

    Attributes:
        kid: board id, 32 bytes.
        seq: its number.
        prev: entry of the one before, 32 bytes.
        oldest: the lowest seq that the board still holds.
        entry: its own entry, 32 bytes.
        signed: whether the board's key has signed it; None if nobody has looked.
        hours: what its readings add to the aggregates; empty unless it was verified.
    """

    kid: bytes
    seq: int
    prev: bytes
    oldest: int
    entry: bytes
    signed: bool | None
    hours: list[tuple[Key, Cell]]


class Fault(NamedTuple):
    """What is wrong with a message: `size` or `shape`, and a sentence."""

    reason: str
    detail: str


class Signer(NamedTuple):
    """The board whose signature is to be looked for: its number and its key, 32 bytes each."""

    number: int
    x: bytes
    y: bytes


def check(payload: bytes, arrival_ms: int, signer: Signer | None) -> Claim | Fault:
    """Parse a message, and verify it if `signer` says whose it should be. Never raises over what is in it."""
    try:
        statement = parse(payload)
    except WireError as error:
        return Fault(error.reason, str(error))
    signed, hours = None, []
    if signer is not None:
        signed = _public_key(signer.x, signer.y).verify(statement.signature, statement.to_be_signed())
        if signed:
            hours = cells(signer.number, statement, arrival_ms)
    return Claim(statement.kid, statement.seq, statement.prev, statement.oldest, statement.entry, signed, hours)


@lru_cache(maxsize=_KEYS_KEPT)
def _public_key(x: bytes, y: bytes) -> PublicKey:
    return PublicKey(x, y)
