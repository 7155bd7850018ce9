"""The report's tables: each board, each kind of fault, each fault."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from trigpoint_tools.fleet import words
from trigpoint_tools.fleet.markup import Element, make
from trigpoint_tools.fleet.result import BoardResult, FaultResult, Result
from trigpoint_tools.fleet.scenario import INSTANT_KINDS, FaultKind, Scenario

LOOKS: Mapping[FaultKind, str] = {
    FaultKind.WIFI_LOSS: "radio",
    FaultKind.LATENCY: "net",
    FaultKind.PACKET_LOSS: "net",
    FaultKind.TCP_RESET: "net",
    FaultKind.BROKER_RESTART: "server",
    FaultKind.GATEWAY_RESTART: "server",
    FaultKind.CLOCK_SKEW: "clock",
    FaultKind.CLOCK_JUMP: "clock",
    FaultKind.POWER_CUT: "power",
    FaultKind.FLASH_ROT: "flash",
    FaultKind.SENSOR_STUCK: "sensor",
    FaultKind.SENSOR_LIES: "sensor",
    FaultKind.CLONED_KEY: "stolen",
    FaultKind.FORGERIES: "stolen",
}
"""The class that gives a kind its colour in tables and plots."""


def boards(scenario: Scenario, results: Sequence[BoardResult]) -> Element:
    """Return the table of boards: where the readings of each one went, and what it went through."""
    head = (
        *("board", "measured", "stored", "in RAM at a power cut", "declared lost", "lost", "duplicated"),
        *("statements", "sent again", "boots", "worst time error"),
    )
    return _table(head, range(1, len(head)), [_board(scenario, board) for board in results])


def _board(scenario: Scenario, board: BoardResult) -> Element:
    group = scenario.group_of(board.number)
    what = f"{group.chip}, {', '.join(group.sensors)}" + (", ATECC608" if group.secure_element else "")
    return make(
        "tr",
        make("td", scenario.name_of(board.number), *_tags(board), make("small", what), title=f"board id {board.kid}"),
        _count(board.measured),
        _count(board.stored),
        _count(board.in_ram),
        _count(board.declared_lost),
        _count(board.lost, bad=True),
        _count(board.duplicated, bad=True),
        _count(board.statements),
        _count(board.resent),
        _count(board.boots),
        make(
            "td", words.compact(board.clock_error_s), class_="number" if board.clock_error_s >= 0.5 else "number zero"
        ),
    )


def _tags(board: BoardResult) -> list[Element]:
    if not board.cloned and not board.flagged:
        return []
    right = board.cloned and board.flagged
    said = "cloned, flagged" if right else "cloned, not flagged" if board.cloned else "flagged, not cloned"
    return [make("span", said, class_="tag" if right else "tag bad")]


def kinds(faults: Sequence[FaultResult]) -> Element:
    """Return the table of kinds of faults: how often each came, for how long, and what it did in all."""
    rows = []
    for kind, name in words.KINDS.items():
        of_kind = [fault for fault in faults if fault.kind == kind]
        if of_kind:
            hits = sum(max(1, len(fault.boards)) for fault in of_kind)
            lasted = sum(fault.lasts_s * max(1, len(fault.boards)) for fault in of_kind)
            effects: dict[str, int] = {}
            for fault in of_kind:
                effects[fault.effect] = effects.get(fault.effect, 0) + fault.seen
            did = words.joined([f"{seen:,} {effect}" for effect, seen in effects.items()])
            rows.append(
                make(
                    "tr",
                    make("td", make("span", name, class_=f"kind {LOOKS[kind]}")),
                    _count(len(of_kind)),
                    _count(hits),
                    make("td", "at once" if kind in INSTANT_KINDS else words.length(lasted)),
                    make("td", did, class_="wrap"),
                )
            )
    return _table(("kind", "times", "hits", "in all", "what it did"), (1, 2), rows)


def faults(scenario: Scenario, result: Result) -> Element:
    """Return the log of faults: when, what, whom, how long, how much, and what was seen of it."""
    rows = []
    for fault in result.faults:
        did = f"{fault.seen:,} {fault.effect}" if fault.seen else f"came to nothing: 0 {fault.effect}"
        rows.append(
            make(
                "tr",
                make("td", str(fault.number + 1), class_="number soft"),
                make("td", words.moment(fault.at_s), title=date(result.started + fault.at_s)),
                make("td", make("span", words.KINDS[fault.kind], class_=f"kind {LOOKS[fault.kind]}")),
                make("td", words.whom(scenario, fault), title=_names(scenario, fault.boards), class_="wrap"),
                make("td", words.compact(fault.lasts_s) if fault.lasts_s else "at once"),
                make("td", words.amount(fault)),
                make("td", did, class_="wrap" if fault.seen else "wrap soft"),
                id=f"fault-{fault.number + 1}",
            )
        )
    return _table(("", "when", "fault", "whom", "how long", "how much", "what it did"), (0,), rows)


def date(seconds: float) -> str:
    """Return a moment of the world: `2013-02-04 06:15 UTC`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _names(scenario: Scenario, numbers: Sequence[int]) -> str | None:
    return ", ".join(scenario.name_of(board) for board in numbers) or None


def _count(value: int, *, bad: bool = False) -> Element:
    """Return a cell with a count: a zero is quiet, and one that ought to be zero and is not is red."""
    look = "number zero" if not value else "number bad" if bad else "number"
    return make("td", f"{value:,}", class_=look)


def _table(head: Sequence[str], numbers: Iterable[int], rows: Sequence[Element]) -> Element:
    at_right = set(numbers)
    titles = (make("th", name, class_="number" if place in at_right else None) for place, name in enumerate(head))
    table = make("table", make("thead", make("tr", *titles)), make("tbody", *rows))
    return make("div", table, class_="scroll", tabindex="0")
