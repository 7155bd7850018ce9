"""Takes a batch of messages to the database: parse outside, then decide and store inside one transaction."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from trigpoint.ingest.decision import BoardState, Decision, Reason, after, decide, reading_time
from trigpoint.store import log, statements
from trigpoint.store.statements import BoardRow, EvidenceRow, LostRow, ReadingRow, RejectedRow, StatementRow
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.statement import MAX_SIZE, Statement, parse

_TOPIC = re.compile(r"trig/1/([0-9a-f]{64})/s")
_TOPIC_KEPT = 128
_DETAIL = {
    Reason.UNKNOWN_BOARD: "the board is not active in the registry",
    Reason.GAP: "statements before this one are missing, and the board still holds them",
    Reason.SIGNATURE: "the board's key did not sign this",
    Reason.LOST: "the board has declared this one lost, and its log has gone on",
}


@dataclass(frozen=True)
class Message:
    """What came from the broker.

    Attributes:
        topic: its first 128 characters at most; not trusted.
        payload: its first 4,097 bytes at most.
        size: bytes of the whole payload.
        arrival_ms: the gateway's clock, milliseconds since 1970.
    """

    topic: str
    payload: bytes
    size: int
    arrival_ms: int

    @classmethod
    def of(cls, topic: str, payload: bytes | bytearray, arrival_ms: int) -> Message:
        """Keep of topic and payload no more than is needed to see that they are too long."""
        return cls(topic[:_TOPIC_KEPT], bytes(payload[: MAX_SIZE + 1]), len(payload), arrival_ms)


@dataclass(frozen=True)
class Parsed:
    """A message and either its statement or what is wrong with it."""

    message: Message
    statement: Statement | None
    fault: WireError | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one message of a committed batch.

    Attributes:
        reason: accepted, or why not.
        key: the board's key if the registry knows the board.
        ack_seq: the seq up to which the board is to be told that all is on disk; None if it is told nothing.
        newly_flagged: whether this message is the first evidence against its board.
    """

    reason: Reason
    key: PublicKey | None = None
    ack_seq: int | None = None
    newly_flagged: bool = False


def read(message: Message) -> Parsed:
    """Check size and shape, and that the topic's board id is the statement's. Pure, and never raises."""
    try:
        statement = parse(message.payload)
    except WireError as fault:
        return Parsed(message, None, fault)
    topic = _TOPIC.fullmatch(message.topic)
    if topic is None or bytes.fromhex(topic[1]) != statement.kid:
        return Parsed(message, None, WireError("shape", "kid", "it is not the board id in the topic"))
    return Parsed(message, statement)


def store(connection: sqlite3.Connection, batch: Sequence[Parsed]) -> list[Outcome]:
    """Decide on each message in turn and write all that follows, in the transaction that `connection` is in.

    Later messages see the effects of earlier ones. The outcomes hold only once the transaction is committed.
    """
    work = _Batch(connection)
    decided = [work.take(parsed) for parsed in batch]
    work.flush()
    return [work.outcome(parsed, decision, first) for parsed, (decision, first) in zip(batch, decided, strict=True)]


@lru_cache(maxsize=8_192)
def _public_key(x: bytes, y: bytes) -> PublicKey:
    return PublicKey(x, y)


class _Batch:
    """The effects of a batch, gathered so that each table is written once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._size = log.head(connection).size
        self._rows: dict[bytes, BoardRow | None] = {}
        self._states: dict[bytes, BoardState] = {}
        self._moved: set[bytes] = set()
        self._entries: dict[tuple[bytes, int], bytes] = {}
        self._statements: list[StatementRow] = []
        self._readings: list[ReadingRow] = []
        self._lost: list[LostRow] = []
        self._rejected: list[RejectedRow] = []
        self._counts: Counter[str] = Counter()

    def take(self, parsed: Parsed) -> tuple[Decision, bool]:
        """Decide on a message and note its effects. Returns the decision, and whether it newly flagged a board."""
        message, statement = parsed.message, parsed.statement
        newly_flagged = False
        if statement is None:
            assert parsed.fault is not None
            decision, detail = Decision(Reason(parsed.fault.reason)), str(parsed.fault)
        else:
            decision = self._decide(statement)
            detail = _DETAIL.get(decision.reason, "")
            if decision.lost is not None:
                self._lost.append(LostRow(statement.kid, *decision.lost, statement.raw))
            if decision.reason is Reason.ACCEPTED:
                self._accept(statement, message.arrival_ms)
            elif decision.reason.is_evidence:
                newly_flagged = statements.add_evidence(
                    self._connection,
                    EvidenceRow(
                        statement.kid,
                        statement.entry,
                        statement.seq,
                        statement.raw,
                        decision.reason,
                        message.arrival_ms,
                    ),
                )
            self._move(statement, decision)
        self._counts[decision.reason] += 1
        if decision.reason.is_refusal and not decision.reason.is_evidence:
            self._rejected.append(
                RejectedRow(decision.reason, detail, message.topic, message.payload, message.size, message.arrival_ms)
            )
        return decision, newly_flagged

    def flush(self) -> None:
        """Write all rows, and the log's leaves with them."""
        connection = self._connection
        if self._statements:
            statements.add_statements(connection, self._statements)
            statements.add_readings(connection, self._readings)
            log.append(connection, [row.entry for row in self._statements])
        statements.add_lost(connection, self._lost)
        for kid in self._moved:
            state = self._states[kid]
            statements.advance_board(connection, kid, state.next_seq, state.last_entry)
        if self._rejected:
            statements.add_rejected(connection, self._rejected)
        statements.count(connection, self._counts)

    def outcome(self, parsed: Parsed, decision: Decision, newly_flagged: bool) -> Outcome:
        """Return what to tell about a message, now that the whole batch has been taken."""
        if parsed.statement is None:
            return Outcome(decision.reason)
        kid = parsed.statement.kid
        row = self._rows[kid]
        state = self._states.get(kid)
        if row is None or state is None:
            return Outcome(decision.reason)
        speaks = decision.reason.deserves_ack and state.next_seq > 0
        key = _public_key(row.x, row.y)
        return Outcome(decision.reason, key, state.next_seq - 1 if speaks else None, newly_flagged)

    def _decide(self, statement: Statement) -> Decision:
        kid, seq = statement.kid, statement.seq
        if kid not in self._rows:
            row = self._rows[kid] = statements.board(self._connection, kid)
            if row is not None:
                self._states[kid] = BoardState(row.active, row.next_seq, row.last_entry)
        row, state = self._rows[kid], self._states.get(kid)
        stored = None
        if state is not None and seq < state.next_seq:
            stored = self._entries.get((kid, seq)) or statements.stored_entry(self._connection, kid, seq)
        decision = decide(state, statement, stored, None)
        if decision is None:
            assert row is not None
            good = _public_key(row.x, row.y).verify(statement.signature, statement.to_be_signed())
            decision = decide(state, statement, stored, good)
            assert decision is not None
        return decision

    def _accept(self, statement: Statement, arrival_ms: int) -> None:
        kid = statement.kid
        leaf_index = self._size + len(self._statements)
        self._statements.append(
            StatementRow(leaf_index, kid, statement.seq, statement.raw, statement.entry, arrival_ms)
        )
        for position, reading in enumerate(statement.readings):
            time_s, source = reading_time(statement.base_time, reading.t, arrival_ms)
            self._readings.append(
                ReadingRow(
                    leaf_index,
                    position,
                    kid,
                    reading.name,
                    reading.unit,
                    reading.mantissa,
                    reading.exponent,
                    time_s,
                    source,
                )
            )
        self._entries[kid, statement.seq] = statement.entry

    def _move(self, statement: Statement, decision: Decision) -> None:
        before = self._states.get(statement.kid)
        if before is not None:
            state = self._states[statement.kid] = after(before, statement, decision)
            if state != before:
                self._moved.add(statement.kid)
