"""The modules that an ESP32 has in its ROM, `hardware/`, as the board's process imports them.

They are compiled: read as text they would leave the names of all their local variables on the board's heap.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from trigpoint_tools.emulator.interpreter import compile_module, compiler

_SOURCES = Path(__file__).parent / "hardware"
_LAUNCHER = "launch.py"


class _Rom:
    # Keeps the folder as long as the program runs.
    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="trigpoint-rom-")
        self.path = Path(self._folder.name)
        for source in sorted(_SOURCES.glob("*.py")):
            content = source.read_bytes()
            if source.name == _LAUNCHER:
                (self.path / source.name).write_bytes(content)
            else:
                (self.path / source.with_suffix(".mpy").name).write_bytes(compile_module(source.name, content))


@functools.cache
def _rom() -> _Rom:
    return _Rom()


def launcher() -> Path:
    """Return the script that makes a board of a MicroPython process; its folder holds the modules.

    Without mpy-cross it is the sources' folder, and boards have some 3 KB of heap less.
    """
    return (_rom().path if compiler() else _SOURCES) / _LAUNCHER
