"""The order of protocol section 5, over plain data."""

import pytest
from statements import BASE_TIME, TestBoard
from trigpoint.ingest.decision import BoardState, Decision, Reason, after, decide
from trigpoint.wire.statement import NO_PREV, parse, reading_time

ENTRY = b"e" * 32


@pytest.fixture(scope="module")
def board() -> TestBoard:
    return TestBoard(1)


def statement(board, seq, prev=ENTRY, oldest=0):
    return parse(board.make(seq, prev if seq else NO_PREV, oldest))


@pytest.mark.parametrize("signature", [None, True, False])
def test_a_board_the_registry_does_not_know_is_refused_before_all_else(board, signature):
    message = statement(board, 0)
    assert decide(None, message, None, signature) == Decision(Reason.UNKNOWN_BOARD)
    assert decide(BoardState(active=False), message, message.entry, signature) == Decision(Reason.UNKNOWN_BOARD)


def test_the_stored_bytes_again_are_a_duplicate_whatever_the_signature(board):
    message = statement(board, 3)
    for signature in (None, True, False):
        assert decide(BoardState(True, 5, ENTRY), message, message.entry, signature) == Decision(Reason.DUPLICATE)


@pytest.mark.parametrize(("stored", "reason"), [(None, Reason.LOST), (b"o" * 32, Reason.CLONE)])
def test_other_bytes_under_a_used_seq_are_evidence_only_if_signed_and_another_is_stored(board, stored, reason):
    message, state = statement(board, 3), BoardState(True, 5, ENTRY)
    assert decide(state, message, stored, None) is None
    assert decide(state, message, stored, False) == Decision(Reason.SIGNATURE)
    assert decide(state, message, stored, True) == Decision(reason)


@pytest.mark.parametrize(
    ("next_seq", "seq", "oldest", "expected"),
    [
        (0, 0, 0, Decision(Reason.ACCEPTED)),
        (5, 5, 0, Decision(Reason.ACCEPTED)),
        (5, 5, 5, Decision(Reason.ACCEPTED)),
        (5, 6, 0, Decision(Reason.GAP)),
        (5, 6, 5, Decision(Reason.GAP)),
        (5, 6, 6, Decision(Reason.ACCEPTED, (5, 5))),
        (5, 9, 9, Decision(Reason.ACCEPTED, (5, 8))),
        (5, 9, 8, Decision(Reason.GAP, (5, 7))),
        (5, 9, 6, Decision(Reason.GAP, (5, 5))),
        (5, 9, 5, Decision(Reason.GAP)),
        (0, 9, 1, Decision(Reason.GAP, (0, 0))),
        (0, 1, 1, Decision(Reason.ACCEPTED, (0, 0))),
        (0, 1, 0, Decision(Reason.GAP)),
        (0, 2**32 - 1, 2**32 - 1, Decision(Reason.ACCEPTED, (0, 2**32 - 2))),
    ],
)
def test_seq_against_next_and_oldest(board, next_seq, seq, oldest, expected):
    state = BoardState(True, next_seq, ENTRY if next_seq else NO_PREV)
    assert decide(state, statement(board, seq, oldest=oldest), None, True) == expected


def test_a_gap_costs_no_verification_and_a_bad_signature_declares_nothing_lost(board):
    state = BoardState(True, 5, ENTRY)
    assert decide(state, statement(board, 7), None, None) == Decision(Reason.GAP)
    assert decide(state, statement(board, 7, oldest=5), None, False) == Decision(Reason.GAP)
    for oldest in (6, 8, 9):
        assert decide(state, statement(board, 9, oldest=oldest), None, None) is None
        assert decide(state, statement(board, 9, oldest=oldest), None, False) == Decision(Reason.SIGNATURE)


def test_a_declaration_moves_next_and_only_once(board):
    state = BoardState(True, 5, ENTRY)
    newest = statement(board, 9, oldest=8)
    declared = after(state, newest, Decision(Reason.GAP, (5, 7)))
    assert declared == BoardState(True, 8, None)
    again = decide(declared, newest, None, True)
    assert again == Decision(Reason.GAP)
    assert after(declared, newest, again) == declared


@pytest.mark.parametrize("prev", [ENTRY, b"x" * 32])
def test_prev_of_the_statement_after_a_loss_cannot_be_checked(board, prev):
    message = statement(board, 8, prev=prev, oldest=5)
    state = BoardState(True, 8, None)
    assert decide(state, message, None, None) is None
    assert decide(state, message, None, False) == Decision(Reason.SIGNATURE)
    assert decide(state, message, None, True) == Decision(Reason.ACCEPTED)
    assert after(state, message, Decision(Reason.ACCEPTED)) == BoardState(True, 9, message.entry)


def test_a_refusal_without_a_declaration_moves_nothing(board):
    state = BoardState(True, 5, ENTRY)
    for reason in Reason:
        if reason is not Reason.ACCEPTED:
            assert after(state, statement(board, 7), Decision(reason)) == state


def test_the_next_seq_with_another_prev_is_a_fork_only_if_signed(board):
    state = BoardState(True, 5, ENTRY)
    message = statement(board, 5, prev=b"x" * 32)
    assert decide(state, message, None, False) == Decision(Reason.SIGNATURE)
    assert decide(state, message, None, True) == Decision(Reason.FORK)


def test_a_second_first_statement_is_a_clone(board):
    first, second = parse(board.make(0, NO_PREV, value=1)), parse(board.make(0, NO_PREV, value=2))
    state = after(BoardState(True), first, Decision(Reason.ACCEPTED))
    assert state == BoardState(True, 1, first.entry)
    assert decide(state, second, first.entry, True) == Decision(Reason.CLONE)


def test_only_what_a_board_needs_is_acked():
    assert [reason for reason in Reason if reason.deserves_ack] == [Reason.ACCEPTED, Reason.DUPLICATE, Reason.GAP]


@pytest.mark.parametrize(
    ("base_time", "t", "arrival_ms", "expected"),
    [
        (BASE_TIME, 10, BASE_TIME * 1000, (BASE_TIME + 10, "board")),
        (BASE_TIME, 600, BASE_TIME * 1000 + 999, (BASE_TIME + 600, "board")),
        (BASE_TIME, 601, BASE_TIME * 1000 + 999, (BASE_TIME + 601, "doubtful")),
        (None, 0, 5_999, (5, "arrival")),
        (None, -7, 1_000_000, (993, "arrival")),
    ],
)
def test_when_a_reading_was_taken(base_time, t, arrival_ms, expected):
    assert reading_time(base_time, t, arrival_ms) == expected
