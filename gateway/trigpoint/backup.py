"""Copies a gateway's database while it runs, and puts such a copy back without ever forking the log."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from trigpoint import keyfiles
from trigpoint.config import Config
from trigpoint.errors import OperatorError
from trigpoint.files import UNFINISHED
from trigpoint.fsck.check import Scope, check
from trigpoint.fsck.findings import Progress, Report
from trigpoint.fsck.mend import FOLDED, fold_again
from trigpoint.log import checkpoint, tree
from trigpoint.log.merkle import ProofError
from trigpoint.store import log, statements
from trigpoint.store.database import migrate, open_database
from trigpoint.words import counted

_PAGES_AT_ONCE = 512
_BYTES_AT_ONCE = 1 << 20
_LOG_UNNOTICED = 128 << 20
"""A write-ahead log of so many bytes troubles nobody."""

_OLD_BACKUP = "docs/operating.md, 'An old backup', says what can be done"


@dataclass(frozen=True)
class Content:
    """What a database holds.

    Attributes:
        statements: how many.
        boards: how many the registry has ever known.
        newest_ms: when the newest statement came, milliseconds since 1970; None if there is none.
        log_id: 32 bytes; None before the gateway has run once.
    """

    statements: int
    boards: int
    newest_ms: int | None
    log_id: bytes | None


@dataclass(frozen=True)
class Head:
    """A head of the log that others have seen: where, its leaves and its root."""

    where: str
    size: int
    root: bytes


def content(connection: sqlite3.Connection) -> Content:
    """Return what a database holds."""
    (boards,) = connection.execute("SELECT count(*) FROM boards").fetchone()
    (log_id,) = connection.execute("SELECT log_id FROM log_state").fetchone()
    newest = statements.newest_row(connection)
    return Content(statements.size(connection), boards, None if newest is None else newest.arrival_ms, log_id)


def back_up(database: Path, target: Path, progress: Progress = lambda *_: None) -> Content:
    """Copy the database as it is at one moment, while others write to it. Returns what is in the copy.

    The copy appears under its name when all of it is on the disk, readable by its owner alone. A file of that name is
    never replaced. Until the copy is done the database's write-ahead log can only grow; a backup that is too slow for
    what is written meanwhile ends before the disk is full.

    Raises:
        OperatorError: the file is there already, or cannot be written; or the write-ahead log has grown too much.
    """
    if target.exists():
        raise OperatorError(f"{target} is there already: name a new file")
    with closing(open_database(database, read_only=True)) as source, _unfinished(target) as unfinished:

        def step(_: int, left: int, pages: int) -> None:
            progress("copying pages", pages - left, pages)
            _check_room(database)

        source.execute("BEGIN")  # holds on to this moment: without it each write of the gateway would start us anew
        held = content(source)
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as copy:
            source.backup(copy, pages=_PAGES_AT_ONCE, progress=step)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, not three
        _sync(unfinished)
        _name(unfinished, target)
        _sync(target.parent)
    return held


def _check_room(database: Path) -> None:
    """Make sure that the write-ahead log has not taken half of the room that there was: a full disk stops acks."""
    log = database.with_name(database.name + "-wal")
    size = log.stat().st_size if log.exists() else 0
    if size > _LOG_UNNOTICED and size > shutil.disk_usage(database.parent).free:
        raise OperatorError(
            f"{log} has grown to {size >> 20} MiB while the backup went on, and the disk would be full: it was ended. "
            "Back up to a faster disk, or when less comes in, or make room"
        )


class Restore:
    """Puts a backup in the place of a gateway's database. The gateway must not be running.

    Call `prepare`, then `compare`, then `replace`; nothing that was there is touched before the last one.

    Args:
        config: the gateway's.
        backup: the file.
    """

    def __init__(self, config: Config, backup: Path) -> None:
        self._config = config
        self._backup = backup
        self._copy = config.database.with_name(config.database.name + ".restoring")
        self._log_key = keyfiles.load_log_key(config.log.key_file).public_key().public_bytes_raw()

    def prepare(self, progress: Progress = lambda *_: None) -> Report:
        """Copy the backup beside the database, bring it to today's schema, and check all of it.

        Raises:
            OperatorError: it is broken, no backup, or another log's; or the disk refused.
        """
        self.forget()
        with _told(self._backup, self._copy):
            _copy_file(self._backup, self._copy, progress)
        with closing(self._open_copy()) as connection:
            migrate(connection)
            report = check(connection, Scope(), progress)
            if not report.clean and {finding.check for finding in report.broken} <= FOLDED:
                connection.execute("BEGIN IMMEDIATE")
                fold_again(connection)
                connection.execute("COMMIT")
                report = check(connection, Scope(), progress)
            if not report.clean:
                first = report.broken[0]
                raise OperatorError(f"{self._backup} is broken, at {first.where}: {first.detail}; take another backup")
            _, key = connection.execute("SELECT log_id, log_key FROM log_state").fetchone()
            if key not in (None, self._log_key):
                raise OperatorError(f"{self._backup} is of a log with another key than log.key_file: take its own key")
        return report

    def compare(self, seen: Callable[[bytes], Head | None], *, new_log: bool = False) -> None:
        """Refuse a backup that is behind what is in place, or behind what others have seen of the log.

        Args:
            seen: gives the log's newest head on the chain, by log id; None if there is none, or nobody to ask.
            new_log: the log is not to go on, so what others have seen of it does not matter.

        Raises:
            OperatorError: it is behind; the message says what to do.
        """
        with closing(open_database(self._copy, read_only=True)) as connection:
            self._compare_in_place(connection)
            log_id = content(connection).log_id
            if log_id is None or new_log:
                return
            for head in (self._published(log_id), seen(log_id)):
                if head is not None and not _extends(connection, head):
                    size = statements.size(connection)
                    raise OperatorError(
                        f"{self._backup} has {counted(size, 'statement')}, and others have seen a head of this log "
                        f"with {head.size} ({head.where}): the log cannot go on from it. Restore a newer backup; if "
                        f"there is none, `--new-log` begins a new log with what this one holds ({_OLD_BACKUP})"
                    )

    def replace(self, *, new_log: bool = False, chain_asked: bool = True) -> list[Path]:
        """Put the checked copy in place. What was there before is kept under other names, which are returned.

        Args:
            new_log: begin a new log, under a new key, with the statements of the backup.
            chain_asked: whether `compare` could ask the chain. If not, the gateway takes no statement until it has.

        Raises:
            OperatorError: the disk refused.
        """
        database, kept = self._config.database, []
        with _told(database):
            if new_log:
                kept += self._begin_anew()
            # For a new log the chain was not asked. If the gateway gets the old key after all, as from a systemd
            # credential of that name, nothing else would keep it from going on with the old log.
            if new_log or not chain_asked:
                self._forget_chain()
            if database.exists():
                kept += _set_aside(database)
            _sync(self._copy)
            self._copy.replace(database)
            _sync(database.parent)
        return kept

    def forget(self) -> None:
        """Remove the copy, if there is one."""
        for path in _files_of(self._copy):
            path.unlink(missing_ok=True)

    def _open_copy(self) -> sqlite3.Connection:
        try:
            return open_database(self._copy)
        except OperatorError as error:
            reason = error.__cause__ or error
            raise OperatorError(f"{self._backup} is broken: {reason}; take another backup") from error

    def _compare_in_place(self, copy: sqlite3.Connection) -> None:
        """Refuse to replace a database that holds what the backup does not."""
        database = self._config.database
        if not database.exists():
            return
        try:
            with closing(open_database(database, read_only=True)) as connection:
                stored = statements.size(connection)
                head = log.head(connection)
        except (OperatorError, sqlite3.Error):
            return  # it cannot be read: that is what backups are for
        size = statements.size(copy)
        if stored > size:
            raise OperatorError(
                f"the database in place is newer: {counted(stored, 'statement')}, and {size} in {self._backup}. If it "
                f"is broken, move {database} away and restore again"
            )
        if not _extends(copy, Head("in place", head.size, head.root)):
            raise OperatorError(
                f"{self._backup} is not a later state of the database in place: they hold two histories; keep both, "
                f"and move {database} away if you are sure"
            )

    def _published(self, log_id: bytes) -> Head | None:
        path = self._config.public / "checkpoint"
        try:
            signed = checkpoint.verify(path.read_text(encoding="utf-8"), log_id, self._log_key)
        except (OSError, UnicodeDecodeError, checkpoint.CheckpointError):
            return None
        return Head(str(path), signed.size, signed.root)

    def _forget_chain(self) -> None:
        """Let the copy look as if it had never seen the chain: such a gateway does not start without it."""
        with closing(open_database(self._copy)) as connection:
            connection.execute("DELETE FROM registry_cursor")

    def _begin_anew(self) -> list[Path]:
        """Let the copy belong to no log yet, and set key and public files of the old one aside."""
        with closing(open_database(self._copy)) as connection:
            log_id = content(connection).log_id
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE log_state SET log_id = NULL, log_key = NULL")
            connection.execute("DELETE FROM transactions")  # they are about the old log; the chain keeps them
            connection.execute("COMMIT")
        name = "" if log_id is None else f"-{log_id.hex()[:8]}"
        kept = []
        key_file, public = self._config.log.key_file, self._config.public
        for path, aside in (
            (public, _free(public.with_name(f"{public.name}{name}"))),
            (key_file, _free(key_file.with_name(f"{key_file.stem}{name}{key_file.suffix}"))),
        ):
            if path.exists():
                path.rename(aside)
                kept.append(aside)
        keyfiles.create_log_key(key_file)
        return kept


def _extends(connection: sqlite3.Connection, head: Head) -> bool:
    """Tell whether the log in a database begins with a head."""
    try:
        return tree.root(log.current(connection)[1], head.size) == head.root
    except ProofError:
        return False


def _set_aside(database: Path) -> list[Path]:
    """Keep the database that is in place under another name. No log of it may be left beside the one that comes."""
    with suppress(OperatorError, sqlite3.Error), closing(open_database(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
    aside = _free(database.with_name(database.name + ".before-restore"))
    try:
        aside.hardlink_to(database)
    except OSError:  # no links on this file system; for a moment there is no database, which a new restore mends
        database.rename(aside)
    kept = [aside]
    for old, new in zip(_files_of(database)[1:], _files_of(aside)[1:], strict=True):
        if old.exists():
            old.rename(new)
            kept.append(new)
    return kept


def _name(file: Path, target: Path) -> None:
    """Give a file its name, and never replace another one."""
    try:
        target.hardlink_to(file)
    except FileExistsError:
        raise OperatorError(f"{target} is there already: name a new file") from None
    except OSError:  # a USB stick's file system may know no links; then a file that comes this very moment is lost
        if target.exists():
            raise OperatorError(f"{target} is there already: name a new file") from None
        file.rename(target)


def _files_of(database: Path) -> list[Path]:
    """Return the names of the files that SQLite makes for a database: itself, its write-ahead log, that one's index."""
    return [database.with_name(database.name + suffix) for suffix in ("", "-wal", "-shm")]


def _free(path: Path) -> Path:
    """Return a path on which there is nothing yet: this one, or with a number behind it."""
    number, found = 1, path
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}.{number}")
    return found


def _copy_file(source: Path, target: Path, progress: Progress) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with source.open("rb") as reader, os.fdopen(descriptor, "wb") as writer:
        size, done = os.fstat(reader.fileno()).st_size, 0
        while data := reader.read(_BYTES_AT_ONCE):
            writer.write(data)
            done += len(data)
            progress("copying bytes", done, size)
        writer.flush()
        os.fsync(writer.fileno())


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """Give a private file to write to beside `target`, and remove that name in the end."""
    path = target.with_name(target.name + UNFINISHED)
    with _told(target):
        path.unlink(missing_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            yield path
        finally:
            for file in (path, path.with_name(path.name + "-journal")):
                file.unlink(missing_ok=True)


@contextmanager
def _told(*paths: Path) -> Iterator[None]:
    """Tell the operator in one line what the disk refused."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        where = getattr(error, "filename", None) or paths[-1]
        raise OperatorError(
            f"{where}: {getattr(error, 'strerror', None) or error}; check the path and its space"
        ) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
