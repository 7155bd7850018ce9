"""The report as one HTML file, a pure function of a result. No network, no script: it will open in ten years."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from importlib import resources

from trigpoint_tools.fleet import axis, plot, tables, words
from trigpoint_tools.fleet.axis import Mark
from trigpoint_tools.fleet.markup import Child, Element, make, text, write
from trigpoint_tools.fleet.plot import NARROW, WIDE, Bar, Dot, Lane, Line, Size
from trigpoint_tools.fleet.result import FaultResult, Latency, Result
from trigpoint_tools.fleet.scenario import SITE_KINDS, Scenario

_FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Cpath \
d='M16 4 29 27H3Z' fill='none' stroke='%23c2571a' stroke-width='3' stroke-linejoin='round'/%3E%3Ccircle cx='16' \
cy='19.5' r='2.6' fill='%23c2571a'/%3E%3C/svg%3E">
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def page(result: Result, scenario: Scenario, again: str) -> str:
    """Return the report.

    Args:
        result: what came out.
        scenario: what was run.
        again: the command that runs the same again.
    """
    style = (resources.files("trigpoint_tools.fleet") / "page.css").read_text()
    sections = [
        *_verdict(result),
        *_where(result),
        *_over_time(result),
        *_acks(result),
        *_chain(result),
        *_boards(scenario, result),
        *_faults(scenario, result),
        *_run(result, scenario, again),
    ]
    body = "\n".join(write(element) for element in (_header(result), make("main", *sections), _footer()))
    return _FRAME.format(title=html.escape(text(f"Fleet report: {result.scenario}")), style=style, body=body)


def _header(result: Result) -> Element:
    mark = make(
        "svg",
        make("path", d="M16 4 29 27H3Z"),
        make("circle", cx=16, cy=19.5, r=2.6),
        class_="mark",
        viewBox="0 0 32 32",
        aria_hidden="true",
    )
    return make("header", mark, make("div", make("h1", f"Fleet report: {result.scenario}"), make("p", result.about)))


def _verdict(result: Result) -> list[Element]:
    verdict = words.verdict(result)
    parts = [
        ("stored", "stored", result.stored),
        ("in-ram", "in RAM at a power cut", result.in_ram),
        ("declared", "declared lost", result.declared_lost),
        ("lost", "lost", result.lost),
    ]
    bar = [
        make("span", class_=look, style=f"flex: {count} 1 0", title=f"{name}: {count:,}")
        for look, name, count in parts
        if count
    ]
    key = [make("li", make("b", f"{count:,}"), f" {name}", class_=look) for look, name, count in parts]
    wrong = [make("ul", *(make("li", line) for line in result.wrong))] if result.wrong else []
    return [
        make(
            "section",
            make("p", verdict.headline, class_="words"),
            make("p", verdict.sentence),
            *wrong,
            make("div", *bar, class_="whole", aria_hidden="true"),
            make("ul", *key, class_="key"),
            class_=f"verdict {'held' if verdict.held else 'broken'}",
        )
    ]


def _where(result: Result) -> list[Element]:
    forged = sum(result.forged_sent.values())
    cards = [
        _card("Measured", f"{result.measured:,}", "readings, counted at the sensors"),
        _card("Stored", f"{result.stored:,}", f"in {result.statements:,} signed statements"),
        _card("In RAM at a power cut", f"{result.in_ram:,}", "not signed yet: never promised to anybody"),
        _card(
            "Declared lost",
            f"{result.declared_lost:,}",
            f"in {words.plural(result.declared_lost_statements, 'statement')}, by the boards themselves",
        ),
        _card("Lost", f"{result.lost:,}", "measured, and silently gone", good=not result.lost),
        _card("Duplicated", f"{result.duplicated:,}", "stored twice, or never measured", good=not result.duplicated),
        _card(
            "Forgeries stored",
            f"{result.forged_stored:,}",
            f"of {forged:,} sent; {words.plural(result.acks_forged, 'forged ack')} ignored",
            good=not result.forged_stored,
        ),
        _card(
            "Clones flagged",
            f"{result.clones_flagged:,}",
            f"of {result.clones:,}; {result.wrongly_flagged:,} flagged wrongly",
            good=result.clones_flagged == result.clones and not result.wrongly_flagged,
        ),
    ]
    return [make("div", *cards, class_="cards")]


def _over_time(result: Result) -> list[Element]:
    points = result.points
    if not points:
        return []
    start = result.started
    span = (start + min(points[0].world_s, 0), start + max(points[-1].world_s, result.duration_s))
    measured = [(start + point.world_s, float(point.measured)) for point in points]
    stored = [(start + point.world_s, float(point.stored)) for point in points]
    waiting = waiting_over_time(result)
    on = [(start + point.world_s, float(point.boards_on)) for point in points]
    connected = [(start + point.world_s, float(point.boards_connected)) for point in points]
    lanes = _lanes(result)
    end = start + result.duration_s
    ending = [Mark(end, "no more faults")] if lanes and span[1] - end > 0.02 * (span[1] - start) else []
    most = max(value for _, value in waiting)

    def readings(size: Size) -> Element:
        lines = [Line("stored", stored, filled=True), Line("measured", measured)]
        return plot.timeline(size, span, "Readings measured and stored, over time", lines=lines)

    def backlog(size: Size) -> Element:
        lines = [Line("waiting", waiting, filled=True)]
        return plot.timeline(
            size, span, "Readings waiting, with the faults below", lines=lines, lanes=lanes, marked=ending
        )

    def present(size: Size) -> Element:
        lines = [Line("stored", connected, filled=True), Line("measured", on)]
        return plot.timeline(size, span, "Boards with power and boards with a connection, over time", lines=lines)

    return [
        make("h2", "Waiting, and what stood in the way"),
        make(
            "p",
            f"Readings measured and not stored yet: at most {round(most):,}. Each hill is a fault, and each descent is"
            " boards catching up from their journals. A bar leads to its fault in the log below.",
        ),
        _figure(backlog, [("waiting", "readings waiting")]),
        make("h2", "Readings"),
        make("p", "What the sensors measured, and what the gateway has stored of it."),
        _figure(readings, [("measured", "measured"), ("stored", "stored")]),
        make("h2", "Boards on the air"),
        make("p", "How many had power, and how many had a connection to the broker."),
        _figure(present, [("measured", "with power"), ("stored", "connected")]),
    ]


def waiting_over_time(result: Result) -> list[plot.Point]:
    """Return (time, readings waiting): measured, and neither stored nor known to be gone.

    A board declares statements lost, and how many readings were in them is only known at the end: each counts for as
    many as they held on average.
    """
    each = result.declared_lost / result.declared_lost_statements if result.declared_lost_statements else 0.0
    return [
        (
            result.started + point.world_s,
            max(0.0, point.measured - point.stored - point.in_ram_lost - point.declared_lost * each),
        )
        for point in result.points
    ]


def _lanes(result: Result) -> list[Lane]:
    lanes = []
    for kind, name in words.KINDS.items():
        bars = [_bar(result, fault) for fault in result.faults if fault.kind == kind]
        if bars:
            lanes.append(Lane(name, tables.LOOKS[kind], bars, shade=kind in SITE_KINDS))
    return lanes


def _bar(result: Result, fault: FaultResult) -> Bar:
    begin = result.started + fault.at_s
    end = min(begin + fault.lasts_s, result.started + max(result.duration_s, fault.at_s))
    hit = f", {words.plural(len(fault.boards), 'board')}" if fault.boards else ""
    said = f"{words.KINDS[fault.kind]}{hit}, {words.moment(fault.at_s)}: {fault.seen:,} {fault.effect}"
    return Bar(begin, end, said, f"#fault-{fault.number + 1}")


def _acks(result: Result) -> list[Element]:
    latency = result.ack_ms
    if not latency.count:
        return []
    marked = [
        Mark(latency.p50, f"half of them: {axis.seconds(latency.p50)}"),
        Mark(latency.p90, f"90 %: {axis.seconds(latency.p90)}"),
        Mark(latency.p99, f"99 %: {axis.seconds(latency.p99)}"),
    ]

    def drawn(size: Size) -> Element:
        return plot.histogram(size, latency.bins, "How many acks took how long", marked)

    return [
        make("h2", "Acks"),
        make(
            "p",
            "From the moment a board first sends a statement until the gateway's signed word that it is on disk is"
            f" back, in our own time. A fault that stood in between is part of it. {latency.count:,} statements.",
        ),
        _figure(drawn, []),
        make(
            "div",
            _card("Half of the acks within", axis.seconds(latency.p50), "of the statement being sent"),
            _card("99 % within", axis.seconds(latency.p99), f"90 % within {axis.seconds(latency.p90)}"),
            _card("The slowest", axis.seconds(latency.most), "with all that stood in its way"),
            _card(
                "On disk", _world(result.stored_after_s), "after a statement's last sample; half of them; world's time"
            ),
            class_="cards",
        ),
    ]


def _chain(result: Result) -> list[Element]:
    gas = result.gas
    each = gas.anchor / result.stored if result.stored else 0.0
    cards = make(
        "div",
        _card("Heads anchored", f"{result.anchors:,}", f"the newest over {result.anchored_size:,} statements"),
        _card("Gas of an anchor", f"{gas.anchor_each:,}", "mean, with its consistency proof"),
        _card("Gas of a reading", f"{each:,.2f}", "all anchors, by all readings stored"),
        _card("Gas of a board", f"{gas.register_each:,}", "registered once, many in one transaction"),
        class_="cards",
    )
    heading = [
        make("h2", "Anchors and gas"),
        make("p", "Each head of the log that went on the chain: when, over how many statements, at what cost."),
    ]
    if not result.heads:
        return [*heading, cards]
    start = result.started
    last = max(result.heads[-1].world_s, result.points[-1].world_s if result.points else 0, result.duration_s)
    dots = [
        Dot(start + head.world_s, head.gas, f"{words.moment(head.world_s)}: {head.size:,} statements, {head.gas:,} gas")
        for head in result.heads
    ]
    total = 0
    spent = []
    for head in result.heads:
        total += head.gas
        spent.append((start + head.world_s, float(head.gas)))

    def drawn(size: Size) -> Element:
        line = [Line("anchored", spent)]
        return plot.timeline(size, (start, start + last), "Gas of each anchor, over time", lines=line, dots=dots)

    figure = _figure(drawn, [("anchored", f"gas of an anchor; {total:,} in all")])
    return [*heading, figure, cards]


def _boards(scenario: Scenario, result: Result) -> list[Element]:
    return [
        make("h2", "Boards"),
        make("p", "Where the readings of each board went, and what it went through. A zero is grey, as it should be."),
        tables.boards(scenario, result.board_results),
    ]


def _faults(scenario: Scenario, result: Result) -> list[Element]:
    if not result.faults:
        return [make("h2", "Faults"), make("p", "The scenario has none.")]
    idle = sum(not fault.seen for fault in result.faults)
    nothing = f" {words.plural(idle, 'of them', 'of them')} came to nothing." if idle else ""
    return [
        make("h2", "Faults"),
        make("p", f"{words.plural(len(result.faults), 'fault')} from the seed {result.seed}.{nothing}"),
        tables.kinds(result.faults),
        make("h2", "Each fault, and what it did"),
        make("p", "What was seen of it is counted outside the code that caused it."),
        tables.faults(scenario, result),
    ]


def _run(result: Result, scenario: Scenario, again: str) -> list[Element]:
    refused = [f"{count:,} {reason}" for reason, count in result.refused.items() if count]
    facts: list[tuple[str, Child]] = [
        ("The same again", make("code", again)),
        ("Seed", f"{result.seed}"),
        (
            "World",
            f"{tables.date(result.started)}, {words.length(result.duration_s)}, {result.speed:,.0f} times as fast",
        ),
        ("Took", f"{words.length(result.seconds)}, and {words.length(result.cpu_s)} of processor time"),
        ("A board", f"{result.board_rss_kb:,} kB of memory on average"),
        ("Expected", f"{result.expected:,} readings, had every board always had power and a sensor that answers"),
        ("Measured in a lie", f"{words.plural(result.lied, 'reading')}, stored like any other"),
        ("Sent again", f"{words.plural(result.resent, 'statement')} for want of an ack"),
        ("Refused", words.joined(refused) or "nothing"),
        ("Forged", words.joined([f"{n:,} {kind}" for kind, n in result.forged_sent.items()]) or "nothing"),
        ("Gas of both contracts", f"{result.gas.deploy:,}, once"),
        ("Groups", words.joined([f"{group.name} ({group.count})" for group in scenario.boards])),
    ]
    rows = [part for name, said in facts for part in (make("dt", name), make("dd", said))]
    return [make("h2", "The run"), make("dl", *rows, class_="facts")]


def _footer() -> Element:
    return make(
        "footer",
        "Measured is counted at the emulated sensors, stored in the gateway's database. In RAM at a power cut is what a"
        " board had measured and not signed yet. Declared lost is what a board says it had to give up, in a signed"
        " statement. Lost is what is missing without a word; duplicated what is stored twice, or was never measured."
        " Measured = stored + in RAM at a power cut + declared lost + lost.",
    )


def _card(title: str, figure: str, note: str, *, good: bool | None = None) -> Element:
    look = "figure" if good is None else "figure good" if good else "figure bad"
    small = [make("small", note)] if note else []
    return make("div", make("h3", title), make("p", figure, class_=look), *small, class_="card")


def _figure(draw: Callable[[Size], Element], key: Sequence[tuple[str, str]]) -> Element:
    """Return a plot in two sizes, of which the style shows the one that fits, under a key."""
    names = make("ul", *(make("li", name, class_=look) for look, name in key), class_="key")
    caption = [make("figcaption", names)] if key else []
    return make("figure", *caption, draw(WIDE), draw(NARROW))


def _world(latency: Latency) -> str:
    return words.compact(latency.p50) if latency.count else "never"
