"""The manifest of an update, and the messages in which a board fetches its files (docs/protocol.md section 15)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from trigpoint.wire import cbor
from trigpoint.wire.errors import WireError

MAX_FILES = 64
MAX_FILE = 131_072
MAX_PIECE = 2048
MAX_PATH = 64

_PATH = re.compile(r"trig(/[a-z0-9_]+){0,3}/[a-z0-9_]+\.m?py")
_FAMILY = re.compile(r"[a-z0-9_]+-[a-z0-9_]+")
_START = ("trig/start.py", "trig/start.mpy")


@dataclass(frozen=True)
class File:
    """One file of an application.

    Attributes:
        path: under the slot, such as `trig/app.mpy`.
        size: bytes.
        digest: SHA-256 of its content.
    """

    path: str
    size: int
    digest: bytes

    @classmethod
    def of(cls, path: str, content: bytes) -> File:
        """Return the entry of a file with this content."""
        return cls(path, len(content), hashlib.sha256(content).digest())


@dataclass(frozen=True)
class Manifest:
    """What an application consists of and which boards may take it.

    Attributes:
        version: above every version that the board has confirmed; 1 to 2^32 - 1.
        family: the boards that it is made for: platform and instruction set, such as `esp32-xtensawin`.
        micropython: the lowest MicroPython that it runs on: major, minor, patch.
        follows: the lowest version that it may come after; 0 for any.
        files: by path, ascending.

    Raises:
        WireError: `shape`, with the field at fault.
    """

    version: int
    family: str
    micropython: tuple[int, int, int]
    follows: int
    files: tuple[File, ...]

    def __post_init__(self) -> None:
        """Check every field as a board does."""
        if not 1 <= self.version < 1 << 32:
            raise WireError("shape", "version", f"{self.version} is not 1 to 2^32 - 1")
        if len(self.family) > 32 or not _FAMILY.fullmatch(self.family):
            raise WireError("shape", "family", f"{self.family!r} is not <platform>-<instruction set>")
        if len(self.micropython) != 3 or not all(0 <= part < 256 for part in self.micropython):
            raise WireError("shape", "micropython", f"{self.micropython} is not three numbers below 256")
        if not 0 <= self.follows < self.version:
            raise WireError("shape", "follows", f"{self.follows} is not below the version")
        if not 1 <= len(self.files) <= MAX_FILES:
            raise WireError("shape", "files", f"{len(self.files)} files, 1 to {MAX_FILES} allowed")
        last = ""
        for i, file in enumerate(self.files):
            if len(file.path) > MAX_PATH or not _PATH.fullmatch(file.path):
                raise WireError("shape", f"files[{i}].path", f"{file.path!r} is not trig/<names>.py or .mpy")
            if file.path <= last:
                raise WireError("shape", f"files[{i}].path", "out of order or twice there")
            if not 0 <= file.size <= MAX_FILE:
                raise WireError("shape", f"files[{i}].size", f"{file.size} is not 0 to {MAX_FILE}")
            if len(file.digest) != 32:
                raise WireError("shape", f"files[{i}].sha256", f"{len(file.digest)} bytes, 32 wanted")
            last = file.path
        if not any(file.path in _START for file in self.files):
            raise WireError("shape", "files", "trig/start is not among them")

    def encode(self) -> bytes:
        """Encode it, as a command's body."""
        files = [[file.path, file.size, file.digest] for file in self.files]
        return cbor.encode({1: self.version, 2: self.family, 3: list(self.micropython), 4: self.follows, 5: files})

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read one.

        Raises:
            WireError: `size` or `shape`.
        """
        match cbor.decode(data, max_size=4096):
            case {
                1: int(version),
                2: str(family),
                3: [int(major), int(minor), int(patch)],
                4: int(follows),
                5: [*rows],
                **others,
            } if not others:
                pass
            case _:
                raise WireError("shape", "manifest", "not its five entries")
        files = []
        for i, row in enumerate(rows):
            match row:
                case [str(path), int(size), bytes(digest)]:
                    files.append(File(path, int(size), digest))
                case _:
                    raise WireError("shape", f"files[{i}]", "not [path, size, sha256]")
        found = cls(int(version), family, (int(major), int(minor), int(patch)), int(follows), tuple(files))
        if found.encode() != data:
            raise WireError("shape", "manifest", "true or false where a number belongs")
        return found


@dataclass(frozen=True)
class Request:
    """A board asks for a piece of a file.

    Attributes:
        digest: SHA-256 of the whole file.
        offset: where the piece begins.
        length: bytes wanted, 1 to 2,048.
    """

    digest: bytes
    offset: int
    length: int

    @classmethod
    def parse(cls, data: bytes) -> Request:
        """Read what a board has published on `u`.

        Raises:
            WireError: `size` or `shape`.
        """
        match cbor.decode(data, max_size=64):
            case {1: bytes(digest), 2: int(offset), 3: int(length), **others} if not others and len(digest) == 32:
                if 0 <= offset < MAX_FILE and 1 <= length <= MAX_PIECE and not isinstance(offset, bool):
                    return cls(digest, offset, length)
        raise WireError("shape", "request", f"not {{1: sha256, 2: offset, 3: length}}, length 1 to {MAX_PIECE}")


def piece(request: Request, content: bytes) -> bytes:
    """Encode the answer to a request, for `p`.

    Args:
        request: what the board wants.
        content: the whole file.
    """
    end = request.offset + request.length
    return cbor.encode({1: request.digest, 2: request.offset, 3: content[request.offset : end]})
