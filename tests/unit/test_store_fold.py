"""What is folded follows from the statements alone, however and in however many steps it was folded."""

import random
import sqlite3
from collections import defaultdict
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statements import BASE_TIME, TestBoard, enrol
from trigpoint.ingest.batch import store
from trigpoint.ingest.message import Message
from trigpoint.store import log, queries, statements
from trigpoint.store.database import migrate, open_database
from trigpoint.store.fold import fold_index, fold_log, replay
from trigpoint.store.hours import SERIES_OF_BOARD, cells, merge
from trigpoint.wire import statement
from trigpoint.wire.statement import Reading, reading_time

ARRIVAL_MS = BASE_TIME * 1000
FOLDED = ["boards", "seqs", "folds", "tiles", "log_state"]
HOURS = "SELECT * FROM hours JOIN series ON series.id = hours.series"


def memory_database():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return connection


def dump(connection, tables):
    """Return the content of tables, and the hours without the ids of series: those count in the order of folds."""
    found = {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables}
    found["hours"] = sorted((row[:2], row[3:15], row[16:]) for row in connection.execute(HOURS))
    return found


READINGS = st.builds(
    Reading,
    name=st.sampled_from(["a", "b"]),
    unit=st.sampled_from(["Cel", "Pa"]),
    mantissa=st.integers(-(2**31) + 1, 2**31 - 1),
    exponent=st.integers(-2, 0),
    t=st.integers(0, 9_000) | st.integers(0, 2**28 - 1),
)


@st.composite
def packs(draw):
    """Give a pack's base time and readings, relative or absolute."""
    readings = draw(st.lists(READINGS, min_size=1, max_size=6))
    if draw(st.booleans()):  # the same things in turn, as a board measures them
        readings = [reading._replace(t=60 * turn, mantissa=turn) for turn in range(3) for reading in readings][:11]
    if draw(st.booleans()):
        return BASE_TIME + draw(st.integers(-9_000, 9_000)), readings
    return None, [reading._replace(t=-reading.t) for reading in readings]


def parsed(seq, base_time, readings):
    raw = statement.build(
        kid=bytes(32),
        seq=seq,
        prev=bytes(32),
        oldest=0,
        base_time=base_time,
        readings=readings,
        sign=lambda message: bytes(64),
    )
    return statement.parse(raw)


def naive(items):
    """Add readings up one by one, in the words of the schema."""
    groups = defaultdict(list)
    for item in items:
        for reading in item.readings:
            time_s, source = reading_time(item.base_time, reading.t, ARRIVAL_MS)
            key = (7, time_s // 3600, reading.name, reading.unit, reading.exponent)
            groups[key].append((time_s % 3600, reading.mantissa, source, item.seq))
    found = {}
    for key, group in groups.items():
        values = [value for _, value, _, _ in group]
        sources = [source for _, _, source, _ in group]
        seqs = [seq for _, _, _, seq in group]
        earliest = min(second for second, *_ in group)
        latest = max(second for second, *_ in group)
        found[key] = (
            *(len(group), sources.count("arrival"), sources.count("doubtful")),
            *(sum(values), min(values), max(values)),
            next(value for second, value, _, _ in group if second == earliest),
            next(value for second, value, _, _ in reversed(group) if second == latest),
            *(earliest, latest, min(seqs), max(seqs)),
        )
    return found


@settings(max_examples=100)
@given(st.lists(packs(), min_size=1, max_size=4))
def test_cells_are_what_adding_up_one_by_one_gives(made):
    items = [parsed(seq, *pack) for seq, pack in enumerate(made)]
    total = {}
    for item in items:
        for key, cell in cells(7, item, ARRIVAL_MS):
            total[key] = merge(total[key], cell) if key in total else cell
    assert total == naive(items)


def fill(connection, rounds):
    """Store statements of two boards that cross hours, with a loss in between."""
    boards = [TestBoard(1), TestBoard(2)]
    enrol(connection, *boards)
    for turn in range(rounds):
        for board in boards:
            if turn == 5:
                board.next_seq += 3
            raw = board.next(oldest=board.next_seq, readings=1 + turn % 4, value=turn, base_time=BASE_TIME + 900 * turn)
            (outcome,) = store(connection, [Message.of(board.topic, raw, ARRIVAL_MS)])
            assert outcome.reason == "accepted"
    return boards


def fold_all(connection, at_once):
    while (tail := replay(connection, at_once)).size > tail.start:
        fold_index(connection, tail)
    fold_log(connection)


@settings(max_examples=20)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.booleans())
def test_folded_in_any_steps_it_is_the_same_and_twice_is_once(steps, log_first):
    straight, stepped = memory_database(), memory_database()
    fill(straight, 12)
    fold_all(straight, 1_000)
    fill(stepped, 12)
    for step in steps:
        if log_first:
            fold_log(stepped)
        tail = replay(stepped, step)
        fold_index(stepped, tail)
        fold_index(stepped, tail)
    fold_all(stepped, 7)
    assert dump(stepped, FOLDED) == dump(straight, FOLDED)


def test_what_is_folded_can_be_dropped_and_made_again():
    connection = memory_database()
    fill(connection, 12)
    fold_all(connection, 1_000)
    before = dump(connection, FOLDED)
    for table in ("seqs", "series", "hours"):
        connection.execute(f"DELETE FROM {table}")
    connection.execute("UPDATE folds SET size = 0")
    fold_all(connection, 5)
    assert dump(connection, FOLDED) == before


def test_readers_see_the_same_before_and_after_a_fold():
    connection = memory_database()
    boards = fill(connection, 9)
    numbers = dict(connection.execute("SELECT kid, number FROM boards"))

    def seen():
        found = {
            (board.number, seq): statements.find(connection, numbers[board.kid], seq)
            for board in boards
            for seq in range(14)
        }
        below = [
            statements.newest_below(connection, numbers[board.kid], size)
            for board in boards
            for size in (None, 0, 1, 9, 18)
        ]
        return queries.boards(connection), queries.counters(connection), log.current(connection)[0], found, below

    before = seen()
    assert [leaf is None for leaf in list(before[3].values())[:14]] == [5 <= seq < 8 or seq >= 12 for seq in range(14)]
    fold_index(connection, replay(connection, 7))
    assert seen() == before
    fold_all(connection, 1_000)
    assert seen() == before
    assert log.head(connection) == before[2]


def test_series_beyond_the_most_are_left_out_of_the_hours():
    connection = memory_database()
    board = TestBoard(1)
    enrol(connection, board)
    for seq in range(5):
        readings = [Reading(f"n{250 * seq + place}", "Cel", 1, 0, 0) for place in range(250)]
        raw = statement.build(
            kid=board.kid,
            seq=seq,
            prev=board.prev,
            oldest=seq,
            base_time=BASE_TIME,
            readings=readings,
            sign=board.sign,
        )
        board.prev = statement.parse(raw).entry
        store(connection, [Message.of(board.topic, raw, ARRIVAL_MS)])
    fold_all(connection, 2)
    assert connection.execute("SELECT count(*) FROM series").fetchone() == (SERIES_OF_BOARD,)
    assert connection.execute("SELECT sum(readings) FROM hours").fetchone() == (SERIES_OF_BOARD,)
    assert statements.folded(connection) == 5


def schema_2(path):
    """Make a database as the second schema had it."""
    connection = open_database(path)
    folder = resources.files("trigpoint.store") / "migrations"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name[:4] in ("0001", "0002"):
            connection.executescript(file.read_text())
    connection.execute("PRAGMA user_version = 2")
    return connection


def test_a_database_of_the_second_schema_comes_along(tmp_path):
    new = memory_database()
    boards = fill(new, 9)
    old = schema_2(tmp_path / "old.db")
    kids = dict(new.execute("SELECT number, kid FROM boards"))
    stands = {summary.kid: summary for summary in queries.boards(new)}
    for board in boards:
        last = board.sent[board.next_seq - 1]
        old.execute(
            "INSERT INTO boards VALUES (?, ?, ?, ?, 1, NULL, 0, ?, ?)",
            (board.kid, board.public.x, board.public.y, bytes(20), board.next_seq, statements.entry(last)),
        )
    rows = new.execute("SELECT * FROM statements ORDER BY leaf_index").fetchall()
    for leaf_index, number, seq, arrival_ms, raw in random.Random(1).sample(rows, len(rows)):
        old.execute(
            "INSERT INTO statements VALUES (?, ?, ?, ?, ?, ?)",
            (leaf_index, kids[number], seq, raw, statements.entry(raw), arrival_ms),
        )
        old.execute("INSERT INTO readings VALUES (?, 0, ?, 'n', 'u', 1, 0, 0, 'board')", (leaf_index, kids[number]))
    log.append(old, [statements.entry(row[4]) for row in rows])
    old.executemany("INSERT INTO lost VALUES (?, ?, ?, ?)", new.execute("SELECT * FROM lost").fetchall())
    old.execute("INSERT INTO counters VALUES ('accepted', 18), ('gap', 2)")
    old.execute("INSERT INTO rejected VALUES (1, 'gap', 'd', 't', x'00', 1, 5)")

    migrate(old)
    fold_all(old, 4)
    fold_all(new, 1_000)
    assert [row[4] for row in old.execute("SELECT * FROM statements ORDER BY leaf_index")] == [row[4] for row in rows]
    assert {summary.kid: summary for summary in queries.boards(old)} == stands
    assert queries.counters(old) == {"accepted": 18, "gap": 2}
    assert dump(old, ["lost", "tiles", "log_state"]) == dump(new, ["lost", "tiles", "log_state"])
    by_kid = (
        "SELECT kid, name, unit, hour, hours.readings, sum, first, last, first_seq, last_seq"
        " FROM hours JOIN boards ON number = hours.board JOIN series ON id = series ORDER BY 1, 2, 3, 4"
    )
    assert old.execute(by_kid).fetchall() == new.execute(by_kid).fetchall()
    for board in boards:
        found = statements.board(old, board.kid)
        for seq, raw in board.sent.items():
            assert statements.entry_at(old, statements.find(old, found.number, seq)) == statements.entry(raw)
    assert old.execute("PRAGMA foreign_key_check").fetchall() == []
    assert old.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    old.close()


def test_a_migration_in_the_way_leaves_the_old_schema(tmp_path):
    from trigpoint.errors import OperatorError

    old = schema_2(tmp_path / "old.db")
    old.execute("CREATE TABLE hours (in_the_way)")
    before = old.execute("SELECT sql FROM sqlite_schema ORDER BY name").fetchall()
    with pytest.raises(OperatorError, match="schema 3"):
        migrate(old)
    assert old.execute("SELECT sql FROM sqlite_schema ORDER BY name").fetchall() == before
