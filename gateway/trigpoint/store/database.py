"""Opens the SQLite database and brings its schema up to date."""

from __future__ import annotations

import os
import sqlite3
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from trigpoint.errors import OperatorError

_BUSY_TIMEOUT_MS = 10_000
_LOG_KEPT = 64 << 20
"""Bytes of the write-ahead log that stay on the disk to be written over. It grows beyond that while somebody reads one
moment for long, as a backup does."""


def open_database(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the database at `path`; a missing one is made, for its owner alone to read, unless `read_only`.

    The connection is in autocommit mode: a transaction begins where somebody says BEGIN. A commit has reached the
    disk when it returns (WAL with synchronous=FULL: https://www.sqlite.org/pragma.html#pragma_synchronous).

    Raises:
        OperatorError: the file cannot be opened, or is not a SQLite database.
    """
    mode = "ro" if read_only else "rwc"
    try:
        if not read_only:
            # SQLite would make it as open as the umask allows; it gives the files beside it this one's mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode={mode}", uri=True, isolation_level=None)
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {_LOG_KEPT}")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except (sqlite3.Error, OSError) as error:
        remedy = "has the gateway run yet?" if read_only else "check the path and its permissions"
        reason = getattr(error, "strerror", None) or error
        raise OperatorError(f"cannot open the database {path}: {reason}; {remedy}") from error
    return connection


def migrate(connection: sqlite3.Connection) -> None:
    """Run the migrations that this database has not seen yet, in order, each in one transaction.

    A migration is a file `store/migrations/NNNN_name.sql`; PRAGMA user_version holds the number of the last one run.

    Raises:
        OperatorError: the database was written by a newer Trigpoint, or refuses to be written.
    """
    migrations = _migrations()
    done = connection.execute("PRAGMA user_version").fetchone()[0]
    if done > max(migrations):
        raise OperatorError(
            f"the database has schema {done}, this Trigpoint knows {max(migrations)}: install the newer version again"
        )
    for number, script in sorted(migrations.items()):
        if number > done:
            try:
                connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
            except sqlite3.Error as error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise OperatorError(
                    f"cannot bring the database to schema {number}: {error}; is the disk full?"
                ) from error


def newest_schema() -> int:
    """Return the number of the newest schema that this Trigpoint knows."""
    return max(_migrations())


def _migrations() -> dict[int, str]:
    folder = resources.files("trigpoint.store") / "migrations"
    return {
        int(file.name[:4]): file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".sql")
    }
