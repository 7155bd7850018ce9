"""Worker processes that are killed, that keep dying, and that are left behind."""

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from selectors import DefaultSelector

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from statements import TestBoard, enrol
from test_disk import Replies, wait_for
from trigpoint.clock import SystemClock
from trigpoint.ingest import boards as board_memory
from trigpoint.ingest import pipeline, pool
from trigpoint.ingest.message import Delivery, Message
from trigpoint.ingest.pace import Pace
from trigpoint.ingest.pipeline import Ingest, Limits
from trigpoint.ingest.pool import WorkersError
from trigpoint.store import queries, registry, statements
from trigpoint.store.writer import Writer

LINK_KEY = ec.derive_private_key(77, ec.SECP256R1())
PACE = Pace(gather_s=0.005, linger_s=0.02)


def children():
    """Return the pids of this process's workers."""
    found = []
    gone = suppress(FileNotFoundError, ProcessLookupError)  # threads and processes end while one looks
    for task in Path("/proc/self/task").iterdir():
        with gone:
            for child in (task / "children").read_text().split():
                with gone:
                    if b"trigpoint.ingest.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                        found.append(int(child))
    return found


@pytest.fixture
def boards():
    return [TestBoard(number) for number in range(1, 4)]


@pytest.fixture
def writer(tmp_path, boards):
    with Writer(tmp_path / "test.db") as writer:
        writer.submit(lambda connection: enrol(connection, *boards))
        yield writer


def started(writer, workers, failures):
    ingest, replies = (
        Ingest(writer, LINK_KEY, SystemClock(), failures.append, pace=PACE, limits=Limits(workers=workers)),
        Replies(),
    )
    ingest.start(replies)
    return ingest, replies


def send(ingest, boards, rounds, first=0):
    for turn in range(rounds):
        for number, board in enumerate(boards):
            message = Message.of(board.topic, board.next(readings=3), 0)
            ingest.receive(Delivery(message, 1, first + turn * len(boards) + number))


def confirmed(replies):
    return [packet_id for kind, packet_id in replies.told if kind == "confirm"]


@pytest.mark.parametrize("workers", [1, 2])
def test_messages_are_confirmed_in_their_order_by_however_many(writer, boards, workers):
    failures = []
    ingest, replies = started(writer, workers, failures)
    send(ingest, boards, 200)
    wait_for(lambda: len(confirmed(replies)) == 600, 30)
    assert confirmed(replies) == list(range(600))
    assert ingest.statistics().by_reason == {"accepted": 600}
    assert ingest.statistics().workers == len(children()) == (0 if workers == 1 else 2)
    ingest.stop()
    assert not failures
    assert not children()


def test_a_board_is_revoked_though_the_disk_refuses_to_say_so_at_first(writer, boards, monkeypatch):
    failures = []
    ingest, replies = started(writer, 1, failures)
    send(ingest, boards, 1)
    wait_for(lambda: len(confirmed(replies)) == 3, 30)
    load, refusals = board_memory.load, [sqlite3.OperationalError("disk I/O error")] * 2

    def refuse(*arguments):
        if refusals:
            raise refusals.pop()
        return load(*arguments)

    monkeypatch.setattr(board_memory, "load", refuse)
    cursor = registry.Cursor(1, bytes(20), 1, bytes(32))
    ended = [registry.Ended(board.kid, 2) for board in boards[:2]]
    writer.submit(lambda connection: registry.apply(connection, ended, cursor))
    send(ingest, boards, 1, first=3)
    wait_for(lambda: len(confirmed(replies)) == 6, 30)
    assert ingest.statistics().by_reason == {"accepted": 4, "unknown_board": 2}
    ingest.stop()
    assert not failures
    assert not refusals


def test_a_flood_that_is_only_counted_writes_nothing(writer, boards, monkeypatch):
    monkeypatch.setattr(pipeline, "REJECTED_KEPT", 5)
    monkeypatch.setattr(pipeline, "_REJECTED_PER_S", 0.0)
    failures = []
    ingest, replies = started(writer, 1, failures)
    send(ingest, boards, 1)
    clones = [boards[0].make(0, bytes(32), value=1_000 + number) for number in range(statements.EVIDENCE_KEPT)]

    def flood(first):
        junk = [Message.of("trig/1/x/s", b"junk", 0)] * 20
        held = [Message.of(boards[0].topic, clone, 0) for clone in clones]
        for number, message in enumerate([*junk, *held]):
            ingest.receive(Delivery(message, 1, first + number))
        wait_for(lambda: len(confirmed(replies)) == first + 120, 30)

    flood(3)
    written = writer.submit(lambda connection: connection.total_changes)
    clones = [boards[0].make(0, bytes(32), value=5_000 + number) for number in range(statements.EVIDENCE_KEPT)]
    flood(123)
    assert writer.submit(lambda connection: connection.total_changes) == written
    ingest.stop()
    assert not failures
    assert writer.submit(queries.counters) == {"accepted": 3, "clone": 200, "shape": 40}


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost(writer, boards):
    failures = []
    ingest, replies = started(writer, 2, failures)
    done = threading.Event()

    def killer():
        for _ in range(3):
            wait_for(children)
            os.kill(children()[0], signal.SIGKILL)
            time.sleep(0.3)
        done.set()

    thread = threading.Thread(target=killer)
    thread.start()
    turns = 0
    while not done.is_set() or turns < 10:
        send(ingest, boards, 10, first=30 * turns)
        turns += 1
        time.sleep(0.02)
    thread.join()
    wait_for(lambda: len(confirmed(replies)) == 30 * turns, 60)
    assert confirmed(replies) == list(range(30 * turns))
    assert ingest.statistics().by_reason == {"accepted": 30 * turns}
    ingest.stop()
    assert not failures
    assert writer.submit(statements.size) == 30 * turns


class SlowAfterTheFirst(pool.InProcess):
    """Checks one chunk at once, and the next when it is told to."""

    def __init__(self):
        self.held = []
        self.first = True

    def room(self):
        return not self.held

    def submit(self, chunk):
        if self.first:
            super().submit(chunk)
            self.first = False
        else:
            self.held.append(chunk)


def test_who_waits_for_a_slow_worker_sleeps_meanwhile(writer, boards, monkeypatch):
    failures, looks = [], []
    pace = Pace(gather_s=0.001, linger_s=60.0, quiet_s=0.05)
    ingest = Ingest(writer, LINK_KEY, SystemClock(), failures.append, pace=pace)
    replies, slow = Replies(), SlowAfterTheFirst()
    monkeypatch.setattr(ingest, "_checkers", slow)
    select = ingest._selector.select
    monkeypatch.setattr(ingest._selector, "select", lambda pause: looks.append(pause) or select(pause))
    send(ingest, boards, 25)  # 64 in the first chunk, and 11 in the second
    ingest.start(replies)
    wait_for(lambda: slow.held)
    time.sleep(0.1)
    looks.clear()
    time.sleep(0.5)
    assert len(looks) <= 5
    slow.submit = lambda chunk: pool.InProcess.submit(slow, chunk)
    pool.InProcess.submit(slow, slow.held.pop())
    ingest._inbox.wake()
    wait_for(lambda: len(confirmed(replies)) == 75)
    ingest.stop()
    assert not failures


def test_workers_that_keep_dying_end_the_gateway_and_nothing_is_acked(writer, boards, monkeypatch):
    monkeypatch.setattr(pool, "_WORKER", ["-c", "import sys; sys.exit(3)"])
    failures = []
    ingest, replies = started(writer, 2, failures)
    send(ingest, boards, 1)
    wait_for(lambda: failures, 30)
    assert isinstance(failures[0], WorkersError)
    assert "code 3" in str(failures[0])
    ingest.stop()
    assert replies.told == []
    assert writer.submit(statements.size) == 0


FRAGILE = """
import os
from trigpoint.ingest import check, worker
parse = check.parse
def fragile(payload):
    if b"poison" in payload:
        os.abort()
    return parse(payload)
check.parse = fragile
worker.main()
"""


@pytest.mark.parametrize("workers", [2, 3])
def test_a_message_that_ends_workers_ends_no_more_of_them_than_it_takes_to_know(
    writer, boards, monkeypatch, caplog, workers
):
    """The broker gives it again to whoever has not confirmed it: to this gateway and all that come after it."""
    monkeypatch.setattr(pool, "_WORKER", ["-c", FRAGILE])
    failures = []
    ingest, replies = started(writer, workers, failures)
    send(ingest, boards, 20)
    poison = [Message.of(f"trig/1/{number}/s", b"poison %d" % number, 0) for number in range(6)]
    for number, message in enumerate(poison):
        ingest.receive(Delivery(message, 1, 60 + number))
    send(ingest, boards, 20, first=66)
    wait_for(lambda: len(confirmed(replies)) == 126, 60)
    assert confirmed(replies) == list(range(126))
    assert ingest.statistics().by_reason == {"accepted": 120, "shape": 6}
    condemned = [record.args[-1] for record in caplog.records if "which is refused" in record.msg]
    assert sorted(condemned) == sorted(hashlib.sha256(message.payload).hexdigest() for message in poison)
    ended = caplog.text.count("a worker process ended")
    ingest.receive(Delivery(poison[0], 1, 126))
    send(ingest, boards, 5, first=127)
    wait_for(lambda: len(confirmed(replies)) == 142, 30)
    assert ingest.statistics().by_reason == {"accepted": 135, "shape": 7}
    assert caplog.text.count("a worker process ended") == ended
    assert len(children()) <= workers
    ingest.stop()
    assert not failures
    assert not children()


def test_a_worker_that_was_replaced_has_nothing_more_to_say(boards):
    """Two may die at one moment, and what the first leaves goes to the second, which is found dead before its turn."""
    with DefaultSelector() as selector:
        workers = pool.Pool(selector, 1)
        chunk = pool.Chunk([], [(boards[0].next(), 0, None)])
        workers.submit(chunk)
        (key,) = selector.get_map().values()
        workers._replace(workers._workers[0])
        key.data()
        deadline = time.monotonic() + 10
        while chunk.findings is None and time.monotonic() < deadline:
            for found, _ in selector.select(1):
                found.data()
        workers.close()
    assert chunk.findings is not None and chunk.findings[0][0] == boards[0].kid


def test_workers_end_with_a_gateway_that_is_killed(tmp_path, boards):
    code = f"""
import sys, time
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
from test_workers import *
from test_workers import _ignores
from test_disk import Replies
with Writer(__import__("pathlib").Path({str(tmp_path / "test.db")!r})) as writer:
    boards = [TestBoard(1)]
    writer.submit(lambda connection: enrol(connection, *boards))
    ingest, replies = started(writer, 2, [])
    send(ingest, boards, 200)
    wait_for(lambda: len([pid for pid in children() if _ignores(pid, signal.SIGTERM)]) == 2)
    print(*children(), flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2
    # A signal to the group does not end them: the gateway may still need them for its last batch.
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    time.sleep(0.2)
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    process.kill()
    process.wait()
    process.stdout.close()
    wait_for(lambda: not any(_runs(pid) for pid in pids))


def _ignores(pid, number):
    (mask,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn:")]
    return int(mask.split()[1], 16) >> number - 1 & 1


def _runs(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
