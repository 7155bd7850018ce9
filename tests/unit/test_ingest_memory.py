"""What the gateway keeps in memory never makes it decide or store otherwise than the database alone would."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statements import BASE_TIME, TestBoard, enrol, spoil_signature
from test_ingest_batch import ACTIONS, World
from test_store_fold import FOLDED, dump, fill, fold_all
from trigpoint.ingest import boards, folder
from trigpoint.ingest.batch import Batch, JournalError, store
from trigpoint.ingest.boards import Boards
from trigpoint.ingest.check import check, understood
from trigpoint.ingest.decision import Reason
from trigpoint.ingest.folder import Folder
from trigpoint.ingest.message import Message
from trigpoint.ingest.pace import Pace
from trigpoint.ingest.triage import Triage, peek
from trigpoint.store import queries, statements
from trigpoint.store.database import migrate
from trigpoint.store.fold import Tail, fold_index, fold_log, replay
from trigpoint.store.writer import Writer
from trigpoint.wire import statement
from trigpoint.wire.keys import PublicKey

ARRIVAL_MS = BASE_TIME * 1000
TABLES = [*FOLDED, "statements", "lost", "evidence"]


def memory_database():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return connection


class Machine:
    """The pipeline's steps over one connection, where a test says when each is taken."""

    def __init__(self, connection, owners=(), quota=1e9):
        self.connection = connection
        self.owners, self.quota = owners, quota
        self.now_ms = ARRIVAL_MS
        self.start()

    def start(self):
        """Begin with nothing but the database, as after a crash."""
        fold_all(self.connection, 3)
        self.tail = replay(self.connection)
        self.boards = Boards(
            lambda kid: boards.load(self.connection, kid, lambda number: self.tail.newest.get(number), self.owners)
        )
        self.triage = Triage(self.boards, self.stored_entry)

    def stored_entry(self, number, seq):
        recent = self.tail.entry(number, seq)
        if recent is not None:
            return recent
        return statements.entry_at(self.connection, statements.find_folded(self.connection, number, seq))

    def check(self, messages):
        """Have messages checked, all before any of them is decided on."""
        batch = [Message.of(topic, payload, self.now_ms) for topic, payload in messages]
        return [
            (message, understood(check(message.payload, message.arrival_ms, self.triage.signer(message))))
            for message in batch
        ]

    def commit(self, checked, *, fails=False, lies=False):
        batch = Batch(self.boards, self.tail.size, self.stored_entry, self.quota)
        for item in checked:
            batch.take(*item)
        self.connection.execute("BEGIN")
        batch.write(self.connection)
        if fails:
            self.connection.execute("ROLLBACK")
            return self.commit(checked)
        self.connection.execute("COMMIT")
        if lies and batch.statements:
            # The commit was reported as failed, but was made: it is tried again, and must not be made twice.
            self.connection.execute("BEGIN")
            batch.write(self.connection)
            self.connection.execute("COMMIT")
        outcomes = batch.done(self.now_ms, self.tail)
        for reason, board, _ in outcomes:
            if reason is not Reason.ACCEPTED and board is not None:
                board.expected = board.state.next_seq
        return outcomes

    def take(self, messages, **how):
        return self.commit(self.check(messages), **how)

    def fold(self, which):
        if which == "log":
            fold_log(self.connection, self.tail)
        elif which == "index":
            fold_index(self.connection, self.tail)
            self.tail = Tail(self.tail.size)
        elif which == "crash":
            self.start()


@settings(max_examples=60)
@given(
    st.lists(st.tuples(ACTIONS, st.integers(0, 1), st.integers(0, 40)), max_size=40),
    st.lists(
        st.tuples(
            st.integers(1, 12),
            st.sampled_from(["", "", "log", "index", "crash"]),
            st.sampled_from(["", "fails", "lies"]),
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_any_interleaving_over_crashes_and_folds_ends_like_a_straight_run(actions, turns):
    world = World()
    for action in actions:
        world.act(*action)
    straight, other = memory_database(), memory_database()
    for connection in (straight, other):
        enrol(connection, *world.boards)
    expected = [
        outcome.reason
        for topic, payload in world.messages
        for outcome in store(straight, [Message.of(topic, payload, ARRIVAL_MS)])
    ]
    assert expected == world.expected

    machine, left, outcomes, turn = Machine(other), world.messages, [], 0
    while left:
        length, then, trouble = turns[turn % len(turns)]
        outcomes += machine.take(left[:length], **({trouble: True} if trouble else {}))
        machine.fold(then)
        left, turn = left[length:], turn + 1
    assert [outcome.reason for outcome in outcomes] == expected
    # Each board is where it would be, in memory and to a reader, before the last fold and after it.
    for connection in (straight, other):
        assert connection.execute("SELECT count(*) FROM statements").fetchone() == (len(world.order),)
    assert queries.boards(other) == queries.boards(straight)
    states = {board.kid: machine.boards.get(board.kid).state for board in world.boards}
    machine.start()
    assert {board.kid: machine.boards.get(board.kid).state for board in world.boards} == states
    fold_all(straight, 5)
    assert dump(other, TABLES) == dump(straight, TABLES)


def test_a_tail_in_memory_is_the_tail_on_the_disk():
    connection, board = memory_database(), TestBoard(1)
    enrol(connection, board)
    machine = Machine(connection)
    machine.take([(board.topic, board.next(readings=5, base_time=BASE_TIME + 1_700 * turn)) for turn in range(9)])
    assert machine.tail == replay(connection)
    machine.fold("index")
    machine.take([(board.topic, board.next())])
    assert machine.tail == replay(connection)


@pytest.fixture
def verified(monkeypatch):
    """Note each signature that is looked at."""
    seen = []
    verify = PublicKey.verify

    def noting(key, signature, message):
        seen.append(signature)
        return verify(key, signature, message)

    monkeypatch.setattr(PublicKey, "verify", noting)
    return seen


def test_what_is_plain_without_it_costs_no_verification(verified):
    connection, board, stranger = memory_database(), TestBoard(1), TestBoard(2)
    enrol(connection, board)
    machine = Machine(connection)
    sent = [board.next(oldest=turn) for turn in range(8)]
    burst = [(board.topic, raw) for raw in sent]
    assert {outcome.reason for outcome in machine.take(burst)} == {Reason.ACCEPTED}
    assert len(verified) == 8
    # Again: from memory, from the index, and what is still being checked.
    machine.take(burst)
    machine.fold("index")
    machine.take(burst)
    again = machine.check([(board.topic, board.next(oldest=8))] * 3)
    assert len(verified) == 9
    assert [outcome.reason for outcome in machine.commit(again)] == [Reason.ACCEPTED, *[Reason.DUPLICATE] * 2]
    gap = board.make(30, b"p" * 32, oldest=9)
    outcomes = machine.take([(board.topic, gap), (stranger.topic, stranger.next()), (board.topic, b"no statement")])
    assert [outcome.reason for outcome in outcomes] == [Reason.GAP, Reason.UNKNOWN_BOARD, Reason.SHAPE]
    assert len(verified) == 9


def test_a_wrong_guess_is_put_right(verified):
    connection, board = memory_database(), TestBoard(1)
    enrol(connection, board)
    machine = Machine(connection)
    forged = spoil_signature(board.make(0, bytes(32), value=9))
    far = spoil_signature(board.make(2**32 - 1, b"p" * 32, oldest=2**32 - 1))
    true = [board.next(oldest=turn) for turn in range(3)]
    outcomes = machine.take([(board.topic, raw) for raw in (forged, far, *true)])
    assert [outcome.reason for outcome in outcomes] == [Reason.SIGNATURE] * 2 + [Reason.ACCEPTED] * 3
    before = len(verified)
    machine.take([(board.topic, board.next(oldest=3))])
    assert len(verified) == before + 1


def test_nobody_spoils_the_guesses_about_another_board(verified):
    connection, board, rogue = memory_database(), TestBoard(1), TestBoard(2)
    enrol(connection, board, rogue)
    machine = Machine(connection)
    far = spoil_signature(board.make(2**32 - 1, b"p" * 32, oldest=2**32 - 1))
    assert [outcome.reason for outcome in machine.take([(rogue.topic, far)])] == [Reason.SHAPE]
    assert not verified
    # The next one is verified where that is cheap, before it is decided on.
    checked = machine.check([(board.topic, board.next())])
    assert len(verified) == 1
    assert [outcome.reason for outcome in machine.commit(checked)] == [Reason.ACCEPTED]


@given(st.binary(max_size=200))
def test_a_peek_at_anything_never_fails(data):
    peek(data)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_peek_at_a_statement_sees_what_parsing_does(seq, oldest):
    raw = statement.build(
        kid=b"k" * 32,
        seq=seq,
        prev=bytes(32),
        oldest=min(oldest, seq),
        base_time=None,
        readings=[statement.Reading("n", "Cel", 1, 0, 0)],
        sign=lambda message: bytes(64),
    )
    assert peek(raw) == (b"k" * 32, seq, min(oldest, seq))


def test_who_else_writes_the_journal_is_noticed():
    connection, board = memory_database(), TestBoard(1)
    enrol(connection, board)
    machine = Machine(connection)
    checked = machine.check([(board.topic, board.next())])
    connection.execute("INSERT INTO statements VALUES (0, 1, 0, 0, x'00')")
    with pytest.raises(JournalError, match="1 statements where 0"):
        machine.commit(checked)


def test_only_boards_of_these_owners_are_served_and_a_change_counts_at_once():
    connection, board, other = memory_database(), TestBoard(1), TestBoard(2)
    enrol(connection, board, other)
    connection.execute("UPDATE boards SET owner = ? WHERE kid = ?", (b"o" * 20, board.kid))
    machine = Machine(connection, owners={b"o" * 20})
    outcomes = machine.take([(each.topic, each.next()) for each in (board, other)])
    assert [(outcome.reason, outcome.ack_seq) for outcome in outcomes] == [
        (Reason.ACCEPTED, 0),
        (Reason.NOT_SERVED, None),
    ]
    assert queries.rejected(connection)[0].detail == "the board's owner is not in ingest.owners"
    connection.execute("UPDATE boards SET owner = ? WHERE kid = ?", (b"p" * 20, board.kid))
    machine.boards.refresh(board.kid)
    assert machine.take([(board.topic, board.next())])[0].reason is Reason.NOT_SERVED
    connection.execute("UPDATE boards SET active_until = 5 WHERE kid = ?", (board.kid,))
    machine.boards.refresh(board.kid)
    assert machine.take([(board.topic, board.sent[0])])[0].reason is Reason.UNKNOWN_BOARD
    assert statements.size(connection) == 1


def test_a_board_may_have_so_much_stored_in_a_day_and_is_still_answered():
    connection, board = memory_database(), TestBoard(1)
    enrol(connection, board)
    sent = [board.next() for _ in range(6)]
    machine = Machine(connection, quota=3 * len(sent[0]))
    outcomes = machine.take([(board.topic, raw) for raw in sent[:5]])
    assert [outcome.reason for outcome in outcomes] == [Reason.ACCEPTED] * 3 + [Reason.QUOTA] + [Reason.GAP]
    assert [outcome.ack_seq for outcome in outcomes] == [2, 2, 2, None, 2]
    # What is stored is acked again, a clone is still caught, and a loss cannot be declared to get more.
    clone = board.make(1, b"p" * 32, value=77)
    loss = board.make(9, b"p" * 32, oldest=9)
    outcomes = machine.take([(board.topic, raw) for raw in (sent[0], clone, loss, sent[3])])
    assert [outcome.reason for outcome in outcomes] == [Reason.DUPLICATE, Reason.CLONE, Reason.QUOTA, Reason.QUOTA]
    machine.now_ms += 86_400_000
    assert {outcome.reason for outcome in machine.take([(board.topic, raw) for raw in sent[3:6]])} == {Reason.ACCEPTED}
    assert machine.take([(board.topic, board.next())])[0].reason is Reason.QUOTA


def test_a_long_way_to_catch_up_is_told(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", logger="trigpoint.ingest.folder")
    with Writer(tmp_path / "test.db") as writer:
        writer.submit(lambda connection: fill(connection, 5))
        monkeypatch.setattr(folder, "replay", lambda connection: replay(connection, 4))
        monkeypatch.setattr(folder, "_SAY_EVERY_S", 0.0)
        Folder(writer, Pace()).catch_up()
        assert writer.submit(statements.folded) == 10
    assert [record.getMessage().split(",")[0] for record in caplog.records] == [
        f"index folded up to statement {number} of 10" for number in (4, 8, 10)
    ]
