"""`trigpoint chain account`: the key of the account that pays. A key or passphrase is never an argument."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from trigpoint.config import Config

account = typer.Typer(no_args_is_help=True, help="Make, take over or look at the account that pays for transactions.")

KeyFileToMake = Annotated[Path, typer.Argument(metavar="FILE", help="The key file to make.", show_default=False)]
Encrypt = Annotated[bool, typer.Option("--encrypt", help="Make an encrypted keystore (JSON) in place of plain digits.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="The new keystore's passphrase: one line, mode 0600. Without it you are asked.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@account.command()
def new(
    file: KeyFileToMake,
    *,
    encrypt: Encrypt = False,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a new account and write its key to FILE, mode 0600. Nobody else has it: keep a copy in a safe place.

    Example: trigpoint chain account new gw/keys/chain.json --encrypt
    """
    from eth_account import Account

    made: LocalAccount = Account.create()
    _write(file, made, encrypt=encrypt, passphrase_file=passphrase_file)
    _done(file, made.address, "Made", encrypted=encrypt, as_json=as_json)


@account.command(name="import")
def import_(
    file: KeyFileToMake,
    *,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="A key file, or a keystore that a wallet exported. Without it the key is asked for, or read from "
            "standard input: 64 hexadecimal digits.",
            show_default=False,
        ),
    ] = None,
    source_passphrase_file: Annotated[
        Path | None,
        typer.Option(
            "--from-passphrase-file",
            metavar="FILE",
            help="The passphrase of the keystore that is imported. Without it you are asked.",
            show_default=False,
        ),
    ] = None,
    encrypt: Encrypt = False,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Take over an account that exists: write its key to FILE, mode 0600, as a gateway can read it.

    A gateway's account is the writer of its log. To protect its key, import it into an encrypted keystore:

    Example: trigpoint chain account import gw/keys/chain.json --from gw/keys/chain.key --encrypt
    """
    taken = _typed() if source is None else _read(source, source_passphrase_file)
    _write(file, taken, encrypt=encrypt, passphrase_file=passphrase_file)
    _done(file, taken.address, "Imported", encrypted=encrypt, as_json=as_json)


@account.command()
def show(
    gateway: Annotated[
        Path, typer.Option("--gateway", metavar="DIR", help="The gateway whose account it is.", show_default=False)
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Show the gateway's account: its address, what it holds, and what it spent today of what it may.

    Example: trigpoint chain account show --gateway gw
    """
    from trigpoint.chain.keys import load_signer
    from trigpoint.chain.presets import BY_CHAIN_ID
    from trigpoint.chain.spending import coins
    from trigpoint.commands.gateway import load_config

    config = load_config(gateway)
    address = load_signer(config.chain).address
    preset = BY_CHAIN_ID.get(config.chain.chain_id)
    coin = preset.coin if preset else "coins"
    balance, trouble = _balance(config, address)
    spent = _spent_today(config, address)
    if as_json:
        answer = {
            "account": address,
            "chain_id": config.chain.chain_id,
            "balance": None if balance is None else coins(balance),
            "spent_today": None if spent is None else coins(spent),
            "max_spend_per_day": config.chain.max_spend_per_day,
        }
        typer.echo(json.dumps(answer, indent=2))
        return
    held = f"not known: {trouble}" if balance is None else f"{coins(balance)} {coin}"
    typer.echo(f"account  {address}")
    typer.echo(f"chain    {preset.title if preset else config.chain.chain_id}")
    typer.echo(f"holds    {held}")
    if spent is not None:
        typer.echo(f"today    {coins(spent)} of {config.chain.max_spend_per_day} {coin}, at the worst")
    if balance == 0:
        typer.echo(f"Next: send it some {coin}; it pays for the log's opening and for its anchors")


def _balance(config: Config, address: str) -> tuple[int | None, str]:
    """Ask one node after the other; return the balance in wei, or None and what the first one said."""
    from trigpoint.chain.client import connect
    from trigpoint.chain.node import Node, address_bytes
    from trigpoint.errors import OperatorError

    trouble = ""
    for url in (config.chain.rpc_url, *config.chain.fallback_rpc_urls):
        try:
            return Node(connect(url, config.chain.chain_id)).balance(address_bytes(address)), ""
        except OperatorError as error:
            trouble = trouble or str(error)
    return None, trouble


def _spent_today(config: Config, address: str) -> int | None:
    from contextlib import closing

    from trigpoint.chain.node import address_bytes
    from trigpoint.chain.spending import day_start, spent
    from trigpoint.store import chain as store
    from trigpoint.store.database import open_database

    if not config.database.exists():
        return None
    start = day_start(config.make_clock().now_ms())
    with closing(open_database(config.database, read_only=True)) as connection:
        return spent(store.since(connection, config.chain.chain_id, address_bytes(address), start))


def _typed() -> LocalAccount:
    from trigpoint.chain.keys import account_of

    if sys.stdin.isatty():
        return account_of(typer.prompt("Private key (it is not shown)", hide_input=True))
    return account_of(sys.stdin.read(200))


def _read(source: Path, passphrase_file: Path | None) -> LocalAccount:
    from trigpoint import keyfiles
    from trigpoint.chain.keys import load_account, unlock
    from trigpoint.errors import OperatorError

    if passphrase_file is None and keyfiles.is_keystore(source):
        if not sys.stdin.isatty():
            raise OperatorError(
                f"the keystore {source} needs its passphrase, and there is nobody to ask: name a file with it, mode "
                "0600, with --from-passphrase-file"
            )
        return unlock(source, typer.prompt(f"Passphrase of {source}", hide_input=True))
    return load_account(source, passphrase_file)


def _write(file: Path, key: LocalAccount, *, encrypt: bool, passphrase_file: Path | None) -> None:
    from trigpoint import keyfiles
    from trigpoint.chain.keys import encrypt as encrypted
    from trigpoint.errors import OperatorError

    if passphrase_file is not None and not encrypt:
        raise OperatorError("--passphrase-file is for an encrypted keystore: add --encrypt")
    if file.exists():
        raise OperatorError(f"{file} exists already, and a key is never overwritten: choose another name")
    data = (
        encrypted(key, _new_passphrase(passphrase_file))
        if encrypt
        else f"{key.key.hex().removeprefix('0x')}\n".encode()
    )
    try:
        keyfiles.write_private(file, data)
    except OSError as error:
        raise OperatorError(f"cannot write {file}: {error.strerror}; check the path") from error


def _new_passphrase(file: Path | None) -> str:
    from trigpoint import keyfiles
    from trigpoint.errors import OperatorError

    if file is not None:
        return keyfiles.load_password(file, "passphrase")
    if not sys.stdin.isatty():
        raise OperatorError(
            "there is nobody to ask for a passphrase: write one to a file, mode 0600, and name it with "
            "--passphrase-file"
        )
    passphrase: str = typer.prompt("New passphrase", hide_input=True, confirmation_prompt=True)
    return passphrase


def _done(file: Path, address: str, verb: str, *, encrypted: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"account": address, "key_file": str(file)}, indent=2))
        return
    typer.echo(f"{verb} the account {address}; its key is in {file}.")
    typer.echo(f"Next: name it in the [chain] section of gateway.toml: key_file = {json.dumps(str(file.absolute()))}")
    if encrypted:
        typer.echo('and the file with its passphrase: passphrase_file = "..."')
    typer.echo(f"and see what it holds: {shlex.join(['trigpoint', 'chain', 'account', 'show', '--gateway', 'DIR'])}")
