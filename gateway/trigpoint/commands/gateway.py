"""`trigpoint gateway`: make a gateway's directory, and run it."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trigpoint.config import Config

gateway = typer.Typer(
    no_args_is_help=True,
    help="Check, store and anchor what your boards send: run a gateway.",
)

GatewayDirectory = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="The gateway's directory, as `gateway init` made it.", show_default=False),
]

_WORLD_ORIGIN = 1_357_020_000  # 2013-01-01T06:00Z, the first hour of the weather that emulated boards measure


@gateway.command()
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory to make.", show_default=False)],
    *,
    broker: Annotated[
        str, typer.Option("--broker", metavar="HOST:PORT", help="The MQTT broker that the boards publish to.")
    ] = "localhost:8883",
    tls: Annotated[bool, typer.Option("--tls/--no-tls", help="Whether the broker speaks TLS.")] = True,
    ca: Annotated[
        Path | None,
        typer.Option("--ca", metavar="FILE", help="Who signed the broker's certificate (PEM).", show_default=False),
    ] = None,
    rpc: Annotated[
        str, typer.Option("--rpc", metavar="URL", help="A node of the chain, JSON-RPC over HTTP.")
    ] = "http://127.0.0.1:8545",
    chain_id: Annotated[
        int, typer.Option("--chain-id", help="The chain's id (EIP-155); 31337 is a local Anvil.")
    ] = 31337,
    confirmations: Annotated[
        int, typer.Option("--confirmations", help="Blocks on top of a block before it counts; 0 on a local chain.")
    ] = 12,
    anchor_every: Annotated[
        int, typer.Option("--anchor-every", metavar="SECONDS", help="At most one anchor in so many seconds.")
    ] = 3600,
    world_speed: Annotated[
        float | None,
        typer.Option(
            "--world-speed",
            metavar="FACTOR",
            help="For emulated boards: live in a world that begins in January 2013 and runs so many times as fast.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Make a gateway's directory: its three keys, and a configuration that explains itself.

    The keys are made in DIR/keys, readable by you alone, and never leave it. A key that is there already is kept, so
    put a funded account's key in DIR/keys/chain.key first if you have one.

    Next: trigpoint chain deploy --gateway DIR, unless the contracts are on the chain already.

    Example, for a local chain and broker: trigpoint gateway init gw --broker 127.0.0.1:1883 --no-tls --confirmations 0
    """
    from trigpoint.errors import OperatorError
    from trigpoint.init import Answers, create, create_keys

    if ca is not None and not ca.is_file():
        raise OperatorError(f"cannot read {ca}: no such file; give the broker's CA certificate with --ca")
    host, port = split_host_port(broker)
    made = create_keys(directory)
    config = create(
        directory,
        Answers(
            broker_host=host,
            broker_port=port,
            broker_tls=tls,
            broker_ca=str(ca.absolute()) if ca else "",
            rpc_url=rpc,
            chain_id=chain_id,
            confirmations=confirmations,
            anchor_every_s=anchor_every,
            world=(_WORLD_ORIGIN, time.time(), world_speed) if world_speed else None,
        ),
    )
    account = _account_address(config)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "config": str(directory / "gateway.toml"),
                    "keys_made": [str(path) for path in made],
                    "account": account,
                    "link_key": link_key_hex(config),
                },
                indent=2,
            )
        )
        return
    typer.echo(f"Made {directory / 'gateway.toml'}; read it through, it explains itself.")
    for path in made:
        typer.echo(f"Made the key {path}")
    typer.echo(f"The gateway's account on the chain is {account}; it needs some of the chain's coin to anchor.")
    typer.echo(f"Next: trigpoint chain deploy --gateway {shlex.quote(str(directory))}")


@gateway.command()
def run(directory: GatewayDirectory) -> None:
    """Run a gateway in the foreground until Ctrl-C (or SIGTERM).

    It may be killed at any moment: started again it goes on where it was, with nothing lost and nothing stored twice.
    Files that anyone may fetch (checkpoint, tiles, trust.json) appear under DIR/data/public.

    Example: trigpoint gateway run gw
    """
    from trigpoint.service import run as run_gateway

    run_gateway(load_config(directory))


def load_config(directory: Path) -> Config:
    """Load the configuration of the gateway in `directory`.

    Raises:
        OperatorError: there is none, or it is wrong.
    """
    from trigpoint.config import load
    from trigpoint.init import CONFIG_NAME

    return load(directory / CONFIG_NAME)


def split_host_port(text: str) -> tuple[str, int]:
    """Split `host:port`, with an IPv6 address in brackets.

    Raises:
        OperatorError: it is not of that form.
    """
    from trigpoint.errors import OperatorError

    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65_535:
        raise OperatorError(f"{text!r} is not a broker's address; write it as HOST:PORT, for example localhost:8883")
    return host.removeprefix("[").removesuffix("]"), int(port)


def link_key_hex(config: Config) -> str:
    """Return the public half of the gateway's link key as boards' config.json wants it: x and y, 128 hex digits."""
    from trigpoint.keyfiles import load_link_key
    from trigpoint.wire.keys import PublicKey

    public = PublicKey.of(load_link_key(config.link.key_file))
    return (public.x + public.y).hex()


def _account_address(config: Config) -> str:
    from trigpoint.chain.keys import load_account

    return str(load_account(config.chain.key_file).address)
