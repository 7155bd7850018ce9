"""`trigpoint board status`: what a board is and how it does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import typer

from trigpoint.commands.boardtarget import AsJson, BoardArgument, Cable, GatewayOption, Remote, resolve


def status(board: BoardArgument = None, *, gateway: GatewayOption = None, as_json: AsJson = False) -> None:
    """Show what a board is, how it is set up and how it does.

    Over a cable its application is stopped for a moment and started again; by its gateway it is not disturbed.

    Example: trigpoint board status 3de4 --gateway gw
    """
    match resolve(board, gateway):
        case Cable(port):
            from trigpoint_tools.serial import ports, questions
            from trigpoint_tools.serial.session import Session

            ports.check(port)
            with Session(port.device) as session:
                facts = questions.status(session)
                session.restart()
            if as_json:
                typer.echo(json.dumps({"port": port.device, **facts}, indent=2))
            else:
                _show_cable(port.device, facts)
        case Remote() as remote:
            _remote(remote, as_json)


def _remote(remote: Remote, as_json: bool) -> None:
    from trigpoint_tools.serial.remote import Line

    from trigpoint.errors import OperatorError

    known, note = remote.board, ""
    health: Mapping[str, Any] | None = None
    try:
        with Line(remote.login) as line:
            health = line.health(known.kid)
    except OperatorError as error:
        note = str(error)  # what the gateway has stored is worth showing
    if as_json:
        typer.echo(json.dumps({**known.plain(), "health": health, "note": note or None}, indent=2))
        return
    from rich.console import Console
    from rich.text import Text

    from trigpoint.commands import boardview

    words = {True: ("● online", "green bold"), False: ("○ offline", "yellow bold")}
    silent = ("? silent", "dim") if health is None else words[bool(health.get("online"))]
    console = Console(highlight=False)
    console.print(Text.assemble(("Board ", "bold"), (known.kid.hex(), "bold"), "   ", silent), soft_wrap=True)
    rows = boardview.of_gateway(known, remote.config.make_clock().now_ms())
    if health is not None:
        rows += boardview.of_health(health)
    elif note:
        rows.append(boardview.Row("health", note, "yellow"))
    else:
        rows.append(boardview.Row("health", "it has said nothing of itself at this broker yet", "yellow"))
    boardview.show(console, rows)


def _show_cable(device: str, facts: Mapping[str, Any]) -> None:
    from rich.console import Console

    from trigpoint.commands import boardview

    console = Console(highlight=False)
    console.print(f"[bold]{device}[/]", soft_wrap=True)
    boardview.show(console, boardview.of_cable(facts))
