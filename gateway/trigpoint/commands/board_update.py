"""`trigpoint board update`: a board gets this installation's application, over a cable or by its owner's command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from trigpoint.commands.boardtarget import AsJson, BoardArgument, Cable, GatewayOption, Remote, resolve

_MICROPYTHON = (1, 27, 0)


def update(
    board: BoardArgument = None,
    *,
    gateway: GatewayOption = None,
    owner_key: Annotated[
        Path | None,
        typer.Option("--owner-key", metavar="FILE", help="Signs the update, for a board that is not on a cable."),
    ] = None,
    release: Annotated[
        int | None,
        typer.Option("--release", metavar="NUMBER", help="Of this update; default: the board's newest and one.", min=1),
    ] = None,
    wait: Annotated[int, typer.Option("--wait", metavar="SECONDS", help="How long to wait for its verdict.")] = 1800,
    as_json: AsJson = False,
) -> None:
    """Bring a board's application to this installation's.

    Over a cable the files are replaced. By its gateway they go into the slot that does not run, are tried, and stay
    only if a reading signed by them is acknowledged; else the board goes back to what it had.

    Example: trigpoint board update 3de4 --gateway gw --owner-key owner.pem
    """
    from rich.console import Console
    from rich.progress import Progress
    from trigpoint_tools.serial import install

    from trigpoint.errors import OperatorError

    files = install.application()
    with Progress(console=Console(stderr=True, quiet=as_json)) as progress:
        match resolve(board, gateway):
            case Cable(port):
                from trigpoint_tools.serial import ports
                from trigpoint_tools.serial.session import Session

                ports.check(port)
                task = progress.add_task(f"{port.device}  installs", total=1.0)
                with Session(port.device) as session:
                    done = install.install(session, files, lambda part: progress.update(task, completed=part))
                    session.restart()
                answer = {"port": port.device, "files_written": len(done.write), "files_removed": len(done.remove)}
                said = f"{len(done.write)} files were written; the board starts again."
            case Remote(config, known):
                from trigpoint_tools.serial.remote import Line
                from trigpoint_tools.serial.remote import update as send

                from trigpoint.keyfiles import load_owner_key

                if owner_key is None:
                    raise OperatorError(
                        "a board that is not on a cable takes updates from its owner alone: --owner-key"
                    )
                key = load_owner_key(owner_key)
                task = progress.add_task(f"{known.kid.hex()[:8]}  fetches", total=1.0)
                with Line(config.broker) as line:
                    health = line.health(known.kid, 5.0).get(known.kid)
                    if health is None or not health.get("online"):
                        raise OperatorError(
                            f"board {known.kid.hex()} is not online: `trigpoint board status` says more"
                        )
                    last = health.get("release")
                    number = release or (last if isinstance(last, int) else 0) + 1
                    send(
                        line,
                        key,
                        known.kid,
                        health,
                        {path[3:]: content for path, content in files.items() if path.startswith("/a/")},
                        version=number,
                        micropython=_MICROPYTHON,
                        wait_s=wait,
                        progress=lambda part: progress.update(task, completed=part),
                    )
                answer = {"board": known.kid.hex(), "release": number, "state": "confirmed"}
                said = f"Release {number} runs and has proved itself: a reading signed by it was acknowledged."
    typer.echo(json.dumps(answer, indent=2) if as_json else said)
