"""The public files: what C2SP tlog-tiles names, always true, and in step again after any crash."""

import os
import sqlite3

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from trigpoint import public
from trigpoint.errors import OperatorError
from trigpoint.log import checkpoint, merkle, tiles, tree
from trigpoint.public import PublicFiles
from trigpoint.store import log
from trigpoint.store.database import migrate
from trigpoint.wire.trust import Trust

LOG_KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
LOG_ID = b"i" * 32


def database():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return connection


def grow(connection, number):
    """Add statements to the log; their bytes play no part here."""
    start = log.head(connection).size
    entries = [merkle.leaf_hash(index.to_bytes(4, "big")) for index in range(start, start + number)]
    connection.executemany(
        "INSERT INTO statements VALUES (?, ?, ?, ?, ?, 0)",
        [(start + n, bytes(32), start + n, b"", entry) for n, entry in enumerate(entries)],
    )
    log.append(connection, entries)


def open_files(directory, connection):
    return PublicFiles(directory, connection, LOG_ID, LOG_KEY)


class PublishedTiles:
    """Reads tiles from the directory as a stranger would: full, or as wide as the checkpoint says."""

    def __init__(self, directory, size):
        self.directory, self.size = directory, size

    def tile(self, level, index):
        hashes = self.size >> 8 * level
        return (self.directory / tiles.tile_path(level, index, min(256, hashes - 256 * index))).read_bytes()


def audit(directory):
    """Check the directory from nothing but its files; return the size of its checkpoint."""
    signed = checkpoint.verify((directory / "checkpoint").read_text(), LOG_ID, LOG_KEY.public_key().public_bytes_raw())
    reader = PublishedTiles(directory, signed.size)
    assert tree.root(reader, signed.size) == signed.root
    for index in range(-(-signed.size // 256)):
        width = min(256, signed.size - 256 * index)
        bundle = (directory / tiles.entries_path(index, width)).read_bytes()
        entries = [bundle[at + 2 : at + 34] for at in range(0, len(bundle), 34)]
        assert bundle == tiles.entry_bundle(entries)
        assert b"".join(map(merkle.leaf_hash, entries)) == reader.tile(0, index)
    return signed.size


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 700), st.booleans()), max_size=4))
def test_a_stranger_can_audit_whatever_was_published(tmp_path_factory, steps):
    directory, connection = tmp_path_factory.mktemp("public"), database()
    files = open_files(directory, connection)
    assert files.publish() == audit(directory) == 0
    for number, restarted in steps:
        grow(connection, number)
        if restarted:
            files = open_files(directory, connection)
        assert files.publish() == audit(directory) == log.head(connection).size
    full = log.head(connection).size // 256
    for index in range(full):
        assert not (directory / (tiles.entries_path(index) + ".p")).exists()
        assert not (directory / (tiles.tile_path(0, index) + ".p")).exists()
    assert not list(directory.rglob("*.unfinished"))


def test_a_crash_at_any_write_leaves_a_true_directory(tmp_path, monkeypatch):
    class Crash(Exception):
        pass

    connection = database()
    grow(connection, 200)
    open_files(tmp_path, connection).publish()
    grow(connection, 100)
    real, writes = os.fsync, 0

    def crash_at(number):
        def fsync(descriptor):
            nonlocal writes
            writes += 1
            if writes == number:
                raise Crash
            real(descriptor)

        return fsync

    for number in range(1, 100):
        writes = 0
        monkeypatch.setattr(public.os, "fsync", crash_at(number))
        try:
            open_files(tmp_path, connection).publish()
        except Crash:
            assert audit(tmp_path) in (200, 300)
        else:
            break
    else:
        pytest.fail("never got through")
    assert number > 8
    assert audit(tmp_path) == 300


def test_nothing_new_writes_nothing(tmp_path, monkeypatch):
    connection = database()
    grow(connection, 10)
    files = open_files(tmp_path, connection)
    files.publish()
    monkeypatch.setattr(public, "_write", lambda path, data: pytest.fail(str(path)))
    assert files.publish() == 10


def test_a_database_that_went_back_is_refused_before_it_can_fork_the_log(tmp_path):
    newer, older, other = database(), database(), database()
    grow(newer, 20)
    grow(older, 15)
    grow(other, 1)
    log.append(other, [b"x" * 32] * 25)
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
