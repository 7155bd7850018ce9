"""The boards that have stated something: those that a full look finds, and none of the others in memory."""

import tracemalloc
from contextlib import closing

import pytest
from apiserver import Journal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from statements import BASE_TIME, TestBoard, enrol
from trigpoint import metrics, stated
from trigpoint.config import parse
from trigpoint.homeassistant.publisher import Publisher
from trigpoint.store import queries
from trigpoint.store.writer import Writer
from trigpoint.wire.statement import Reading

STRANGERS = 20_000
BOARDS = [TestBoard(number) for number in range(1, 5)]
READING = [Reading("t", "Cel", 1, 0, 0)]


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 2)), max_size=12),
    st.sets(st.integers(1, 4)),
    st.integers(0, 12),
)
def test_they_are_those_of_a_full_look(stored, ended, folded):
    journal = Journal.in_memory()
    with closing(journal.connection) as connection:
        journal.enrol(*BOARDS)
        for number, fold, skip in stored:
            journal.store(BOARDS[number], READING, skip=skip)
            if fold:
                journal.fold(folded)
        for number in ended:
            connection.execute("UPDATE boards SET active_until = 9 WHERE number = ?", (number,))
        expected = {
            (board.kid, board.active_until_s is None, board.newest.leaf_index, board.newest.arrival_ms)
            for board in queries.standings(connection, 0, 100)
            if board.newest
        }
        found = list(stated.boards(connection))
        assert len(found) == len(expected)
        assert set(found) == expected


@pytest.fixture
def crowded(tmp_path):
    """A gateway on a chain with many boards of strangers, half of them ended, and two of its own."""
    text = (
        'data = "data"\n[broker]\nhost = "localhost"\nport = 1\ntls = false\n[chain]\nrpc_url = "http://127.0.0.1:1"\n'
        'chain_id = 1\nkey_file = "k"\n[log]\nkey_file = "k"\n[link]\nkey_file = "k"\n'
    )
    made = parse(text, tmp_path / "gateway.toml")
    made.data.mkdir()
    rows = (
        (number.to_bytes(32, "big"), bytes(32), bytes(32), bytes(20), 1, number if number % 2 else None)
        for number in range(STRANGERS)
    )
    with Writer(made.database) as writer:
        writer.submit(
            lambda connection: connection.executemany(
                "INSERT INTO boards (kid, x, y, owner, active_from, active_until) VALUES (?, ?, ?, ?, ?, ?)", rows
            )
        )
        writer.submit(lambda connection: enrol(connection, *BOARDS[:2]))
        numbers = f"SELECT {STRANGERS} + row_number() OVER () FROM boards LIMIT 2"
        for (number,), board in zip(writer.submit(lambda c: c.execute(numbers).fetchall()), BOARDS, strict=False):
            row = (number - STRANGERS - 1, number, 0, BASE_TIME * 1000, board.next())
            writer.submit(lambda c, row=row: c.execute("INSERT INTO statements VALUES (?, ?, ?, ?, ?)", row))
        writer.submit(lambda c: c.execute("INSERT INTO lost VALUES (?, 3, 7, ?)", (BOARDS[0].kid, bytes(32))))
    return made


def test_strangers_take_no_memory(crowded, monkeypatch):
    publisher, told = Publisher(crowded), []
    monkeypatch.setattr(publisher, "_send", lambda topic, *_: told.append(topic))
    figures = metrics._Stored(crowded)
    with closing(metrics.open_database(crowded.database, read_only=True)) as connection:
        connection.execute("SELECT count(*) FROM boards").fetchone()
        tracemalloc.start()
        try:
            publisher._size = 2
            publisher._begin(connection)
            list(figures._database())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 1_000_000
    assert len(told) == 4  # discovery and value of two sensors
    found = {
        (sample.name, *sample.labels.values()): sample.value for each in figures._database() for sample in each.samples
    }
    assert found["trigpoint_boards", "active"] == STRANGERS // 2 + 2
    assert found["trigpoint_boards", "ended"] == STRANGERS // 2
    assert found["trigpoint_lost_statements_total",] == 5
    newest = {
        labels for name, *labels in found if name == "trigpoint_board_newest_timestamp_seconds" for labels in labels
    }
    assert newest == {board.kid.hex() for board in BOARDS[:2]}
