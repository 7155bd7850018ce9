"""Fills a gateway's database with statements of boards that are gone, to see what a long history costs."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from trigpoint.store.database import migrate, open_database
from trigpoint.store.fold import fold_index, fold_log, replay
from trigpoint.wire import statement

from trigpoint_tools.load.statements import BASE_TIME, Shape, example

_BOARDS = 1_000
_FIRST_NUMBER = 1_000_001
_AT_ONCE = 50_000
_SEQ = b"\x3a\x00\x01\x00\x00\x1a"
_BT = b"\x22\x1a"


def fill(database: Path, statements: int, readings: int, report: Callable[[str], None]) -> None:
    """Append statements of a thousand boards, in turn, and fold them as the gateway would.

    They are made from one by writing seq and time into it. Their signatures do not hold and their chains do not join,
    which neither store nor fold looks at.

    Args:
        database: made as needed.
        statements: how many.
        readings: in each.
        report: takes a line of progress.
    """
    connection = open_database(database)
    migrate(connection)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO boards (number, kid, x, y, owner, active_from, active_until)"
        " VALUES (?, ?, zeroblob(32), zeroblob(32), zeroblob(20), 1, 2)",
        [(_FIRST_NUMBER + number, number.to_bytes(32, "big")) for number in range(_BOARDS)],
    )
    connection.executemany("INSERT INTO statements VALUES (?, ?, ?, ?, ?)", _rows(statements, readings))
    connection.execute("COMMIT")
    report(f"{statements:,} statements stored, folding them")
    _in_transaction(connection, fold_log)
    while (tail := replay(connection, _AT_ONCE)).size > tail.start:
        _in_transaction(connection, lambda connection, tail=tail: fold_index(connection, tail))  # type: ignore[misc]
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _rows(statements: int, readings: int) -> Iterator[tuple[int, int, int, int, bytes]]:
    first = 1 << 16  # four bytes in CBOR, as are all that follow
    template = bytearray(example(Shape(1, 1, readings), seq=first))
    seq_at = template.index(_SEQ) + len(_SEQ)
    time_at = template.index(_BT) + len(_BT)
    assert statement.parse(bytes(template)).seq == first
    for index in range(statements):
        turn, number = divmod(index, _BOARDS)
        time_s = BASE_TIME - 60 * (statements // _BOARDS - turn)
        struct.pack_into(">I", template, seq_at, first + turn)
        struct.pack_into(">I", template, time_at, time_s)
        yield index, _FIRST_NUMBER + number, first + turn, 1000 * time_s, bytes(template)


def _in_transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], object]) -> None:
    connection.execute("BEGIN")
    work(connection)
    connection.execute("COMMIT")
