"""What is folded from the statements: the index, where boards stand, and the hours of their series."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from trigpoint.fsck.findings import FOLD, BrokenError
from trigpoint.fsck.truth import Board, Row
from trigpoint.store.hours import SERIES_OF_BOARD
from trigpoint.wire.statement import reading_time
from trigpoint.words import counted

_HELD = 100_000
"""Hours of series in memory, some 40 MB; what is beyond that goes to a temporary file."""

_SERIES_HELD = 8_192


def watermark(connection: sqlite3.Connection) -> int:
    """Return how many statements are folded into the index."""
    rows = connection.execute("SELECT name, size FROM folds").fetchall()
    (size,) = connection.execute("SELECT coalesce(max(leaf_index) + 1, 0) FROM statements").fetchone()
    if len(rows) != 1 or not 0 <= rows[0][1] <= size:
        raise BrokenError("folds", f"its rows are {rows}, with {counted(size, 'statement')}", FOLD)
    return int(rows[0][1])


def index(connection: sqlite3.Connection, size: int) -> int:
    """Check that `seqs` names the place of each of the first `size` statements, and nothing else. Returns how many."""
    row = connection.execute(
        "SELECT statements.leaf_index, statements.board, statements.seq, seqs.leaf_index FROM statements"
        " LEFT JOIN seqs ON seqs.board = statements.board AND seqs.seq = statements.seq"
        " WHERE statements.leaf_index < ? AND seqs.leaf_index IS NOT statements.leaf_index"
        " ORDER BY statements.leaf_index LIMIT 1",
        (size,),
    ).fetchone()
    if row is not None:
        place, board, seq, claimed = row
        where = f"seqs, board number {board} seq {seq}"
        what = "it is missing" if claimed is None else f"it says {claimed}"
        raise BrokenError(where, f"{what}, and the statement's leaf_index is {place}", FOLD)
    (count,) = connection.execute("SELECT count(*) FROM seqs").fetchone()
    if count != size:
        row = connection.execute(
            "SELECT seqs.board, seqs.seq, seqs.leaf_index FROM seqs LEFT JOIN statements USING (leaf_index)"
            " WHERE statements.board IS NOT seqs.board OR statements.seq IS NOT seqs.seq OR leaf_index >= ? LIMIT 1",
            (size,),
        ).fetchone()
        board, seq, place = row or ("?", "?", "?")
        raise BrokenError(f"seqs, board number {board} seq {seq}", f"no statement folded is at {place}", FOLD)
    return size


@dataclass(frozen=True)
class Stand:
    """Where a board stands: the seq that must come next, and the entry of the one before it."""

    next_seq: int
    last_entry: bytes | None


def stands(connection: sqlite3.Connection, known: dict[int, Board], folded: dict[int, Stand]) -> int:
    """Check where `boards` says that each board stands. Returns how many there are.

    Args:
        connection: the database.
        known: the boards as all statements and declared losses leave them.
        folded: where those statements that are folded leave them.
    """
    declared = {(kid, last + 1) for kid, last in connection.execute("SELECT kid, max(to_seq) FROM lost GROUP BY kid")}
    for number, next_seq, last_entry in connection.execute("SELECT number, next_seq, last_entry FROM boards"):
        board = known[number]
        # A declared loss is written to the row at once, all else when it is folded.
        right = Stand(next_seq, last_entry) == folded[number] or (
            last_entry is None and (board.kid, next_seq) in declared and folded[number].next_seq <= next_seq
        )
        if not right:
            what = f"next_seq {next_seq} or last_entry is not what follows from its statements"
            raise BrokenError(f"boards, number {number} ({board.name})", what, FOLD)
    return len(known)


@dataclass
class _Hour:
    """What `hours` must say of one hour of one series; the fields are its columns."""

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


_FIELDS = "readings, estimated, doubtful, sum, minimum, maximum, first, last, first_s, last_s, first_seq, last_seq"

# Later rows of the journal are merged into earlier ones, so that of readings at the same second the earlier one stays
# first, and the later one becomes last.
_MERGE = f"""
    INSERT INTO expected VALUES ({", ".join("?" * 15)})
    ON CONFLICT (board, hour, series) DO UPDATE SET
        readings = readings + excluded.readings,
        estimated = estimated + excluded.estimated,
        doubtful = doubtful + excluded.doubtful,
        sum = sum + excluded.sum,
        minimum = min(minimum, excluded.minimum),
        maximum = max(maximum, excluded.maximum),
        first = CASE WHEN excluded.first_s < first_s THEN excluded.first ELSE first END,
        last = CASE WHEN excluded.last_s >= last_s THEN excluded.last ELSE last END,
        first_s = min(first_s, excluded.first_s),
        last_s = max(last_s, excluded.last_s),
        first_seq = min(first_seq, excluded.first_seq),
        last_seq = max(last_seq, excluded.last_seq)
"""  # noqa: S608


class Hours:
    """The hours of all series, counted again in bounded memory.

    Args:
        connection: the database.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._held: dict[tuple[int, int, int], _Hour] = {}
        self._series: dict[tuple[int, str, str, int], int | None] = {}
        self._expected = sqlite3.connect("", isolation_level=None)  # a file that nobody sees, gone when it is closed
        self._expected.execute("PRAGMA journal_mode = OFF")
        columns = ", ".join(f"{name} INTEGER" for name in ["board", "hour", "series", *_FIELDS.split(", ")])
        self._expected.execute(f"CREATE TABLE expected ({columns}, PRIMARY KEY (board, hour, series)) WITHOUT ROWID")
        self._expected.execute("CREATE TABLE used (series INTEGER PRIMARY KEY)")

    def add(self, row: Row) -> None:
        """Count a folded statement's readings. Raises BrokenError if a series of it is missing."""
        board, statement, arrival_ms = row.board.number, row.statement, row.arrival_ms
        for reading in statement.readings:
            time_s, source = reading_time(statement.base_time, reading.t, arrival_ms)
            hour, second = divmod(time_s, 3600)
            value, seq = reading.mantissa, statement.seq
            series = self._of(board, reading.name, reading.unit, reading.exponent)
            if series is None:
                continue
            key = (board, hour, series)
            held = self._held.get(key)
            estimated, doubtful = int(source == "arrival"), int(source == "doubtful")
            if held is None:
                self._held[key] = _Hour(
                    1, estimated, doubtful, value, value, value, value, value, second, second, seq, seq
                )
                continue
            held.readings += 1
            held.estimated += estimated
            held.doubtful += doubtful
            held.sum += value
            held.minimum = min(held.minimum, value)
            held.maximum = max(held.maximum, value)
            if second < held.first_s:
                held.first, held.first_s = value, second
            if second >= held.last_s:
                held.last, held.last_s = value, second
            held.last_seq = max(held.last_seq, seq)
        if len(self._held) > _HELD:
            self._spill()

    def finish(self) -> int:
        """Compare with the table. Returns how many hours there are."""
        self._spill()
        query = f"SELECT board, hour, series, {_FIELDS} FROM {{}} ORDER BY board, hour, series"  # noqa: S608
        count = 0
        found = self._connection.execute(query.format("hours"))
        for expected, row in _side_by_side(self._expected.execute(query.format("expected")), found):
            if expected != row:
                board, hour, series = (expected or row or ())[:3]
                what = "it is missing" if row is None else "it is not what follows from the statements"
                raise BrokenError(f"hours, board number {board} hour {hour} series {series}", what, FOLD)
            count += 1
        ids = self._connection.execute("SELECT id FROM series ORDER BY id")
        for used, there in _side_by_side(self._expected.execute("SELECT series FROM used ORDER BY series"), ids):
            if used != there:
                raise BrokenError(f"series, id {(there or used or ())[0]}", "no statement that is folded has it", FOLD)
        return count

    def close(self) -> None:
        """Drop the temporary file."""
        self._expected.close()

    def _of(self, board: int, name: str, unit: str, exponent: int) -> int | None:
        """Return the id of a series; None if its board had too many before it."""
        key = (board, name, unit, exponent)
        if key in self._series:
            return self._series[key]
        row = self._connection.execute(
            "SELECT id FROM series WHERE board = ? AND name = ? AND unit = ? AND exponent = ?", key
        ).fetchone()
        if row is None:
            (others,) = self._connection.execute("SELECT count(*) FROM series WHERE board = ?", (board,)).fetchone()
            if others < SERIES_OF_BOARD:
                where = f"series, board number {board} {name} in {unit} with exponent {exponent}"
                raise BrokenError(where, "it is missing", FOLD)
        else:
            self._expected.execute("INSERT OR IGNORE INTO used VALUES (?)", row)
        if len(self._series) >= _SERIES_HELD:
            self._series.clear()
        found = self._series[key] = None if row is None else int(row[0])
        return found

    def _spill(self) -> None:
        self._expected.execute("BEGIN")
        self._expected.executemany(_MERGE, ((*key, *vars(hour).values()) for key, hour in self._held.items()))
        self._expected.execute("COMMIT")
        self._held.clear()


def _side_by_side(
    left: sqlite3.Cursor, right: sqlite3.Cursor
) -> Iterator[tuple[tuple[int, ...] | None, tuple[int, ...] | None]]:
    """Yield the rows of both, one with the other, for as long as either has one."""
    with closing(left), closing(right):
        while True:
            pair = left.fetchone(), right.fetchone()
            if pair == (None, None):
                return
            yield pair
