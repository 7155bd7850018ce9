"""`trigpoint board logs` and `console`: what a board said, and what it says now."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Annotated

import typer

from trigpoint.commands.board_status import show
from trigpoint.commands.boardtarget import AsJson, BoardArgument, Cable, GatewayOption, Remote, resolve

_HISTORY = ("last_error", "link_error", "wifi_error", "ntp_error", "sensor_errors", "bad_end", "crashes", "crash")


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
            typer.echo(json.dumps({"crashes": text}) if as_json else text or "No crash since the flash was formatted.")
        case Remote(config, known):
            from trigpoint_tools.serial.remote import Line

            from trigpoint.errors import OperatorError

            with Line(config.broker) as line:
                health = line.health(known.kid, 3.0).get(known.kid)
            if health is None:
                raise OperatorError(f"board {known.kid.hex()} has said nothing of itself at this broker yet")
            said = {name: health[name] for name in _HISTORY if health.get(name)}
            if as_json:
                typer.echo(json.dumps(said, indent=2))
            elif said:
                show(said)
            else:
                typer.echo("No error since its last start.")


def console(
    board: BoardArgument = None,
    *,
    gateway: GatewayOption = None,
    seconds: Annotated[int, typer.Option("--seconds", help="By its gateway: how long; 0: until Ctrl-C.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Open a board's console: over a cable its prompt (Ctrl-] leaves), by its gateway its health as it comes.

    Example: trigpoint board console /dev/ttyUSB0
    """
    match resolve(board, gateway):
        case Cable(port):
            from trigpoint_tools.serial import ports

            ports.check(port)
            done = subprocess.run(
                [sys.executable, "-m", "mpremote", "connect", port.device, "resume", "repl"], check=False
            )
            raise typer.Exit(1 if done.returncode else 0)
        case Remote(config, known):
            from trigpoint_tools.serial.remote import Line, parse

            with Line(config.broker) as line:
                for message in line.messages(seconds or float("inf")):
                    health = parse(message.payload) if message.kind == "h" and message.kid == known.kid else None
                    if health is None:
                        continue
                    if as_json:
                        typer.echo(json.dumps(health))
                    else:
                        show(health)
                        typer.echo()
