"""A fleet run's result without a fleet: what a scenario's schedule might have led to, the same every time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from trigpoint_tools.fleet.result import BoardResult, FaultResult, GasUsed, Head, Latency, Point, Result
from trigpoint_tools.fleet.scenario import FaultKind, Scenario
from trigpoint_tools.fleet.schedule import Draw, schedule

_EFFECTS = {
    FaultKind.WIFI_LOSS: "boards lost their connection",
    FaultKind.POWER_CUT: "readings were in RAM",
    FaultKind.TCP_RESET: "connections reset",
    FaultKind.FORGERIES: "forged messages refused",
}


def result(scenario: Scenario, **changes: Any) -> Result:
    """Return a result in which all is well, with the changes asked for."""
    draw = Draw(scenario.seed, "result")
    boards = []
    for number in range(scenario.count):
        group = scenario.group_of(number)
        measured = scenario.duration_s // group.sample_s * group.readings
        in_ram = draw.between(0, 9) if scenario.faults and draw.fraction() < 0.3 else 0
        boards.append(
            BoardResult(
                number=number,
                group=group.name,
                kid=f"{draw.bits():016x}" * 4,
                measured=measured,
                stored=measured - in_ram,
                lost=0,
                duplicated=0,
                in_ram=in_ram,
                declared_lost=0,
                lied=0,
                statements=measured // (group.readings * group.batch),
                boots=1 + draw.between(0, 3),
                resent=draw.between(0, 12),
                flagged=False,
                cloned=False,
                clock_error_s=draw.fraction() * 5,
                rss_kb=draw.between(3900, 4400),
            )
        )
    faults = tuple(
        FaultResult(
            event.number,
            event.kind,
            event.at_s,
            event.lasts_s,
            event.boards,
            event.amount,
            seen=draw.between(0, 40),
            effect=_EFFECTS.get(event.kind, "messages refused or late"),
        )
        for event in schedule(scenario)
    )
    measured = sum(board.measured for board in boards)
    stored = sum(board.stored for board in boards)
    statements = sum(board.statements for board in boards)
    heads = tuple(
        Head(float(at), statements * at // scenario.duration_s, 61_000 + draw.between(0, 4000))
        for at in range(scenario.anchor_every_s, scenario.duration_s, scenario.anchor_every_s)
    )
    anchor_gas = sum(head.gas for head in heads)
    made = Result(
        scenario=scenario.name,
        about=scenario.about,
        seed=scenario.seed,
        duration_s=scenario.duration_s,
        speed=scenario.speed,
        started=scenario.start_s,
        seconds=scenario.duration_s / scenario.speed + 30,
        cpu_s=120.0,
        step_seconds={},
        boards=scenario.count,
        expected=measured,
        measured=measured,
        stored=stored,
        lost=0,
        duplicated=0,
        declared_lost=0,
        declared_lost_statements=0,
        in_ram=measured - stored,
        lied=0,
        statements=statements,
        resent=sum(board.resent for board in boards),
        refused={"bad signature": 12, "unknown board": 3} if faults else {},
        forged_sent={"bad signature": 12, "unknown board": 3} if faults else {},
        forged_stored=0,
        acks_forged=8 if faults else 0,
        clones=0,
        clones_flagged=0,
        wrongly_flagged=0,
        ack_ms=Latency.of([math.exp(3.2 + 1.1 * sum(draw.fraction() for _ in range(4))) for _ in range(statements)]),
        stored_after_s=Latency.of([20.0 + 3000 * draw.fraction() for _ in range(50)]),
        anchors=len(heads),
        anchored_size=statements,
        gas=GasUsed(5_200_000, 200_000, 68_000, anchor_gas, anchor_gas // max(1, len(heads))),
        board_rss_kb=4210,
        board_results=tuple(boards),
        faults=faults,
        points=_points(scenario, faults, measured, draw),
        wrong=(),
        heads=heads,
    )
    return replace(made, **changes)


_BLOCKING = {FaultKind.WIFI_LOSS, FaultKind.BROKER_RESTART, FaultKind.GATEWAY_RESTART, FaultKind.POWER_CUT}


def _points(scenario: Scenario, faults: tuple[FaultResult, ...], measured: int, draw: Draw) -> tuple[Point, ...]:
    points = []
    steps = 400
    waiting = [0.0] * scenario.count
    for number in range(steps + 1):
        now = scenario.duration_s * number / steps
        active = [
            fault for fault in faults if fault.kind in _BLOCKING and fault.at_s <= now < fault.at_s + fault.lasts_s
        ]
        off = {board for fault in active for board in (fault.boards or range(scenario.count))}
        dark = {board for fault in active if fault.kind == FaultKind.POWER_CUT for board in fault.boards}
        for board in range(scenario.count):
            new = 0 if board in dark else measured / steps / scenario.count
            kept = waiting[board] if board in off or board in dark else waiting[board] * 0.3
            waiting[board] = kept + new * (0.5 + draw.fraction())
        so_far = round(measured * number / steps)
        points.append(
            Point(
                world_s=now,
                measured=so_far,
                stored=max(0, so_far - round(sum(waiting))),
                declared_lost=0,
                in_ram_lost=0,
                boards_on=scenario.count - len(dark),
                boards_connected=scenario.count - len(off),
                ack_ms=40 + 100 * draw.fraction(),
            )
        )
    return tuple(points)
