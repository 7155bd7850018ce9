"""`trigpoint gateway status`: boards, rates, queue, log, anchors and disk, in a view that stays up to date."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from trigpoint.config import Config
    from trigpoint.status import AnchorStatus, BoardStatus, Status

_EVERY_S = 2.0
_ANCHORS_SHOWN = 4
_OTHER_LINES = 22
_QUIET_AFTER_S = 3_600
_STATE_STYLES = {"final": "green", "mined": "cyan", "reorganised": "yellow", "abandoned": "red", "failed": "red"}


def status(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The gateway's directory, as `gateway init` made it.", show_default=False),
    ],
    *,
    once: Annotated[bool, typer.Option("--once", help="Show it once, and leave.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, and leave.")] = False,
) -> None:
    """Show boards, rates, queue, log, anchors and disk, until Ctrl-C.

    It only reads, and works while the gateway is stopped too. Rates and queue are those of a running gateway that
    serves metrics (metrics.listen).

    Example: trigpoint gateway status gw
    """
    from rich.console import Console
    from rich.live import Live

    from trigpoint.commands.gateway import load_config
    from trigpoint.status import gather

    config = load_config(directory)
    if as_json:
        typer.echo(json.dumps(_plain(gather(config)), indent=2))
        return
    console = Console(highlight=False)
    if once or not console.is_terminal:
        console.print(_view(directory, config, gather(config), console.height if console.is_terminal else 1_000))
        return
    try:
        first = _view(directory, config, gather(config), console.height)
        with Live(first, console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(_EVERY_S)
                live.update(_view(directory, config, gather(config), console.height), refresh=True)
    except KeyboardInterrupt:
        console.print(_view(directory, config, gather(config), console.height))


def _view(directory: Path, config: Config, now: Status, height: int) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding

    return Group(
        _headline(directory, now),
        Padding(_figures(config, now), (1, 0, 1, 2)),
        _boards(now, max(3, height - _OTHER_LINES)),
        _anchors(now),
    )


def _headline(directory: Path, now: Status) -> RenderableType:
    from rich.text import Text

    running = {True: ("● running", "green bold"), False: ("○ stopped", "red bold"), None: ("? unknown", "dim")}
    word, style = running[now.running]
    line = Text.assemble((str(directory), "bold"), "   ", (word, style))
    if now.live is not None and now.live.refusing:
        line.append("   the database refuses to write: no acks", "red bold")
    if now.live is not None and not now.live.connected:
        line.append("   the broker is away", "red bold")
    if now.note:
        line.append(f"   {now.note}", "dim")
    return line


def _figures(config: Config, now: Status) -> Table:
    from rich.table import Table

    from trigpoint.chain.presets import BY_CHAIN_ID
    from trigpoint.doctor.disk import size

    table = Table.grid(padding=(0, 3))
    for _ in range(2):
        table.add_column(style="dim", no_wrap=True)
        table.add_column(no_wrap=True)
    live = now.live
    preset = BY_CHAIN_ID.get(config.chain.chain_id)
    open_leaves = now.leaves - now.final_size
    cells = [
        ("statements", f"{now.leaves:,}"),
        ("anchored", f"{now.final_size:,}" + (f", {open_leaves:,} to go" if open_leaves else "")),
        ("a second", f"{live.per_second:.1f}" if live else "–"),
        ("queue", f"{live.queued:,} of {live.capacity:,}" if live else "–"),
        ("acks for duplicates", f"{now.duplicates:,}"),
        ("refused", f"{sum(now.refused.values()):,}" + _reasons(now.refused)),
        ("commit", f"{1000 * live.commit_seconds / live.commits:.1f} ms" if live and live.commits else "–"),
        ("account", f"{live.coins:.6g} {preset.coin if preset else ''}" if live and live.coins is not None else "–"),
        ("database", size(now.database_bytes)),
        ("disk", f"{size(now.disk_free)} free of {size(now.disk_size)}"),
    ]
    for left, right in zip(cells[::2], cells[1::2], strict=True):
        table.add_row(*left, *right)
    return table


def _reasons(refused: dict[str, int]) -> str:
    return (
        " (" + ", ".join(f"{reason} {number:,}" for reason, number in sorted(refused.items())) + ")" if refused else ""
    )


def _boards(now: Status, most: int) -> Table:
    from rich import box
    from rich.table import Table

    active = sum(board.active for board in now.boards)
    table = Table(
        title=f"Boards: {active:,} active of {len(now.boards):,}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        expand=True,
    )
    table.add_column("board", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("statements", justify="right", no_wrap=True)
    table.add_column("lost", justify="right", no_wrap=True)
    table.add_column("newest", justify="right", no_wrap=True)
    for board in now.boards[:most]:
        newest, style = _ago(board, now.now_ms)
        lost = f"{board.lost:,}" if board.lost else ""
        table.add_row(board.kid.hex()[:16], _state(board), f"{board.statements:,}", lost, newest, style=style)
    if len(now.boards) > most:
        table.caption, table.caption_justify = f"and {len(now.boards) - most:,} more, heard of longer ago", "left"
    return table


def _state(board: BoardStatus) -> str:
    if board.flagged:
        return "[red]cloned key[/red]"
    return "active" if board.active else "[dim]revoked[/dim]"


def _ago(board: BoardStatus, now_ms: int) -> tuple[str, str]:
    if board.newest_ms is None:
        return "never", "dim"
    seconds = max(0, now_ms - board.newest_ms) / 1000
    style = "yellow" if seconds > _QUIET_AFTER_S and board.active else ""
    return f"{duration(seconds)} ago", style


def _anchors(now: Status) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title="Newest anchors", title_justify="left", box=box.SIMPLE_HEAD, expand=True)
    table.add_column("leaves", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("block", justify="right", no_wrap=True)
    table.add_column("transaction", no_wrap=True)
    table.add_column("prepared", justify="right", no_wrap=True)
    for anchor in now.anchors[:_ANCHORS_SHOWN]:
        state = f"[{_STATE_STYLES.get(anchor.state, 'white')}]{anchor.state}[/]"
        block = "" if anchor.block is None else f"{anchor.block:,}"
        prepared = f"{duration(max(0, now.now_ms - anchor.prepared_ms) / 1000)} ago"
        table.add_row(f"{anchor.size:,}", state, block, f"0x{anchor.transaction.hex()[:16]}…", prepared)
    return table


def duration(seconds: float) -> str:
    """Return a span of time for people, in its largest unit."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _plain(now: Status) -> dict[str, Any]:
    def board(one: BoardStatus) -> dict[str, Any]:
        return {**vars(one), "kid": one.kid.hex()}

    def anchor(one: AnchorStatus) -> dict[str, Any]:
        return {**vars(one), "transaction": "0x" + one.transaction.hex()}

    return {
        **vars(now),
        "boards": [board(one) for one in now.boards],
        "anchors": [anchor(one) for one in now.anchors],
        "live": vars(now.live) if now.live else None,
    }
