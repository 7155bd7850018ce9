"""A disk that refuses: nobody is told anything, and once it takes writes again all goes on by itself."""

import sqlite3
import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from statements import TestBoard, enrol
from trigpoint.clock import SystemClock
from trigpoint.errors import OperatorError
from trigpoint.ingest import pipeline
from trigpoint.ingest.message import Delivery, Message
from trigpoint.ingest.pace import Pace
from trigpoint.ingest.pipeline import Ingest
from trigpoint.store.database import open_database
from trigpoint.store.writer import Writer

PACE = Pace(linger_s=0.0)
LINK_KEY = ec.derive_private_key(77, ec.SECP256R1())


class Replies:
    """Notes what boards and broker are told."""

    def __init__(self):
        self.told = []

    def answer(self, acks, confirmed):
        self.told += [("ack", topic) for topic, _ in acks]
        self.told += [("confirm", delivery.packet_id) for delivery in confirmed]


class Failing(sqlite3.Connection):
    """A connection whose statements fail with an I/O error when they begin with `fails`."""

    fails = "nothing"
    code = sqlite3.SQLITE_IOERR

    def execute(self, sql, *arguments):
        if sql.startswith(Failing.fails):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = Failing.code
            raise error
        return super().execute(sql, *arguments)


def failing_opener(path):
    open_database(path).close()
    connection = sqlite3.connect(path, isolation_level=None, factory=Failing)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


@pytest.fixture(autouse=True)
def _quick_and_clean(monkeypatch):
    monkeypatch.setattr(pipeline, "_RETRY_MIN_S", 0.05)
    yield
    Failing.fails, Failing.code = "nothing", sqlite3.SQLITE_IOERR


def wait_for(condition, timeout_s=10):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def delivery(board, number):
    return Delivery(Message.of(board.topic, board.next(), 0), 1, number)


@pytest.mark.parametrize(
    ("fails", "duplicate"),
    [("BEGIN", False), ("SELECT max(leaf_index)", False), ("COMMIT", False), ("BEGIN", True)],
)
def test_an_io_error_anywhere_ends_in_no_ack(tmp_path, fails, duplicate):
    board, replies, failures = TestBoard(1), Replies(), []
    with Writer(tmp_path / "test.db", opener=failing_opener) as writer:
        writer.submit(lambda connection: enrol(connection, board))
        ingest = Ingest(writer, LINK_KEY, SystemClock(), failures.append, pace=PACE)
        ingest.start(replies)
        first = delivery(board, 1)
        ingest.receive(first)
        wait_for(lambda: len(replies.told) == 2)
        Failing.fails = fails
        ingest.receive(Delivery(first.message, 1, 2) if duplicate else delivery(board, 2))
        time.sleep(0.2)
        assert len(replies.told) == 2
        Failing.fails = "nothing"
        wait_for(lambda: len(replies.told) == 4)
        ingest.stop()
        assert not failures
        assert writer.submit(
            lambda connection: connection.execute("SELECT count(*), max(seq) FROM statements").fetchone()
        ) == ((1, 0) if duplicate else (2, 1))


def test_a_full_disk_stops_acks_and_resumes_by_itself(tmp_path):
    board, replies, failures = TestBoard(1), Replies(), []

    def pages(connection, most):
        connection.execute(f"PRAGMA max_page_count = {most}")

    with Writer(tmp_path / "test.db") as writer:
        writer.submit(lambda connection: enrol(connection, board))
        used = writer.submit(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
        writer.submit(lambda connection: pages(connection, used + 8))
        ingest = Ingest(writer, LINK_KEY, SystemClock(), failures.append, pace=PACE)
        ingest.start(replies)
        for number in range(400):
            ingest.receive(delivery(board, number))
        wait_for(lambda: ingest.statistics().refusing_since is not None)
        told = len(replies.told)
        assert told < 400
        time.sleep(0.2)
        assert len(replies.told) == told
        writer.submit(lambda connection: pages(connection, 1_000_000))
        wait_for(lambda: sum(kind == "confirm" for kind, _ in replies.told) == 400)
        assert ingest.statistics().refusing_since is None
        ingest.stop()
        assert not failures
        assert writer.submit(lambda connection: connection.execute("SELECT count(*) FROM statements").fetchone()) == (
            400,
        )


def test_a_stop_while_the_disk_refuses_leaves_the_messages_to_the_broker(tmp_path):
    board, replies, failures = TestBoard(1), Replies(), []
    with Writer(tmp_path / "test.db", opener=failing_opener) as writer:
        writer.submit(lambda connection: enrol(connection, board))
        ingest = Ingest(writer, LINK_KEY, SystemClock(), failures.append, pace=PACE)
        ingest.start(replies)
        Failing.fails = "COMMIT"
        ingest.receive(delivery(board, 1))
        time.sleep(0.1)
        ingest.stop()
        assert replies.told == []
        assert not failures


def test_locks_that_only_a_new_start_mends_end_it_with_a_word(tmp_path):
    board, replies, failures = TestBoard(1), Replies(), []
    with Writer(tmp_path / "test.db", opener=failing_opener) as writer:
        writer.submit(lambda connection: enrol(connection, board))
        ingest = Ingest(writer, LINK_KEY, SystemClock(), failures.append, pace=PACE)
        ingest.start(replies)
        Failing.fails, Failing.code = "COMMIT", sqlite3.SQLITE_PROTOCOL
        ingest.receive(delivery(board, 1))
        wait_for(lambda: failures)
        assert isinstance(failures[0], OperatorError) and "start the gateway again" in str(failures[0])
        assert replies.told == []
        ingest.stop()


def test_locks_that_only_a_new_start_mends_end_it_also_while_it_folds(tmp_path):
    """With no statement on its way nothing but the fold would ever meet them; each attempt takes SQLite ten seconds."""
    failures = []
    with Writer(tmp_path / "test.db", opener=failing_opener) as writer:
        ingest = Ingest(writer, LINK_KEY, SystemClock(), failures.append, pace=replace(PACE, log_s=0.05))
        ingest.start(Replies())
        Failing.fails, Failing.code = "COMMIT", sqlite3.SQLITE_PROTOCOL
        wait_for(lambda: failures)
        assert isinstance(failures[0], OperatorError) and "start the gateway again" in str(failures[0])
        ingest.stop()


def test_a_broken_database_is_not_tried_again_for_ever(tmp_path):
    board, replies, failures = TestBoard(1), Replies(), []
    with Writer(tmp_path / "test.db") as writer:
        writer.submit(lambda connection: enrol(connection, board))
        ingest = Ingest(writer, LINK_KEY, SystemClock(), failures.append, pace=PACE)
        ingest.start(replies)
        writer.submit(lambda connection: connection.execute("INSERT INTO statements VALUES (0, 1, 0, 0, x'00')"))
        ingest.receive(delivery(board, 1))
        wait_for(lambda: failures)
        assert replies.told == []
        ingest.stop()


def test_a_full_queue_holds_the_caller_back_and_a_stop_frees_it(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "INBOX_LENGTH", 5)
    board = TestBoard(1)
    with Writer(tmp_path / "test.db") as writer:
        ingest = Ingest(writer, LINK_KEY, SystemClock(), lambda error: None, pace=PACE)
        for number in range(5):
            ingest.receive(delivery(board, number))
        import threading

        held = threading.Thread(target=lambda: ingest.receive(delivery(board, 6)))
        held.start()
        held.join(0.3)
        assert held.is_alive()
        ingest.stop()
        held.join(2)
        assert not held.is_alive()
