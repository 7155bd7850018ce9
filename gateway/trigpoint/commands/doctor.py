"""`trigpoint gateway doctor`: everything that a gateway needs, looked at, with what to do about it."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from trigpoint.config import Config
    from trigpoint.doctor.finding import Finding

_MARKS = {"ok": "[green]✓[/green]", "unknown": "[dim]?[/dim]", "warn": "[yellow]![/yellow]", "fail": "[red]✗[/red]"}
_STYLES = {"ok": "", "unknown": "dim", "warn": "yellow", "fail": "red"}
_SUBJECT_WIDTH, _WHAT_WIDTH = 9, 17


def doctor(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The gateway's directory, as `gateway init` made it.", show_default=False),
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Look at everything that a gateway needs, and say what to do where it is not well.

    Keys, clock, database, disk, broker (it logs in and subscribes), chain, contracts, funds, service. It changes
    nothing, prints no secret, and may be run while the gateway runs. Run it as the user that runs the gateway.

    Exit code: 0 if all is well or there are only warnings (!), 1 if something does not work (✗).

    Example: trigpoint gateway doctor gw
    """
    from trigpoint.commands.gateway import load_config
    from trigpoint.doctor.finding import Level

    config = load_config(directory)
    found = _examine(config, shlex.quote(str(directory)), quiet=as_json)
    failed = any(finding.level is Level.FAIL for finding in found)
    if as_json:
        lines = [vars(finding) for finding in found]
        typer.echo(json.dumps({"well": not failed, "findings": lines}, indent=2, ensure_ascii=False))
    raise typer.Exit(1 if failed else 0)


def _examine(config: Config, directory: str, *, quiet: bool) -> list[Finding]:
    from rich.console import Console

    from trigpoint.doctor.examine import examine

    # Remedies name the gateway's directory as DIR: only here it is known how it was called.
    named = (replace(finding, remedy=finding.remedy.replace(" DIR`", f" {directory}`")) for finding in examine(config))
    if quiet:
        return list(named)
    console = Console(highlight=False)
    found: list[Finding] = []
    with console.status("Looking …") as status:
        subject = ""
        for finding in named:
            if finding.subject != subject:
                subject = finding.subject
                console.print()
            _show(finding, console)
            found.append(finding)
            status.update(f"Looking at more than the {subject} …")
    _sum_up(found, console)
    return found


def _show(finding: Finding, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    style = _STYLES[finding.level]
    row = Table.grid(padding=(0, 1))
    row.add_column(width=1)
    row.add_column(width=_SUBJECT_WIDTH)
    row.add_column(width=_WHAT_WIDTH)
    row.add_column(ratio=1, overflow="fold")
    row.expand = True
    row.add_row(_MARKS[finding.level], Text(finding.subject, "bold"), finding.what, Text(finding.text, style))
    if finding.remedy:
        row.add_row("", "", "", Text(f"→ {finding.remedy}"))
    console.print(row)


def _sum_up(found: list[Finding], console: Console) -> None:
    counts = Counter(finding.level.value for finding in found)
    if counts["fail"]:
        console.print(f"\n[red bold]{_things(counts['fail'])} not work.[/red bold] Begin with the first ✗.")
    elif counts["warn"]:
        console.print(f"\n[yellow]All works; {counts['warn']} to look after.[/yellow]")
    else:
        console.print("\n[green]All is well.[/green]")


def _things(number: int) -> str:
    return "One thing does" if number == 1 else f"{number} things do"
