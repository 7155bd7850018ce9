"""Fetching an update: every byte is checked, what is right already is kept, and bad pieces change nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from boardrunner import BoardError, BoardProcess
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import mutated
from trigpoint.wire import cbor
from trigpoint_tools.owner import Shelf, describe

FILES = {"trig/__init__.py": b"", "trig/start.py": b"start\n" * 700, "trig/sensors/a.mpy": bytes(range(256)) * 9}

_SETUP = """
import asyncio, os, vfs
from cborvalue import encode
from trig.manifest import Manifest
from trig.change import family
from trig.update import Update, UpdateError

class Ram:
    def __init__(self, blocks):
        self.data = bytearray(blocks * 4096)
    def readblocks(self, n, buf, off=0):
        buf[:] = memoryview(self.data)[n * 4096 + off : n * 4096 + off + len(buf)]
    def writeblocks(self, n, buf, off=0):
        self.data[n * 4096 + off : n * 4096 + off + len(buf)] = buf
    def ioctl(self, op, arg):
        return len(self.data) // 4096 if op == 4 else 4096 if op == 5 else 0

def mount(blocks):
    vfs.umount("/")
    ram = Ram(blocks)
    vfs.VfsLfs2.mkfs(ram)
    vfs.mount(ram, "/")

def put(path, data):
    at = path.find("/", 1)
    while at > 0:
        try:
            os.mkdir(path[:at])
        except OSError:
            pass
        at = path.find("/", at + 1)
    with open(path, "wb") as file:
        file.write(data)

def get(path):
    with open(path, "rb") as file:
        return file.read()

def listed(folder="/b"):
    found = []
    for entry in os.ilistdir(folder):
        path = folder + "/" + entry[0]
        found += listed(path) if entry[1] & 0x4000 else [path]
    return sorted(found)

def fetch(manifest, pieces, answer_ms=20, deaf=0):
    # `pieces` maps an encoded request to the messages that come, once it has been made more than `deaf` times.
    # Returns the requests.
    asked = []
    async def ask(request):
        asked.append(bytes(request))
        if asked.count(bytes(request)) > deaf:
            for message in pieces.get(bytes(request), []):
                update.take(message)
    update = Update(Manifest(manifest), "/b", ask, answer_ms)
    asyncio.run(asyncio.wait_for(update.run(), 5))
    return asked

offered = None

def offer(digest, offset, length):
    global offered
    async def ask(request):
        pass
    offered = Update(Manifest(MANIFEST), "/b", ask)
    offered._wanted = (digest, offset, length)

def take(data):
    offered.take(data)
    return None if offered._wanted else offered._piece

mount(110)
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[BoardProcess]:
    with BoardProcess(_SETUP, heap="2m") as process:
        process.exec(f"MANIFEST = {_manifest(process)!r}")
        yield process


@pytest.fixture
def board(shared: BoardProcess) -> BoardProcess:
    shared.call("mount", 110)
    return shared


def _manifest(board: BoardProcess) -> bytes:
    return describe(FILES, version=2, family=str(board.call("family")), micropython=(1, 0, 0)).encode()


def requests(files: dict[str, bytes]) -> dict[bytes, list[bytes]]:
    """Return every request that fetches these files, with the messages that answer it."""
    shelf, found = Shelf(files), {}
    for content in files.values():
        for offset in range(0, len(content), 512):
            wanted = {1: hashlib.sha256(content).digest(), 2: offset, 3: min(512, len(content) - offset)}
            answer = shelf.answer(cbor.encode(wanted))
            assert answer is not None
            found[cbor.encode(wanted)] = [answer]
    return found


def stored(board: BoardProcess) -> dict[str, object]:
    names = board.call("listed")
    assert isinstance(names, list)
    return {name.removeprefix("/b/"): board.call("get", name) for name in names}


def test_all_files_come_and_no_other_stays(board: BoardProcess) -> None:
    board.call("put", "/b/trig/old.py", b"of an earlier version")
    board.call("put", "/b/other", b"")
    answers = requests(FILES)
    asked = board.call("fetch", _manifest(board), answers)
    assert isinstance(asked, list) and sorted(asked) == sorted(answers)
    assert stored(board) == FILES


def test_what_is_there_is_not_fetched_again(board: BoardProcess) -> None:
    for path, content in FILES.items():
        board.call("put", "/b/" + path, content)
    assert board.call("fetch", _manifest(board), {}) == []
    damaged = bytearray(FILES["trig/start.py"])
    damaged[1000] ^= 1
    board.call("put", "/b/trig/start.py", bytes(damaged))
    asked = board.call("fetch", _manifest(board), requests(FILES))
    assert isinstance(asked, list) and len(asked) == 9
    assert stored(board) == FILES


def test_a_piece_that_does_not_come_is_asked_for_again(board: BoardProcess) -> None:
    answers = requests(FILES)
    first = next(iter(answers))
    asked = board.call("fetch", _manifest(board), answers, 20, 1)
    assert isinstance(asked, list) and asked.count(first) == 2
    assert stored(board) == FILES


def test_a_file_with_a_wrong_hash_is_given_up_after_three_times(board: BoardProcess) -> None:
    bad = {
        request: [cbor.encode({**cbor.decode(answers[0]), 3: bytes(len(cbor.decode(answers[0])[3]))})]  # type: ignore[dict-item,index]
        for request, answers in requests(FILES).items()
    }
    with pytest.raises(BoardError, match=r"trig/sensors/a\.mpy: its hash is wrong") as found:
        board.call("fetch", _manifest(board), bad)
    assert found.value.kind == "UpdateError"


def test_an_update_leaves_room_for_the_journal(board: BoardProcess) -> None:
    board.call("mount", 78)
    with pytest.raises(BoardError, match="no room on flash"):
        board.call("fetch", _manifest(board), requests(FILES))


CONTENT = FILES["trig/start.py"]
DIGEST = hashlib.sha256(CONTENT).digest()
RIGHT = cbor.encode({1: DIGEST, 2: 2048, 3: CONTENT[2048:2560]})


@given(mutated(st.just(RIGHT)) | st.binary(max_size=2300))
@settings(max_examples=300)
def test_no_other_message_is_taken(shared: BoardProcess, data: bytes) -> None:
    shared.call("offer", DIGEST, 2048, 512)
    taken = shared.call("take", data)
    if taken is not None:
        # The hash of the whole file finds out about its bytes.
        assert cbor.decode(data) == {1: DIGEST, 2: 2048, 3: taken}
    shared.call("offer", DIGEST, 2048, 512)
    assert shared.call("take", RIGHT) == CONTENT[2048:2560]
