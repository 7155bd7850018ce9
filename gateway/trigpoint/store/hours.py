"""What a board's readings come to, hour by hour: the aggregates that serve long ranges of time."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from itertools import cycle
from operator import gt, itemgetter

from trigpoint.wire.statement import DOUBTFUL_AFTER_S, Columns, Kind, Statement

SERIES_OF_BOARD = 1_000
"""Series of one board that are aggregated; of more, which no honest board has, only the statements tell."""

_FULL = 1 << 31
"""Readings in one cell at most, so that a sum of mantissas stays below 2^63."""


Key = tuple[int, int, str, str, int]
"""What a cell is about: a board's number, the hour since 1970, and name, unit and exponent of a series."""

Cell = tuple[int, int, int, int, int, int, int, int, int, int, int, int]
"""The readings of one series in one hour: the columns of `hours` from `readings` on."""


def cells(board: int, statement: Statement, arrival_ms: int) -> list[tuple[Key, Cell]]:
    """Return what a statement adds, one cell for each series and hour.

    The times of readings are those that `trigpoint.wire.statement.reading_time` gives.

    Args:
        board: the board's number.
        statement: one that was accepted.
        arrival_ms: the gateway's clock when it came, milliseconds since 1970.
    """
    arrival_s = arrival_ms // 1000
    relative = statement.base_time is None
    base = arrival_s if statement.base_time is None else statement.base_time
    latest = arrival_s + DOUBTFUL_AFTER_S
    found: list[tuple[Key, Cell]] = []
    for hour, (name, unit, exponent), times, values in _groups(base, statement.columns):
        last_t, begin = times[-1], base - 3600 * hour
        cell = (
            len(values),
            len(values) if relative else 0,
            0 if relative or base + last_t <= latest else sum(base + t > latest for t in times),
            sum(values),
            min(values),
            max(values),
            values[0],
            values[-1],
            begin + times[0],
            begin + last_t,
            statement.seq,
            statement.seq,
        )
        found.append(((board, hour, name, unit, exponent), cell))
    return found


def _groups(base: int, columns: Columns) -> list[tuple[int, Kind, Sequence[int], Sequence[int]]]:
    """Return hour, kind, offsets and mantissas of the readings of each hour and kind, in the order of time."""
    kinds, mantissas, offsets = columns
    hour, turn = (base + offsets[0]) // 3600, len(kinds)
    is_in_order = not any(map(gt, offsets, offsets[1:]))
    if is_in_order and hour == (base + offsets[-1]) // 3600 and len(set(kinds)) == turn:
        # A board measures the same things in turn: then each is a slice, and no reading is looked at by itself.
        return [(hour, kinds[place], offsets[place::turn], mantissas[place::turn]) for place in range(turn)]
    grouped: dict[tuple[int, Kind], tuple[list[int], list[int]]] = {}
    readings = zip(offsets, cycle(kinds), mantissas, strict=False)
    for offset, kind, mantissa in readings if is_in_order else sorted(readings, key=itemgetter(0)):
        times, values = grouped.setdefault(((base + offset) // 3600, kind), ([], []))
        times.append(offset)
        values.append(mantissa)
    return [(hour, kind, times, values) for (hour, kind), (times, values) in grouped.items()]


def merge(before: Cell, more: Cell) -> Cell:
    """Return the cell of the readings of two; those of `more` come later in the log."""
    readings, estimated, doubtful, total, minimum, maximum, first, last, first_s, last_s, first_seq, last_seq = before
    number, guessed, ahead, added, least, most, opening, closing, opening_s, closing_s, opening_seq, closing_seq = more
    is_first, is_last = first_s <= opening_s, closing_s >= last_s
    return (
        readings + number,
        estimated + guessed,
        doubtful + ahead,
        total + added,
        minimum if minimum < least else least,
        maximum if maximum > most else most,
        first if is_first else opening,
        closing if is_last else last,
        first_s if is_first else opening_s,
        closing_s if is_last else last_s,
        first_seq if first_seq < opening_seq else opening_seq,
        last_seq if last_seq > closing_seq else closing_seq,
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
