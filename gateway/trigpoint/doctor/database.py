"""The database: its schema, its pages, and how much comes in."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from trigpoint.doctor.finding import Finding, fail, ok, warn
from trigpoint.store.database import newest_schema, open_database

_QUICK_CHECK_S = 10.0
_DAY_MS = 86_400_000
_SAMPLE, _FEWEST = 2_000, 100
_WRITTEN_FOR_EACH = 4


@dataclass(frozen=True)
class Database:
    """Facts about the database.

    Attributes:
        schema: its number.
        newest: the number that this Trigpoint knows.
        fault: the first thing that SQLite's quick check found; empty for none.
        finished: whether the quick check came to its end in the time that it was given.
        bytes: size of the file and of the log beside it.
    """

    schema: int
    newest: int
    fault: str
    finished: bool
    bytes: int


def look(path: Path) -> Database:
    """Gather the facts.

    Raises:
        OperatorError: it cannot be opened.
    """
    with closing(open_database(path, read_only=True)) as connection:
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
        fault, finished = _quick_check(connection)
    size = sum(file.stat().st_size for name in ("", "-wal") if (file := path.with_name(path.name + name)).exists())
    return Database(schema, newest_schema(), fault, finished, size)


def judge(database: Database) -> list[Finding]:
    """Judge the facts."""
    found = []
    if database.schema > database.newest:
        found.append(
            fail(
                "database",
                "schema",
                f"{database.schema}, and this Trigpoint knows {database.newest}",
                "install the newer version again",
            )
        )
    else:
        later = "" if database.schema == database.newest else f", brought to {database.newest} at the next start"
        found.append(ok("database", "schema", f"{database.schema}{later}"))
    if database.fault:
        found.append(
            fail(
                "database",
                "pages",
                f"damaged: {database.fault}",
                "stop the gateway, copy the data directory, run `trigpoint gateway fsck`, then restore a backup",
            )
        )
    elif database.finished:
        found.append(ok("database", "pages", "sound by SQLite's quick check"))
    else:
        found.append(
            warn("database", "pages", "too many to look at here", "run `trigpoint gateway fsck` when there is time")
        )
    return found


def _quick_check(connection: sqlite3.Connection) -> tuple[str, bool]:
    end = time.monotonic() + _QUICK_CHECK_S
    connection.set_progress_handler(lambda: time.monotonic() > end, 100_000)
    try:
        (first,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        return ("", False) if "interrupted" in str(error) else (str(error), True)
    except sqlite3.DatabaseError as error:
        return str(error), True
    finally:
        connection.set_progress_handler(None, 0)
    return ("" if first == "ok" else str(first)), True


def written_per_day(connection: sqlite3.Connection) -> float | None:
    """Estimate how many bytes a day reach the disk for what came of late; None while too little has come.

    It goes by the newest statements: how fast they came, how long they are, and how much is written for each byte of
    them (the figure disk_bytes_per_statement_byte of `make bench` is at most this).
    """
    rows = connection.execute(
        "SELECT arrival_ms, length(raw) FROM statements ORDER BY leaf_index DESC LIMIT ?", (_SAMPLE,)
    ).fetchall()
    if len(rows) < _FEWEST or rows[0][0] <= rows[-1][0]:
        return None
    per_day = sum(length for _, length in rows) * _DAY_MS / (rows[0][0] - rows[-1][0])
    return float(per_day) * _WRITTEN_FOR_EACH
