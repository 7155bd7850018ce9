"""`trigpoint gateway backup` and `restore`."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trigpoint.words import counted

if TYPE_CHECKING:
    from trigpoint.backup import Content, Head
    from trigpoint.config import Config

_Directory = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="The gateway's directory, as `gateway init` made it.", show_default=False),
]


def backup(
    directory: _Directory,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file to make.", show_default=False)],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Copy a gateway's database into one file; the gateway may be running, and goes on meanwhile.

    The copy is as the database was at one moment. It holds every statement stored until then, and is readable by you
    alone. The keys and gateway.toml are not in it: keep them in another place, once.

    Example: trigpoint gateway backup gw /mnt/usb/gateway-2026-11-23.db
    """
    from trigpoint.backup import back_up
    from trigpoint.commands.gateway import load_config
    from trigpoint.commands.gateway_fsck import show_progress
    from trigpoint.init import CONFIG_NAME

    config = load_config(directory)
    with show_progress(quiet=as_json) as progress:
        held = back_up(config.database, file, progress)
    left_out = [str(directory / CONFIG_NAME), *map(str, _keys(config))]
    if as_json:
        said = {"file": str(file), "bytes": file.stat().st_size, **_plain(held), "not_in_it": left_out}
        typer.echo(json.dumps(said, indent=2))
        return
    typer.echo(f"Wrote {file}: {_described(held)}, {file.stat().st_size / 1e6:,.1f} MB.")
    typer.echo("Not in it, and never made again, so keep a copy in a safe place:")
    for path in left_out:
        typer.echo(f"  {path}")
    typer.echo(f"Next: take it to another disk; to put it back: {_restore_command(directory, file)}")


def restore(
    directory: _Directory,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `gateway backup` made.", show_default=False)],
    *,
    new_log: Annotated[
        bool,
        typer.Option("--new-log", help="For a backup behind what others have seen: begin a new log, under a new key."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Put a backup in the place of a gateway's database. Stop the gateway first.

    The backup is checked in full before anything is touched, and what was in place is kept under another name. It is
    refused if the database in place is newer, or if others have seen more of the log than the backup holds: in the
    public files, or on the chain. Statements that came after the backup are gone then, unless you find a newer one.

    With --new-log such a backup is taken all the same. A new log under a new key begins with its statements; the old
    log's key and public files are kept, and its receipts go on to be true.

    Example: trigpoint gateway restore gw /mnt/usb/gateway-2026-11-23.db
    """
    from contextlib import closing

    from trigpoint.backup import Restore, content
    from trigpoint.commands.gateway import load_config
    from trigpoint.commands.gateway_fsck import show_progress
    from trigpoint.lock import only_one
    from trigpoint.store.database import open_database

    config = load_config(directory)
    with only_one(config.data):
        work = Restore(config, file)
        try:
            with show_progress(quiet=as_json) as progress:
                work.prepare(progress)
            asked = _Chain(config)
            work.compare(asked.seen, new_log=new_log)
            kept = work.replace(new_log=new_log, chain_asked=asked.answer == "asked")
        finally:
            work.forget()
        with closing(open_database(config.database, read_only=True)) as connection:
            held = content(connection)
    if as_json:
        said = {**_plain(held), "kept": [str(path) for path in kept], "new_log": new_log, "chain": asked.answer}
        typer.echo(json.dumps(said, indent=2))
        return
    typer.echo(f"Restored {config.database}: {_described(held)}; all of it was checked.")
    for path in kept:
        typer.echo(f"Kept what was there as {path}")
    if asked.answer == "not asked" and not new_log:
        typer.echo(
            "No node of the chain answers. The gateway will not start before it has compared itself with the chain."
        )
    if new_log:
        typer.echo(
            "A new log begins: give the new trust.json to whoever verifies, and keep the old one for old receipts. "
            "The gateway asks the chain before it starts."
        )
    typer.echo(f"Next: trigpoint gateway run {shlex.quote(str(directory))}")


class _Chain:
    """Asks the chain for the log's newest head, if a node answers."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.answer = "not asked"

    def seen(self, log_id: bytes) -> Head | None:
        """Return the head; None if there is none, or no node answers."""
        from trigpoint.backup import Head
        from trigpoint.chain.abi import TRANSPARENCY_LOG
        from trigpoint.chain.client import connect
        from trigpoint.chain.errors import ChainUnavailableError
        from trigpoint.chain.node import Node, address_bytes

        settings = self._config.chain
        if not settings.transparency_log:
            return None
        try:
            node = Node(connect(settings.rpc_url, settings.chain_id))
            contract = address_bytes(settings.transparency_log)
            _, size, _, root = node.call(TRANSPARENCY_LOG, contract, "heads", log_id)
        except ChainUnavailableError:
            return None
        self.answer = "asked"
        return Head(f"on chain {settings.chain_id}", size, root) if size else None


def _keys(config: Config) -> list[Path]:
    """Return what a gateway needs beside its database, as far as it is in files."""
    chain = (config.chain.key_file, config.chain.passphrase_file)
    broker = (config.broker.password_file, config.broker.ca)
    return [path for path in (config.log.key_file, config.link.key_file, *chain, *broker) if path is not None]


def _described(held: Content) -> str:
    newest = "" if held.newest_ms is None else f", the newest of {_date(held.newest_ms)}"
    return f"{counted(held.statements, 'statement')} of {counted(held.boards, 'board')}{newest}"


def _plain(held: Content) -> dict[str, object]:
    return {
        "statements": held.statements,
        "boards": held.boards,
        "newest": None if held.newest_ms is None else _date(held.newest_ms),
        "log_id": None if held.log_id is None else held.log_id.hex(),
    }


def _date(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _restore_command(directory: Path, file: Path) -> str:
    return shlex.join(["trigpoint", "gateway", "restore", str(directory), str(file)])
