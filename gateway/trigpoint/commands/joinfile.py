"""`trigpoint gateway join-file`: what makers drop onto the board page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from trigpoint.commands.gateway import GatewayDirectory, link_key_hex, load_config


def join_file(
    directory: GatewayDirectory,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="A copy to hand out, mode 0600.", show_default=False),
    ] = None,
    *,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What makers see of this gateway; default: DIR's name.")
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option("--broker", metavar="HOST:PORT", help="The broker as boards reach it; default: the gateway's."),
    ] = None,
    sensor: Annotated[
        list[str] | None,
        typer.Option("--sensor", metavar="TYPE", help="A sensor that is chosen from the start; may be repeated."),
    ] = None,
    sample_every: Annotated[
        int | None,
        typer.Option("--sample-every", metavar="SECONDS", help="How often boards measure.", min=1, max=86_400),
    ] = None,
    ntp: Annotated[
        str | None, typer.Option("--ntp", metavar="HOST", help="A time server; wanted with a broker over TLS.")
    ] = None,
    owner_key: Annotated[
        Path | None,
        typer.Option("--owner-key", metavar="FILE", help="Whose commands and updates boards take; default: nobody's."),
    ] = None,
    api_url: Annotated[
        str,
        typer.Option("--api-url", metavar="ORIGIN", help="Where the API is, if another host serves the page."),
    ] = "",
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="NAME",
            help="Make a token of this name for the copy, so that the page sees readings come.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Make the join file: what the page for boards (docs/browser.md) tells a board of this gateway.

    The API hands it to whoever has a token with the scope `join`; a copy in FILE can be dropped onto the page. Make it
    again when broker or contracts have changed.

    Example: trigpoint gateway join-file gw maker.json --sensor bme280 --token maker
    """
    from trigpoint_tools.owner import owner_key_hex
    from trigpoint_tools.serial import settings
    from trigpoint_tools.serial.site import MARK

    from trigpoint import join
    from trigpoint.api.tokens import Scope, TokenFile
    from trigpoint.clock import SystemClock
    from trigpoint.commands.questions import split_host_port
    from trigpoint.errors import OperatorError
    from trigpoint.keyfiles import load_owner_key

    config = load_config(directory)
    if token is not None and file is None:
        raise OperatorError("a token goes into a copy to hand out: name its file too")
    if file is not None and any((folder / MARK).is_file() for folder in file.absolute().parents):
        raise OperatorError(f"{file} would be in a page's folder, which everybody may read: choose another place")
    if config.broker.tls and not ntp:
        raise OperatorError("the broker speaks TLS, so boards must know the time: add --ntp pool.ntp.org")
    for kind in sensor or ():
        settings.default_sensor(kind, "esp32")
    host, port = split_host_port(broker) if broker else (config.broker.host, config.broker.port)
    board: dict[str, object] = {}
    if sample_every is not None:
        board["sample_s"] = sample_every
    if ntp:
        board["ntp"] = {"host": ntp}
    if owner_key is not None:
        board["owner_key"] = owner_key_hex(load_owner_key(owner_key))
    terms = join.Terms(
        name or directory.resolve().name,
        host,
        port,
        settings.authority_of(config.broker.ca) if config.broker.tls else b"",
        link_key_hex(config),
        board,
        tuple(sensor or ()),
        api_url,
    )
    join.save(config.join_file, join.build(config, terms))
    if file is not None:
        if token is not None:
            text = TokenFile(config.tokens).add(token, frozenset({Scope.READINGS}), SystemClock().now_ms())
            terms = join.with_token(terms, text)
        join.save(file, join.build(config, terms))
    if as_json:
        typer.echo(json.dumps({"served": str(config.join_file), "copy": None if file is None else str(file)}, indent=2))
        return
    if file is not None:
        typer.echo(f"Wrote {file}: hand it to makers like a password, they drop it onto the page.")
    typer.echo("The API gives it to tokens with the scope join.")
    if file is None:
        typer.echo(f"Next: trigpoint gateway token new {directory} maker --scope join --scope readings")
