"""`trigpoint gateway init`: a few questions, each with its reason, and a gateway's directory."""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from trigpoint.broker.folder import Made
    from trigpoint.commands.questions import Chosen
    from trigpoint.config import Config

_NOBODY = "0x" + "00" * 20  # in the place of an account that is not there yet
_WORLD_ORIGIN = 1_357_020_000  # 2013-01-01T06:00Z, the first hour of the weather that emulated boards measure


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory to make.", show_default=False)],
    *,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: take the default for what is not given.")
    ] = False,
    broker: Annotated[
        str | None,
        typer.Option(
            "--broker",
            metavar="HOST:PORT",
            help="The MQTT broker of the boards. [default: localhost:8883]",
            show_default=False,
        ),
    ] = None,
    broker_name: Annotated[
        list[str] | None,
        typer.Option(
            "--broker-name", metavar="NAME", help="A further name or address for its certificate.", show_default=False
        ),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls/--no-tls", help="Whether the broker speaks TLS.")] = True,
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca",
            metavar="FILE",
            help="Who signed the certificate of a broker that you have already (PEM).",
            show_default=False,
        ),
    ] = None,
    mosquitto: Annotated[
        bool | None,
        typer.Option(
            "--mosquitto/--no-mosquitto",
            help="Make a set-up for Mosquitto: certificate, passwords, limits. [default: unless --ca or --no-tls]",
            show_default=False,
        ),
    ] = None,
    chain: Annotated[
        str | None,
        typer.Option(
            "--chain",
            metavar="NAME",
            help="ethereum, sepolia, base, base-sepolia, iotex, iotex-testnet or local. [default: local]",
            show_default=False,
        ),
    ] = None,
    rpc: Annotated[
        str | None,
        typer.Option("--rpc", metavar="URL", help="A node of it. [default: a public one]", show_default=False),
    ] = None,
    chain_id: Annotated[
        int | None, typer.Option("--chain-id", help="The id (EIP-155) of another chain.", show_default=False)
    ] = None,
    confirmations: Annotated[
        int | None,
        typer.Option("--confirmations", help="Blocks on top of a block before it counts.", show_default=False),
    ] = None,
    owner: Annotated[
        list[str] | None,
        typer.Option(
            "--owner",
            metavar="ADDRESS",
            help="Whose boards to serve, several times if need be; own for the gateway's account, all for everybody's."
            " [default: own]",
            show_default=False,
        ),
    ] = None,
    anchor_every: Annotated[
        int | None,
        typer.Option(
            "--anchor-every",
            metavar="SECONDS",
            help="At most one anchor in so many. [default: 3600]",
            show_default=False,
        ),
    ] = None,
    world_speed: Annotated[
        float | None,
        typer.Option(
            "--world-speed",
            metavar="FACTOR",
            help="For emulated boards: live in a world that begins in January 2013 and runs so many times as fast.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Ask nothing, and print one JSON object.")] = False,
) -> None:
    """Make a gateway's directory: keys, a configuration that explains itself, and a set-up for the broker.

    At a terminal it asks what the options leave open. The keys are made in DIR/keys, readable by you alone, and never
    leave it. A key that is there already is kept, so put a funded account's key in DIR/keys/chain.key first if you
    have one.

    Next: trigpoint chain deploy --gateway DIR, unless the contracts are on the chain already.

    Example, for a local chain and broker: trigpoint gateway init gw --yes --broker 127.0.0.1:1883 --no-tls
    """
    from rich.console import Console

    from trigpoint.commands import questions
    from trigpoint.errors import OperatorError
    from trigpoint.init import CONFIG_NAME, configuration, create, create_keys

    if (directory / CONFIG_NAME).exists():
        raise OperatorError(f"{directory / CONFIG_NAME} exists already; edit it, or choose another directory")
    if ca is not None and not ca.is_file():
        raise OperatorError(f"cannot read {ca}: no such file; give the broker's CA certificate with --ca")
    given = questions.Given(broker, tls, ca, mosquitto, chain, rpc, chain_id, confirmations, anchor_every, owner or ())
    console = Console(highlight=False)
    asking = sys.stdin.isatty() and not yes and not as_json
    chosen = questions.ask(given, console) if asking else questions.take_defaults(given)
    world = (_WORLD_ORIGIN, time.time(), world_speed) if world_speed else None
    configuration(questions.answers(given, chosen, _NOBODY, world))  # a wrong answer is told before anything is made
    made = create_keys(directory)
    own = _account(directory) if questions.OWN in chosen.owners else _NOBODY
    broker_made = _make_broker(directory, chosen, broker_name or []) if chosen.mosquitto else None
    config = create(directory, questions.answers(given, chosen, own, world))
    if as_json:
        typer.echo(json.dumps(_result(directory, config, made, broker_made), indent=2))
    else:
        _report(directory, config, made, broker_made, console)


def _account(directory: Path) -> str:
    from trigpoint.chain.keys import load_account
    from trigpoint.errors import OperatorError
    from trigpoint.init import CHAIN_KEY

    try:
        return str(load_account(directory / CHAIN_KEY).address)
    except OperatorError as error:
        raise OperatorError(f"{error}; or name the owner of your boards with --owner") from error


def _make_broker(directory: Path, chosen: Chosen, more_names: list[str]) -> Made:
    from trigpoint.broker import folder

    place = directory / folder.FOLDER
    names = [*folder.own_names(chosen.host), *more_names]
    made = folder.make(place, names, chosen.port, folder.today())
    for user in ("gateway", "owner"):
        folder.add_user(place, user)
    return made


def _result(directory: Path, config: Config, made: list[Path], broker_made: Made | None) -> dict[str, object]:
    from trigpoint.broker.folder import FOLDER
    from trigpoint.commands.gateway import account_address, link_key_hex
    from trigpoint.init import CONFIG_NAME

    return {
        "config": str(directory / CONFIG_NAME),
        "keys_made": [str(path) for path in made],
        "account": account_address(config),
        "link_key": link_key_hex(config),
        "broker": None if broker_made is None else str(directory / FOLDER),
    }


def _report(directory: Path, config: Config, made: list[Path], broker_made: Made | None, console: Console) -> None:
    from trigpoint.broker.folder import FOLDER
    from trigpoint.chain.presets import BY_CHAIN_ID
    from trigpoint.commands.gateway import account_address
    from trigpoint.init import CONFIG_NAME

    where = shlex.quote(str(directory))
    preset = BY_CHAIN_ID.get(config.chain.chain_id)
    coin = preset.coin if preset else "coin"
    console.print(f"Made {directory / CONFIG_NAME}; read it through, it explains itself.", soft_wrap=True)
    for path in made:
        console.print(f"Made the key {path}", soft_wrap=True)
    steps = []
    if broker_made is not None:
        names = ", ".join(broker_made.names)
        console.print(f"Made {directory / FOLDER}, for a broker that is reached as {names}", soft_wrap=True)
        steps.append(f"install the broker as {directory / FOLDER / 'README.md'} says")
    steps += [
        f"send the gateway's account some {coin}: {account_address(config)}",
        f"trigpoint chain deploy --gateway {where}   (or name contracts that exist in {CONFIG_NAME})",
        f"trigpoint gateway doctor {where}",
        f"trigpoint gateway run {where}",
    ]
    console.print("Next:")
    for number, step in enumerate(steps, 1):
        console.print(f"  {number}. {step}", soft_wrap=True)
