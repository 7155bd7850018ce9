"""The public files: what C2SP tlog-tiles names, always true, and in step again after any crash."""

import functools
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from trigpoint import files, public
from trigpoint.errors import OperatorError
from trigpoint.log import checkpoint, merkle, tiles, tree
from trigpoint.public import PublicFiles
from trigpoint.store import fold, statements
from trigpoint.store.database import migrate
from trigpoint.wire.trust import Trust

LOG_KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
LOG_ID = b"i" * 32


def database():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return connection


def grow(connection, number, raws=None, folded=True):
    """Store statements, and fold them into the log or not; what is in their bytes plays no part here."""
    start = statements.size(connection)
    raws = raws or [b"statement %d" % index for index in range(start, start + number)]
    connection.executemany(
        "INSERT INTO statements (leaf_index, board, seq, arrival_ms, raw) VALUES (?, 1, ?, 0, ?)",
        [(index, index, raw) for index, raw in enumerate(raws, start)],
    )
    if folded:
        fold.fold_log(connection)


def open_files(directory, connection):
    return PublicFiles(directory, connection, LOG_ID, LOG_KEY)


def fetch(directory, name, index, width, size):
    """Read a tile or bundle as a stranger would: as wide as the checkpoint says, or cut from the full one."""
    partial = directory / name(index, width)
    if partial.exists():
        data = partial.read_bytes()
        assert len(data) == width * size
        return data
    return (directory / name(index)).read_bytes()[: width * size]


class PublishedTiles:
    """Reads tiles from the directory for a checkpoint of so many leaves."""

    def __init__(self, directory, size):
        self.directory, self.size = directory, size

    def tile(self, level, index):
        width = tiles.tile_width(self.size, level, index)
        return fetch(self.directory, functools.partial(tiles.tile_path, level), index, width, 32)


def audit(directory):
    """Check the directory from nothing but its files; return the size of its checkpoint."""
    signed = checkpoint.verify((directory / "checkpoint").read_text(), LOG_ID, LOG_KEY.public_key().public_bytes_raw())
    reader = PublishedTiles(directory, signed.size)
    assert tree.root(reader, signed.size) == signed.root
    for index in range(-(-signed.size // 256)):
        width = min(256, signed.size - 256 * index)
        entries = tiles.parse_entry_bundle(fetch(directory, tiles.entries_path, index, width, 34), width)
        assert b"".join(map(merkle.leaf_hash, entries)) == reader.tile(0, index)
    return signed.size


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 700), st.booleans(), st.booleans()), max_size=4))
def test_a_stranger_can_audit_whatever_was_published(tmp_path_factory, steps):
    directory, connection = tmp_path_factory.mktemp("public"), database()
    published = open_files(directory, connection)
    assert published.publish() and audit(directory) == 0
    for number, restarted, folded in steps:
        grow(connection, number, folded=folded)
        if restarted:
            published = open_files(directory, connection)
        assert published.publish() and audit(directory) == statements.size(connection)
    full = statements.size(connection) // 256
    for index in range(full):
        assert not (directory / (tiles.entries_path(index) + ".p")).exists()
        assert not (directory / (tiles.tile_path(0, index) + ".p")).exists()
    assert not list(directory.rglob("*.unfinished"))


class Crash(Exception):
    pass


class Disk:
    """Stands between `trigpoint.files` and the system: crashes at one call, and keeps a record of all."""

    CALLS = ("open", "write", "fsync", "close", "replace")

    def __init__(self, crash_at=None):
        self.crash_at, self.calls = crash_at, []

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in self.CALLS:
            return real

        def call(*arguments):
            self.calls.append((name, *arguments))
            if len(self.calls) == self.crash_at:
                if name == "write":
                    real(arguments[0], bytes(arguments[1])[:7])
                raise Crash
            result = real(*arguments)
            if name == "open":
                self.calls[-1] = (name, str(arguments[0]), result)
            return result

        return call


def grown(directory, connection, first, then):
    """Publish, grow, and leave the second publishing to the test."""
    grow(connection, first)
    open_files(directory, connection).publish()
    grow(connection, then)


def test_a_crash_at_any_call_leaves_a_true_directory(tmp_path, monkeypatch):
    connection = database()
    grown(tmp_path, connection, 200, 100)
    for number in range(1, 200):
        monkeypatch.setattr(files, "os", Disk(number))
        try:
            open_files(tmp_path, connection).publish()
        except Crash:
            assert audit(tmp_path) in (200, 300)
        else:
            break
    else:
        pytest.fail("never got through")
    assert number > 20
    assert audit(tmp_path) == 300
    assert not (tmp_path / "tile/0/000.p").exists()


@pytest.mark.parametrize(("first", "then"), [(0, 300), (200, 100), (100, 50), (700, 600)])
def test_no_checkpoint_before_its_tiles_are_on_the_disk(tmp_path, monkeypatch, first, then):
    """By POSIX a name is safe once the file was synced before the renaming, and its directory after it."""
    connection, disk = database(), Disk()
    grown(tmp_path, connection, first, then)
    monkeypatch.setattr(files, "os", disk)
    published = open_files(tmp_path, connection)
    before = set(tmp_path.rglob("*/"))
    while not published.publish():
        pass
    opened, clean, owed, renamed, synced = {}, set(), set(), [], set()
    for call in disk.calls:
        match call:
            case ("open", path, descriptor):
                opened[descriptor] = path
                clean.discard(path)
            case ("write", descriptor, _):
                clean.discard(opened[descriptor])
            case ("fsync", descriptor):
                clean.add(opened[descriptor])
                synced.add(opened[descriptor])
                owed.discard(opened[descriptor])
            case ("replace", source, path):
                assert str(source) in clean
                if path.name == "checkpoint":
                    assert not owed
                else:
                    owed.add(str(path.parent))
                renamed.append(str(path.relative_to(tmp_path)))
    assert audit(tmp_path) == first + then
    made = [path for path in tmp_path.rglob("*") if path.is_dir() and path not in before]
    assert (first > 0 or made) and {str(path.parent) for path in made} <= synced
    written = [path for path in renamed if path != "checkpoint"]
    assert len(written) == len(set(written))
    assert all(tiles.parse_path(path) for path in written)
    if (first, then) == (100, 50):
        assert renamed == ["tile/entries/000.p/150", "tile/0/000.p/150", "checkpoint"]
        assert len([call for call in disk.calls if call[0] == "fsync"]) == 5


def test_a_full_disk_is_an_error_and_is_made_good_later(tmp_path, monkeypatch):
    class Full(Disk):
        def __getattr__(self, name):
            def no_space(*_):
                raise OSError(28, "No space left on device")

            return no_space if name == "fsync" else super().__getattr__(name)

    connection = database()
    grown(tmp_path, connection, 200, 100)
    published = open_files(tmp_path, connection)
    monkeypatch.setattr(files, "os", Full())
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            published.publish()
        assert audit(tmp_path) == 200
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.undo()
    assert published.publish() and audit(tmp_path) == 300
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_a_long_way_is_gone_in_steps_each_of_them_true(tmp_path, monkeypatch):
    monkeypatch.setattr(public, "STEP", 512)
    connection = database()
    grow(connection, 1_300)
    published = open_files(tmp_path, connection)
    steps = []
    while not published.publish():
        steps.append(audit(tmp_path))
    assert (steps, audit(tmp_path)) == ([512, 1_024], 1_300)
    grow(connection, 10)
    assert published.publish() and audit(tmp_path) == 1_310


def test_the_publisher_waits_unless_it_is_behind(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(public, "STEP", 256)
    connection, now = database(), 1_000.0
    published = open_files(tmp_path, connection)
    publisher = public.Publisher(published, 60, monotonic=lambda: now)

    def size_after(seconds):
        nonlocal now
        now += seconds
        publisher.tick()
        return audit(tmp_path)

    assert size_after(0) == 0
    grow(connection, 300)
    assert [size_after(59), size_after(1), size_after(5), size_after(5)] == [0, 256, 300, 300]
    grow(connection, 1)
    with monkeypatch.context() as broken:
        broken.setattr(PublicFiles, "publish", lambda _: exec("raise OSError(28, 'No space')"))
        assert size_after(60) == 300
        assert "No space" in caplog.text
    assert [size_after(1), size_after(59)] == [300, 301]


def test_who_is_about_to_anchor_waits_for_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(public, "STEP", 256)
    connection = database()
    published = open_files(tmp_path, connection)
    publisher = public.Publisher(published, 60, monotonic=lambda: 1_000.0)
    publisher.tick()
    grow(connection, 300)
    publisher.tick()
    assert published.size == 0, "it is not time yet"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(publisher.reach, 300)
        deadline = time.monotonic() + 10
        while not waiting.done() and time.monotonic() < deadline:
            publisher.tick()
        assert waiting.result(0) is None and published.size == 300

        grow(connection, 1)
        with monkeypatch.context() as broken:
            broken.setattr(PublicFiles, "publish", lambda _: exec("raise OSError(28, 'No space')"))
            waiting = pool.submit(publisher.reach, 301)
            while not waiting.done() and time.monotonic() < deadline:
                publisher.tick()
            with pytest.raises(OperatorError, match=r"300 of 301 leaves published: the anchor waits"):
                waiting.result(0)
    with pytest.raises(OperatorError, match="anchor waits"):
        publisher.reach(301, timeout_s=0.05)


def test_nothing_new_writes_nothing(tmp_path, monkeypatch):
    connection, disk = database(), Disk()
    grow(connection, 10)
    published = open_files(tmp_path, connection)
    published.publish()
    trust = Trust(1, b"a" * 20, b"b" * 20, LOG_ID, LOG_KEY.public_key().public_bytes_raw())
    published.write_trust(trust)
    monkeypatch.setattr(files, "os", disk)
    assert published.publish()
    published.write_trust(trust)
    assert open_files(tmp_path, connection).publish()
    assert disk.calls == []


def test_a_database_that_went_back_is_refused_before_it_can_fork_the_log(tmp_path):
    newer, older, other = database(), database(), database()
    grow(newer, 20)
    grow(older, 15)
    grow(other, 1)
    grow(other, 25, [b"another"] * 25)
    open_files(tmp_path, newer).publish()
    for connection in (older, other):
        with pytest.raises(OperatorError, match="old backup"):
            open_files(tmp_path, connection)
    with pytest.raises(OperatorError, match="not this log's"):
        PublicFiles(tmp_path, newer, b"j" * 32, LOG_KEY)
    (tmp_path / "checkpoint").write_text("broken")
    with pytest.raises(OperatorError, match="not this log's"):
        open_files(tmp_path, newer)


def test_trust_json_comes_back(tmp_path):
    trust = Trust(1, b"a" * 20, b"b" * 20, LOG_ID, LOG_KEY.public_key().public_bytes_raw())
    open_files(tmp_path, database()).write_trust(trust)
    assert Trust.from_json((tmp_path / "trust.json").read_text()) == trust
