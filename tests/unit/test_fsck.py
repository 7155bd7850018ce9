"""fsck finds whatever is changed in a gateway's store, names it, and mends what can be made again."""

import sqlite3
import tracemalloc
from contextlib import closing

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eth_utils.crypto import keccak
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from statements import TestBoard, enrol, spoil_signature
from trigpoint.fsck.check import Scope, check
from trigpoint.fsck.mend import FOLDED, fold_again
from trigpoint.ingest.batch import store
from trigpoint.ingest.message import Message
from trigpoint.log import tree
from trigpoint.public import PublicFiles
from trigpoint.store import log
from trigpoint.store.database import migrate
from trigpoint.store.fold import fold_index, fold_log, replay
from trigpoint.wire import statement

LOG_KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC_KEY = LOG_KEY.public_key().public_bytes_raw()
LOG_ID, CONTRACT = b"i" * 32, b"c" * 20
ARRIVAL_MS = 1_700_000_000_000


def take(connection, board, raw, arrival_ms=ARRIVAL_MS):
    connection.execute("BEGIN")
    (outcome,) = store(connection, [Message.of(board.topic, raw, arrival_ms)])
    connection.execute("COMMIT")
    return str(outcome.reason)


def fill(connection):
    """Statements of four boards: one honest, one with losses, one cloned, one that knows no time; folded in part."""
    boards = [TestBoard(number) for number in range(1, 5)]
    _, forgetful, cloned, dateless = boards
    enrol(connection, *boards)
    for number in range(90):
        for board in boards:
            if board is forgetful and number in (20, 21, 22, 50):
                board.next()  # never sent
                continue
            oldest = {23: 23, 51: 51}.get(number, 0) if board is forgetful else 0
            base_time = None if board is dateless else 1_700_000_000 + 400 * number
            raw = board.next(oldest=oldest, readings=1 + number % 3, base_time=base_time)
            assert take(connection, board, raw, ARRIVAL_MS + 400_000 * number) == "accepted"
        if number == 30:
            assert take(connection, cloned, clone_of(cloned.sent[5], cloned)) == "clone"
            assert take(connection, cloned, cloned.make(31, b"p" * 32, value=-5)) == "fork"
        if number == 80:
            fold(connection, index=True)
        if number == 85:
            fold(connection, index=False)
    forgetful.next()
    forgetful.next()
    forgetful.next()
    # The last word of this board is a declared loss, and a gap after it.
    assert take(connection, forgetful, forgetful.make(92, forgetful.prev, oldest=91)) == "gap"


def clone_of(raw, board):
    """Another statement with the same seq and prev."""
    honest = statement.parse(raw)
    return board.make(honest.seq, honest.prev, value=-5)


def fold(connection, *, index):
    connection.execute("BEGIN")
    fold_log(connection)
    if index:
        fold_index(connection, replay(connection))
    connection.execute("COMMIT")


def anchor(connection, size):
    root = tree.root(log.StoredTiles(connection), size)
    raw = b"\x02" + CONTRACT + root + size.to_bytes(32, "big")
    connection.execute(
        "INSERT INTO transactions (chain_id, contract, purpose, size, root, state, sender, nonce, raw, hash,"
        " prepared_ms, block, block_hash) VALUES (1, ?, 'anchor', ?, ?, 'final', ?, ?, ?, ?, 0, 7, ?)",
        (CONTRACT, size, root, bytes(20), size, raw, keccak(raw), bytes(32)),
    )


class Whole:
    """A store as the bytes of its database, and its directory of public files."""

    def __init__(self, database, directory):
        self.database, self.directory = database, directory


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store with everything in it that can break."""
    directory = tmp_path_factory.mktemp("public")
    path = tmp_path_factory.mktemp("database") / "whole.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection)
        fill(connection)
        connection.execute("UPDATE log_state SET log_id = ?, log_key = ?", (LOG_ID, PUBLIC_KEY))
        anchor(connection, 100)
        anchor(connection, 300)
        files = PublicFiles(directory, connection, LOG_ID, LOG_KEY)
        while not files.publish():
            pass
        return Whole(connection.serialize(), directory)


def opened(whole):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(whole.database)
    return connection


def examined(connection, whole, **more):
    return check(connection, Scope(public=whole.directory, log_key=PUBLIC_KEY, **more))


def test_a_whole_store_is_clean(whole):
    with closing(opened(whole)) as connection:
        for signatures in (False, True):
            report = examined(connection, whole, signatures=signatures)
            assert report.clean, report.broken
            assert {f.check for f in report.findings if f.status != "ok"} == {"chain"}
        assert report.statements == 356
        assert not connection.in_transaction


TRUTH = {
    "statements": ("leaf_index", "board", "seq", "raw"),
    "boards": ("number", "kid", "x", "y", "flagged"),
    "lost": ("kid", "from_seq", "to_seq", "raw"),
    "evidence": ("kid", "entry", "seq", "raw"),
    "log_state": ("log_id", "log_key"),
    "transactions": ("contract", "size", "root", "raw", "hash"),
}
DERIVED = {
    "boards": ("next_seq", "last_entry"),
    "tiles": ("level", "idx", "data"),
    "log_state": ("size", "root"),
    "seqs": ("board", "seq", "leaf_index"),
    "series": ("id", "board", "name", "unit", "exponent"),
    "hours": (
        *("board", "hour", "series", "readings", "estimated", "doubtful", "sum", "minimum", "maximum"),
        *("first", "last", "first_s", "last_s", "first_seq", "last_seq"),
    ),
    "folds": ("size",),
}
COLUMNS = [(table, column) for tables in (TRUTH, DERIVED) for table, names in tables.items() for column in names]


def keys_of(connection, table):
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[5]]
    return names, connection.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall()


def changed(value, draw):
    """Return the value with one byte, one bit or one character changed."""
    if value is None:
        return draw(st.sampled_from([0, b"\x00" * 32]))
    if isinstance(value, int):
        return value ^ (1 << draw(st.integers(0, 40)))
    if isinstance(value, str):
        return value + "x"
    place, bit = draw(st.integers(0, len(value) - 1)), draw(st.integers(0, 7))
    return value[:place] + bytes([value[place] ^ (1 << bit)]) + value[place + 1 :]


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=[".".join(place) for place in COLUMNS])
def test_whatever_is_changed_is_found(whole, table, column):
    @settings(max_examples=4, deadline=None)
    @given(data=st.data())
    def change(data):
        with closing(opened(whole)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            names, rows = keys_of(connection, table)
            row = data.draw(st.sampled_from(rows))
            where = " AND ".join(f"{name} = ?" for name in names)
            (value,) = connection.execute(f"SELECT {column} FROM {table} WHERE {where}", row).fetchone()
            try:
                new = changed(value, data.draw)
                connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (new, *row))
            except sqlite3.IntegrityError:
                assume(False)  # the database itself would not have it
            connection.execute("PRAGMA ignore_check_constraints = OFF")
            report = examined(connection, whole)
            assert not report.clean, (row, value, new)
            for finding in report.broken:
                assert finding.where and finding.detail and finding.remedy

    change()


@pytest.mark.parametrize("table", sorted({*TRUTH, *DERIVED} - {"transactions"}))
def test_a_row_too_few_or_too_many_is_found(whole, table):
    @settings(max_examples=4, deadline=None)
    @given(data=st.data())
    def change(data):
        with closing(opened(whole)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            names, rows = keys_of(connection, table)
            row = data.draw(st.sampled_from(rows))
            where = " AND ".join(f"{name} = ?" for name in names)
            if data.draw(st.booleans()):
                if table == "evidence":  # one of two leaves the case as it was
                    where, row = "kid = ?", row[:1]
                connection.execute(f"DELETE FROM {table} WHERE {where}", row)
            else:
                columns = [c[1] for c in connection.execute(f"PRAGMA table_info({table})")]
                values = list(connection.execute(f"SELECT * FROM {table} WHERE {where}", row).fetchone())
                name = data.draw(st.sampled_from(names))
                at = columns.index(name)
                values[at] = values[at] + 100_000 if isinstance(values[at], int) else changed(values[at], data.draw)
                try:
                    connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)
                except sqlite3.IntegrityError:
                    assume(False)
            connection.execute("PRAGMA ignore_check_constraints = OFF")
            report = examined(connection, whole)
            assert not report.clean, row

    change()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_public_file_that_is_changed_or_gone_is_found(whole, data):
    files = [path for path in sorted(whole.directory.rglob("*")) if path.is_file()]
    file = data.draw(st.sampled_from(files))
    content = file.read_bytes()
    try:
        if data.draw(st.booleans()) or file.name == "checkpoint":
            file.write_bytes(changed(content, data.draw))
        else:
            file.unlink()
        with closing(opened(whole)) as connection:
            (finding,) = examined(connection, whole).broken
        assert finding.check == "public files" and finding.where == str(file)
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        ("DELETE FROM statements WHERE leaf_index = 77", "statements, leaf_index 77", "it is missing"),
        ("UPDATE statements SET raw = x'00' WHERE leaf_index = 9", "statements, leaf_index 9", "no statement"),
        ("UPDATE statements SET board = 9 WHERE leaf_index = 9", "statements, leaf_index 9", "no board number 9"),
        ("UPDATE tiles SET data = zeroblob(8192) WHERE idx = 0 AND level = 0", "tiles, level 0 index 0", "leaf 0 on"),
        ("DELETE FROM seqs WHERE board = 2 AND seq = 3", "seqs, board number 2 seq 3", "it is missing"),
        ("DELETE FROM lost WHERE from_seq = 50", "statements, leaf_index 201", "seq 50 is missing"),
        ("UPDATE transactions SET size = 299 WHERE size = 300", "transactions, id 2", "the first 299 statements"),
    ],
)
def test_the_first_broken_row_is_named(whole, change, where, what):
    with closing(opened(whole)) as connection:
        connection.execute(change)
        first = examined(connection, whole).broken[0]
    assert first.where.startswith(where)
    assert what in first.detail


def test_signatures_are_verified_on_demand_and_always_on_what_no_tile_covers(whole):
    def spoil(connection, place):
        (raw,) = connection.execute("SELECT raw FROM statements WHERE leaf_index = ?", (place,)).fetchone()
        connection.execute("UPDATE statements SET raw = ? WHERE leaf_index = ?", (spoil_signature(raw), place))

    with closing(opened(whole)) as connection:
        spoil(connection, 355)
        findings = [(finding.check, finding.where) for finding in examined(connection, whole).broken]
        assert ("signatures", "statements, leaf_index 355") in findings
    with closing(opened(whole)) as connection:
        # Somebody who makes all that is folded anew, too, is found out by the signature, or by what others have seen.
        spoil(connection, 355)
        connection.execute("BEGIN")
        fold_again(connection)
        connection.execute("COMMIT")
        assert not check(connection, Scope(signatures=True)).clean
        assert check(connection, Scope()).clean


@pytest.mark.parametrize("table", sorted(DERIVED))
def test_what_follows_from_the_statements_can_be_mended(whole, table):
    with closing(opened(whole)) as connection:
        if table == "boards":
            connection.execute("UPDATE boards SET next_seq = 1000")
        elif table == "log_state":
            connection.execute("UPDATE log_state SET root = zeroblob(32)")
        else:
            connection.execute(f"DELETE FROM {table}")
        assert {finding.check for finding in examined(connection, whole).broken} <= FOLDED
        connection.execute("BEGIN")
        fold_again(connection)
        connection.execute("COMMIT")
        report = examined(connection, whole)
        assert report.clean, report.broken


def test_it_takes_little_memory_and_leaves_a_running_gateway_alone(tmp_path, whole):
    path = tmp_path / "running.db"
    path.write_bytes(whole.database)
    with closing(sqlite3.connect(path, isolation_level=None)) as gateway:
        gateway.execute("PRAGMA journal_mode = WAL")
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as connection:
            told = []

            def go_on(what, done, total):
                told.append(what)
                if what != "database file":  # the moment is chosen by then
                    gateway.execute("UPDATE log_state SET size = 0")
                    gateway.execute("DELETE FROM seqs")

            tracemalloc.start()
            report = check(connection, Scope(public=whole.directory), go_on)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert report.clean, report.broken
            assert not check(connection, Scope(public=whole.directory)).clean
    assert {"statements", "index", "hours"} <= set(told)
    assert peak < 8 << 20
