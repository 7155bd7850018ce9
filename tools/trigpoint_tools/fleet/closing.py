"""What a run leaves: a table for whoever watched, and its reports on disk."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trigpoint_tools.fleet import axis, words
from trigpoint_tools.fleet.page import page
from trigpoint_tools.fleet.result import Result
from trigpoint_tools.fleet.scenario import Scenario

HTML, JSON = "report.html", "report.json"
_WIDTH = 80
_WRONG_SHOWN = 10


def write(directory: Path, result: Result, scenario: Scenario, again: str) -> None:
    """Write both reports into a directory that is there; OSError if the disk refuses.

    `again` is the command that runs the same again.
    """
    (directory / JSON).write_text(result.to_json())
    (directory / HTML).write_text(page(result, scenario, again))


def show(console: Console, result: Result, directory: Path) -> None:
    """Print what came out, what is wrong if anything is, and where the reports are."""
    verdict = words.verdict(result)
    console.print()
    console.print(table(result))
    for line in result.wrong[:_WRONG_SHOWN]:
        console.print(Text(f"✗ {line}", style="red"), soft_wrap=True)
    if len(result.wrong) > _WRONG_SHOWN:
        console.print(Text(f"  and {len(result.wrong) - _WRONG_SHOWN:,} more, in the report", style="red"))
    mark = ("✓ ", "green") if verdict.held else ("✗ ", "bold red")
    console.print(Text.assemble(mark, (verdict.headline, "bold"), f" {words.length(result.seconds)}. The report:"))
    console.print(Text(f"  {directory / HTML}"), soft_wrap=True)


def table(result: Result) -> Table:
    """Return the table that says what came out, in the words of the demo's."""
    shown = Table(
        box=box.HORIZONTALS,
        title=f"{result.scenario}: what came out",
        title_style="bold",
        show_header=False,
        width=_WIDTH,
        padding=(0, 1),
    )
    shown.add_column(style="cyan", no_wrap=True)
    shown.add_column(justify="right", style="bold", no_wrap=True)
    shown.add_column(style="dim")
    measured = f"readings, counted at the sensors of {words.plural(result.boards, 'board')}"
    _row(shown, "measured", result.measured, measured)
    _row(shown, "stored", result.stored, f"in {result.statements:,} signed statements")
    _row(shown, "in RAM at power cut", result.in_ram, "not signed yet when the power went")
    declared = f"in {words.plural(result.declared_lost_statements, 'statement')}, by the boards themselves"
    _row(shown, "declared lost", result.declared_lost, declared)
    _row(shown, "lost", result.lost, "measured, but not stored", bad=result.lost > 0)
    _row(shown, "duplicated", result.duplicated, "stored, but never measured", bad=result.duplicated > 0)
    shown.add_section()
    _row(shown, "faults", len(result.faults), f"from the seed {result.seed}")
    sent = sum(result.forged_sent.values())
    if sent or result.acks_forged or result.forged_stored:
        _row(shown, "forged statements", sent, f"and {words.plural(result.acks_forged, 'forged ack')}")
        _row(shown, "forged and stored", result.forged_stored, "", bad=result.forged_stored > 0)
    if result.clones or result.wrongly_flagged:
        right = result.clones_flagged == result.clones and not result.wrongly_flagged
        flagged = f"of {words.plural(result.clones, 'board')} whose key another has used"
        flagged += f"; {result.wrongly_flagged:,} wrongly" if result.wrongly_flagged else ""
        _row(shown, "clones flagged", result.clones_flagged, flagged, bad=not right)
    _row(shown, "sent again", result.resent, "statements, for want of an ack")
    if result.ack_ms.count:
        late = f"90 % within {axis.seconds(result.ack_ms.p90)}, 99 % within {axis.seconds(result.ack_ms.p99)}"
        shown.add_row("half of the acks", Text(axis.seconds(result.ack_ms.p50)), late)
    shown.add_section()
    behind = result.anchored_size != result.statements
    _row(shown, "anchored", result.anchors, f"heads on chain, the last of size {result.anchored_size:,}", bad=behind)
    _row(shown, "gas of an anchor", result.gas.anchor_each, "mean, with its consistency proof")
    _row(shown, "gas of a board", result.gas.register_each, "registered once")
    _row(shown, "kB of memory", result.board_rss_kb, "of a board, on average")
    return shown


def _row(shown: Table, name: str, value: int, what: str, *, bad: bool | None = None) -> None:
    """Add a row; one that can go wrong is green or red."""
    style = "" if bad is None else "bold red" if bad else "bold green"
    shown.add_row(name, Text(f"{value:,}", style=style), what)
