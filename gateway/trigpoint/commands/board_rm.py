"""`trigpoint board rm`: a board's id is revoked for good, and on a cable its key is given up too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trigpoint.commands.boardtarget import AsJson, BoardArgument, Cable, Remote, resolve

if TYPE_CHECKING:
    from web3 import Web3

    from trigpoint.config import Config


def rm(
    board: BoardArgument = None,
    *,
    gateway: Annotated[
        Path, typer.Option("--gateway", metavar="DIR", help="The gateway that it belongs to.", show_default=False)
    ],
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", metavar="FILE", help="The account that owns it; default: the gateway's own."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Revoke a board on the chain: from then on no gateway takes what it says. What it said before stays proven.

    Its password at the broker goes too. Over a cable the board gives up key, journal and configuration as well, and
    can be enrolled anew with another id.

    Example: trigpoint board rm 3de4 --gateway gw
    """
    from trigpoint.commands.gateway import load_config
    from trigpoint.errors import OperatorError

    config = load_config(gateway)
    match resolve(board, gateway):
        case Cable(port):
            from trigpoint_tools.serial import ports, questions
            from trigpoint_tools.serial.session import Session

            ports.check(port)
            with Session(port.device) as session:
                found = questions.identity(session)
                if found is None:
                    raise OperatorError(f"the board at {port.device} has no key; there is nothing to remove")
                kid = found
                _confirm(kid, yes)
                done = _revoke(config, gateway, kid, key_file)
                questions.forget(session, kid)
                session.restart()
        case Remote(_, _, known):
            kid = known.kid
            _confirm(kid, yes)
            done = _revoke(config, gateway, kid, key_file)
    install = _shut_out(config, gateway, kid)
    if as_json:
        typer.echo(json.dumps({"board": kid.hex(), **done}, indent=2))
        return
    typer.echo(f"Removed board {kid.hex()}; what it said before stays proven.")
    if install:
        typer.echo("Next, for the broker to know of it:")
        for line in install:
            typer.echo(f"  {line}")


def _confirm(kid: bytes, yes: bool) -> None:
    if not yes:
        typer.confirm(f"Revoke board {kid.hex()} for good? Its id is never used again.", abort=True, err=True)


def _revoke(config: Config, gateway: Path, kid: bytes, key_file: Path | None) -> dict[str, Any]:
    """Revoke it, unless it is revoked or was never registered; return what --json says of that.

    Raises:
        OperatorError: the account does not own it, or cannot pay.
    """
    from trigpoint.chain.abi import DEVICE_REGISTRY
    from trigpoint.chain.errors import RevertedError
    from trigpoint.chain.keys import load_account, load_signer
    from trigpoint.chain.node import Node
    from trigpoint.chain.reach import Nodes
    from trigpoint.chain.transactions import Request, transact
    from trigpoint.commands.boardoptions import registry_of
    from trigpoint.errors import OperatorError

    chain = config.chain
    account = load_account(key_file) if key_file else load_signer(chain)
    registry = registry_of(config, gateway)
    number = int.from_bytes(kid, "big")

    def work(web3: Web3) -> dict[str, Any]:
        node = Node(web3)
        head = node.block()
        if head is None:
            raise OperatorError("the node has no block yet; try again when it has started")
        (active,) = node.call(DEVICE_REGISTRY, registry, "activeAt", number, head.time)
        if not active:
            return {"transaction": None, "block": None}
        request = Request(DEVICE_REGISTRY, registry, DEVICE_REGISTRY.call("revoke", number))
        mined = transact(node, account, chain.chain_id, request)
        return {"transaction": "0x" + mined.transaction.hex(), "block": mined.receipt.block}

    try:
        return Nodes(chain.chain_id, chain.rpc_url, *chain.fallback_rpc_urls).ask(work)
    except RevertedError as error:
        if error.name != "NotDeviceOwner":
            raise
        raise OperatorError(
            f"board {kid.hex()} does not belong to the account {account.address}: its owner alone can revoke it, name "
            "that account's key with --key-file"
        ) from error


def _shut_out(config: Config, gateway: Path, kid: bytes) -> tuple[str, ...]:
    """Take the board's password at the broker away; return the commands by which the broker learns of it."""
    from trigpoint.broker.folder import remove_user
    from trigpoint.commands.boardoptions import broker_folder, install_passwords

    folder = broker_folder(gateway, config)
    return install_passwords(folder) if folder is not None and remove_user(folder, kid.hex()) else ()
