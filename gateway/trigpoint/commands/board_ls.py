"""`trigpoint board ls`: the boards on USB, and those of a gateway."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from trigpoint.commands.boardtarget import AsJson, GatewayOption

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from trigpoint_tools.serial.ports import Port

_LAST_ERRORS = ("last_error", "wifi_error", "bad_end")


def ls(*, gateway: GatewayOption = None, as_json: AsJson = False) -> None:
    """List the boards on this machine's USB and, with --gateway, those that it knows.

    Nothing is asked of a board on USB, so one that runs is not disturbed.

    Example: trigpoint board ls --gateway gw
    """
    from rich.console import Console
    from trigpoint_tools.serial import ports

    found = ports.find()
    remote, note, now_ms = _remote(gateway) if gateway else ([], "", 0)
    if as_json:
        typer.echo(
            json.dumps({"usb": [vars(port) for port in found], "gateway": remote, "note": note or None}, indent=2)
        )
        return
    console = Console(highlight=False)
    if gateway is None or found:
        _print_ports(console, found)
    if gateway is not None:
        _print_boards(console, gateway, remote, now_ms)
    if note:
        typer.echo(f"note: {note}", err=True)


def _print_ports(console: Console, found: Sequence[Port]) -> None:
    from rich.text import Text

    from trigpoint.commands.boardview import clean

    if not found:
        console.print("No board on USB: plug one in, or try another cable, because many have no data lines.")
        return
    table = _table(f"On USB: {len(found)}")
    for name in ("port", "bridge", "serial number"):
        table.add_column(name, no_wrap=True)
    for port in found:
        table.add_row(port.device, port.bridge, Text(clean(port.serial_number)))
    console.print(table)


def _print_boards(console: Console, gateway: Path, boards: Sequence[Mapping[str, Any]], now_ms: int) -> None:
    from rich.text import Text

    from trigpoint.commands.boardview import clean
    from trigpoint.commands.status import duration

    if not boards:
        console.print(f"{gateway} knows no board yet: `trigpoint board enroll` adds one.")
        return
    online = sum(board["online"] is True for board in boards)
    table = _table(f"Boards of {gateway}: {online:,} online of {len(boards):,}")
    table.add_column("board", no_wrap=True, min_width=12)
    table.add_column("state", no_wrap=True, min_width=9)
    table.add_column("statements", justify="right", no_wrap=True, min_width=10)
    table.add_column("lost", justify="right", no_wrap=True, min_width=4)
    table.add_column("newest", justify="right", no_wrap=True, min_width=10)
    table.add_column("last error", no_wrap=True, max_width=48)
    for board in boards:
        newest = board["newest_ms"]
        ago = "never" if newest is None else f"{duration(max(0, now_ms - newest) / 1000)} ago"
        lost = f"{board['lost']:,}" if board["lost"] else ""
        trouble = Text(clean(board["last_error"] or ""), "yellow")
        table.add_row(board["board"][:12], _word(board), f"{board['statements']:,}", lost, ago, trouble)
    console.print(table)


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")


def _remote(gateway: Path) -> tuple[list[dict[str, Any]], str, int]:
    """Return a gateway's boards, why the broker did not tell of them, and the gateway's clock in milliseconds."""
    from trigpoint_tools.serial.remote import Line

    from trigpoint.commands.boardtarget import known, owners_login
    from trigpoint.commands.gateway import load_config
    from trigpoint.errors import OperatorError

    config = load_config(gateway)
    boards, note = known(config), ""
    health: dict[bytes, Mapping[str, Any]] = {}
    try:
        if boards:
            with Line(owners_login(gateway, config)) as line:
                health = line.healths({board.kid for board in boards if board.active})
    except OperatorError as error:
        note = str(error)
    listed = []
    for board in boards:
        said = health.get(board.kid, {})
        trouble = next((said[name] for name in _LAST_ERRORS if said.get(name)), None)
        listed.append({**board.plain(), "online": said.get("online"), "ssid": said.get("ssid"), "last_error": trouble})
    return listed, note, config.make_clock().now_ms()


def _word(board: Mapping[str, Any]) -> str:
    if board["cloned"]:
        return "[red bold]cloned[/]"
    if not board["active"]:
        return "[dim]revoked[/]"
    return {True: "[green]● online[/]", False: "[yellow]○ offline[/]"}.get(board["online"], "[dim]? silent[/]")
