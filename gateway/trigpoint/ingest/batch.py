"""Decides on a batch of messages, over what is in memory, and writes what follows from it in one transaction."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trigpoint.ingest.boards import Board, Boards, stored_boards
from trigpoint.ingest.check import Claim, Fault, check, understood
from trigpoint.ingest.decision import BoardState, Decision, Reason, after, decide
from trigpoint.ingest.message import Message, statements_topic
from trigpoint.store import statements
from trigpoint.store.fold import Tail
from trigpoint.store.statements import EvidenceRow, LostRow, RejectedRow, StatementRow

_DETAIL = {
    Reason.UNKNOWN_BOARD: "the board is not active in the registry",
    Reason.GAP: "statements before this one are missing, and the board still holds them",
    Reason.SIGNATURE: "the board's key did not sign this",
    Reason.LOST: "the board has declared this one lost, and its log has gone on",
    Reason.NOT_SERVED: "the board's owner is not in ingest.owners",
    Reason.QUOTA: "the board has sent more today than ingest.daily_mb_per_board",
}


_DAY_MS = 86_400_000


class JournalError(Exception):
    """The journal on the disk is not as long as it should be: somebody else writes to it, or it is broken."""


class Outcome(NamedTuple):
    """What became of one message of a committed batch.

    Attributes:
        reason: accepted, or why not.
        board: the board, if the registry knows it.
        ack_seq: the seq up to which the board is to be told that all is on disk; None if it is told nothing.
    """

    reason: Reason
    board: Board | None = None
    ack_seq: int | None = None


@dataclass(slots=True)
class _Turn:
    """A board in a batch: where what was taken so far will have brought it, and how many bytes that stores."""

    board: Board
    state: BoardState
    stored: int = 0


class Batch:
    """Decides on messages in turn, and gathers what is to be written. Later messages see the effects of earlier ones.

    Nothing outside changes until `done`: a batch that could not be written is simply dropped.

    Args:
        boards: where the boards stand.
        start: statements stored so far.
        stored_entry: gives the entry of a stored statement, by the board's number and seq.
        quota: bytes of statements that a board may have stored in one day.

    Attributes:
        statements: to be appended.
        lost: to be added.
        evidence: likewise.
        rejected: likewise.
    """

    def __init__(
        self,
        boards: Boards,
        start: int,
        stored_entry: Callable[[int, int], bytes | None],
        quota: float = math.inf,
    ) -> None:
        self.statements: list[StatementRow] = []
        self.lost: list[LostRow] = []
        self.evidence: list[EvidenceRow] = []
        self.rejected: list[RejectedRow] = []
        self._boards = boards
        self._start = start
        self._stored_entry = stored_entry
        self._quota = quota
        self._claims: list[Claim] = []
        self._turns: dict[bytes, _Turn] = {}
        self._entries: dict[tuple[int, int], bytes] = {}
        self._decided: list[tuple[Reason, Board | None]] = []

    def take(self, message: Message, found: Claim | Fault) -> None:
        """Decide on a message, given what `trigpoint.ingest.check` has found in it, and note its effects."""
        if isinstance(found, Fault):
            self._note(message, Reason(found.reason), None, found.detail)
            return
        turn = self._turns.get(found.kid)
        board = turn.board if turn is not None else self._boards.get(found.kid)
        if message.topic != (statements_topic(found.kid) if board is None else board.topic):
            self._note(message, Reason.SHAPE, None, "kid: it is not the board id in the topic")
            return
        if board is None:
            self._note(message, Reason.UNKNOWN_BOARD, None)
            return
        if turn is None:
            turn = self._turns[found.kid] = _Turn(board, board.state)
        decision, claim = self._decide(turn, found, message)
        self._note(message, decision.reason, board)
        if decision.reason is Reason.ACCEPTED:
            number, seq = board.signer[0], claim.seq
            leaf_index = self._start + len(self.statements)
            self.statements.append(StatementRow(leaf_index, number, seq, message.arrival_ms, message.payload))
            self._claims.append(claim)
            self._entries[number, seq] = claim.entry
            turn.stored += len(message.payload)
        elif decision.reason.is_evidence:
            self.evidence.append(
                EvidenceRow(claim.kid, claim.entry, claim.seq, message.payload, decision.reason, message.arrival_ms)
            )
        if decision.lost is not None:
            self.lost.append(LostRow(claim.kid, *decision.lost, message.payload))
            turn.stored += len(message.payload)
        turn.state = after(turn.state, claim, decision)

    @property
    def counts(self) -> Counter[Reason]:
        """How many messages came to each end."""
        return Counter(reason for reason, _ in self._decided)

    def write(self, connection: sqlite3.Connection) -> list[bytes]:
        """Write everything, in the transaction that `connection` is in. Returns the kids of boards newly flagged.

        May be called again after a commit that failed, even if that one was made after all.

        Raises:
            JournalError: the journal is not where this batch begins.
        """
        stored = statements.size(connection)
        if stored != self._start:
            if self.statements and statements.newest_row(connection) == self.statements[-1]:
                return []
            raise JournalError(f"the database has {stored} statements where {self._start} were stored")
        statements.add_statements(connection, self.statements)
        if self.lost:
            statements.add_lost(connection, self.lost)
        flagged = [row.kid for row in self.evidence if statements.add_evidence(connection, row)]
        if self.rejected:
            statements.add_rejected(connection, self.rejected)
        return flagged

    def done(self, now_ms: int = 0, tail: Tail | None = None) -> list[Outcome]:
        """Let the boards stand where the batch has brought them, now that it is on the disk.

        Args:
            now_ms: the gateway's clock, milliseconds since 1970, for the quotas of the day.
            tail: takes in the statements.

        Returns:
            What to tell about each message, in the order in which they were taken.
        """
        day = now_ms // _DAY_MS
        for turn in self._turns.values():
            board = turn.board
            board.state = turn.state
            board.bytes_of_day = turn.stored + (board.bytes_of_day if board.day == day else 0)
            board.day = day
        if tail is not None:
            for row, claim in zip(self.statements, self._claims, strict=True):
                tail.add(row.board, row.seq, claim.entry, claim.hours)
        return [_outcome(reason, board) for reason, board in self._decided]

    def _decide(self, turn: _Turn, claim: Claim, message: Message) -> tuple[Decision, Claim]:
        """Return the decision, and the claim as it was verified for it."""
        state, board, seq = turn.state, turn.board, claim.seq
        if state.active and not board.served:
            return Decision(Reason.NOT_SERVED), claim
        stored = None
        if seq < state.next_seq:
            number = board.signer[0]
            stored = self._entries.get((number, seq)) or self._stored_entry(number, seq)
        decision = decide(state, claim, stored, claim.signed)
        if (
            board.bytes_of_day + turn.stored + len(message.payload) > self._quota  # on whatever day: seldom so much
            and seq >= state.next_seq
            and (decision is None or decision.reason is Reason.ACCEPTED or decision.lost is not None)
            and self._is_over_quota(turn, message)
        ):
            return Decision(Reason.QUOTA), claim
        if decision is None:
            # It was not verified before, because it did not look as if that would be needed.
            verified = understood(check(message.payload, message.arrival_ms, board.signer))
            assert isinstance(verified, Claim)
            claim, decision = verified, decide(state, verified, stored, verified.signed)
            assert decision is not None
        return decision, claim

    def _is_over_quota(self, turn: _Turn, message: Message) -> bool:
        board = turn.board
        before = board.bytes_of_day if board.day == message.arrival_ms // _DAY_MS else 0
        return before + turn.stored + len(message.payload) > self._quota

    def _note(self, message: Message, reason: Reason, board: Board | None, detail: str = "") -> None:
        self._decided.append((reason, board))
        if reason is not Reason.ACCEPTED and reason.is_refusal and not reason.is_evidence:
            topic, payload, size, arrival_ms = message
            self.rejected.append(RejectedRow(reason, detail or _DETAIL[reason], topic, payload, size, arrival_ms))


def store(connection: sqlite3.Connection, messages: Sequence[Message]) -> list[Outcome]:
    """Decide on messages and write what follows, in the transaction that `connection` is in, from the database alone.

    It takes no memory of boards and leaves none, and folds nothing: slow, for tools and tests.
    """
    batch = Batch(
        stored_boards(connection),
        statements.size(connection),
        lambda number, seq: statements.entry_at(connection, statements.find(connection, number, seq)),
    )
    for message in messages:
        batch.take(message, understood(check(message.payload, message.arrival_ms, None)))
    batch.write(connection)
    statements.count(connection, without_accepted(batch.counts))
    return batch.done()


def without_accepted(counts: Counter[Reason]) -> dict[str, int]:
    """Return what the table of counters takes: how many were accepted is how many statements there are."""
    return {str(reason): number for reason, number in counts.items() if reason is not Reason.ACCEPTED}


def _outcome(reason: Reason, board: Board | None) -> Outcome:
    if board is None:
        return Outcome(reason)
    next_seq = board.state.next_seq
    return Outcome(reason, board, next_seq - 1 if next_seq > 0 and reason.deserves_ack else None)
