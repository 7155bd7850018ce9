"""Files that hold secrets: there, whole, and nobody else's to read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from trigpoint.doctor.finding import Finding, fail, ok, warn
from trigpoint.errors import OperatorError


def examine(what: str, path: Path, load: Callable[[], object]) -> Finding:
    """Look at one file.

    Args:
        what: the key's name.
        path: the file.
        load: reads it, and raises OperatorError with what is wrong and what to do.
    """
    try:
        load()
        details = path.stat()
    except OperatorError as error:
        reason, _, remedy = str(error).partition(": ")
        return fail("keys", what, reason, remedy or "bring back the file from a backup")
    except OSError as error:
        return fail("keys", what, f"cannot read {path}: {error.strerror}", "check the path and its owner")
    folder = path.parent.stat()
    if stat.S_IMODE(folder.st_mode) & 0o022:
        return warn("keys", what, f"others may replace files in {path.parent}", f"chmod go-w {path.parent}")
    if details.st_uid not in (os.geteuid(), 0):
        return warn("keys", what, f"{path} belongs to another user", "run this as the user that runs the gateway")
    return ok("keys", what, f"{path.name}, its owner's alone")
