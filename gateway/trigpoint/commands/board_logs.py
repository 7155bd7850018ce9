"""`trigpoint board logs` and `console`: what a board said, and what it says now."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from trigpoint.commands.boardtarget import AsJson, BoardArgument, Cable, GatewayOption, Remote, resolve
from trigpoint.commands.boardview import clean

if TYPE_CHECKING:
    from trigpoint_tools.serial.ports import Port

_TOLD = ("sensor_errors", "dropped", "damaged", "crashes", "crash")


def logs(board: BoardArgument = None, *, gateway: GatewayOption = None, as_json: AsJson = False) -> None:
    """Show a board's last crashes and errors.

    Over a cable its application is stopped for a moment and started again.

    Example: trigpoint board logs /dev/ttyUSB0
    """
    match resolve(board, gateway):
        case Cable(port):
            from trigpoint_tools.serial import ports, questions
            from trigpoint_tools.serial.session import Session

            ports.check(port)
            with Session(port.device) as session:
                text = questions.crashes(session)
                session.restart()
            if as_json:
                typer.echo(json.dumps({"crashes": text}))
            for words in [] if as_json else text.splitlines() or ["No crash since the flash was formatted."]:
                typer.echo(clean(words))
        case Remote(_, login, known):
            from rich.console import Console
            from trigpoint_tools.serial.remote import Line

            from trigpoint.commands import boardview

            with Line(login) as line:
                health = line.awaited(known.kid)
            if as_json:
                said = {name: health[name] for name in (*boardview.TROUBLE, *_TOLD) if health.get(name)}
                typer.echo(json.dumps(said, indent=2))
            elif rows := boardview.troubles(health):
                boardview.show(Console(highlight=False), rows)
            else:
                typer.echo("No error since its last start.")


def console(
    board: BoardArgument = None,
    *,
    gateway: GatewayOption = None,
    seconds: Annotated[int, typer.Option("--seconds", help="Only listen, and so long; 0: until Ctrl-C.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Open a board's console: over a cable its prompt (Ctrl-] leaves), by its gateway its health as it comes.

    With --seconds, or where there is no terminal, it only listens at the cable.

    Example: trigpoint board console /dev/ttyUSB0
    """
    match resolve(board, gateway):
        case Cable(port):
            _cable(port, seconds)
        case Remote(_, login, known):
            from rich.console import Console
            from trigpoint_tools.serial.remote import Line, parse

            from trigpoint.commands import boardview

            terminal = Console(highlight=False)
            with Line(login) as line:
                for message in line.messages(seconds or float("inf")):
                    health = parse(message.payload) if message.kind == "h" and message.kid == known.kid else None
                    if health is None:
                        continue
                    if as_json:
                        typer.echo(json.dumps(health))
                    else:
                        terminal.print(f"[bold]{datetime.now():%H:%M:%S}[/]")
                        boardview.show(terminal, boardview.of_health(health))


def _cable(port: Port, seconds: int) -> None:
    from trigpoint_tools.serial import ports
    from trigpoint_tools.serial.session import listen, open_prompt

    ports.check(port)
    if seconds or not sys.stdin.isatty():
        for text in listen(port.device, seconds or float("inf")):
            typer.echo(text, nl=False)
        return
    raise typer.Exit(open_prompt(port.device))
