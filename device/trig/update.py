"""Fetches an update's files into the slot that does not run, piece by piece, and checks every byte (protocol, 15).

What is there already and right is kept, so that it goes on where power went. Nothing here touches the slot that runs.
"""

import asyncio
import gc
import os
from hashlib import sha256

from micropython import const

from trig.cbor import CborError, Reader, Writer

_PIECE = const(512)
_MAX_MESSAGE = const(2112)
_REQUEST = const(64)
_MAX_ENTRY = const(112)  # encoded: path 66, size 5, SHA-256 34, and the head
_TRIES = const(3)
_ANSWER_MS = const(10000)
_CHUNK = const(512)
_BLOCK = const(4096)
_FOLDER = const(0x4000)  # in os.ilistdir's type
# What the journal may grow to stays free: no reading is lost for an update.
_SPARE = const(294912)


class UpdateError(Exception):
    """The files do not fit, or do not come as the manifest says; the message names which."""


def entry(reader):
    """Read one file's entry of a manifest: (path, size, SHA-256). Raises CborError."""
    if reader.array() != 3:
        raise CborError("files: not [path, size, sha256]")
    return reader.text(), reader.unsigned(), bytes(reader.byte_string())


class Files:
    """The entries of a manifest that has been checked, from flash: neither it nor its parser need stay on the heap."""

    def __init__(self, path, at, count):
        """Take the manifest's file, where in it the first entry is, and how many there are."""
        self._path = path
        self._at = at
        self._count = count

    def files(self):
        """Yield (path, size, SHA-256) of each."""
        at = self._at
        for _ in range(self._count):
            with open(self._path, "rb") as file:
                file.seek(at)
                reader = Reader(file.read(_MAX_ENTRY))
            yield entry(reader)
            at += reader.at


class Update:
    """One update being fetched.

    Attributes:
        fetched: bytes written since start.
    """

    def __init__(self, manifest, slot, ask, answer_ms=_ANSWER_MS):
        """Take the parts; ``run`` does the work.

        Args:
            manifest: Files, or what else has its method.
            slot: the folder of the slot that does not run.
            ask: ``await ask(request)`` sends an encoded request.
            answer_ms: how long to wait for the piece before asking again.
        """
        self._manifest = manifest
        self._slot = slot
        self._ask = ask
        self._answer_ms = answer_ms
        self._wanted = None
        self._piece = memoryview(bytearray(_PIECE))
        self._came = asyncio.Event()
        self.fetched = 0

    async def run(self):
        """Return when every file is on flash and its hash, read back from there, is right.

        Raises:
            UpdateError: it cannot be done.
            OSError: flash refuses.
        """
        self._clear(self._slot)
        self._make_room()
        for path, size, digest in self._manifest.files():
            await self._file(path, size, digest)
            gc.collect()

    def take(self, data):
        """Take a message from the topic of pieces; what is not the answer to the open request is ignored."""
        wanted = self._wanted
        if wanted is None:
            return
        digest, offset, length = wanted
        try:
            reader = Reader(data, _MAX_MESSAGE)
            if reader.map() != 3 or reader.integer() != 1 or reader.byte_string() != digest:
                return
            if reader.integer() != 2 or reader.unsigned() != offset or reader.integer() != 3:
                return
            piece = reader.byte_string()
            reader.end()
        except CborError:
            return
        if len(piece) == length:
            self._wanted = None
            self._piece[:length] = piece
            self._came.set()

    async def _file(self, path, size, digest):
        target = self._slot + "/" + path
        for _ in range(_TRIES):
            if _whole(target, size, digest):
                return
            _make_folders(target)
            with open(target, "wb") as file:
                offset = 0
                while offset < size:
                    piece = await self._fetch(digest, offset, min(_PIECE, size - offset))
                    file.write(piece)
                    offset += len(piece)
                    self.fetched += len(piece)
        if not _whole(target, size, digest):
            raise UpdateError(path + ": its hash is wrong")

    async def _fetch(self, digest, offset, length):
        writer = Writer(bytearray(_REQUEST))
        writer.map(3)
        writer.integer(1)
        writer.byte_string(digest)
        writer.integer(2)
        writer.integer(offset)
        writer.integer(3)
        writer.integer(length)
        request = writer.buffer[: writer.length]
        self._came.clear()
        self._wanted = (digest, offset, length)
        while True:
            await self._ask(request)
            try:
                await asyncio.wait_for_ms(self._came.wait(), self._answer_ms)
            except asyncio.TimeoutError:
                continue
            return self._piece[:length]

    def _clear(self, folder):
        """Remove what is not in the manifest, or cannot be right by its size."""
        try:
            entries = list(os.ilistdir(folder))
        except OSError:
            return
        for entry in entries:
            path = folder + "/" + entry[0]
            if entry[1] & _FOLDER:
                self._clear(path)
            elif not self._wants(path, _size(path)):
                os.remove(path)

    def _wants(self, path, size):
        for name, wanted, _ in self._manifest.files():
            if wanted == size and self._slot + "/" + name == path:
                return True
        return False

    def _make_room(self):
        need = _SPARE
        for path, size, _ in self._manifest.files():
            if _size(self._slot + "/" + path) < 0:
                need += (size // _BLOCK + 2) * _BLOCK
        state = os.statvfs("/")
        if state[0] * state[3] < need:
            raise UpdateError("no room on flash: {} bytes needed".format(need))


def _size(path):
    """The size of a file, -1 if there is none."""
    try:
        return os.stat(path)[6]
    except OSError:
        return -1


def _make_folders(path):
    at = path.find("/", 1)
    while at > 0:
        try:
            os.mkdir(path[:at])
        except OSError:
            pass  # there already; if not, the file cannot be opened, and that says so
        at = path.find("/", at + 1)


def _whole(path, size, digest):
    """Whether a file has this size and SHA-256 on flash."""
    try:
        if _size(path) != size:
            return False
        found = sha256()
        with open(path, "rb") as file:
            chunk = memoryview(bytearray(_CHUNK))
            while True:
                count = file.readinto(chunk)
                if not count:
                    return found.digest() == digest
                found.update(chunk[:count])
    except OSError:
        return False
