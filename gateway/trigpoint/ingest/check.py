"""The dear half of taking in a statement, which needs no state: parse it, verify it, add up its readings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from trigpoint.store.hours import Cell, Key, cells
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.statement import Statement, parse

_KEYS_KEPT = 4_096

Signer = tuple[int, bytes]
"""The board whose signature is to be looked for: its number, and x and y of its key together, 64 bytes."""

Job = tuple[bytes, int, Signer | None]
"""A message to check: its payload, its arrival (milliseconds since 1970), and whose it should be if that matters."""


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


Finding = tuple[bytes, int, bytes, int, bytes, bool | None, list[tuple[Key, Cell]]] | tuple[str, str]
"""A claim or a fault as a plain tuple, which crosses processes."""


def check(payload: bytes, arrival_ms: int, signer: Signer | None) -> Finding:
    """Parse a message, and verify it if `signer` says whose it should be. Never raises over what is in it."""
    (finding,) = check_all([(payload, arrival_ms, signer)])
    return finding


def check_all(jobs: Sequence[Job]) -> list[Finding]:
    """Check messages, each as `check` does."""
    # Step by step: a verification leaves nothing of ours in the processor's nearest caches, so to parse and to add up
    # between two of them costs a sixth more.
    parsed: list[Statement | WireError] = []
    for payload, _, _ in jobs:
        try:
            parsed.append(parse(payload))
        except WireError as error:
            parsed.append(error)
    signed = [
        None
        if signer is None or isinstance(statement, WireError)
        else _public_key(signer[1]).verify(statement.signature, statement.to_be_signed())
        for statement, (_, _, signer) in zip(parsed, jobs, strict=True)
    ]
    findings: list[Finding] = []
    for statement, is_signed, (_, arrival_ms, signer) in zip(parsed, signed, jobs, strict=True):
        if isinstance(statement, WireError):
            findings.append((statement.reason, str(statement)))
            continue
        hours = cells(signer[0], statement, arrival_ms) if is_signed and signer is not None else []
        _, kid, seq, prev, oldest, _, _ = statement
        findings.append((kid, seq, prev, oldest, statement.entry, is_signed, hours))
    return findings


def understood(finding: Finding) -> Claim | Fault:
    """Give the fields of a finding their names."""
    return Fault._make(finding) if len(finding) == 2 else Claim._make(finding)


@lru_cache(maxsize=_KEYS_KEPT)
def _public_key(point: bytes) -> PublicKey:
    return PublicKey(point[:32], point[32:])
