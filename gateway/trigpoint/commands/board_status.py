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
                facts: Mapping[str, Any] = questions.status(session)
                session.restart()
            answer = {"port": port.device, **facts}
        case Remote(config, known):
            from trigpoint_tools.serial.remote import Line

            with Line(config.broker) as line:
                health = line.health(known.kid, 3.0).get(known.kid)
            answer = {
                "board": known.kid.hex(),
                "owner": "0x" + known.owner.hex(),
                "active": known.active,
                "cloned": known.flagged,
                "statements": known.statements,
                "lost": known.lost,
                "health": health,
            }
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    show(answer)


def show(answer: Mapping[str, Any], indent: str = "") -> None:
    """Print an object as lines of name and value; what is empty is left out."""
    for name, value in answer.items():
        if isinstance(value, Mapping) and value:
            typer.echo(f"{indent}{name}:")
            show(value, indent + "  ")
        elif value not in (None, "", [], {}):
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            typer.echo(f"{indent}{name:<16} {text}")
