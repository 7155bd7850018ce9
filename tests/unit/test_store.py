"""The database, its migrations and its one writer."""

import os
import sqlite3
import stat
import threading

import pytest
from trigpoint.errors import OperatorError
from trigpoint.log.merkle import EMPTY_ROOT
from trigpoint.store import log
from trigpoint.store.database import migrate, open_database
from trigpoint.store.writer import Writer


def count(connection, name="a", by=1):
    connection.execute(
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + ?", (name, by, by)
    )
    return connection.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()[0]


def test_what_is_committed_is_synced_to_the_disk(tmp_path):
    connection = open_database(tmp_path / "a.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_migrations_run_once_and_a_newer_schema_is_refused(tmp_path):
    connection = open_database(tmp_path / "a.db")
    migrate(connection)
    schema = connection.execute("SELECT sql FROM sqlite_schema").fetchall()
    connection.execute("UPDATE log_state SET size = 7")
    migrate(connection)
    assert connection.execute("SELECT sql FROM sqlite_schema").fetchall() == schema
    assert log.head(connection).size == 7
    connection.execute("PRAGMA user_version = 9999")
    with pytest.raises(OperatorError, match="newer"):
        migrate(connection)


def test_a_migration_is_all_or_nothing(tmp_path):
    connection = open_database(tmp_path / "a.db")
    connection.execute("CREATE TABLE rejected (id INTEGER)")  # in the way of the first migration's seventh table
    with pytest.raises(OperatorError, match="cannot bring the database to schema 1: table rejected already exists"):
        migrate(connection)
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("rejected",)]
    assert connection.execute("PRAGMA user_version").fetchone() == (0,)


def test_an_empty_log_has_the_empty_root(tmp_path):
    connection = open_database(tmp_path / "a.db")
    migrate(connection)
    assert log.head(connection) == log.Head(0, EMPTY_ROOT)


def test_a_file_that_is_no_database_is_told_in_one_line(tmp_path):
    (tmp_path / "a.db").write_bytes(b"hello, world" * 100)
    with pytest.raises(OperatorError, match=r"a\.db: file is not a database"):
        open_database(tmp_path / "a.db")
    with pytest.raises(OperatorError, match="check the path"):
        Writer(tmp_path / "no" / "a.db")
    with pytest.raises(OperatorError, match="has the gateway run"):
        open_database(tmp_path / "b.db", read_only=True)
    assert not (tmp_path / "b.db").exists()


def test_a_reader_cannot_write_and_odd_names_are_names(tmp_path):
    path = tmp_path / "100% odd?#.db"
    with Writer(path) as writer:
        writer.submit(count)
        reader = open_database(path, read_only=True)
        assert reader.execute("SELECT value FROM counters").fetchone() == (1,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            count(reader)
        reader.close()
    assert path.exists()


def test_work_is_all_or_nothing(tmp_path):
    def fail(connection):
        count(connection)
        raise KeyError("half way")

    with Writer(tmp_path / "a.db") as writer:
        assert writer.submit(count) == 1
        with pytest.raises(KeyError, match="half way"):
            writer.submit(fail)
        assert writer.submit(count) == 2


def test_a_rollback_that_fails_does_not_stop_the_writer(tmp_path):
    class Once(sqlite3.Connection):
        failed = False

        def execute(self, sql, *arguments):
            if sql == "ROLLBACK" and not Once.failed:
                Once.failed = True
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, *arguments)

    def opener(path):
        return sqlite3.connect(path, isolation_level=None, factory=Once)

    with Writer(tmp_path / "a.db", opener=opener) as writer:
        with pytest.raises(sqlite3.OperationalError):
            writer.submit(lambda connection: (count(connection), connection.execute("no SQL")))
        assert Once.failed
        assert writer.submit(count) == 1


def test_many_threads_share_the_writer(tmp_path):
    with Writer(tmp_path / "a.db") as writer:
        threads = [threading.Thread(target=lambda: [writer.submit(count) for _ in range(20)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert writer.submit(count) == 161


def test_a_closed_writer_says_so(tmp_path):
    writer = Writer(tmp_path / "a.db")
    writer.close()
    writer.close()
    with pytest.raises(RuntimeError, match="closed"):
        writer.submit(count)


def test_a_database_belongs_to_one_log_key_for_ever(tmp_path):
    with Writer(tmp_path / "a.db") as writer:
        first = b"i" * 32
        assert writer.submit(lambda connection: log.claim(connection, first, b"k" * 32)) == first
        # Another account writes on: the log stays what it is.
        assert writer.submit(lambda connection: log.claim(connection, b"j" * 32, b"k" * 32)) == first
        with pytest.raises(OperatorError, match=r"log\.key_file"):
            writer.submit(lambda connection: log.claim(connection, first, b"l" * 32))


def test_nobody_but_the_owner_can_read_what_is_stored(tmp_path):
    before = os.umask(0)
    try:
        connection = open_database(tmp_path / "private.db")
        migrate(connection)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(before)
    connection.close()
    assert modes == {"private.db": 0o600, "private.db-wal": 0o600, "private.db-shm": 0o600}
