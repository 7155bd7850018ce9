"""`trigpoint board update`: a board gets this installation's application, over a cable or by its owner's command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trigpoint.commands.boardtarget import AsJson, BoardArgument, Cable, GatewayOption, Remote, resolve

if TYPE_CHECKING:
    from rich.progress import Progress
    from trigpoint_tools.serial.ports import Port

_MICROPYTHON = (1, 27, 0)
_STAGES = {"sent": "has been sent the command", "pending": "fetches the files", "trying": "tries it out"}


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
    wait: Annotated[
        int, typer.Option("--wait", metavar="SECONDS", help="How long to wait for its verdict.", min=1)
    ] = 1800,
    as_json: AsJson = False,
) -> None:
    """Bring a board's application to this installation's.

    Over a cable the files are replaced. By its gateway they go into the slot that does not run, are tried, and stay
    only if a reading signed by them is acknowledged; else the board goes back to what it had.

    Example: trigpoint board update 3de4 --gateway gw --owner-key owner.pem
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from trigpoint_tools.serial import install

    target = resolve(board, gateway)
    files = install.application()
    with Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.fields[board]}"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        console=Console(stderr=True, quiet=as_json),
    ) as progress:
        match target:
            case Cable(port):
                answer, said = _by_cable(port, files, progress)
            case Remote() as remote:
                answer, said = _from_afar(remote, files, progress, owner_key=owner_key, release=release, wait=wait)
    typer.echo(json.dumps(answer, indent=2) if as_json else said)


def _by_cable(port: Port, files: Mapping[str, bytes], progress: Progress) -> tuple[dict[str, Any], str]:
    from trigpoint_tools.serial import install, ports
    from trigpoint_tools.serial.session import Session

    ports.check(port)
    task = progress.add_task("compares the files", total=1.0, board=port.device)
    with Session(port.device) as session:
        done = install.install(
            session, files, lambda part: progress.update(task, completed=part, description="writes the files")
        )
        session.restart()
    progress.update(task, description="done")
    answer = {"port": port.device, "files_written": len(done.write), "files_removed": len(done.remove)}
    if not done.write and not done.remove:
        return answer, "The board has this application already; it starts again."
    return answer, f"Wrote {len(done.write)} files and removed {len(done.remove)}; the board starts again."


def _from_afar(
    remote: Remote,
    files: Mapping[str, bytes],
    progress: Progress,
    *,
    owner_key: Path | None,
    release: int | None,
    wait: int,
) -> tuple[dict[str, Any], str]:
    from trigpoint_tools.serial.remote import Line, check_number
    from trigpoint_tools.serial.remote import update as send

    from trigpoint.errors import OperatorError
    from trigpoint.keyfiles import load_owner_key

    if owner_key is None:
        raise OperatorError(
            "a board that is not on a cable takes updates from its owner alone: --owner-key FILE, the one of enrolment"
        )
    key, kid = load_owner_key(owner_key), remote.board.kid
    task = progress.add_task("is looked for", total=1.0, board=kid.hex()[:8])

    def show(what: str, part: float) -> None:
        progress.update(task, description=_STAGES.get(what, what), completed=part)

    with Line(remote.login) as line:
        health = line.awaited(kid)
        if not health.get("online") and "battery" not in health:
            raise OperatorError(
                f"board {kid.hex()} is offline: has it power and Wi-Fi? over a cable: `trigpoint board update PORT`"
            )
        last = health.get("release")
        number = release or check_number((last if isinstance(last, int) else 0) + 1, "releases")
        send(
            line,
            key,
            kid,
            health,
            {path[3:]: content for path, content in files.items() if path.startswith("/a/")},
            version=number,
            micropython=_MICROPYTHON,
            wait_s=wait,
            stage=show,
        )
    progress.update(task, description="confirmed", completed=1.0)
    answer = {"board": kid.hex(), "release": number, "state": "confirmed"}
    return answer, f"Release {number} runs and has proved itself: a reading signed by it was acknowledged."
