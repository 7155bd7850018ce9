"""A directory that holds a log's files for somebody else than its gateway: a mirror's or an export's."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trigpoint.errors import OperatorError
from trigpoint.files import UNFINISHED, sync, write_whole
from trigpoint.log import checkpoint
from trigpoint.log.checkpoint import Checkpoint, CheckpointError
from trigpoint.log.tiles import entries_path, tile_path, tile_width
from trigpoint.log.tree import TILE_HEIGHT, TILE_WIDTH
from trigpoint.wire.errors import WireError
from trigpoint.wire.trust import MAX_SIZE as MAX_TRUST
from trigpoint.wire.trust import Trust

_MANY = 256
"""From so many files on one sync of everything is less work than one of each."""

_MAX_FILE = checkpoint.MAX_LENGTH * 4


class TileStore:
    """Takes verified files, and in the end the checkpoint that they belong to.

    What is under a name is whole and was verified. Until `finish` it may be lost in a power cut, and is then fetched
    again; the checkpoint comes when all the rest is on the disk.

    Args:
        directory: made as needed.

    Raises:
        OperatorError: it cannot be made.
    """

    _FOLDER = ""
    """Made below the directory too."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._written: list[Path] = []
        try:
            (directory / self._FOLDER).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OperatorError(f"cannot write to {directory}: {error.strerror}; check its owner and space") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the directory for this process alone; the system lets go of it however the process ends.

        Raises:
            OperatorError: another process has it.
        """
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OperatorError(f"another command writes to {self.directory}: let it end first") from None
            yield
        finally:
            os.close(descriptor)

    def read(self, path: str) -> bytes | None:
        """Return a file, or None if there is none; at most a little more than the largest that a log has."""
        try:
            with (self.directory / path).open("rb") as file:
                return file.read(_MAX_FILE)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, path: str, data: bytes) -> None:
        """Put a verified file under its name, whole."""
        place = self.directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = place.with_name(place.name + UNFINISHED)
        unfinished.write_bytes(data)
        unfinished.replace(place)
        self._written.append(place)

    def head(self, trust: Trust) -> Checkpoint | None:
        """Return the checkpoint whose tree is here in whole; None before the first.

        Raises:
            OperatorError: the directory is another log's.
        """
        return self._checkpoint("checkpoint", trust)

    def finish(self, head: Checkpoint, old_size: int) -> None:
        """Say that all files of `head` are here; those of a tree of `old_size` leaves were before."""
        self._sync()
        write_whole(self.directory / "checkpoint", head.text.encode())
        level = 0
        while head.size >> TILE_HEIGHT * level:
            # Of the tiles that are full now, only the one where the row ended had partial ones.
            index = (old_size >> TILE_HEIGHT * level) // TILE_WIDTH
            if tile_width(head.size, level, index) == TILE_WIDTH:
                for path in (tile_path(level, index), *([entries_path(index)] if level == 0 else [])):
                    shutil.rmtree(self.directory / f"{path}.p", ignore_errors=True)
            level += 1

    def trust(self) -> Trust | None:
        """Return what trust.json says; None if there is none.

        Raises:
            OperatorError: it is not a trust file.
        """
        data = self.read("trust.json")
        if data is None:
            return None
        try:
            return Trust.from_json(data[: MAX_TRUST + 1].decode())
        except (WireError, UnicodeDecodeError) as error:
            raise OperatorError(f"{self.directory / 'trust.json'} is not a trust file: {error}") from error

    def keep_trust(self, trust: Trust) -> None:
        """Write trust.json.

        Raises:
            OperatorError: there is one already that says something else.
        """
        kept = self.trust()
        if kept is None:
            write_whole(self.directory / "trust.json", trust.to_json().encode())
        elif kept != trust:
            raise OperatorError(
                f"{self.directory} is of another log than the trust file: its trust.json differs; use another directory"
            )

    def _sync(self) -> None:
        if len(self._written) > _MANY:
            os.sync()
        else:
            depth = len(self.directory.parts)
            above = {folder for place in self._written for folder in place.parents if len(folder.parts) >= depth}
            for path in (*self._written, *above):
                sync(path)
        self._written.clear()

    def _checkpoint(self, name: str, trust: Trust) -> Checkpoint | None:
        data = self.read(name)
        if data is None:
            return None
        try:
            return checkpoint.verify(data.decode(), trust.log_id, trust.log_key)
        except (CheckpointError, UnicodeDecodeError) as error:
            raise OperatorError(f"{self.directory / name} is not this log's: {error}; use another directory") from error


class Mirror(TileStore):
    """A mirror remembers beside the log's files the newest checkpoint that it has ever seen, in `audit/`."""

    _FOLDER = "audit"
    _SEEN = "audit/newest-checkpoint"

    def seen(self, trust: Trust) -> Checkpoint | None:
        """Return the newest checkpoint ever seen, whether or not all its files are here.

        Raises:
            OperatorError: the directory is another log's.
        """
        return self._checkpoint(self._SEEN, trust)

    def see(self, head: Checkpoint) -> None:
        """Remember a checkpoint that extends the one seen before."""
        write_whole(self.directory / self._SEEN, head.text.encode())
