"""What `trigpoint gateway init` has to know: from options, from the defaults, or asked with the reason for asking."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from trigpoint.broker.folder import AUTHORITY, FOLDER, gateway_address
from trigpoint.chain.presets import BY_CHAIN_ID, BY_NAME, LOCAL, PRESETS, Preset
from trigpoint.config import ADDRESS
from trigpoint.errors import OperatorError
from trigpoint.init import Answers

_ANCHOR_EVERY_S = 3600
_CONFIRMATIONS = 12
_METRICS = "127.0.0.1:9464"
_YES_NO = {"yes": True, "y": True, "no": False, "n": False}
_ALL = "all"
OWN = "own"
"""Stands for the gateway's own account where an owner of boards is named."""


@dataclass(frozen=True)
class Given:
    """The options; None for what is left open. They have the names and meanings of `trigpoint gateway init`."""

    broker: str | None = None
    tls: bool = True
    ca: Path | None = None
    mosquitto: bool | None = None
    chain: str | None = None
    rpc: str | None = None
    chain_id: int | None = None
    confirmations: int | None = None
    anchor_every: int | None = None
    owner: Sequence[str] = ()

    @property
    def default_broker(self) -> str:
        """The address of a broker on this machine."""
        return f"localhost:{8883 if self.tls else 1883}"

    @property
    def brings_mosquitto(self) -> bool:
        """Whether to make a set-up for Mosquitto if nobody says otherwise: a broker with a known authority exists."""
        return self.tls and self.ca is None

    @property
    def names_chain(self) -> bool:
        """Whether the options say which chain."""
        return self.chain is not None or self.chain_id is not None

    def preset(self) -> Preset | None:
        """Return the chain that the options name; None if they name none, or one that we do not know.

        Raises:
            OperatorError: there is no preset of that name, or it has another id.
        """
        if self.chain is None:
            return None if self.chain_id is None else BY_CHAIN_ID.get(self.chain_id)
        preset = BY_NAME.get(self.chain)
        if preset is None:
            raise OperatorError(f"{self.chain!r} is no chain that we know; choose one of {', '.join(BY_NAME)}")
        if self.chain_id not in (None, preset.chain_id):
            raise OperatorError(f"{preset.title} has the id {preset.chain_id}, not {self.chain_id}: leave --chain-id")
        return preset


@dataclass(frozen=True)
class Chosen:
    """All that is to be known.

    `preset` is None on a chain that we do not know. `owners` are addresses, `OWN` for that of the account whose key is
    still to be made; empty for everybody.
    """

    host: str
    port: int
    mosquitto: bool
    preset: Preset | None
    rpc_url: str
    owners: tuple[str, ...]
    anchor_every_s: int


def answers(given: Given, chosen: Chosen, account: str, world: tuple[int, float, float] | None) -> Answers:
    """Return what the configuration is made from; `world` as `trigpoint.init.Answers` has it.

    `account` is the address of the gateway's own account.

    Raises:
        OperatorError: the options contradict each other.
    """
    if chosen.mosquitto and not given.brings_mosquitto:
        raise OperatorError("the set-up for Mosquitto has TLS and an authority of its own: leave out --ca and --no-tls")
    authority = str(given.ca.absolute()) if given.ca else f"{FOLDER}/{AUTHORITY}" if chosen.mosquitto else ""
    preset = chosen.preset
    chain_id = preset.chain_id if preset else given.chain_id
    assert chain_id is not None  # one of the two was chosen
    confirmations = given.confirmations
    if confirmations is None:
        confirmations = preset.confirmations if preset else _CONFIRMATIONS
    found = Answers(
        broker_host=chosen.host,
        broker_port=chosen.port,
        broker_gateway_address=gateway_address(chosen.host, chosen.port) if chosen.mosquitto else "",
        broker_tls=given.tls,
        broker_ca=authority,
        broker_username="gateway" if chosen.mosquitto else "",
        broker_password_file=f"{FOLDER}/passwords/gateway" if chosen.mosquitto else "",
        # A broker ends the session of one client when another comes with the same id: nobody is to guess this one.
        broker_client_id=f"trigpoint-gateway-{secrets.token_hex(8)}",
        rpc_url=chosen.rpc_url,
        chain_id=chain_id,
        confirmations=confirmations,
        owners=tuple(account if owner == OWN else owner for owner in chosen.owners),
        anchor_every_s=chosen.anchor_every_s,
        # Not in an emulated world, of which there may be several on one machine.
        metrics_listen=_METRICS if world is None else "",
        world=world,
    )
    return found if preset is None else found.suited_to(preset)


def take_defaults(given: Given) -> Chosen:
    """Take the default for what the options leave open.

    Raises:
        OperatorError: there is no default for a node, or an option is wrong.
    """
    preset = given.preset() if given.names_chain else LOCAL
    rpc_url = given.rpc or (preset.rpc_url if preset else "")
    if not rpc_url:
        raise OperatorError(f"we know no node of chain {given.chain_id}: name one with --rpc")
    host, port = split_host_port(given.broker or given.default_broker)
    mosquitto = given.brings_mosquitto if given.mosquitto is None else given.mosquitto
    every_s = _ANCHOR_EVERY_S if given.anchor_every is None else given.anchor_every
    return Chosen(host, port, mosquitto, preset, rpc_url, read_owners(" ".join(given.owner) or OWN), every_s)


def ask(given: Given, console: Console) -> Chosen:
    """Ask at the terminal for what the options leave open.

    Raises:
        OperatorError: an option is wrong.
    """
    preset = given.preset()
    console.print("\nEnter takes what stands in brackets. Everything can be changed later, in gateway.toml.")
    host, port = _ask_broker(given, console)
    mosquitto = given.mosquitto
    if mosquitto is None:
        mosquitto = given.brings_mosquitto and _ask_mosquitto(console)
    if not given.names_chain:
        preset = _ask_chain(console)
    rpc_url = given.rpc or _ask_node(preset, console)
    owners = read_owners(" ".join(given.owner)) if given.owner else _ask_owners(console)
    every_s = _ask_anchors(console) if given.anchor_every is None else given.anchor_every
    return Chosen(host, port, mosquitto, preset, rpc_url, owners, every_s)


def read_owners(text: str) -> tuple[str, ...]:
    """Read whose boards are to be served: addresses, `own` for the gateway's account among them, or `all`.

    Raises:
        OperatorError: a word is none of these.
    """
    words = text.replace(",", " ").split()
    if words == [_ALL]:
        return ()
    wrong = [word for word in words if word != OWN and not ADDRESS.fullmatch(word)]
    if wrong or not words:
        raise OperatorError(
            f"{(wrong or [text])[0]!r} is no owner: give {OWN}, {_ALL}, or addresses of 0x and 40 hexadecimal digits"
        )
    return tuple(dict.fromkeys(words))


def split_host_port(text: str) -> tuple[str, int]:
    """Split `host:port`, with an IPv6 address in brackets.

    Raises:
        OperatorError: it is not of that form.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65_535:
        raise OperatorError(f"{text!r} is not a broker's address; write it as HOST:PORT, for example localhost:8883")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _ask_broker(given: Given, console: Console) -> tuple[str, int]:
    if given.broker is not None:
        return split_host_port(given.broker)
    _explain(
        console,
        "Where is the MQTT broker?",
        "Boards publish to it, and the gateway reads from it. If it is to run on this machine, say localhost. It is "
        "trusted to be there, and with nothing else: what comes through it is signed.",
    )
    while True:
        try:
            return split_host_port(typer.prompt("  Broker", default=given.default_broker))
        except OperatorError as error:
            console.print(f"  {error}", style="red")


def _ask_mosquitto(console: Console) -> bool:
    _explain(
        console,
        "Shall I make a set-up for Mosquitto?",
        "An authority and a certificate for TLS, a password for each board, an access list that lets each board speak "
        "only for itself, limits that lose nothing, and the commands to install it all. Say no if your broker runs "
        "already, with a certificate that this machine trusts.",
    )
    while (answer := str(typer.prompt("  Make it? yes or no", default="yes")).strip().lower()) not in _YES_NO:
        console.print(f"  {answer!r} is neither yes nor no", style="red")
    return _YES_NO[answer]


def _ask_chain(console: Console) -> Preset:
    _explain(
        console,
        "Which chain shall vouch for the log?",
        "The log's head is written there from time to time. After that nobody, not even you, can change or drop what "
        "was logged. On a test network the coin is free and worth nothing.",
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("chain")
    table.add_column("coin", no_wrap=True)
    table.add_column("final after", no_wrap=True, justify="right")
    for preset in PRESETS:
        coin = f"{preset.coin}, free" if preset.test else preset.coin
        table.add_row(preset.name, preset.title, coin, _duration(preset.confirmations * preset.block_s))
    console.print(Padding(table, (0, 0, 0, 2)))
    while (name := str(typer.prompt("  Chain", default=LOCAL.name)).strip()) not in BY_NAME:
        console.print(f"  {name!r} is not in the list; for another chain use --chain-id and --rpc", style="red")
    return BY_NAME[name]


def _ask_node(preset: Preset | None, console: Console) -> str:
    _explain(
        console,
        "Which node of that chain?",
        "The gateway asks it for newly enrolled boards, and gives it the anchors to pass on. A public one will do to "
        "begin with; it limits how much you may ask. The address may hold an access token: it is never logged.",
    )
    return str(typer.prompt("  Node", default=preset.rpc_url if preset else None)).strip()


def _ask_owners(console: Console) -> tuple[str, ...]:
    _explain(
        console,
        "Whose boards shall it serve?",
        "Each board has an owner in the registry, and on a public chain whoever pays for gas can enrol one: a gateway "
        f"that serves all can have its disk filled by strangers. `{OWN}` is the account of this gateway, to which its "
        f"boards belong if `trigpoint board enroll` is not told otherwise. Or give addresses, or `{_ALL}`.",
    )
    while True:
        try:
            return read_owners(str(typer.prompt("  Owners", default=OWN)))
        except OperatorError as error:
            console.print(f"  {error}", style="red")


def _ask_anchors(console: Console) -> int:
    _explain(
        console,
        "How often shall the log's head go on the chain?",
        "At most once in so many seconds, and only if something new came. Each time costs about 60,000 gas. Until then "
        "a reading is vouched for by the gateway alone. 3600 is once an hour, 86400 once a day.",
    )
    while True:
        answer = str(typer.prompt("  Seconds", default=_ANCHOR_EVERY_S)).strip()
        if answer.isdecimal() and int(answer) >= 1:
            return int(answer)
        console.print(f"  {answer!r} is no whole number of seconds, at least 1", style="red")


def _explain(console: Console, title: str, text: str) -> None:
    console.print(f"\n[bold]{title}[/bold]")
    console.print(Padding(text, (0, 0, 0, 2)), style="dim", width=min(console.width, 100))


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "at once"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
