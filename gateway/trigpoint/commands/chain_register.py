"""`trigpoint chain register`: submits permits that boards have signed, for whoever pays."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trigpoint.commands.node import NodeUrl, NodeUrlFile, node_url
from trigpoint.words import counted

if TYPE_CHECKING:
    from trigpoint.chain.permitfile import Filed
    from trigpoint.chain.reach import Nodes
    from trigpoint.chain.registration import Registered
    from trigpoint.chain.signing import Signer


def register(
    permits: Annotated[
        list[str], typer.Argument(metavar="PERMIT...", help="Files with permits; - for standard input.")
    ],
    *,
    gateway: Annotated[
        Path | None,
        typer.Option("--gateway", metavar="DIR", help="Its chain, its nodes, and its account pays."),
    ] = None,
    rpc: NodeUrl = None,
    rpc_file: NodeUrlFile = None,
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", metavar="FILE", help="The account that pays; default: the gateway's own."),
    ] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option("--passphrase-file", metavar="FILE", help="The passphrase of that keystore.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Register boards by the permits that they have signed (board enroll --print-permit).

    Whoever pays need not be the owner: a permit can do only what its board signed. All permits are checked before
    anything is paid for. Boards that are registered already are passed over, so the same command may be given again.

    Example: trigpoint chain register roof.json cellar.json --gateway gw
    """
    from rich.console import Console

    from trigpoint.chain.registration import LARGEST_BATCH

    filed = _one_place([found for name in permits for found in _read(name)])
    nodes, signer = _way(gateway, node_url(rpc, rpc_file), key_file, passphrase_file, filed[0])
    console = Console(stderr=True, quiet=as_json, highlight=False)
    with console.status(f"asks the registry about {counted(len(filed), 'board')}") as status:
        left = _left(nodes, filed)
        done: list[Registered] = []
        for at in range(0, len(left), LARGEST_BATCH):
            status.update(f"registers {counted(len(left), 'board')}: {at} done")
            done.append(_submit(nodes, signer, left[at : at + LARGEST_BATCH]))
    _show(filed, done, as_json=as_json)


def _read(name: str) -> list[Filed]:
    from trigpoint.chain import permitfile
    from trigpoint.errors import OperatorError

    try:
        if name == "-":
            return permitfile.parse(sys.stdin.read(permitfile.MAX_BYTES + 1), "standard input")
        with Path(name).open(encoding="utf-8") as file:
            return permitfile.parse(file.read(permitfile.MAX_BYTES + 1), name)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise OperatorError(f"cannot read {name}: {reason}; give a file with what --print-permit printed") from error


def _one_place(filed: Sequence[Filed]) -> list[Filed]:
    """Return the permits, each board once. Raises OperatorError if they are for several contracts."""
    from trigpoint.errors import OperatorError

    first = filed[0]
    by_kid: dict[bytes, Filed] = {}
    for one in filed:
        if (one.chain_id, one.registry) != (first.chain_id, first.registry):
            raise OperatorError(
                f"{one.where} is for the registry 0x{one.registry.hex()} on chain {one.chain_id}, {first.where} for "
                f"0x{first.registry.hex()} on chain {first.chain_id}: give them in two commands"
            )
        # Of several the newest: an older one may be void, or for a former owner.
        known = by_kid.get(one.kid)
        if known is None or one.permit.deadline > known.permit.deadline:
            by_kid[one.kid] = one
    return list(by_kid.values())


def _way(
    gateway: Path | None, url: str | None, key_file: Path | None, passphrase_file: Path | None, first: Filed
) -> tuple[Nodes, Signer]:
    """Return the nodes to ask and the account that pays.

    Raises:
        OperatorError: neither is named, or the gateway is on another chain or with another registry.
    """
    from trigpoint.chain.keys import load_account, load_signer
    from trigpoint.chain.node import address_bytes
    from trigpoint.chain.reach import Nodes
    from trigpoint.commands.gateway import load_config
    from trigpoint.errors import OperatorError

    settings = None if gateway is None else load_config(gateway).chain
    if (settings is None and url is None) or (settings is None and key_file is None):
        raise OperatorError("say by which node and who pays: --gateway DIR, or --rpc URL with --key-file FILE")
    if settings is not None:
        registry = address_bytes(settings.device_registry) if settings.device_registry else first.registry
        if (settings.chain_id, registry) != (first.chain_id, first.registry):
            raise OperatorError(
                f"{first.where} is for the registry 0x{first.registry.hex()} on chain {first.chain_id}, and {gateway} "
                "is with another one: name a node of that chain with --rpc, and --key-file"
            )
    signer = load_account(key_file, passphrase_file) if key_file else load_signer(settings) if settings else None
    assert signer is not None
    urls = (url,) if url else (settings.rpc_url, *settings.fallback_rpc_urls) if settings else ()
    return Nodes(first.chain_id, *urls), signer


def _left(nodes: Nodes, filed: Sequence[Filed]) -> list[Filed]:
    """Return the permits of boards that are not registered yet, when each of them can still be.

    Raises:
        OperatorError: one is void; it says which file, and nothing has been paid.
    """
    from trigpoint.chain.abi import DEVICE_REGISTRY
    from trigpoint.chain.node import Node
    from trigpoint.errors import OperatorError

    def look(web3: Any) -> tuple[int, list[Filed]]:
        node = Node(web3)
        if not node.has_code(filed[0].registry):
            raise OperatorError(
                f"there is no contract at 0x{filed[0].registry.hex()} on chain {filed[0].chain_id}: the permits are "
                "for a registry that is not there"
            )
        head = node.block()
        if head is None:
            raise OperatorError("the node has no block yet; try again when it has started")
        new = []
        for one in filed:
            number = int.from_bytes(one.kid, "big")
            (active,) = node.call(DEVICE_REGISTRY, one.registry, "activeAt", number, head.time)
            if not active:
                new.append(one)
        return head.time, new

    now, left = nodes.ask(look)
    for one in left:
        if one.permit.deadline < now:
            raise OperatorError(
                f"{one.where}: the permit of board {one.kid.hex()} was good until {_when(one.permit.deadline)}: let "
                "the board sign a new one with `trigpoint board enroll --print-permit`"
            )
    return left


def _submit(nodes: Nodes, signer: Signer, filed: Sequence[Filed]) -> Registered:
    from trigpoint.chain.registration import register as register_one
    from trigpoint.chain.registration import register_batch

    chain_id, registry = filed[0].chain_id, filed[0].registry
    if len(filed) == 1:
        return nodes.ask(lambda web3: register_one(web3, signer, registry, filed[0].permit, chain_id=chain_id))
    permits = [one.permit for one in filed]
    return nodes.ask(lambda web3: register_batch(web3, signer, registry, permits, chain_id=chain_id))


def _show(filed: Sequence[Filed], done: Sequence[Registered], *, as_json: bool) -> None:
    new = {kid: registered for registered in done for kid in registered.kids}
    if as_json:
        answer = {
            "registered": [_plain(one, new[one.kid]) for one in filed if one.kid in new],
            "already": [one.kid.hex() for one in filed if one.kid not in new],
            "gas_used": sum(registered.gas_used for registered in done),
        }
        typer.echo(json.dumps(answer, indent=2))
        return
    for one in filed:
        if one.kid in new:
            typer.echo(f"{one.kid.hex()}  registered in block {new[one.kid].block} for 0x{one.permit.owner.hex()}")
        else:
            typer.echo(f"{one.kid.hex()}  was registered already")
    gas = sum(registered.gas_used for registered in done)
    if new:
        typer.echo(f"Registered {counted(len(new), 'board')} for {gas:,} gas.")


def _plain(one: Filed, registered: Registered) -> dict[str, Any]:
    assert registered.transaction is not None
    return {
        "board": one.kid.hex(),
        "owner": "0x" + one.permit.owner.hex(),
        "transaction": "0x" + registered.transaction.hex(),
        "block": registered.block,
    }


def _when(deadline: int) -> str:
    from datetime import UTC, datetime

    try:
        return f"{datetime.fromtimestamp(deadline, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return str(deadline)
