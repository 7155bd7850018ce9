"""Reads the database off the event loop: few threads, short transactions, bounded waiting and running time."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from trigpoint.api.problems import ProblemError
from trigpoint.store.database import open_database

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

THREADS = 3
"""Readers at once. More would only wait for the same disk, and take the processor from what writes."""

WAITING = 64
"""Requests that may wait for a reader; one more is told to come back later."""

DEADLINE_S = 10.0
"""How long one query may run. A reader that stays keeps SQLite from shortening its write-ahead log."""

_STEPS = 20_000


class Reader:
    """The read-only side of the gateway's database.

    Args:
        path: the database file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._executor = ThreadPoolExecutor(THREADS, "reader")
        self._own = threading.local()
        self._waiting = 0

    async def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run `work` in one read transaction: it sees the database at one moment.

        Raises:
            ProblemError: 503, too many are waiting, the query took too long, or there is no database to read.
        """
        if self._waiting >= WAITING:
            raise ProblemError(
                503, "busy", "too many questions are waiting; come back later", headers={"Retry-After": "2"}
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._run, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let go of the threads; their connections close with them."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            connection = self._connection()
            until = time.monotonic() + DEADLINE_S
            connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                connection.set_progress_handler(None, 0)
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise ProblemError(503, "too-slow", "the query took too long; ask for less at once") from error
            _log.error("database cannot be read error=%r", str(error))
            raise ProblemError(
                503, "no-database", "the database cannot be read now", headers={"Retry-After": "10"}
            ) from error

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = open_database(self._path, read_only=True)
        return connection
