"""Decides on a batch of messages, over what is in memory, and writes what follows from it in one transaction."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from trigpoint.ingest.boards import Board, Boards, stored_boards
from trigpoint.ingest.check import Claim, Fault, Signer, check
from trigpoint.ingest.decision import BoardState, Decision, Reason, after, decide
from trigpoint.ingest.message import Message
from trigpoint.store import statements
from trigpoint.store.fold import Tail
from trigpoint.store.statements import EvidenceRow, LostRow, RejectedRow, StatementRow

_TOPIC = re.compile(r"trig/1/([0-9a-f]{64})/s")
_DETAIL = {
    Reason.UNKNOWN_BOARD: "the board is not active in the registry",
    Reason.GAP: "statements before this one are missing, and the board still holds them",
    Reason.SIGNATURE: "the board's key did not sign this",
    Reason.LOST: "the board has declared this one lost, and its log has gone on",
}


class JournalError(Exception):
    """The journal on the disk is not as long as it should be: somebody else writes to it, or it is broken."""


@dataclass(frozen=True)
class Checked:
    """A message, and what `trigpoint.ingest.check` found in it."""

    message: Message
    found: Claim | Fault


@dataclass(frozen=True)
class Outcome:
    """What became of one message of a committed batch.

    Attributes:
        reason: accepted, or why not.
        board: the board, if the registry knows it.
        ack_seq: the seq up to which the board is to be told that all is on disk; None if it is told nothing.
    """

    reason: Reason
    board: Board | None = None
    ack_seq: int | None = None


@dataclass
class Batch:
    """Decides on messages in turn, and gathers what is to be written. Later messages see the effects of earlier ones.

    Nothing outside changes until `done`: a batch that could not be written is simply dropped.

    Args:
        boards: where the boards stand.
        start: statements stored so far.
        stored_entry: gives the entry of a stored statement, by the board's number and seq.
    """

    boards: Boards
    start: int
    stored_entry: Callable[[int, int], bytes | None]
    statements: list[StatementRow] = field(default_factory=list)
    lost: list[LostRow] = field(default_factory=list)
    evidence: list[EvidenceRow] = field(default_factory=list)
    rejected: list[RejectedRow] = field(default_factory=list)
    counts: Counter[Reason] = field(default_factory=Counter)
    _claims: list[Claim] = field(default_factory=list)
    _states: dict[bytes, BoardState] = field(default_factory=dict)
    _entries: dict[tuple[int, int], bytes] = field(default_factory=dict)
    _decided: list[tuple[Reason, Board | None]] = field(default_factory=list)

    def take(self, checked: Checked) -> None:
        """Decide on a message and note its effects."""
        message, found = checked.message, checked.found
        board = None
        if isinstance(found, Claim) and not _is_of(message.topic, found.kid):
            found = Fault("shape", "kid: it is not the board id in the topic")
        if isinstance(found, Fault):
            decision, detail = Decision(Reason(found.reason)), found.detail
        else:
            board = self.boards.get(found.kid)
            decision, found = self._decide(board, found, message)
            detail = _DETAIL.get(decision.reason, "")
            if board is not None:
                self._carry_out(board, found, decision, message)
        self._decided.append((decision.reason, board))
        self.counts[decision.reason] += 1
        if decision.reason.is_refusal and not decision.reason.is_evidence:
            self.rejected.append(
                RejectedRow(decision.reason, detail, message.topic, message.payload, message.size, message.arrival_ms)
            )

    def write(self, connection: sqlite3.Connection) -> list[bytes]:
        """Write everything, in the transaction that `connection` is in. Returns the kids of boards newly flagged.

        May be called again after a commit that failed, even if that one was made after all.

        Raises:
            JournalError: the journal is not where this batch begins.
        """
        stored = statements.size(connection)
        if stored != self.start:
            if self.statements and statements.newest_row(connection) == self.statements[-1]:
                return []
            raise JournalError(f"the database has {stored} statements where {self.start} were stored")
        statements.add_statements(connection, self.statements)
        if self.lost:
            statements.add_lost(connection, self.lost)
        flagged = [row.kid for row in self.evidence if statements.add_evidence(connection, row)]
        if self.rejected:
            statements.add_rejected(connection, self.rejected)
        return flagged

    def done(self, tail: Tail | None = None) -> list[Outcome]:
        """Let the boards stand where the batch has brought them, now that it is on the disk.

        Args:
            tail: takes in the statements.

        Returns:
            What to tell about each message, in the order in which they were taken.
        """
        for kid, state in self._states.items():
            board = self.boards.get(kid)
            assert board is not None
            board.state = state
        if tail is not None:
            for row, claim in zip(self.statements, self._claims, strict=True):
                tail.add(row.board, row.seq, claim.entry, claim.hours)
        return [_outcome(reason, board) for reason, board in self._decided]

    def _decide(self, board: Board | None, claim: Claim, message: Message) -> tuple[Decision, Claim]:
        """Return the decision, and the claim as it was verified for it."""
        if board is None:
            return Decision(Reason.UNKNOWN_BOARD), claim
        number, state = board.signer.number, self._state(board)
        stored = None
        if claim.seq < state.next_seq:
            stored = self._entries.get((number, claim.seq)) or self.stored_entry(number, claim.seq)
        decision = decide(state, claim, stored, claim.signed)
        if decision is None:
            # It was not verified before, because it did not look as if that would be needed.
            verified = check(message.payload, message.arrival_ms, board.signer)
            assert isinstance(verified, Claim)
            claim, decision = verified, decide(state, verified, stored, verified.signed)
            assert decision is not None
        return decision, claim

    def _carry_out(self, board: Board, claim: Claim, decision: Decision, message: Message) -> None:
        if decision.lost is not None:
            self.lost.append(LostRow(board.kid, *decision.lost, message.payload))
        if decision.reason is Reason.ACCEPTED:
            leaf_index = self.start + len(self.statements)
            number = board.signer.number
            self.statements.append(StatementRow(leaf_index, number, claim.seq, message.arrival_ms, message.payload))
            self._claims.append(claim)
            self._entries[number, claim.seq] = claim.entry
        elif decision.reason.is_evidence:
            self.evidence.append(
                EvidenceRow(board.kid, claim.entry, claim.seq, message.payload, decision.reason, message.arrival_ms)
            )
        before = self._state(board)
        state = after(before, claim, decision)
        if state is not before:
            self._states[board.kid] = state

    def _state(self, board: Board) -> BoardState:
        return self._states.get(board.kid, board.state)


def read(message: Message, signer: Signer | None = None) -> Checked:
    """Check a message in this process; see `trigpoint.ingest.check.check`."""
    return Checked(message, check(message.payload, message.arrival_ms, signer))


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
        batch.take(read(message))
    batch.write(connection)
    statements.count(connection, without_accepted(batch.counts))
    return batch.done()


def without_accepted(counts: Counter[Reason]) -> dict[str, int]:
    """Return what the table of counters takes: how many were accepted is how many statements there are."""
    return {str(reason): number for reason, number in counts.items() if reason is not Reason.ACCEPTED}


def _is_of(topic: str, kid: bytes) -> bool:
    match = _TOPIC.fullmatch(topic)
    return match is not None and bytes.fromhex(match[1]) == kid


def _outcome(reason: Reason, board: Board | None) -> Outcome:
    if board is None:
        return Outcome(reason)
    speaks = reason.deserves_ack and board.state.next_seq > 0
    return Outcome(reason, board, board.state.next_seq - 1 if speaks else None)
