"""Where the time of a statement goes: each stage of ingest by itself, over chunks of a thousand boards in turn.

Microseconds of processor time for a statement of 18 readings, in one process. The stages run one after the other here,
each over a whole batch, so it finds its code in the processor's caches; in the gateway they take half as long again.
"""

from __future__ import annotations

import marshal
import math
import random
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from trigpoint.ingest.batch import Batch
from trigpoint.ingest.boards import Board, Boards
from trigpoint.ingest.check import Claim, Fault, check_all, understood
from trigpoint.ingest.client import puback_packet, publish_packet
from trigpoint.ingest.decision import BoardState
from trigpoint.ingest.message import Message
from trigpoint.ingest.triage import Triage
from trigpoint.store.database import migrate
from trigpoint.store.fold import Tail, fold_index, fold_log
from trigpoint.store.hours import cells
from trigpoint.wire import statement
from trigpoint.wire.ack import Sealer
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.statement import Reading, parse

from trigpoint_tools.load.__main__ import CACHE
from trigpoint_tools.load.statements import BASE_TIME, Shape, Supply, supply

_BOARDS = 1_000
_ROUNDS = 6
_BATCH = 500
_ARRIVAL_MS = 1000 * BASE_TIME

Figures = dict[str, int | float]
_T = TypeVar("_T")


class _Stages:
    """Adds up processor time by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, stage: str, work: Callable[[], _T]) -> _T:
        began = time.process_time()
        result = work()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.process_time() - began
        return result


def figures(report: Callable[[str], None]) -> Figures:
    """Measure each stage over 6,000 statements."""
    loads = supply(CACHE, Shape(_BOARDS, 25, 18), report)
    stages, connection = _Stages(), sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    keys = [PublicKey(point[:32], point[32:]) for point in loads.points]
    known = {
        kid: Board(kid, (number, point), BoardState(True))
        for number, (kid, point) in enumerate(zip(loads.kids, loads.points, strict=True))
    }
    sealers = {kid: Sealer(kid) for kid in loads.kids}
    boards, tail = Boards(known.get), Tail(0)
    for seq in range(_ROUNDS):
        for start in range(0, _BOARDS, _BATCH):
            _take(stages, connection, loads, keys=keys, sealers=sealers, boards=boards, tail=tail, seq=seq, start=start)
    stages.timed("fold", lambda: fold_log(connection))
    stages.timed("fold", partial(fold_index, connection, tail))
    strange = _of_as_many_layouts(_ROUNDS * _BOARDS)
    stages.timed("parse_new", lambda: [parse(raw) for raw in strange])
    total = _ROUNDS * _BOARDS
    found = {f"stage_us_{stage}": round(1e6 * seconds / total, 1) for stage, seconds in stages.seconds.items()}
    report(", ".join(f"{name.removeprefix('stage_us_')} {value}" for name, value in found.items()))
    return dict(found)


def _take(
    stages: _Stages,
    connection: sqlite3.Connection,
    loads: Supply,
    *,
    keys: list[PublicKey],
    sealers: dict[bytes, Sealer],
    boards: Boards,
    tail: Tail,
    seq: int,
    start: int,
) -> None:
    """Take one batch through all stages."""
    batch = Batch(boards, tail.size, lambda *_: None, math.inf)
    triage = Triage(boards, lambda *_: None)
    messages = [
        Message(f"trig/1/{kid.hex()}/s", raw, len(raw), _ARRIVAL_MS)
        for kid, raw in zip(loads.kids, loads.rounds[seq], strict=True)
    ][start : start + _BATCH]
    jobs = stages.timed("to_worker", lambda: _cross([(m.payload, m.arrival_ms, triage.signer(m)) for m in messages]))
    findings = check_all(jobs)
    parsed = stages.timed("parse", lambda: [parse(payload) for payload, _, _ in jobs])
    stages.timed(
        "verify",
        lambda: [
            key.verify(each.signature, each.to_be_signed())
            for key, each in zip(keys[start : start + _BATCH], parsed, strict=True)
        ],
    )
    stages.timed("hours", lambda: [cells(1, each, _ARRIVAL_MS) for each in parsed])
    claims = stages.timed("from_worker", lambda: [understood(finding) for finding in _cross(findings)])
    stages.timed("decide", partial(_decide, batch, messages, claims))
    connection.execute("BEGIN")
    stages.timed("insert", lambda: batch.write(connection))
    connection.execute("COMMIT")
    outcomes = stages.timed("remember", lambda: batch.done(_ARRIVAL_MS, tail))
    stages.timed(
        "ack",
        lambda: [
            (
                publish_packet(outcome.board.acks_topic.encode(), sealers[outcome.board.kid].seal(seq, _ARRIVAL_MS)),
                puback_packet(7),
            )
            for outcome in outcomes
            if outcome.board is not None
        ],
    )


def _of_as_many_layouts(number: int) -> list[bytes]:
    """Return statements of 18 readings, each with values of other lengths: what is learned from one helps with none."""
    dice = random.Random(1)  # noqa: S311  (measured values, not secrets)
    return [
        statement.build(
            kid=bytes(32),
            seq=0,
            prev=bytes(32),
            oldest=0,
            base_time=BASE_TIME,
            readings=[
                Reading(name, unit, dice.choice((7, 77, 777, 77_777)), exponent, 10 * turn)
                for turn in range(6)
                for name, unit, exponent in (
                    ("temperature", "Cel", -2),
                    ("humidity", "%RH", -2),
                    ("pressure", "Pa", -1),
                )
            ],
            sign=lambda message: bytes(64),
        )
        for _ in range(number)
    ]


def _decide(batch: Batch, messages: list[Message], claims: list[Claim | Fault]) -> None:
    for message, claim in zip(messages, claims, strict=True):
        batch.take(message, claim)


def _cross(items: list[_T]) -> list[_T]:
    crossed: list[_T] = marshal.loads(marshal.dumps(items))  # noqa: S302  (what was just written)
    return crossed
