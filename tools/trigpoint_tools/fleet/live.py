"""What one sees while a fleet runs: a picture that stays in place on a terminal, plain lines everywhere else.

`LiveView` is told what happens and keeps it as a `State`; `picture` makes of a state what is shown, without clock,
terminal or thread.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from trigpoint_tools.fleet import axis, words
from trigpoint_tools.fleet.events import TITLES, Snapshot, Step
from trigpoint_tools.fleet.scenario import SITE_KINDS, Scenario
from trigpoint_tools.fleet.schedule import FaultEvent

_WIDTH = 80
_BLOCKS = "▁▂▃▄▅▆▇█"
_CHART = 56
_OTHER_ROWS = 22
_LEAST_LINES, _MOST_LINES = 2, 8
_PLAIN_EVERY_S = 10.0


@dataclass
class State:
    """What is known of a run so far.

    Attributes:
        scenario: what is run.
        schedule: its faults.
        begun: when each step began, in seconds of ours, in their order.
        now: seconds of ours since the run began.
        over: whether the run has come to its end; if not and `failed`, it broke off.
        failed: whether the last step was left by an error.
        snapshot: how it stood last.
        waiting: readings waiting, from the beginning of the run to now, at even distances.
        lines: what happened last: (the world's seconds, text, style).
    """

    scenario: Scenario
    schedule: Sequence[FaultEvent]
    begun: dict[Step, float] = field(default_factory=dict)
    now: float = 0.0
    over: bool = False
    failed: bool = False
    snapshot: Snapshot = Snapshot(Step.SITE, None, 0.0, -1.0, 0)  # noqa: RUF009 - frozen
    waiting: list[int] = field(default_factory=list)
    lines: deque[tuple[float, str, str]] = field(default_factory=lambda: deque(maxlen=_MOST_LINES))


class LiveView:
    """An `events.Observer` that shows a run. A context manager: on leaving, the last picture stays.

    Args:
        console: where to; a terminal that can move its cursor gets the picture.
        scenario: what is run.
        schedule: its faults.
        now: the time in seconds; only differences count.
    """

    def __init__(
        self,
        console: Console,
        scenario: Scenario,
        schedule: Sequence[FaultEvent],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._moves = console.is_terminal and not console.is_dumb_terminal
        self._now = now
        self._began = now()
        self._state = State(scenario, schedule)
        self._said = 0.0
        self._lock = threading.Lock()  # the picture is drawn by a thread of rich's
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=False)

    def __enter__(self) -> LiveView:
        """Begin to show."""
        if self._moves:
            self._live.start()
        else:
            self._line(heading(self._state.scenario).plain)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Leave the last picture standing: the steps alone, when all of them are done."""
        with self._lock:
            self._state.over, self._state.failed = kind is None, kind is not None
        if self._moves:
            self._live.stop()

    def begun(self, step: Step, title: str) -> None:
        """Show that a step begins."""
        with self._lock:
            self._state.begun[step] = self._now() - self._began
        self._line(f"[{len(self._state.begun)}/{len(Step)}] {title}")

    def fault(self, event: FaultEvent, text: str, *, over: bool) -> None:
        """Show that a fault happens, or is over."""
        self._event(text, "dim" if over else "yellow")

    def note(self, text: str) -> None:
        """Show a line."""
        self._event(text, "")

    def snapshot(self, snapshot: Snapshot) -> None:
        """Take note of how it stands."""
        with self._lock:
            self._state.snapshot = snapshot
            if snapshot.step == Step.RUN:
                self._add_to_chart(snapshot)
        now = self._now() - self._began
        if not self._moves and now - self._said >= _PLAIN_EVERY_S:
            self._said = now
            self._line(f"      {standing(snapshot)}")

    def _add_to_chart(self, snapshot: Snapshot) -> None:
        """Each column is an equal part of the run, so the chart fills from left to right and never jumps."""
        column = int(min(max(snapshot.done or 0.0, 0.0), 0.999) * _CHART)
        columns = self._state.waiting
        now = waiting(snapshot)
        columns.extend([now] * (column + 1 - len(columns)))
        columns[-1] = max(columns[-1], now)

    def _event(self, text: str, style: str) -> None:
        text = " ".join(text.split())
        with self._lock:
            self._state.lines.append((self._state.snapshot.world_s, text, style))
        self._line(f"      {_moment(self._state.snapshot)}{text}")

    def _line(self, text: str) -> None:
        if not self._moves:
            self._console.print(Text(text), soft_wrap=True)

    def _render(self) -> RenderableType:
        size = self._console.size
        lines = min(max(size.height - _OTHER_ROWS, _LEAST_LINES), _MOST_LINES)
        with self._lock:
            self._state.now = self._now() - self._began
            return picture(self._state, min(size.width, _WIDTH), lines, self._spinner)


def heading(scenario: Scenario) -> Text:
    """Return one line that says what is run."""
    return Text.assemble(
        (scenario.name, "bold"),
        (
            f"  {words.plural(scenario.count, 'board')}, {words.length(scenario.duration_s)}"
            f" at {scenario.speed:,.0f} times their speed, seed {scenario.seed}",
            "dim",
        ),
    )


def standing(snapshot: Snapshot) -> str:
    """Return in one line how a run stands, for a log."""
    return (
        f"{_moment(snapshot)}{snapshot.boards_connected:,} of {words.plural(snapshot.boards_made, 'board')} connected;"
        f" {snapshot.measured:,} measured, {snapshot.stored:,} stored, {waiting(snapshot):,} waiting,"
        f" {snapshot.in_ram_lost:,} in RAM at a power cut"
    )


def waiting(snapshot: Snapshot) -> int:
    """Return how many readings have been measured and are neither stored nor known to be gone."""
    return max(0, snapshot.measured - snapshot.stored - snapshot.in_ram_lost)


def picture(state: State, width: int, lines: int, spinner: RenderableType) -> RenderableType:
    """Return what a terminal shows of a state. It has as many rows from begin to end, so nothing on it jumps.

    Args:
        state: what is known.
        width: columns.
        lines: how many of the latest events.
        spinner: what stands before the step that runs.
    """
    rows: list[RenderableType] = [_fitting(heading(state.scenario), width)]
    for step in Step:
        rows.append(_step(state, step, width, spinner))
    if not state.over:
        rows += [_meter(state, width), Text(), *_facts(state, width), Text(), *_latest(state, lines, width)]
    return Group(*rows)


def _step(state: State, step: Step, width: int, spinner: RenderableType) -> RenderableType:
    row = Table.grid(padding=(0, 1, 0, 0))
    row.width = width
    row.add_column(width=1)
    row.add_column(ratio=1, no_wrap=True)
    row.add_column(justify="right", no_wrap=True)
    began = state.begun.get(step)
    if began is None:
        row.add_row(Text("·", style="dim"), Text(TITLES[step], style="dim"), "")
        return row
    later = [moment for moment in state.begun.values() if moment > began]
    runs = step == next(reversed(state.begun)) and not state.over
    mark: RenderableType = Text("✓", style="green")
    if runs:
        mark = Text("✗", style="bold red") if state.failed else spinner
    seconds = (min(later) if later else state.now) - began
    row.add_row(mark, Text(TITLES[step], style="bold" if runs else ""), Text(f"{seconds:.1f} s", style="dim"))
    return row


def _meter(state: State, width: int) -> RenderableType:
    """Return the bar of the step that runs, with the world's time and how long it will take."""
    snapshot = state.snapshot
    row = Table.grid(padding=(0, 2, 0, 0))
    row.width = width
    row.add_column(width=2)
    row.add_column(ratio=1)
    row.add_column(no_wrap=True)
    said = []
    if snapshot.done is not None:
        said.append(f"{100 * snapshot.done:3.0f} %")
    if snapshot.world_s >= 0:
        said.append(words.moment(snapshot.world_s))
    if snapshot.step == Step.RUN:
        left = max(0.0, state.scenario.duration_s - snapshot.world_s) / state.scenario.speed
        said.append(f"{words.compact(left)} to go")
    bar = ProgressBar(total=1.0, completed=snapshot.done or 0.0, complete_style="green", finished_style="green")
    row.add_row("", bar, Text("  ".join(said), style="dim"))
    return row


def _facts(state: State, width: int) -> list[RenderableType]:
    snapshot = state.snapshot
    off = max(0, snapshot.boards_made - snapshot.boards_on)
    without = max(0, snapshot.boards_on - snapshot.boards_connected)
    acks = f"half within {axis.seconds(snapshot.ack_ms)}" if snapshot.ack_ms is not None else "none yet"
    faults = f"{snapshot.faults_done:,} of {len(state.schedule):,} have come"
    facts = [
        (
            "boards",
            _counts(
                (snapshot.boards_connected, "connected", "green"),
                (without, "without a connection", "yellow"),
                (off, "off", "red"),
            ),
        ),
        (
            "readings",
            _counts(
                (snapshot.measured, "measured", ""),
                (snapshot.stored, "stored", "green"),
                (waiting(snapshot), "waiting", "yellow"),
            ),
        ),
        ("  waiting", _chart(state.waiting)),
        (
            "  gone",
            _counts(
                (snapshot.in_ram_lost, "in RAM at a power cut", ""),
                (
                    snapshot.declared_lost,
                    f"statement{'' if snapshot.declared_lost == 1 else 's'} declared lost",
                    "yellow",
                ),
            ),
        ),
        ("acks", Text(acks)),
        (
            "chain",
            _counts(
                (snapshot.anchors, "anchor" if snapshot.anchors == 1 else "anchors", ""),
                *(((snapshot.gas, "gas", ""),) if snapshot.gas else ()),
            ),
        ),
        (
            "strangers",
            _counts((snapshot.refused, "messages refused", ""), (snapshot.flagged, "flagged as cloned", "magenta")),
        ),
        ("faults", Text(faults if state.schedule else "none in this scenario")),
        ("  now", Text(_now(snapshot), style="yellow")),
        ("  next", Text(_next(state), style="dim")),
    ]
    return [_fitting(Text.assemble((f"    {name:<12}", "cyan"), what), width) for name, what in facts]


def _fitting(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line


def _counts(*parts: tuple[int, str, str]) -> Text:
    said = Text()
    for number, name, style in parts:
        if said:
            said.append("  ")
        said.append(f"{number:,}", style=f"bold {style}" if number else "dim")
        said.append(f" {name}", style="" if number else "dim")
    return said


def _chart(values: Sequence[int]) -> Text:
    """Return readings waiting over the run as a row of blocks, the highest as high as the row."""
    top = max(values, default=0)
    if not top:
        return Text(_BLOCKS[0] * _CHART, style="dim")
    drawn = "".join(_BLOCKS[min(len(_BLOCKS) - 1, value * len(_BLOCKS) // (top + 1))] for value in values)
    return Text.assemble((drawn, "yellow"), (_BLOCKS[0] * (_CHART - len(drawn)), "dim"), (f" {top:,}", "dim"))


def _now(snapshot: Snapshot) -> str:
    active = [
        words.KINDS[kind] if kind in SITE_KINDS else f"{words.KINDS[kind]} ({hit:,})"
        for kind, hit in snapshot.active.items()
        if hit
    ]
    return ", ".join(active) or "–"


def _next(state: State) -> str:
    snapshot, speed = state.snapshot, state.scenario.speed
    if snapshot.step in (Step.DRAIN, Step.ANCHOR, Step.AUDIT):
        return "–"
    coming = next((event for event in state.schedule if event.at_s > snapshot.world_s), None)
    if coming is None:
        return "–"
    away = coming.at_s - max(snapshot.world_s, 0.0)
    whom = f" of {words.plural(len(coming.boards), 'board')}" if coming.boards else ""
    return f"{words.KINDS[coming.kind]}{whom} in {words.compact(away)} ({away / speed:.0f} s of ours)"


def _latest(state: State, lines: int, width: int) -> list[RenderableType]:
    rows: list[RenderableType] = []
    for world_s, text, style in list(state.lines)[-lines:]:
        line = Text.assemble((f"   {words.moment(world_s) if world_s >= 0 else '':<14}", "dim"), (text, style))
        rows.append(_fitting(line, width))
    return rows + [Text()] * (lines - len(rows))


def _moment(snapshot: Snapshot) -> str:
    return f"{words.moment(snapshot.world_s)}: " if snapshot.world_s >= 0 else ""
