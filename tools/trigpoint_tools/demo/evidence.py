"""Reads what came out, without asking those who did it: the gateway's database, a board's flash, and the chain."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from contextlib import closing
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from trigpoint.store.database import open_database
from trigpoint.wire.errors import WireError
from trigpoint.wire.statement import Statement, parse, reading_time

from trigpoint_tools.demo.accounting import REPLAY, Forgery, Stored, Timed, Value

_MARK = struct.Struct("<2sHI32sI")
"""What the board's journal writes before a statement: magic, length, seq, SHA-256, CRC (device/trig/journal.py)."""


class Counts(NamedTuple):
    """How far the gateway is."""

    statements: int
    readings: int
    refused: int


def counts(database: Path) -> Counts:
    """Return what the gateway has stored and refused by now."""
    with closing(open_database(database, read_only=True)) as connection:
        raws = [raw for (raw,) in connection.execute("SELECT raw FROM statements")]
        refused = "SELECT (SELECT count(*) FROM rejected) + (SELECT count(*) FROM evidence)"
        return Counts(len(raws), sum(_readings(raw) for raw in raws), connection.execute(refused).fetchone()[0])


@lru_cache(maxsize=65_536)
def _readings(raw: bytes) -> int:
    return len(parse(raw).readings)


def arrived(database: Path, forgeries: Sequence[Forgery]) -> bool:
    """Tell whether the gateway has had all of these messages, whatever it did with them. Replays leave no trace."""
    raws = {forgery.raw for forgery in forgeries if forgery.kind != REPLAY}
    with closing(open_database(database, read_only=True)) as connection:
        for table in ("rejected", "evidence", "statements"):
            raws -= {raw for (raw,) in connection.execute(f"SELECT raw FROM {table}")}  # noqa: S608
    return not raws


def stored_statements(database: Path, kid: bytes) -> list[Statement]:
    """Return the statements of one board that the gateway has stored."""
    with closing(open_database(database, read_only=True)) as connection:
        rows = connection.execute(
            "SELECT raw FROM statements JOIN boards ON number = board WHERE kid = ? ORDER BY seq", (kid,)
        )
        return [parse(raw) for (raw,) in rows]


def stored(database: Path) -> Stored:
    """Return all that the gateway has stored, in one snapshot."""
    with closing(open_database(database, read_only=True)) as connection:
        connection.execute("BEGIN")
        statements = [parse(raw) for (raw,) in connection.execute("SELECT raw FROM statements ORDER BY leaf_index")]
        readings: dict[bytes, list[Value]] = {}
        for statement in statements:
            readings.setdefault(statement.kid, []).extend(
                Value(reading.name, reading.mantissa, reading.exponent) for reading in statement.readings
            )
        refused: dict[str, set[bytes]] = {}
        for reason, raw in connection.execute("SELECT reason, raw FROM rejected"):
            refused.setdefault(reason, set()).add(raw)
        lost = connection.execute("SELECT coalesce(sum(to_seq - from_seq + 1), 0) FROM lost").fetchone()[0]
        return Stored(
            statements=statements,
            readings=readings,
            flagged=frozenset(kid for (kid,) in connection.execute("SELECT kid FROM boards WHERE flagged = 1")),
            evidence=frozenset(raw for (raw,) in connection.execute("SELECT raw FROM evidence")),
            refused={reason: frozenset(raws) for reason, raws in refused.items()},
            declared_lost=lost,
        )


def stored_times(database: Path, kid: bytes) -> list[Timed]:
    """Return one board's readings in the log's order, with the times that are the board's own."""
    times: list[Timed] = []
    with closing(open_database(database, read_only=True)) as connection:
        rows = connection.execute(
            "SELECT raw, arrival_ms FROM statements JOIN boards ON number = board WHERE kid = ? ORDER BY leaf_index",
            (kid,),
        )
        for raw, arrival_ms in rows:
            statement = parse(raw)
            for reading in statement.readings:
                time_s, source = reading_time(statement.base_time, reading.t, arrival_ms)
                value = Value(reading.name, reading.mantissa, reading.exponent)
                times.append(Timed(value, time_s if source == "board" else None))
    return times


def journaled(segments: Iterable[bytes]) -> list[Statement]:
    """Return the statements in the segment files of a board's journal, by looking for them from end to end.

    It trusts no index and no count of the firmware: a statement is there if its bytes are, and hash as they should.
    """
    found: list[Statement] = []
    for segment in segments:
        at = segment.find(b"TR")
        while at >= 0:
            statement = _statement_at(segment, at)
            if statement is not None:
                found.append(statement)
            at = segment.find(b"TR", at + (_MARK.size + len(statement.raw) if statement else 1))
    return found


def _statement_at(segment: bytes, at: int) -> Statement | None:
    if at + _MARK.size > len(segment):
        return None
    _, length, _, entry, _ = _MARK.unpack_from(segment, at)
    raw = segment[at + _MARK.size : at + _MARK.size + length]
    if len(raw) != length or sha256(raw).digest() != entry:
        return None
    try:
        return parse(raw)
    except WireError:
        return None
