"""Whatever comes in whatever order: stored exactly once, evidence kept, the rest counted and nothing else changed."""

import sqlite3
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statements import BASE_TIME, TestBoard, enrol, spoil_signature
from trigpoint.ingest.batch import store
from trigpoint.ingest.boards import stored_boards
from trigpoint.ingest.decision import Reason
from trigpoint.ingest.message import Message
from trigpoint.log import merkle
from trigpoint.store import log, queries, statements
from trigpoint.store.database import migrate, open_database
from trigpoint.store.fold import fold_log
from trigpoint.store.statements import EVIDENCE_KEPT, REJECTED_KEPT
from trigpoint.wire import statement
from trigpoint.wire.statement import NO_PREV

ARRIVAL_MS = BASE_TIME * 1000


@pytest.fixture
def connection(tmp_path):
    connection = open_database(tmp_path / "test.db")
    migrate(connection)
    yield connection
    connection.close()


def memory_database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return connection


def take(connection, messages, *, rolled_back_first=False):
    """Store (topic, payload) pairs as one batch; as one that fails and is tried again, if so told."""
    batch = [Message.of(topic, payload, ARRIVAL_MS) for topic, payload in messages]
    if rolled_back_first:
        connection.execute("BEGIN IMMEDIATE")
        store(connection, batch)
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    outcomes = store(connection, batch)
    connection.execute("COMMIT")
    return outcomes


def take_one(connection, board, payload):
    return take(connection, [(board.topic, payload)])[0]


class World:
    """Two enrolled boards and a stranger, what they do to the gateway, and what must come of it.

    Each action knows from its own making what the gateway must say to it.
    """

    def __init__(self) -> None:
        self.boards = [TestBoard(1), TestBoard(2)]
        self.stranger = TestBoard(3)
        self.stored = [{}, {}]
        self.lost = [set(), set()]
        self.next_seq = [0, 0]  # where the gateway stands
        self.held = [[], []]  # signed, but behind a loss when it was declared: not stored yet
        self.declarations = [[], []]  # first lost, last lost, and the statement that says so
        self.evidence = [set(), set()]
        self.order = []
        self.messages = []
        self.expected = []

    def act(self, action: str, which: int, pick: int) -> None:
        board, stored, lost = self.boards[which], self.stored[which], self.lost[which]
        held, declarations = self.held[which], self.declarations[which]
        topic, reason = board.topic, None
        following = self.next_seq[which]
        match action:
            case "next":
                payload = held.pop(0) if held else board.next(oldest=following, value=pick, readings=1 + pick % 3)
                reason = Reason.ACCEPTED
            case "lose":
                # All that the board held is lost, and more; the next statement says so and can be taken at once.
                held.clear()
                board.next_seq += 1 + pick % 3
                payload, reason = board.next(oldest=board.next_seq), Reason.ACCEPTED
                declarations.append((following, board.next_seq - 2, payload))
            case "declare":
                # Some that were signed before the loss have outlived it; the newest declares it and comes first.
                held.clear()
                board.next_seq += 1 + pick % 3
                oldest = board.next_seq
                held.extend(board.next(oldest=following, value=pick) for _ in range(1 + pick % 2))
                payload, reason = board.next(oldest=oldest, value=pick), Reason.GAP
                held.append(payload)
                declarations.append((following, oldest - 1, payload))
            case "declare again" if declarations:
                *_, payload = declarations[pick % len(declarations)]
                seq = statement.parse(payload).seq
                reason = Reason.DUPLICATE if seq in stored else Reason.LOST if seq in lost else Reason.GAP
                # The one that the gateway waits for, as it happens.
                if held and payload is held[0]:
                    held.pop(0)
                    reason = Reason.ACCEPTED
            case "again" if stored:
                payload, reason = stored[sorted(stored)[pick % len(stored)]], Reason.DUPLICATE
            case "clone" if stored or lost:
                used = sorted({*stored, *lost})
                seq = used[pick % len(used)]
                prev = NO_PREV if seq == 0 else b"p" * 32
                payload = board.make(seq, prev, value=-1 - pick)
                reason = Reason.CLONE if seq in stored else Reason.LOST
            case "fork" if following - 1 in stored:
                payload, reason = board.make(following, b"q" * 32, value=pick), Reason.FORK
            case "gap":
                payload, reason = board.make(following + 1 + pick, b"r" * 32, oldest=following), Reason.GAP
            case "forge":
                payload, reason = spoil_signature(board.make(following, board.prev, value=pick)), Reason.SIGNATURE
            case "forged loss":
                payload = spoil_signature(board.make(following + 5, b"s" * 32, oldest=following + 1 + pick % 5))
                reason = Reason.SIGNATURE
            case "cut":
                payload, reason = board.make(following, board.prev)[: -1 - pick], Reason.SHAPE
            case "empty":
                payload, reason = b"", Reason.SIZE
            case "huge":
                payload, reason = bytes(4_097 + pick), Reason.SIZE
            case "foreign topic":
                topic = self.boards[1 - which].topic
                payload, reason = board.make(following, board.prev), Reason.SHAPE
            case "stranger":
                topic = self.stranger.topic
                payload, reason = self.stranger.make(0, NO_PREV, value=pick), Reason.UNKNOWN_BOARD
            case _:
                return
        if reason is Reason.ACCEPTED:
            seq = statement.parse(payload).seq
            stored[seq] = payload
            self.order.append(payload)
            self.next_seq[which] = seq + 1
        if action in ("lose", "declare"):
            first, last, _ = declarations[-1]
            lost.update(range(first, last + 1))
            self.next_seq[which] = max(self.next_seq[which], last + 1)
        if reason in (Reason.CLONE, Reason.FORK):
            self.evidence[which].add(payload)
        self.messages.append((topic, payload))
        self.expected.append(reason)


ACTIONS = st.sampled_from(
    ["next"] * 6
    + [
        "lose",
        "declare",
        "declare",
        "declare again",
        "again",
        "again",
        "clone",
        "fork",
        "gap",
        "forge",
        "forged loss",
        "cut",
        "empty",
        "huge",
    ]
    + ["foreign topic", "stranger"]
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(ACTIONS, st.integers(0, 1), st.integers(0, 40)), max_size=40),
    st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=8),
)
def test_any_interleaving_in_any_batches(actions, batches):
    world = World()
    for action in actions:
        world.act(*action)
    connection = memory_database()
    enrol(connection, *world.boards)

    outcomes, left, turn = [], world.messages, 0
    while left:
        length, rolled_back_first = batches[turn % len(batches)]
        outcomes += take(connection, left[:length], rolled_back_first=rolled_back_first)
        left, turn = left[length:], turn + 1

    assert [outcome.reason for outcome in outcomes] == world.expected
    assert queries.counters(connection) == Counter(map(str, world.expected))
    assert [raw for (raw,) in connection.execute("SELECT raw FROM statements ORDER BY leaf_index")] == world.order
    leaf_indexes = [index for (index,) in connection.execute("SELECT leaf_index FROM statements ORDER BY leaf_index")]
    assert leaf_indexes == list(range(len(world.order)))

    summaries = {summary.kid: summary for summary in queries.boards(connection)}
    for which, board in enumerate(world.boards):
        summary = summaries[board.kid]
        parsed = {seq: statement.parse(raw) for seq, raw in world.stored[which].items()}
        assert summary.next_seq == world.next_seq[which]
        assert summary.statements == len(parsed)
        assert summary.lost == len(world.lost[which])
        assert summary.flagged == bool(world.evidence[which])
        kept = {raw for (raw,) in connection.execute("SELECT raw FROM evidence WHERE kid = ?", (board.kid,))}
        assert kept == world.evidence[which]
        assert (
            connection.execute(
                "SELECT from_seq, to_seq, raw FROM lost WHERE kid = ? ORDER BY from_seq", (board.kid,)
            ).fetchall()
            == world.declarations[which]
        )
        last = summary.next_seq - 1
        last_entry = None if last in world.lost[which] else parsed[last].entry if parsed else NO_PREV
        state = stored_boards(connection).get(board.kid).state
        assert (state.next_seq, state.last_entry) == (summary.next_seq, last_entry)

    head, _ = log.current(connection)
    assert head == fold_log(connection) == log.head(connection)
    assert head.size == len(world.order)
    assert head.root == naive_root([statement.parse(raw).entry for raw in world.order])
    assert connection.execute("SELECT count(*) FROM rejected").fetchone()[0] == sum(
        reason.is_refusal and not reason.is_evidence for reason in world.expected
    )


def naive_root(entries):
    """RFC 9162 section 2.1.1, word for word."""
    if not entries:
        return merkle.EMPTY_ROOT
    if len(entries) == 1:
        return merkle.leaf_hash(entries[0])
    split = 1 << (len(entries) - 1).bit_length() - 1
    return merkle.node_hash(naive_root(entries[:split]), naive_root(entries[split:]))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_change_to_a_valid_message_and_no_random_bytes_get_in(data):
    connection = memory_database()
    board = TestBoard(1)
    enrol(connection, board)
    valid = board.next(readings=2)
    if data.draw(st.booleans()):
        position = data.draw(st.integers(0, len(valid) - 1))
        changed = bytearray(valid)
        changed[position] ^= data.draw(st.integers(1, 255))
        payload = bytes(changed)
    else:
        payload = data.draw(st.binary(max_size=200) | st.integers(0, len(valid) - 1).map(lambda end: valid[:end]))
    topic = data.draw(st.just(board.topic) | st.text(max_size=90))

    before = dump(connection)
    outcome = take(connection, [(topic, payload)])[0]
    assert outcome.reason.is_refusal
    assert dump(connection) == before
    assert sum(queries.counters(connection).values()) == 1
    # And the door is still open for the real one.
    assert take_one(connection, board, valid).reason is Reason.ACCEPTED


def dump(connection):
    tables = ["boards", "statements", "lost", "tiles", "log_state", "evidence", "seqs", "hours", "folds"]
    return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables}


def test_acks_say_where_the_gateway_stands_after_the_whole_batch(connection):
    board, stranger = TestBoard(1), TestBoard(2)
    enrol(connection, board)
    early = take_one(connection, board, board.make(1, b"p" * 32))
    assert (early.reason, early.ack_seq) == (Reason.GAP, None)  # nothing stored: there is nothing to say
    first, second = board.next(), board.next()
    outcomes = take(
        connection,
        [
            (board.topic, first),
            (stranger.topic, stranger.next()),
            (board.topic, second),
            (board.topic, first),
            (board.topic, board.make(7, b"p" * 32)),
            (board.topic, board.make(1, b"p" * 32, value=9)),
        ],
    )
    assert [(outcome.reason, outcome.ack_seq) for outcome in outcomes] == [
        (Reason.ACCEPTED, 1),
        (Reason.UNKNOWN_BOARD, None),
        (Reason.ACCEPTED, 1),
        (Reason.DUPLICATE, 1),
        (Reason.GAP, 1),
        (Reason.CLONE, None),
    ]
    assert [summary.flagged for summary in queries.boards(connection) if summary.kid == board.kid] == [True]


def test_a_declared_loss_stands_though_its_statement_must_wait(connection):
    board = TestBoard(1)
    enrol(connection, board)
    take(connection, [(board.topic, board.next()) for _ in range(5)])
    board.next_seq = 30  # 5 to 29 are gone
    held = [board.next(oldest=5) for _ in range(3)]
    newest = board.next(oldest=30)
    assert [take_one(connection, board, raw).reason for raw in held] == [Reason.GAP] * 3

    forged = take_one(connection, board, spoil_signature(newest))
    assert (forged.reason, forged.ack_seq) == (Reason.SIGNATURE, None)
    assert queries.boards(connection)[0].lost == 0

    for _ in range(3):
        outcome = take_one(connection, board, newest)
        assert (outcome.reason, outcome.ack_seq) == (Reason.GAP, 29)
    assert queries.boards(connection)[0].lost == 25
    assert connection.execute("SELECT from_seq, to_seq, raw FROM lost").fetchall() == [(5, 29, newest)]
    assert statements.size(connection) == 5
    assert connection.execute("SELECT last_entry FROM boards").fetchone() == (None,)

    outcomes = take(connection, [(board.topic, raw) for raw in [*held, newest, newest]])
    assert [outcome.reason for outcome in outcomes] == [Reason.ACCEPTED] * 4 + [Reason.DUPLICATE]
    assert {outcome.ack_seq for outcome in outcomes} == {33}
    # From the first one taken after the loss on, prev is checked again.
    assert take_one(connection, board, board.make(34, b"q" * 32, 30)).reason is Reason.FORK
    assert take_one(connection, board, board.next(oldest=34)).reason is Reason.ACCEPTED
    assert len(connection.execute("SELECT * FROM lost").fetchall()) == 1


def test_a_loss_before_anything_was_stored_is_declared_and_acked_too(connection):
    board = TestBoard(1)
    enrol(connection, board)
    board.next_seq = 7
    first, newest = board.next(oldest=0), board.next(oldest=7)
    outcomes = take(connection, [(board.topic, newest), (board.topic, board.make(0, NO_PREV)), (board.topic, first)])
    assert [(outcome.reason, outcome.ack_seq) for outcome in outcomes] == [
        (Reason.GAP, 7),
        (Reason.LOST, None),
        (Reason.ACCEPTED, 7),
    ]


def test_a_revoked_board_is_refused_even_with_a_duplicate(connection):
    board = TestBoard(1)
    enrol(connection, board)
    first = board.next()
    take_one(connection, board, first)
    connection.execute("UPDATE boards SET active_until = 5")
    assert take_one(connection, board, first).reason is Reason.UNKNOWN_BOARD
    assert take_one(connection, board, board.next()).reason is Reason.UNKNOWN_BOARD


def test_refused_input_and_evidence_are_bounded(connection):
    board = TestBoard(1)
    enrol(connection, board)
    take_one(connection, board, board.next())
    for start in range(0, REJECTED_KEPT + 50, 50):
        take(connection, [(f"{start + n} " + "t" * 300, bytes(4_097) + b"x" * n) for n in range(50)])
    newest = queries.rejected(connection, limit=10_000)
    assert len(newest) == REJECTED_KEPT
    assert newest[0].size == 4_097 + 49
    assert newest[0].topic.startswith(f"{REJECTED_KEPT + 49} t")
    assert max(len(row.raw) for row in newest) <= 4_096
    assert max(len(row.topic) for row in newest) <= 128
    clones = [board.make(0, NO_PREV, value=1_000 + n) for n in range(EVIDENCE_KEPT + 5)]
    take(connection, [(board.topic, clone) for clone in [*clones, *clones]])
    assert connection.execute("SELECT count(*) FROM evidence").fetchone() == (EVIDENCE_KEPT,)
    assert queries.counters(connection) == {
        "accepted": 1,
        "clone": 2 * (EVIDENCE_KEPT + 5),
        "size": REJECTED_KEPT + 50,
    }


def test_every_refusal_says_in_words_what_was_wrong(connection):
    board = TestBoard(1)
    enrol(connection, board)
    take(
        connection,
        [
            (board.topic, b""),
            (board.topic, board.make(0, NO_PREV)[:50]),
            (board.topic + "x", board.make(0, NO_PREV)),
            (TestBoard(2).topic, TestBoard(2).make(0, NO_PREV)),
            (board.topic, board.make(3, b"p" * 32)),
            (board.topic, spoil_signature(board.make(0, NO_PREV))),
        ],
    )
    rows = queries.rejected(connection)[::-1]
    assert [row.reason for row in rows] == ["size", "shape", "shape", "unknown_board", "gap", "signature"]
    assert all(row.detail for row in rows)
