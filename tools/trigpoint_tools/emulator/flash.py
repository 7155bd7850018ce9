"""A board's flash: one littlefs image in one file, read and written here while the board is off."""

from __future__ import annotations

from pathlib import Path

from littlefs import LittleFS, LittleFSError

from trigpoint_tools.emulator.errors import EmulatorError
from trigpoint_tools.emulator.nvs import write_atomically

BLOCK_SIZE = 4096
BLOCKS = 512  # 2 MiB, the file system partition of a 4 MiB ESP32


def create_image(path: Path, files: dict[str, bytes]) -> None:
    """Make a flash image with these files."""
    filesystem = _filesystem()
    filesystem.format()
    filesystem.mount()
    for name, content in files.items():
        _write(filesystem, name, content)
    filesystem.unmount()
    write_atomically(path, bytes(filesystem.context.buffer))


def write_file(image: Path, name: str, content: bytes) -> None:
    """Write one file into an image, with the directories that it needs; a crash leaves the old image or the new."""
    filesystem = _load(image)
    _write(filesystem, name, content)
    filesystem.unmount()
    write_atomically(image, bytes(filesystem.context.buffer))


def read_file(image: Path, name: str) -> bytes:
    """Return one file's content; FileNotFoundError if it is not there."""
    filesystem = _load(image)  # an open file does not keep its file system alive, and reading it then crashes
    try:
        with filesystem.open(name, "rb") as file:
            return bytes(file.read())
    except FileNotFoundError:
        raise FileNotFoundError(f"{name} is not on the board") from None


def read_folder(image: Path, folder: str) -> dict[str, bytes]:
    """Return the content of the files right in a folder, by name and in its order; none if there is no such folder."""
    filesystem = _load(image)
    found: dict[str, bytes] = {}
    try:
        names = sorted(filesystem.listdir(folder))
    except FileNotFoundError:
        return found
    for name in names:
        with filesystem.open(f"{folder}/{name}", "rb") as file:
            found[name] = bytes(file.read())
    return found


def list_files(image: Path) -> list[str]:
    """Return the absolute paths of all files."""
    return sorted(f"{folder.rstrip('/')}/{name}" for folder, _, names in _load(image).walk("/") for name in names)


def _filesystem() -> LittleFS:
    # Geometry and cache are those of MicroPython on an ESP32. The cache bounds how large a file may be that lies
    # inside its directory's block, so a larger one here would write files that the board cannot read.
    return LittleFS(
        block_size=BLOCK_SIZE,
        block_count=BLOCKS,
        read_size=32,
        prog_size=32,
        cache_size=128,
        lookahead_size=32,
        mount=False,
    )


def _load(image: Path) -> LittleFS:
    filesystem = _filesystem()
    content = image.read_bytes()
    if len(content) != BLOCK_SIZE * BLOCKS:
        raise EmulatorError(f"{image} is not a board's flash image: {len(content)} bytes")
    filesystem.context.buffer[:] = content
    try:
        filesystem.mount()
    except LittleFSError as error:
        raise EmulatorError(f"{image} holds no file system: {error}") from None
    return filesystem


def _write(filesystem: LittleFS, name: str, content: bytes) -> None:
    folder = name.rpartition("/")[0]
    if folder:
        filesystem.makedirs(folder, exist_ok=True)
    with filesystem.open(name, "wb") as file:
        file.write(content)
