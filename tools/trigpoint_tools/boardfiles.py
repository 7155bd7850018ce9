"""What lands on a board: the files of `device/`, the application compiled. Needs nothing of the emulator's extra."""

from __future__ import annotations

from pathlib import Path

from trigpoint_tools.emulator.errors import EmulatorError
from trigpoint_tools.emulator.interpreter import compile_module, compiler

_DEVICE_FILES = (".py", ".mpy")


def device_directory() -> Path:
    """Return the folder of the board's own files: in a checkout `device/`, in a wheel a copy of it.

    Raises:
        EmulatorError: it is in neither place.
    """
    here = Path(__file__).resolve()
    for candidate in (here.parents[2] / "device", here.parent / "device"):
        if (candidate / "trig").is_dir():
            return candidate
    raise EmulatorError("the board's files are missing; install trigpoint again or run from a checkout")


def device_files(directory: Path, *, compiled: bool = False) -> dict[str, bytes]:
    """Return what of a folder lands on a board: absolute path on the board to content.

    The application, `trig/`, goes into the first of the two slots, all else to the root (device/slots.py).

    Args:
        directory: the folder.
        compiled: whether the application's modules are to be .mpy files, as on a board with little memory: to compile
            one on the board takes a multiple of what it leaves. Without mpy-cross they stay as they are.

    Raises:
        EmulatorError: a module does not compile.
    """
    files = {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.suffix in _DEVICE_FILES and path.is_file() and "__pycache__" not in path.parts
    }
    placed = {}
    for name, content in files.items():
        if not name.startswith("trig/"):
            placed[f"/{name}"] = content
        elif compiled and name.endswith(".py") and compiler():
            placed[f"/a/{name.removesuffix('.py')}.mpy"] = compile_module(f"/{name}", content)
        else:
            placed[f"/a/{name}"] = content
    return placed
