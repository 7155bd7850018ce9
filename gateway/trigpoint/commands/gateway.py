"""`trigpoint gateway`: make a gateway's directory, run it, and look after it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trigpoint.commands.broker import broker
from trigpoint.commands.doctor import doctor
from trigpoint.commands.init import init
from trigpoint.commands.status import status

if TYPE_CHECKING:
    from trigpoint.config import Config

SET_UP, RUN, LOOK_AFTER = "Set it up", "Run it", "Look after it"

gateway = typer.Typer(
    no_args_is_help=True,
    help="Check, store and anchor what your boards send: run a gateway.",
)
gateway.command(rich_help_panel=SET_UP)(init)
gateway.add_typer(broker, name="broker", rich_help_panel=SET_UP)

GatewayDirectory = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="The gateway's directory, as `gateway init` made it.", show_default=False),
]


@gateway.command(rich_help_panel=RUN)
def run(directory: GatewayDirectory) -> None:
    """Run a gateway in the foreground until Ctrl-C (or SIGTERM).

    It may be killed at any moment: started again it goes on where it was, with nothing lost and nothing stored twice.
    Files that anyone may fetch (checkpoint, tiles, trust.json) appear under DIR/data/public.

    Example: trigpoint gateway run gw
    """
    from trigpoint.service import run as run_gateway

    run_gateway(load_config(directory))


@gateway.command(rich_help_panel=LOOK_AFTER)
def config(
    directory: GatewayDirectory,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Print the whole configuration in force: every key there is, what it means, and its value.

    What is not in gateway.toml has its default here. Where the address of a node holds an access token, it is left out.

    Example: trigpoint gateway config gw
    """
    import json

    from trigpoint import configfile

    settings = load_config(directory)
    typer.echo(json.dumps(configfile.plain(settings), indent=2) if as_json else configfile.render(settings), nl=as_json)


gateway.command(rich_help_panel=LOOK_AFTER)(doctor)
gateway.command(rich_help_panel=LOOK_AFTER)(status)


def load_config(directory: Path) -> Config:
    """Load the configuration of the gateway in `directory`.

    Raises:
        OperatorError: there is none, or it is wrong.
    """
    from trigpoint.config import load
    from trigpoint.init import CONFIG_NAME

    return load(directory / CONFIG_NAME)


def link_key_hex(config: Config) -> str:
    """Return the public half of the gateway's link key as boards' config.json wants it: x and y, 128 hex digits."""
    from trigpoint.keyfiles import load_link_key
    from trigpoint.wire.keys import PublicKey

    public = PublicKey.of(load_link_key(config.link.key_file))
    return (public.x + public.y).hex()


def account_address(config: Config) -> str:
    """Return the address of the gateway's account on the chain."""
    from trigpoint.chain.keys import load_signer

    return str(load_signer(config.chain).address)
