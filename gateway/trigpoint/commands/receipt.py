"""`trigpoint receipt`: take the proof of a statement out of the gateway."""

from __future__ import annotations

import json
import shlex
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trigpoint.commands.gateway import GatewayDirectory

if TYPE_CHECKING:
    import sqlite3

    from trigpoint.config import Config

receipt = typer.Typer(no_args_is_help=True, help="Take the proof of a statement out of a gateway.")


@receipt.callback()
def _group() -> None:
    """Take the proof of a statement out of a gateway."""


@receipt.command()
def get(
    directory: GatewayDirectory,
    *,
    board: Annotated[
        str | None,
        typer.Option("--board", metavar="ID", help="The board's id, or its first digits.", show_default=False),
    ] = None,
    seq: Annotated[
        int | None,
        typer.Option("--seq", min=0, help="Which statement; default: the newest anchored.", show_default=False),
    ] = None,
    index: Annotated[
        int | None,
        typer.Option("--index", min=0, help="The place in the log, instead of board and seq.", show_default=False),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")] = Path(
        "receipt.cose"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Write the receipt file of one statement: all that a stranger needs, beside trust.json, to verify it.

    The gateway may be running or not. A receipt names the newest anchor that covers the statement, or for a board that
    is no longer active the first; until there is one it is signed by the log alone, and verify says so. Without --board
    and --index it is the newest anchored statement of any board. The trust file is DIR/data/public/trust.json.

    Example: trigpoint receipt get gw --board 3fa2c1d0 --output receipt.cose
    """
    from trigpoint.commands.gateway import load_config
    from trigpoint.errors import OperatorError
    from trigpoint.wire.receipt import parse

    if (seq is not None and board is None) or (index is not None and board is not None):
        raise OperatorError("say which statement: --board ID, with --seq N if not the newest, or --index N alone")
    config = load_config(directory)
    data = issue(config, board, seq, index)
    try:
        output.write_bytes(data)
    except OSError as error:
        raise OperatorError(f"cannot write {output}: {error.strerror}; choose another --output") from error
    issued = parse(data)
    trust = config.public / "trust.json"
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "file": str(output),
                    "trust": str(trust),
                    "board": issued.statement.kid.hex(),
                    "seq": issued.statement.seq,
                    "index": issued.index,
                    "size": issued.size,
                    "anchored": issued.anchor is not None,
                },
                indent=2,
            )
        )
        return
    typer.echo(f"Wrote {output}: statement {issued.statement.seq} of board {issued.statement.kid.hex()}.")
    if issued.anchor is None:
        typer.echo("It is signed by the log and not yet anchored: get it again after the next anchor.")
    typer.echo(f"Next: {shlex.join(['trigpoint', 'verify', str(output), '--trust', str(trust)])}")


def issue(config: Config, board: str | None, seq: int | None = None, index: int | None = None) -> bytes:
    """Return the receipt file of a statement: of number seq of a board, of a place, or the newest anchored.

    Raises:
        OperatorError: there is none, or the gateway's files cannot be read.
    """
    from trigpoint import receipts
    from trigpoint.keyfiles import load_log_key
    from trigpoint.store.database import open_database

    log_key = load_log_key(config.log.key_file)
    with closing(open_database(config.database, read_only=True)) as connection:
        if board is None:
            return receipts.get(connection, log_key, index=newest_place(connection) if index is None else index)
        kid = find_board(connection, board)
        return receipts.get(connection, log_key, kid=kid, seq=newest(connection, kid) if seq is None else seq)


def find_board(connection: sqlite3.Connection, prefix: str) -> bytes:
    """Return the id of the one board that begins with these hex digits.

    Raises:
        OperatorError: there is none, or more than one.
    """
    from trigpoint.errors import OperatorError
    from trigpoint.store import queries

    known = [board.kid for board in queries.boards(connection)]
    found = [kid for kid in known if kid.hex().startswith(prefix.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise OperatorError(f"{len(found)} boards begin with {prefix}; give more digits of the board's id")
    names = ", ".join(kid.hex()[:8] for kid in known[:8]) or "none"
    raise OperatorError(f"the gateway knows no board {prefix}; it knows {names}{', ...' if len(known) > 8 else ''}")


def newest_place(connection: sqlite3.Connection) -> int:
    """Return the place of the newest anchored statement of any board, or of the newest if none is anchored.

    Raises:
        OperatorError: nothing is stored.
    """
    from trigpoint.errors import OperatorError
    from trigpoint.store import statements
    from trigpoint.store.chain import latest_final_anchor

    anchor = latest_final_anchor(connection)
    size = anchor.size if anchor is not None else statements.size(connection)
    if size == 0:
        raise OperatorError("nothing is stored yet; try again when a board has sent something")
    return size - 1


def newest(connection: sqlite3.Connection, kid: bytes) -> int:
    """Return the seq of a board's newest anchored statement, or of its newest if none is anchored.

    Raises:
        OperatorError: nothing of this board is stored.
    """
    from trigpoint.errors import OperatorError
    from trigpoint.store import statements
    from trigpoint.store.chain import latest_final_anchor

    anchor = latest_final_anchor(connection)
    board = statements.board(connection, kid)
    newest = (
        None if board is None else statements.newest_below(connection, board.number, anchor.size if anchor else None)
    )
    if newest is None:
        raise OperatorError(f"nothing of board {kid.hex()[:8]} is stored yet; try again when it has sent something")
    return newest
