"""`trigpoint fleet`: many emulated boards, and everything that can go wrong with them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trigpoint_tools.fleet.scenario import Scenario

fleet = typer.Typer(
    name="fleet",
    help="Run many emulated boards through faults on a seeded schedule, and count every reading.",
    no_args_is_help=True,
)

_MAX_SEED = (1 << 63) - 1


@fleet.command()
def run(
    scenario: Annotated[
        str,
        typer.Argument(
            metavar="SCENARIO", help="A ready scenario's name, or the path of a .toml file.", show_default=False
        ),
    ],
    *,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="DIR",
            help="Where report.html, report.json and the logs go; default: build/fleet/ and the scenario's name.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="NUMBER",
            min=0,
            max=_MAX_SEED,
            help="Another seed: the same faults at other times.",
            show_default=False,
        ),
    ] = None,
    boards: Annotated[
        int | None,
        typer.Option(
            "--boards",
            metavar="NUMBER",
            min=1,
            help="So many boards in all; each group keeps its share.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print report.json to standard output, and all else to standard error.")
    ] = False,
) -> None:
    """Run a fleet through a scenario, watch it, and report what became of every reading.

    Each board is the board's own firmware in the real MicroPython; broker, gateway and chain are real programs. Only
    the world's time runs fast. A scenario's faults come from its seed: the same seed, the same schedule.
    docs/fleet.md says how to write a scenario and how to read the report.

    Exit code: 0 if nothing was lost or duplicated, no forgery stored and nothing else found wrong; else 1.

    Example: trigpoint fleet run first-light

    Example: trigpoint fleet run bad-week --boards 200 --report week
    """
    from trigpoint.commands.board import explained

    with _parts():
        from rich.console import Console
        from trigpoint_tools.fleet import closing
        from trigpoint_tools.fleet.live import LiveView
        from trigpoint_tools.fleet.ready import find
        from trigpoint_tools.fleet.runner import run as play
        from trigpoint_tools.fleet.schedule import schedule
        from trigpoint_tools.fleet.words import verdict
    chosen = find(scenario)
    chosen = chosen if seed is None else chosen.seeded(seed)
    chosen = chosen if boards is None else chosen.scaled(boards)
    directory = report or Path("build/fleet") / chosen.name
    console = Console(highlight=False, stderr=as_json)
    try:
        with explained(), LiveView(console, chosen, schedule(chosen)) as view:
            result = play(chosen, directory, view)
    except KeyboardInterrupt:
        console.print("Stopped. All that the run had started has ended.")
        raise
    closing.write(directory, result, chosen, _again(scenario, seed, boards))
    closing.show(console, result, directory)
    if as_json:
        typer.echo(result.to_json(), nl=False)
    raise typer.Exit(0 if verdict(result).held else 1)


@fleet.command()
def ls(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead of the table.")] = False
) -> None:
    """List the ready scenarios: what each one shows, how many boards it has, and how long it takes.

    Example: trigpoint fleet ls
    """
    with _parts():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
        from trigpoint_tools.fleet.axis import seconds
        from trigpoint_tools.fleet.ready import FOLDER, ready
    if as_json:
        typer.echo(json.dumps([_entry(scenario) for scenario in ready()], indent=2))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("scenario", style="bold", no_wrap=True)
    table.add_column("boards", justify="right", no_wrap=True)
    table.add_column("takes", justify="right", no_wrap=True)
    table.add_column("what it shows")
    for scenario in ready():
        takes = seconds(1000 * scenario.duration_s / scenario.speed)
        table.add_row(scenario.name, str(scenario.count), takes, Text(scenario.about))
    console = Console(highlight=False)
    console.print(table)
    console.print()
    console.print("To run one: trigpoint fleet run first-light")
    console.print(Text(f"To write your own, copy one from {FOLDER}"), soft_wrap=True)


def _entry(scenario: Scenario) -> dict[str, str | int | float]:
    from trigpoint_tools.fleet.schedule import schedule

    return {
        "name": scenario.name,
        "about": scenario.about,
        "boards": scenario.count,
        "duration_s": scenario.duration_s,
        "speed": scenario.speed,
        "seed": scenario.seed,
        "faults": len(schedule(scenario)),
    }


def _again(scenario: str, seed: int | None, boards: int | None) -> str:
    """Return the command that plays the same again."""
    words = ["trigpoint", "fleet", "run", scenario]
    words += ["--seed", str(seed)] if seed is not None else []
    words += ["--boards", str(boards)] if boards is not None else []
    return shlex.join(words)


@contextmanager
def _parts() -> Iterator[None]:
    """Say how to install what a fleet needs, if it is not there; OperatorError then."""
    try:
        yield
    except ModuleNotFoundError as error:
        from trigpoint.errors import OperatorError

        raise OperatorError(
            f"a fleet needs the package {error.name}; install its parts with: pip install 'trigpoint[emulator]'"
        ) from error
