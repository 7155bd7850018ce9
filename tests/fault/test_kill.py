"""SIGKILL between commit and ack: what a board sends again is not stored again. At any moment: test_crash.py."""

import subprocess
import sys
from pathlib import Path

import pytest
from boardclient import BoardClient
from brokers import make_embedded
from intake import rows
from statements import TestBoard, enrol
from trigpoint import keyfiles
from trigpoint.log import merkle, tree
from trigpoint.store import log, queries
from trigpoint.store.database import open_database
from trigpoint.store.writer import Writer
from trigpoint.wire import statement

CHILD = Path(__file__).with_name("intake.py")


class Child:
    """The gateway's intake in a process of its own."""

    def __init__(self, directory: Path, port: int, *fault: str) -> None:
        self.command = [
            *(sys.executable, str(CHILD), str(directory / "test.db"), str(port), str(directory / "link.pem")),
            *fault,
        ]
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def wait_ready(self) -> None:
        assert self.process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def boards(tmp_path):
    keyfiles.create_link_key(tmp_path / "link.pem")
    boards = [TestBoard(number) for number in range(1, 9)]
    with Writer(tmp_path / "test.db") as writer:
        writer.submit(lambda connection: enrol(connection, *boards))
    return boards


@pytest.fixture
def broker(tmp_path):
    broker = make_embedded(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def client(tmp_path, boards, broker):
    client = BoardClient(broker.port, keyfiles.load_link_key(tmp_path / "link.pem"), boards)
    yield client
    client.close()


def check(database: Path, client: BoardClient, boards) -> None:
    """All that was acked is stored as signed, once; chains, leaves, tiles and what is folded agree."""
    stored = {board.kid: {} for board in boards}
    entries = []
    for index, kid, seq, raw in rows(
        database, "SELECT leaf_index, kid, seq, raw FROM statements JOIN boards ON number = board ORDER BY leaf_index"
    ):
        assert index == len(entries)
        assert seq not in stored[kid]
        stored[kid][seq] = raw
        entries.append(statement.parse(raw).entry)
    for board in boards:
        assert sorted(stored[board.kid]) == list(range(len(stored[board.kid])))
        assert all(raw == board.sent[seq] for seq, raw in stored[board.kid].items())
        assert len(stored[board.kid]) > client.acked[board.kid]
    connection = open_database(database, read_only=True)
    summaries = {summary.kid: summary.next_seq for summary in queries.boards(connection)}
    assert summaries == {kid: len(statements) for kid, statements in stored.items()}
    head, tiles = log.current(connection)
    assert head == (len(entries), tree.root(tiles, len(entries)))
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    assert b"".join(tiles.tile(0, index) for index in range(-(-len(leaves) // 256))) == b"".join(leaves)
    folded = connection.execute("SELECT size FROM folds").fetchone()[0]
    places = connection.execute("SELECT leaf_index FROM seqs ORDER BY leaf_index").fetchall()
    assert places == [(index,) for index in range(folded)]
    assert connection.execute("SELECT coalesce(sum(readings), 0) FROM hours").fetchone() == (2 * folded,)
    connection.close()


def test_killed_between_commit_and_ack(tmp_path, boards, broker, client):
    board = boards[0]
    child = Child(tmp_path, broker.port, "die-before-ack")
    child.wait_ready()
    client.send(board.topic, board.next(readings=2))
    assert child.process.wait(20) == -9
    child.process.stdout.close()
    assert client.acks == []
    assert rows(tmp_path / "test.db", "SELECT seq FROM statements") == [(0,)]
    again = Child(tmp_path, broker.port)
    again.wait_ready()
    client.deliver([board])
    again.kill()
    assert rows(tmp_path / "test.db", "SELECT seq FROM statements") == [(0,)]
    check(tmp_path / "test.db", client, boards)
