"""The one thread that writes to the database."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from trigpoint.store.database import migrate, open_database

_T = TypeVar("_T")
_QUEUE_LENGTH = 64

Opener = Callable[[Path], sqlite3.Connection]


class Writer:
    """Owns the only writing connection, and runs each piece of work in a transaction of its own.

    Work that raises is rolled back as a whole, and so is work whose commit fails. When `submit` returns, the work is
    on the disk. Safe to call from any thread but the writer's own.

    Args:
        path: the database file; made and migrated as needed.
        opener: opens the connection; tests pass one that fails on demand.
    """

    def __init__(self, path: Path, *, opener: Opener = open_database) -> None:
        self._path = path
        self._opener = opener
        self._queue: queue.Queue[Callable[[sqlite3.Connection], None] | None] = queue.Queue(_QUEUE_LENGTH)
        self._closed = False
        self._closing = threading.Lock()
        self._touched: set[bytes] = set()
        self._changed: set[bytes] = set()
        self._changes = threading.Lock()
        opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(opened,), name="writer", daemon=True)
        self._thread.start()
        opened.result()

    @property
    def path(self) -> Path:
        """The database file."""
        return self._path

    def changed_boards(self) -> set[bytes]:
        """Return the kids of the boards that the registry's mirror has changed since this was last asked."""
        with self._changes:
            changed, self._changed = self._changed, set()
        return changed

    def submit(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run `work` in one transaction and return its result once that is committed.

        Raises:
            sqlite3.Error: the database refused; nothing of this work is stored, or, if the commit itself failed half
                way, all of it. Work that is submitted again must therefore tolerate having been done.
            RuntimeError: the writer is closed.
        """
        done: Future[_T] = Future()

        def run(connection: sqlite3.Connection) -> None:
            try:
                result = _in_transaction(connection, work)
                self._tell_changes()
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(result)

        with self._closing:
            if self._closed:
                raise RuntimeError("the writer is closed")
            self._queue.put(run)
        return done.result()

    def close(self) -> None:
        """Finish the work already submitted and close the connection. Safe to call twice."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the writer."""
        self.close()

    def _run(self, opened: Future[None]) -> None:
        try:
            connection = self._opener(self._path)
            migrate(connection)
            self._watch_boards(connection)
        except BaseException as error:
            opened.set_exception(error)
            return
        opened.set_result(None)
        while (work := self._queue.get()) is not None:
            work(connection)
        connection.close()

    def _watch_boards(self, connection: sqlite3.Connection) -> None:
        """Note each board that is written to but by a fold: who holds boards in memory must read it anew.

        A trigger sees every way in which the mirror is written. It belongs to this connection and is not in the file.
        """

        connection.create_function("board_changed", 1, self._touched.add)
        connection.executescript(
            """
            CREATE TEMP TRIGGER board_added AFTER INSERT ON main.boards
            BEGIN SELECT board_changed(NEW.kid); END;
            CREATE TEMP TRIGGER board_changed AFTER UPDATE OF x, y, owner, active_from, active_until ON main.boards
            BEGIN SELECT board_changed(NEW.kid); END;
            """
        )

    def _tell_changes(self) -> None:
        """Make known what was touched, now that it is committed: whoever read it before would have read the old."""
        if self._touched:
            with self._changes:
                self._changed |= self._touched
            self._touched.clear()


def _in_transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], _T]) -> _T:
    if connection.in_transaction:  # an earlier rollback failed, as it may on a broken disk
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result
