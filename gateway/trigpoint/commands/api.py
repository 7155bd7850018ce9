"""`trigpoint gateway serve` and `trigpoint gateway token`: the HTTP API alone, and who may read it."""

from __future__ import annotations

import json
import os
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from trigpoint.commands.gateway import GatewayDirectory, load_config

if TYPE_CHECKING:
    from trigpoint.api.tokens import TokenFile

token = typer.Typer(no_args_is_help=True, help="Say who may read the HTTP API.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="What you call it: who or what it is for.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

_EXAMPLES = {"readings": "/v1/boards", "inspect": "/v1/rejected", "log": "/v1/log"}
"""Something to ask for in each scope."""


def serve(directory: GatewayDirectory) -> None:
    """Serve the HTTP API in the foreground until Ctrl-C, whether the gateway runs or not.

    The gateway does this by itself when api.listen is set, so you need it only to look into a gateway that is stopped.
    It reads the database and writes nothing.

    Example: trigpoint gateway serve gw
    """
    from trigpoint import logs, systemd
    from trigpoint.api import process
    from trigpoint.api.served import Served
    from trigpoint.errors import OperatorError

    config = load_config(directory)
    if not config.api.listen:
        raise OperatorError(f"api.listen in {directory / 'gateway.toml'} is empty; set it to 127.0.0.1:8700, say")
    logs.start(config.logging)
    served = Served.of(config)
    process.check(served)
    handed_over = systemd.listening_sockets(os.environ, os.getpid()).get(process.SOCKET_NAME)
    with process.listen(config.api.listen, handed_over) as listener:
        typer.echo(f"ready: api: {process.url(served)}")
        process.serve(served, listener)


@token.command()
def new(
    directory: GatewayDirectory,
    name: Name,
    *,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="What it may read: readings (boards, statements, receipts, readings), inspect (refused input, clones,"
            " counters), join (the join file) or log. Give it again for more than one.  [default: readings]",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and show it, once: the gateway keeps only its hash.

    Example: trigpoint gateway token new gw grafana --scope readings
    """
    from trigpoint.api.tokens import Scope
    from trigpoint.clock import SystemClock
    from trigpoint.errors import OperatorError

    try:
        scopes = frozenset(Scope(one) for one in scope or ["readings"])
    except ValueError as error:
        raise OperatorError(f"{error}; the scopes are {', '.join(Scope)}") from None
    text = _tokens(directory).add(name, scopes, SystemClock().now_ms())
    if as_json:
        typer.echo(json.dumps({"name": name, "token": text, "scopes": sorted(scopes)}, indent=2))
        return
    typer.echo(text)
    typer.echo(f"Keep it now: it is not shown again. It reads {', '.join(sorted(scopes))}.", err=True)
    listen = load_config(directory).api.listen
    if not listen:
        typer.echo(
            f"Next: set listen under [api] in {directory / 'gateway.toml'}, and start the gateway again", err=True
        )
        return
    path = next(path for one, path in _EXAMPLES.items() if one in scopes)
    typer.echo(f"Next: curl -H 'Authorization: Bearer {text[:9]}...' {_address(directory)}{path}", err=True)


@token.command(name="ls")
def list_tokens(directory: GatewayDirectory, *, as_json: AsJson = False) -> None:
    """List the tokens: names, scopes, when they were made; never the tokens themselves.

    Example: trigpoint gateway token ls gw
    """
    tokens = _tokens(directory).all()
    if as_json:
        rows = [{"name": one.name, "scopes": sorted(one.scopes), "made_ms": one.made_ms} for one in tokens]
        typer.echo(json.dumps({"tokens": rows}, indent=2))
        return
    if not tokens:
        typer.echo(f"No tokens yet. Next: trigpoint gateway token new {shlex.quote(str(directory))} NAME")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("name", "reads", "made"):
        table.add_column(heading)
    for one in tokens:
        made = datetime.fromtimestamp(one.made_ms // 1000, UTC)
        table.add_row(one.name, ", ".join(sorted(one.scopes)), f"{made:%Y-%m-%d %H:%M} UTC")
    Console().print(table)


@token.command(name="rm")
def remove(directory: GatewayDirectory, name: Name) -> None:
    """Remove a token. Who has it is refused from the next request on.

    Example: trigpoint gateway token rm gw grafana
    """
    _tokens(directory).remove(name)
    typer.echo(f"Removed {name}.")


def _address(directory: GatewayDirectory) -> str:
    """Return where the API is to be reached from this machine, if it listens everywhere, or else where it listens."""
    settings = load_config(directory).api
    host, _, port = settings.listen.rpartition(":")
    host = "localhost" if host in ("0.0.0.0", "[::]", "::") else host  # noqa: S104
    return f"{'https' if settings.certificate_file else 'http'}://{host}:{port}"


def _tokens(directory: GatewayDirectory) -> TokenFile:
    from trigpoint.api.tokens import TokenFile

    return TokenFile(load_config(directory).tokens)
