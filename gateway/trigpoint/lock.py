"""One process at a time writes to a gateway's data directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trigpoint.errors import OperatorError


@contextmanager
def only_one(data: Path) -> Iterator[None]:
    """Hold the data directory for this process alone; the system lets go of it however the process ends.

    Raises:
        OperatorError: another gateway holds it, or it cannot be made.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        # Its owner's alone: whoever can open a file can lock it, and so keep the gateway from starting.
        lock = os.fdopen(os.open(data / "lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb")
        os.fchmod(lock.fileno(), 0o600)
    except OSError as error:
        raise OperatorError(f"cannot write to the data directory {data}: {error.strerror}; check its owner") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OperatorError(f"another gateway runs on {data}: stop it first") from None
        yield
