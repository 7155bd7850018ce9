"""`trigpoint chain`: put the contracts on a chain, and boards into them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trigpoint.commands.account import account
from trigpoint.commands.chain_register import register
from trigpoint.commands.node import NodeUrl, NodeUrlFile, node_url

if TYPE_CHECKING:
    from web3 import Web3

    from trigpoint.chain.signing import Signer
    from trigpoint.config import Chain

chain = typer.Typer(no_args_is_help=True, help="Contracts on an EVM chain, boards in them, and the account that pays.")
chain.add_typer(account, name="account")


@chain.command()
def deploy(
    *,
    gateway: Annotated[
        Path | None,
        typer.Option("--gateway", metavar="DIR", help="Write the addresses into this gateway's configuration."),
    ] = None,
    rpc: NodeUrl = None,
    rpc_file: NodeUrlFile = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file",
            metavar="FILE",
            help="The key of the account that pays, mode 0600: 64 hex digits or a keystore; default: the gateway's.",
        ),
    ] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option("--passphrase-file", metavar="FILE", help="The passphrase of that keystore.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Deploy DeviceRegistry and TransparencyLog. Both are open to all: many gateways may share them.

    Without --gateway it wants --rpc and --key-file, and prints the lines to put into a gateway's gateway.toml.

    Example: trigpoint chain deploy --gateway gw
    """
    from trigpoint.chain.client import check_chain, open_node
    from trigpoint.chain.deploy import deploy as deploy_contracts
    from trigpoint.chain.keys import load_account, load_signer
    from trigpoint.commands.gateway import load_config
    from trigpoint.errors import OperatorError
    from trigpoint.init import CONFIG_NAME, record_contracts

    wanted = None if gateway is None else load_config(gateway).chain
    url = node_url(rpc, rpc_file) or (wanted.rpc_url if wanted else None)
    if url is None or (key_file is None and wanted is None):
        raise OperatorError("say on which chain and who pays: --gateway DIR, or --rpc URL with --key-file FILE")
    if key_file is not None or wanted is None:
        assert key_file is not None
        signer: Signer = load_account(key_file, passphrase_file)
    else:
        signer = load_signer(wanted)
    node = open_node(url)
    if gateway is not None and wanted is not None:
        check_chain(node, wanted.chain_id)
        _check_none_there(gateway, wanted, node)  # before anything is paid for
    done = deploy_contracts(node, signer, chain_id=None if wanted is None else wanted.chain_id)
    if gateway is not None:
        record_contracts(gateway / CONFIG_NAME, done.device_registry, done.transparency_log, done.block)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "chain_id": done.chain_id,
                    "device_registry": done.device_registry,
                    "transparency_log": done.transparency_log,
                    "deploy_block": done.block,
                    "gas_used": done.gas_used,
                },
                indent=2,
            )
        )
        return
    typer.echo(f"Deployed on chain {done.chain_id} from block {done.block} on, for {done.gas_used:,} gas.")
    if gateway is not None:
        typer.echo(f"Wrote the addresses into {gateway / CONFIG_NAME}.")
        typer.echo(f"Next: trigpoint gateway run {shlex.quote(str(gateway))}")
        return
    typer.echo("Put these lines into the [chain] section of gateway.toml:\n")
    typer.echo(f'device_registry = "{done.device_registry}"')
    typer.echo(f'transparency_log = "{done.transparency_log}"')
    typer.echo(f"deploy_block = {done.block}")


chain.command()(register)


def _check_none_there(gateway: Path, wanted: Chain, node: Web3) -> None:
    """Make sure that a gateway has no contracts that others would take the place of.

    Names of contracts that the chain has forgotten, as Anvil does with everything when it is started anew, are in
    nobody's way, unless the gateway has a past on the chain that was.

    Raises:
        OperatorError: its configuration names contracts, and they are there, or its database is about them.
    """
    from trigpoint.chain.node import Node, address_bytes, checksum
    from trigpoint.commands.gateway import load_config
    from trigpoint.errors import OperatorError

    named = [address_bytes(one) for one in (wanted.device_registry, wanted.transparency_log) if one]
    if not named:
        return
    there = [one for one in named if Node(node).has_code(one)]
    if there:
        raise OperatorError(
            f"{gateway} names contracts that are on the chain, such as {checksum(there[0])}: "
            "empty them in its gateway.toml to deploy new ones"
        )
    if _has_anchored(load_config(gateway).database):
        raise OperatorError(
            f"the contracts that {gateway} names are not on chain {wanted.chain_id} any more, and its log was anchored "
            "there: was the chain started anew? Then make a new gateway (`trigpoint gateway init`), and next time keep "
            "the chain (`anvil --state FILE`)"
        )


def _has_anchored(database: Path) -> bool:
    """Tell whether a gateway has sent anything to its chain."""
    from contextlib import closing

    from trigpoint.store.database import open_database

    if not database.exists():
        return False
    with closing(open_database(database, read_only=True)) as connection:
        (found,) = connection.execute("SELECT EXISTS (SELECT 1 FROM transactions)").fetchone()
    return bool(found)
