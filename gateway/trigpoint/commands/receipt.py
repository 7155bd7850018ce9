"""`trigpoint receipt`: take the proof of a statement out of the gateway."""

from __future__ import annotations

import json
import shlex
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trigpoint.commands.gateway import GatewayDirectory

if TYPE_CHECKING:
    import sqlite3

    from trigpoint.config import Config
    from trigpoint.receipts import Issued, Stage
    from trigpoint.wire.receipt import Anchor

_LOOK_EVERY_S = 1.0
_MAX_RECEIPT_BYTES = 16_384  # docs/protocol.md section 10

receipt = typer.Typer(no_args_is_help=True, help="Take the proof of a statement out of a gateway.")


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
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until its anchor is final, and the receipt names it.")
    ] = False,
    timeout: Annotated[
        int, typer.Option("--timeout", metavar="SECONDS", min=1, help="With --wait: how long at most.")
    ] = 86_400,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Write the receipt file of one statement: all that a stranger needs, beside trust.json, to verify it.

    The gateway may be running or not. At first a statement is signed by the log alone, and verify says so; then a head
    that covers it is anchored; and once that anchor is final on the chain, the receipt names it. For a board that is no
    longer active that is the first such anchor, else the newest. Without --board and --index it is the newest anchored
    statement of any board. The trust file is DIR/data/public/trust.json.

    Example: trigpoint receipt get gw --board 3fa2c1d0 --output receipt.cose
    """
    from trigpoint.commands.gateway import load_config
    from trigpoint.errors import OperatorError
    from trigpoint.receipts import Stage
    from trigpoint.wire.receipt import parse

    if (seq is not None and board is None) or (index is not None and board is not None):
        raise OperatorError("say which statement: --board ID, with --seq N if not the newest, or --index N alone")
    config = load_config(directory)
    issued = issue(config, board, seq, index)
    file = parse(issued.data)
    if wait and issued.stage is not Stage.FINAL:
        issued = _wait(config, file.index, timeout)
        file = parse(issued.data)
    try:
        output.write_bytes(issued.data)
    except OSError as error:
        raise OperatorError(f"cannot write {output}: {error.strerror}; choose another --output") from error
    trust = config.public / "trust.json"
    if as_json:
        answer = {
            "file": str(output),
            "trust": str(trust),
            "board": file.statement.kid.hex(),
            "seq": file.statement.seq,
            "index": file.index,
            "size": file.size,
            "state": str(issued.stage),
        }
        typer.echo(json.dumps(answer, indent=2))
    else:
        typer.echo(f"Wrote {output}: statement {file.statement.seq} of board {file.statement.kid.hex()}.")
        typer.echo(_described(issued.stage, issued.anchor))
        next_words = ["trigpoint", "verify", str(output), "--trust", str(trust)]
        if issued.stage is not Stage.FINAL:
            next_words = ["trigpoint", "receipt", "upgrade", str(directory), str(output)]
        typer.echo(f"Next: {shlex.join(next_words)}")
    if wait and issued.stage is not Stage.FINAL:
        raise OperatorError(f"it is not final after {timeout} s; the receipt that was written is {issued.stage}")


@receipt.command()
def upgrade(
    directory: GatewayDirectory,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Receipt files from this gateway.", show_default=False)
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Put the better receipt in the place of each FILE, once there is one.

    A receipt that the log alone has signed gets its anchor when that is final. One whose anchor has left the chain
    again, or that is damaged, is issued anew as well. Each file stays the same statement, and is replaced as a whole or
    not at all.

    Example: trigpoint receipt upgrade gw receipt.cose
    """
    from trigpoint.commands.gateway import load_config

    config = load_config(directory)
    answers = []
    for file in files:
        before, after, described = _upgrade(config, file)
        answers.append({"file": str(file), "before": before, "state": after})
        if not as_json:
            typer.echo(f"{file}: {before} -> {after}" if before != after else f"{file}: as before, {described}")
    if as_json:
        typer.echo(json.dumps({"receipts": answers}, indent=2))


def issue(config: Config, board: str | None, seq: int | None = None, index: int | None = None) -> Issued:
    """Issue the receipt of a statement: of number seq of a board, of a place, or the newest anchored.

    Raises:
        OperatorError: there is none, or the gateway's files cannot be read.
    """
    from trigpoint import receipts
    from trigpoint.keyfiles import load_log_key
    from trigpoint.store.database import open_database

    log_key = load_log_key(config.log.key_file)
    with closing(open_database(config.database, read_only=True)) as connection:
        if board is None:
            return receipts.issue(connection, log_key, index=newest_place(connection) if index is None else index)
        kid = find_board(connection, board)
        return receipts.issue(connection, log_key, kid=kid, seq=newest(connection, kid) if seq is None else seq)


def _wait(config: Config, index: int, timeout_s: int) -> Issued:
    """Wait until the anchor is final, or the time is over; say on a terminal what is waited for."""
    from rich.console import Console

    from trigpoint.receipts import Stage

    deadline = time.monotonic() + timeout_s
    console = Console(stderr=True, highlight=False)
    with console.status("") as status:
        while True:
            issued = issue(config, None, index=index)
            if issued.stage is Stage.FINAL or time.monotonic() >= deadline:
                return issued
            status.update(_described(issued.stage, issued.anchor))
            time.sleep(_LOOK_EVERY_S)


def _described(stage: Stage, anchor: Anchor | None) -> str:
    from trigpoint.receipts import Stage

    if anchor is None:
        return "signed: the log has signed it; it waits for the next anchor."
    where = f"block {anchor.block:,} of chain {anchor.chain_id}"
    if stage is Stage.FINAL:
        return f"final: anchored in {where}."
    return f"anchored: in {where}, which is not final yet, so the receipt does not name it."


def _upgrade(config: Config, path: Path) -> tuple[str, str, str]:
    """Upgrade one file; return how it stood before, how it stands now, and that in a sentence."""
    from trigpoint import receipts
    from trigpoint.errors import OperatorError
    from trigpoint.files import write_whole
    from trigpoint.keyfiles import load_log_key
    from trigpoint.store.database import open_database
    from trigpoint.wire.errors import WireError
    from trigpoint.wire.receipt import parse

    try:
        with path.open("rb") as file:
            held = parse(file.read(_MAX_RECEIPT_BYTES + 1))
    except OSError as error:
        raise OperatorError(f"cannot read {path}: {error.strerror}; give receipt files that exist") from error
    except WireError as error:
        raise OperatorError(f"{path} is no receipt file: {error}") from error
    log_key = load_log_key(config.log.key_file)
    with closing(open_database(config.database, read_only=True)) as connection:
        try:
            better = receipts.upgrade(connection, log_key, held)
        except OperatorError as error:
            raise OperatorError(f"{path}: {error}") from error
        if better is None:
            stage, anchor = receipts.Stage.FINAL, held.anchor
            if anchor is None:
                now = receipts.issue(connection, log_key, kid=held.statement.kid, seq=held.statement.seq)
                stage, anchor = now.stage, now.anchor
            return str(stage), str(stage), _described(stage, anchor)
        damaged = not receipts.is_sound(held, parse(better.data).board_key, log_key)
    try:
        write_whole(path, better.data)
    except OSError as error:
        raise OperatorError(f"cannot write {path}: {error.strerror}; it is as it was") from error
    before = "signed" if held.anchor is None else "an anchor that left the chain"
    return "damaged" if damaged else before, str(better.stage), _described(better.stage, better.anchor)


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
        raise OperatorError(
            f"more than one board begins with {prefix} ({len(found)}); give more digits of the board's id"
        )
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
