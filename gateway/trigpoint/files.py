"""Files that are on the disk when we say so, and never seen half written."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

UNFINISHED: Final = ".unfinished"
"""Ends the names of files that are being written; after a crash such a file may stay, and means nothing."""


class FileBatch:
    """Writes files of one directory so that even a power cut leaves each as it was or whole.

    What a file system does for one fsync it does for many files at once, and each is a write to an SD card's few
    good ones. So files are written first, then synced, then renamed, and each directory is synced once for all.

    Args:
        directory: where the names begin; made as needed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._written: dict[Path, int] = {}  # with a descriptor, still open
        self._directories: set[Path] = set()

    def __len__(self) -> int:
        """Return how many files wait for `commit`. Each keeps a descriptor open."""
        return len(self._written)

    def write(self, name: str, data: bytes) -> None:
        """Write a file beside its place; nobody sees it yet.

        Raises:
            OSError: the disk refused.
        """
        path = self._directory / name
        self._make(path.parent)
        self._written[path] = descriptor = _create(f"{path}{UNFINISHED}")
        _write(descriptor, data)

    def commit(self) -> None:
        """Put the files written so far under their names; when this returns they are on the disk.

        Raises:
            OSError: the disk refused. Some may be under their names; all that are not are forgotten.
        """
        try:
            for descriptor in self._written.values():
                os.fsync(descriptor)
            for path in self._written:
                os.replace(f"{path}{UNFINISHED}", path)  # noqa: PTH105 (no Path for a name in between)
                self._directories.add(path.parent)
            for directory in self._directories:
                sync(directory)
        finally:
            self.close()
        self._directories.clear()

    def close(self) -> None:
        """Forget what is not committed."""
        for descriptor in self._written.values():
            with suppress(OSError):
                os.close(descriptor)
        self._written.clear()

    def _make(self, directory: Path) -> None:
        """Make a directory and those above it, and remember which of them have a new name to be synced."""
        if directory.is_dir():
            return
        self._make(directory.parent)
        directory.mkdir(exist_ok=True)
        self._directories.add(directory.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Put `data` under `path` so that even a power cut leaves the old file or the new one.

    Which of the two is left to the file system: the new name may reach the disk a little later.

    Raises:
        OSError: the disk refused.
    """
    unfinished = f"{path}{UNFINISHED}"
    descriptor = _create(unfinished)
    try:
        _write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(unfinished, path)  # noqa: PTH105


def sync(path: Path) -> None:
    """Bring a file's content, or a directory's names, to the disk.

    Raises:
        OSError: the disk refused.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
