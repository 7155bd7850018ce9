"""What a board's readings come to, hour by hour: the aggregates that serve long ranges of time."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

from trigpoint.wire.statement import Statement, reading_time

SERIES_OF_BOARD = 1_000
"""Series of one board that are aggregated; of more, which no honest board has, only the statements tell."""

_FULL = 1 << 31
"""Readings in one cell at most, so that a sum of mantissas stays below 2^63."""


class Key(NamedTuple):
    """What a cell is about: a board's number, the hour since 1970, and a series."""

    board: int
    hour: int
    name: str
    unit: str
    exponent: int


class Cell(NamedTuple):
    """The readings of one series in one hour; see the columns of `hours`. Values are mantissas."""

    readings: int
    estimated: int
    doubtful: int
    sum: int
    minimum: int
    maximum: int
    first: int
    last: int
    first_s: int
    last_s: int
    first_seq: int
    last_seq: int


def cells(board: int, statement: Statement, arrival_ms: int) -> list[tuple[Key, Cell]]:
    """Return what a statement adds, one cell for each series and hour.

    Args:
        board: the board's number.
        statement: one that was accepted.
        arrival_ms: the gateway's clock when it came, milliseconds since 1970.
    """
    found: dict[Key, Cell] = {}
    seq = statement.seq
    for name, unit, mantissa, exponent, t in statement.readings:
        time_s, source = reading_time(statement.base_time, t, arrival_ms)
        hour, second = divmod(time_s, 3600)
        key = Key(board, hour, name, unit, exponent)
        cell = Cell(
            1,
            int(source == "arrival"),
            int(source == "doubtful"),
            *(mantissa, mantissa, mantissa, mantissa, mantissa),
            *(second, second, seq, seq),
        )
        before = found.get(key)
        found[key] = cell if before is None else merge(before, cell)
    return list(found.items())


def merge(before: Cell, more: Cell) -> Cell:
    """Return the cell of the readings of two; those of `more` come later in the log."""
    first = before if before.first_s <= more.first_s else more
    last = more if more.last_s >= before.last_s else before
    return Cell(
        before.readings + more.readings,
        before.estimated + more.estimated,
        before.doubtful + more.doubtful,
        before.sum + more.sum,
        min(before.minimum, more.minimum),
        max(before.maximum, more.maximum),
        first.first,
        last.last,
        first.first_s,
        last.last_s,
        min(before.first_seq, more.first_seq),
        max(before.last_seq, more.last_seq),
    )


def write(connection: sqlite3.Connection, hours: Mapping[Key, Cell]) -> None:
    """Add cells to the table, in the transaction that `connection` is in; it holds what came before them in the log."""
    series: dict[tuple[int, str, str, int], int | None] = {}
    rows = []
    for (board, hour, name, unit, exponent), cell in sorted(hours.items()):
        key = (board, name, unit, exponent)
        if key not in series:
            series[key] = _series(connection, *key)
        number = series[key]
        if number is not None:
            rows.append((board, hour, number, *cell))
    connection.executemany(
        f"""
        INSERT INTO hours VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (board, hour, series) DO UPDATE SET
            readings = readings + excluded.readings,
            estimated = estimated + excluded.estimated,
            doubtful = doubtful + excluded.doubtful,
            sum = sum + excluded.sum,
            minimum = min(minimum, excluded.minimum),
            maximum = max(maximum, excluded.maximum),
            first = iif(excluded.first_s < first_s, excluded.first, first),
            last = iif(excluded.last_s >= last_s, excluded.last, last),
            first_s = min(first_s, excluded.first_s),
            last_s = max(last_s, excluded.last_s),
            first_seq = min(first_seq, excluded.first_seq),
            last_seq = max(last_seq, excluded.last_seq)
        WHERE hours.readings < {_FULL}
        """,  # noqa: S608
        rows,
    )


def _series(connection: sqlite3.Connection, board: int, name: str, unit: str, exponent: int) -> int | None:
    """Return the id of a series, which is made if it is new; None if the board has too many."""
    row = connection.execute(
        "SELECT id FROM series WHERE board = ? AND name = ? AND unit = ? AND exponent = ?",
        (board, name, unit, exponent),
    ).fetchone()
    if row is None:
        row = connection.execute(
            "INSERT INTO series (board, name, unit, exponent) SELECT ?, ?, ?, ?"
            " WHERE (SELECT count(*) FROM series WHERE board = ?) < ? RETURNING id",
            (board, name, unit, exponent, board, SERIES_OF_BOARD),
        ).fetchone()
    return None if row is None else int(row[0])
