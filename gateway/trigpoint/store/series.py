"""Readings of a board over time, read from the statements themselves; the folded hours say where to look.

`readings` gives them as they were stated. `buckets` sums them up, exactly: from the folded hours where a bucket is
made of whole hours, from the statements where it is not. Both give what a pass over all statements would give.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from trigpoint.store import lookup
from trigpoint.store.hours import SERIES_OF_BOARD
from trigpoint.store.lookup import Stored
from trigpoint.wire import statement
from trigpoint.wire.statement import reading_time

HOUR_S = 3600
MAX_S = 2**34
"""Above every time that the wire can say: seconds since 1970."""

SCAN_MAX = 100_000
"""Statements that one answer may have looked at."""

TimeSource = Literal["board", "arrival", "doubtful"]
_LAST_SEQ = 2**32 - 1


class Row(NamedTuple):
    """A reading, and where it was stated.

    Attributes:
        seq: of its statement.
        position: in its statement, from 0.
        leaf_index: of its statement.
        arrival_ms: of its statement.
        time_s: when it was taken, seconds since 1970.
        time_source: on whose word: `board`, `arrival` (the gateway's estimate) or `doubtful`.
        name: of the series.
        unit: of the series.
        mantissa: value = mantissa * 10 ** exponent.
        exponent: -18 to 0.
    """

    seq: int
    position: int
    leaf_index: int
    arrival_ms: int
    time_s: int
    time_source: TimeSource
    name: str
    unit: str
    mantissa: int
    exponent: int


class Page(NamedTuple):
    """Readings, and the (seq, position) after which the next page begins; None if this is the last."""

    rows: list[Row]
    after: tuple[int, int] | None


@dataclass(frozen=True)
class Wanted:
    """What to look for.

    Attributes:
        name: of the readings; None for all.
        unit: of the readings; None for all.
        from_s: first second, since 1970.
        to_s: the second after the last one.
    """

    name: str | None
    unit: str | None
    from_s: int
    to_s: int


class Summary(NamedTuple):
    """A series: its readings, and the hours (since 1970, each 3600 s) of the first and the last."""

    name: str
    unit: str
    readings: int
    first_hour: int
    last_hour: int


class Sums(NamedTuple):
    """Some readings summed up.

    Attributes:
        readings: how many.
        estimated: how many have their time from the arrival.
        doubtful: how many have a time ahead of their arrival.
        exponent: the finest of theirs, in which the next three are.
        sum: of their values, as a mantissa.
        minimum: the lowest value, as a mantissa.
        maximum: the highest value, as a mantissa.
    """

    readings: int
    estimated: int
    doubtful: int
    exponent: int
    sum: int
    minimum: int
    maximum: int

    def plus(self, other: Sums) -> Sums:
        """Return both together, exactly."""
        finest = min(self.exponent, other.exponent)
        own, its = 10 ** (self.exponent - finest), 10 ** (other.exponent - finest)
        return Sums(
            self.readings + other.readings,
            self.estimated + other.estimated,
            self.doubtful + other.doubtful,
            finest,
            self.sum * own + other.sum * its,
            min(self.minimum * own, other.minimum * its),
            max(self.maximum * own, other.maximum * its),
        )


class Bucket(NamedTuple):
    """Readings of one unit from `start_s` (seconds since 1970) on, summed up."""

    start_s: int
    unit: str
    sums: Sums


class TooMuchError(Exception):
    """An answer would need more than `SCAN_MAX` statements."""


def expand(stored: Stored) -> Iterator[Row]:
    """Yield the readings of a statement. It was checked when it was stored."""
    parsed = statement.parse(stored.raw)
    for position, reading in enumerate(parsed.readings):
        time_s, source = reading_time(parsed.base_time, reading.t, stored.arrival_ms)
        yield Row(
            stored.seq,
            position,
            stored.leaf_index,
            stored.arrival_ms,
            time_s,
            cast(TimeSource, source),
            reading.name,
            reading.unit,
            reading.mantissa,
            reading.exponent,
        )


def readings(
    connection: sqlite3.Connection,
    board: int,
    wanted: Wanted,
    *,
    after: tuple[int, int] = (-1, -1),
    limit: int,
    below: int | None = None,
    scan: int = SCAN_MAX,
) -> Page:
    """Return a board's readings in the order in which it stated them: by seq, then by position.

    That is their order in time, unless the board's clock was set between; sorting would need all of them at once, and
    would not be stable while more come in.

    Args:
        connection: the database, in a transaction.
        board: the board's number.
        wanted: which.
        after: (seq, position) of the last one already known.
        limit: readings on the page.
        below: take no statement from this leaf index on; None for no end.
        scan: statements to look at; a page may end early, even empty, and still have a next one.
    """
    rows: list[Row] = []
    place = after
    first = max(after[0], 0) if after[1] < statement.MAX_READINGS else after[0] + 1
    for seen, stored in enumerate(_candidates(connection, board, wanted, first)):
        if below is not None and stored.leaf_index >= below:
            break
        if seen == scan:
            return Page(rows, place)
        for row in expand(stored):
            if row[:2] > after and matches(row, wanted):
                if len(rows) == limit:
                    return Page(rows, place)
                rows.append(row)
                place = row.seq, row.position
        place = max(place, (stored.seq, statement.MAX_READINGS))
    return Page(rows, None)


def buckets(
    connection: sqlite3.Connection, board: int, wanted: Wanted, every_s: int, *, scan: int = SCAN_MAX
) -> list[Bucket]:
    """Return what `readings` come to in each span of `every_s` seconds that holds any, by time and unit.

    Args:
        connection: the database, in a transaction.
        board: the board's number.
        wanted: readings of one name, from one multiple of `every_s` to another.
        every_s: width of a bucket; they begin at multiples of it since 1970.
        scan: statements to look at.

    Raises:
        TooMuchError: more statements than `scan` would have to be looked at: the buckets are not made of whole hours.
    """
    found: dict[tuple[int, str], Sums] = {}

    def add(time_s: int, unit: str, sums: Sums) -> None:
        key = time_s // every_s * every_s, unit
        found[key] = found[key].plus(sums) if key in found else sums

    if every_s % HOUR_S == 0 and _aggregated(connection, board):
        for hour, unit, *sums in _hours(connection, board, wanted):
            add(hour * HOUR_S, unit, Sums(*sums))
        statements = lookup.tail_of_board(connection, board, 0, _LAST_SEQ)
    else:
        statements = _candidates(connection, board, wanted, 0)
    for seen, stored in enumerate(statements):
        if seen == scan:
            raise TooMuchError
        for row in expand(stored):
            if matches(row, wanted):
                estimated, doubtful = row.time_source == "arrival", row.time_source == "doubtful"
                value = row.mantissa
                add(row.time_s, row.unit, Sums(1, int(estimated), int(doubtful), row.exponent, value, value, value))
    return [Bucket(*key, found[key]) for key in sorted(found)]


def next_hour(connection: sqlite3.Connection, board: int, from_s: int) -> int | None:
    """Return the begin, in seconds, of the first hour with any reading of the board, the hour of `from_s` or later."""
    hour = from_s // HOUR_S
    (found,) = connection.execute("SELECT min(hour) FROM hours WHERE board = ? AND hour >= ?", (board, hour)).fetchone()
    hours = [] if found is None else [int(found)]
    for stored in lookup.tail_of_board(connection, board, 0, _LAST_SEQ):
        hours += [row.time_s // HOUR_S for row in expand(stored) if row.time_s // HOUR_S >= hour]
    return min(hours) * HOUR_S if hours else None


def summaries(connection: sqlite3.Connection, board: int) -> list[Summary]:
    """Return what a board has measured, by name and unit."""
    found: dict[tuple[str, str], Summary] = {}

    def add(name: str, unit: str, count: int, first_hour: int, last_hour: int) -> None:
        one = found.get((name, unit), Summary(name, unit, 0, first_hour, last_hour))
        found[name, unit] = Summary(
            name, unit, one.readings + count, min(one.first_hour, first_hour), max(one.last_hour, last_hour)
        )

    for row in connection.execute(
        "SELECT name, unit, sum(readings), min(hour), max(hour) FROM hours JOIN series ON series.id = hours.series"
        " WHERE hours.board = ? GROUP BY series.id",
        (board,),
    ):
        add(*row)
    for stored in lookup.tail_of_board(connection, board, 0, _LAST_SEQ):
        for reading in expand(stored):
            hour = reading.time_s // HOUR_S
            add(reading.name, reading.unit, 1, hour, hour)
    return [found[key] for key in sorted(found)]


def matches(row: Row, wanted: Wanted) -> bool:
    """Return whether a reading is one of those wanted."""
    return (
        wanted.from_s <= row.time_s < wanted.to_s
        and (wanted.name is None or row.name == wanted.name)
        and (wanted.unit is None or row.unit == wanted.unit)
    )


def _candidates(connection: sqlite3.Connection, board: int, wanted: Wanted, first: int) -> Iterator[Stored]:
    """Yield the board's statements from seq `first` on that may hold what is wanted: by the hours, then all the tail.

    A seq in the tail is above all folded ones of its board, so the order of seqs holds.
    """
    everything = wanted.name is None and wanted.unit is None and wanted.from_s <= 0 and wanted.to_s >= MAX_S
    if everything or not _aggregated(connection, board):
        yield from lookup.of_board(connection, board, first, _LAST_SEQ)
        return
    spans = connection.execute(
        "SELECT first_seq, last_seq FROM hours WHERE board = ? AND hour BETWEEN ? AND ? AND last_seq >= ?"
        " AND series IN (SELECT id FROM series WHERE board = ? AND coalesce(name = ?, 1) AND coalesce(unit = ?, 1))"
        " ORDER BY first_seq",
        (board, *_hours_of(wanted), first, board, wanted.name, wanted.unit),
    )
    for low, high in _merged(spans):
        yield from lookup.folded_of_board(connection, board, max(low, first), high)
    yield from lookup.tail_of_board(connection, board, first, _LAST_SEQ)


def _aggregated(connection: sqlite3.Connection, board: int) -> bool:
    """Return whether the folded hours know all series of the board: of too many, only the statements tell."""
    (known,) = connection.execute("SELECT count(*) FROM series WHERE board = ?", (board,)).fetchone()
    return bool(known < SERIES_OF_BOARD)


def _hours_of(wanted: Wanted) -> tuple[int, int]:
    """Return the first and the last hour that hold what is wanted."""
    return wanted.from_s // HOUR_S, (wanted.to_s - 1) // HOUR_S


def _merged(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the spans, which come by their lower end, with those that touch or overlap made one."""
    low, high = 0, -1
    for first, last in spans:
        if first > high + 1 or high < 0:
            if high >= 0:
                yield low, high
            low, high = first, last
        else:
            high = max(high, last)
    if high >= 0:
        yield low, high


def _hours(
    connection: sqlite3.Connection, board: int, wanted: Wanted
) -> Iterator[tuple[int, str, int, int, int, int, int, int, int]]:
    """Yield hour, unit, and the fields of `Sums`."""
    yield from connection.execute(
        "SELECT hour, unit, readings, estimated, doubtful, exponent, sum, minimum, maximum"
        " FROM hours JOIN series ON series.id = hours.series WHERE hours.board = ? AND hour BETWEEN ? AND ?"
        " AND coalesce(name = ?, 1) AND coalesce(unit = ?, 1)",
        (board, *_hours_of(wanted), wanted.name, wanted.unit),
    )
