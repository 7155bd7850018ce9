"""What one sees while the demo runs: its steps, its time, what goes wrong on purpose, and the counts so far.

On a terminal the picture stays in place and moves; elsewhere, and with TERM=dumb, each thing that happens is one line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

_EVENTS_SHOWN = 14
_WIDTH = 80


@dataclass
class _Step:
    title: str
    state: str = "waiting"
    began: float = 0.0
    seconds: float = 0.0
    events: list[Text] = field(default_factory=list)


class Progress:
    """The demo's steps, shown as they go.

    Args:
        console: where to; a terminal that can move its cursor gets the moving picture.
        titles: one line for each step, in order.
        now: the time in seconds, only differences count.
    """

    def __init__(self, console: Console, titles: Sequence[str], now: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._moves = console.is_terminal and not console.is_dumb_terminal
        self._steps = [_Step(title) for title in titles]
        self._now = now
        self._began = now()
        self._current: _Step | None = None
        self._fraction: float | None = None
        self._counts: Mapping[str, int | str] = {}
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=8, transient=False)

    def __enter__(self) -> Progress:
        """Begin to show."""
        if self._moves:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last picture standing."""
        if self._moves:
            self._live.stop()

    @property
    def seconds(self) -> float:
        """Seconds since the demo began."""
        return self._now() - self._began

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Show that this step runs, and then how long it took and whether it came to its end."""
        step = self._current = self._steps[number]
        step.state, step.began = "running", self._now()
        self._fraction, self._counts = None, {}
        self._line(f"[{number + 1}/{len(self._steps)}] {step.title}")
        try:
            yield
        except BaseException:
            step.state = "failed"
            raise
        else:
            step.state = "done"
            self._line(f"      done in {self._now() - step.began:.1f} s")
        finally:
            step.seconds = self._now() - step.began
            self._current = None

    def event(self, text: str, style: str = "") -> None:
        """Tell that something happened in the step that runs."""
        line = Text.assemble((f"{self.seconds:4.0f} s  ", "dim"), (text, style))
        if self._current is not None:
            self._current.events.append(line)
        self._line(f"      {line.plain}")

    def counts(self, fraction: float, counts: Mapping[str, int | str]) -> None:
        """Show how far the step is (0 to 1) and what has been counted. Only on a terminal."""
        self._fraction, self._counts = min(max(fraction, 0.0), 1.0), counts

    def _line(self, text: str) -> None:
        if not self._moves:
            self._console.print(Text(text), soft_wrap=True)

    def _render(self) -> RenderableType:
        rows: list[RenderableType] = []
        for step in self._steps:
            rows.append(self._title(step))
            if step is self._current and self._fraction is not None:
                rows.append(self._meter())
            rows += [Padding(event, (0, 0, 0, 4)) for event in step.events[-_EVENTS_SHOWN:]]
        return Group(*rows)

    def _title(self, step: _Step) -> RenderableType:
        row = Table.grid(padding=(0, 1, 0, 0), expand=False)
        row.width = min(_WIDTH, self._console.width)
        row.add_column(width=1)
        row.add_column(ratio=1)
        row.add_column(justify="right", no_wrap=True)
        marks: dict[str, RenderableType] = {
            "waiting": Text("·", style="dim"),
            "running": self._spinner,
            "done": Text("✓", style="green"),
            "failed": Text("✗", style="bold red"),
        }
        seconds = self._now() - step.began if step.state == "running" else step.seconds
        style = {"waiting": "dim", "running": "bold"}.get(step.state, "")
        shown = "" if step.state == "waiting" else f"{seconds:.1f} s"
        row.add_row(marks[step.state], Text(step.title, style=style), Text(shown, style="dim"))
        return row

    def _meter(self) -> RenderableType:
        row = Table.grid(padding=(0, 2, 0, 0))
        bar = ProgressBar(total=1.0, completed=self._fraction or 0.0, width=20)
        parts = [Text.assemble((_number(n), "bold"), f" {what}".rstrip()) for what, n in self._counts.items()]
        row.add_row(bar, *parts)
        return Padding(row, (0, 0, 0, 4))


def _number(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else value
