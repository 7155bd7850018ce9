"""`trigpoint board ls`: the boards on USB, and those of a gateway."""

from __future__ import annotations

import json
from typing import Any

import typer

from trigpoint.commands.boardtarget import AsJson, GatewayOption


def ls(*, gateway: GatewayOption = None, as_json: AsJson = False) -> None:
    """List the boards on this machine's USB and, with --gateway, those that it knows.

    Nothing is asked of a board on USB, so one that runs is not disturbed.

    Example: trigpoint board ls --gateway gw
    """
    from rich.console import Console
    from rich.table import Table
    from trigpoint_tools.serial import ports

    found = ports.find()
    remote = _remote(gateway) if gateway else []
    if as_json:
        typer.echo(json.dumps({"usb": [vars(port) for port in found], "gateway": remote}, indent=2))
        return
    console = Console()
    if found:
        table = Table("port", "bridge", "serial number", title="on USB", title_justify="left", box=None)
        for port in found:
            table.add_row(port.device, port.bridge, port.serial_number)
        console.print(table)
    else:
        console.print("No board on USB. Many cables charge only; a board needs one with data lines.")
    if gateway is None:
        return
    table = Table(
        "board", "", "statements", "lost", "Wi-Fi", "last error", title=str(gateway), title_justify="left", box=None
    )
    for board in remote:
        table.add_row(
            board["board"][:16],
            _word(board),
            str(board["statements"]),
            str(board["lost"]),
            str(board["ssid"] or ""),
            str(board["last_error"] or "")[:40],
        )
    console.print(table if remote else f"{gateway} knows no board yet: `trigpoint board enroll` adds one.")


def _remote(gateway: Any) -> list[dict[str, Any]]:
    from trigpoint_tools.serial.remote import Line

    from trigpoint.commands.boardtarget import known
    from trigpoint.commands.gateway import load_config
    from trigpoint.errors import OperatorError

    config = load_config(gateway)
    boards = known(config)
    try:
        with Line(config.broker) as line:
            health = line.health(boards[0].kid if len(boards) == 1 else None) if boards else {}
    except OperatorError as error:
        typer.echo(f"note: {error}", err=True)
        health = {}
    listed = []
    for board in boards:
        said = health.get(board.kid, {})
        listed.append(
            {
                "board": board.kid.hex(),
                "owner": "0x" + board.owner.hex(),
                "active": board.active,
                "cloned": board.flagged,
                "statements": board.statements,
                "lost": board.lost,
                "online": said.get("online"),
                "ssid": said.get("ssid"),
                "last_error": said.get("last_error") or said.get("link_error"),
            }
        )
    return listed


def _word(board: dict[str, Any]) -> str:
    if board["cloned"]:
        return "[red]cloned"
    if not board["active"]:
        return "[dim]removed"
    return {True: "[green]online", False: "[yellow]offline"}.get(board["online"], "[dim]unknown")
