"""`trigpoint verify`: one receipt file, checked by anyone, without asking whoever made it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trigpoint.commands.node import NodeUrl, NodeUrlFile, node_url

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from trigpoint.verify import Check
    from trigpoint.wire.receipt import ReceiptFile
    from trigpoint.wire.statement import Reading, Statement
    from trigpoint.wire.trust import Trust

_MAX_TRUST_BYTES = 4_096  # trigpoint.wire.trust
_MAX_RECEIPT_BYTES = 16_384  # docs/protocol.md section 10
_LONG_HEX = re.compile(r"((?:0x)?[0-9a-f]{8})[0-9a-f]{32,}")
"""Ids and hashes: beside a check their first digits are enough, for the whole ones follow below."""

_MARKS = {"ok": ("✓", "green"), "failed": ("✗", "bold red"), "skipped": ("–", "yellow")}


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The receipt file (*.cose).", show_default=False)],
    trust: Annotated[
        Path | None,
        typer.Option(
            "--trust",
            metavar="TRUST.JSON",
            help="What you trust: chain, contracts and log key, as a gateway exports them.",
            show_default=False,
        ),
    ] = None,
    rpc: NodeUrl = None,
    rpc_file: NodeUrlFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Check a receipt file: this board, these values, this time, and nothing changed since.

    Works offline. With --rpc it also checks on the chain that the anchor is there, that the log key is the log's, and
    that the board was registered when the log was anchored. Without --trust only what the file proves by itself is
    checked, and the file is not called verified.

    Exit code: 0 only if every check holds, else 1.

    Example: trigpoint verify receipt.cose --trust trust.json
    """
    from rich.console import Console

    found = examine(file, trust, node_url(rpc, rpc_file))
    if as_json:
        typer.echo(json.dumps(as_dict(file, found), indent=2))
    else:
        show(Console(highlight=False), file, found)
        if trust is None:
            typer.echo("Next: get trust.json from somebody whom you trust, and add --trust trust.json")
    raise typer.Exit(0 if found.verified else 1)


@dataclass(frozen=True)
class Examined:
    """What came of a receipt file: its content if it could be read, every check, and whether all of them hold."""

    receipt: ReceiptFile | None
    checks: list[Check]
    verified: bool


def examine(file: Path, trust: Path | None, rpc: str | None) -> Examined:
    """Make all checks that can be made with what is given.

    Args:
        file: the receipt file.
        trust: the trust file.
        rpc: a node of the chain, for the four checks that need one.

    Raises:
        OperatorError: a file cannot be read, the trust file is not one, or `rpc` is no URL.
    """
    from trigpoint.verify import verify_offline

    data = _read(file, _MAX_RECEIPT_BYTES, "the receipt file")
    trusted = load_trust(trust)
    verdict = verify_offline(data, trusted)
    checks = [*verdict.checks, *([] if rpc is None else _on_chain(rpc, verdict.receipt, trusted))]
    return Examined(verdict.receipt, checks, verdict.verified and all(check.status == "ok" for check in checks))


def as_dict(file: Path, found: Examined) -> dict[str, object]:
    """Return the result as plain JSON data; `statement`, `place` and `anchor` are null if the file could not be read.

    A value is `mantissa` and `exponent` as the board signed them, and the same as decimal text, so that no reader's
    floats come between. `time` is in seconds since 1970; a board whose clock was not set gives `seconds_before_signing`
    in its place.
    """
    result: dict[str, object] = {
        "file": str(file),
        "verified": found.verified,
        "checks": [{"name": check.name, "status": check.status, "detail": check.detail} for check in found.checks],
        "statement": None,
        "place": None,
        "anchor": None,
    }
    receipt = found.receipt
    if receipt is None:
        return result
    statement, anchor = receipt.statement, receipt.anchor
    result["statement"] = {
        "board": statement.kid.hex(),
        "seq": statement.seq,
        "readings": [
            {
                "name": reading.name,
                "unit": reading.unit,
                "value": decimal_text(reading),
                "mantissa": reading.mantissa,
                "exponent": reading.exponent,
                "time": None if statement.base_time is None else statement.base_time + reading.t,
                "seconds_before_signing": -reading.t if statement.base_time is None else None,
            }
            for reading in statement.readings
        ],
    }
    result["place"] = {"log_id": receipt.log_id.hex(), "index": receipt.index, "size": receipt.size}
    if anchor is not None:
        result["anchor"] = {
            "chain_id": anchor.chain_id,
            "contract": "0x" + anchor.contract.hex(),
            "size": anchor.size,
            "root": anchor.root.hex(),
            "transaction": "0x" + anchor.transaction.hex(),
            "block": anchor.block,
        }
    return result


def show(console: Console, file: Path, found: Examined) -> None:
    """Print the checks, then what the file says, then the verdict in one line.

    All text from the file is printed as text, never as markup.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for check in found.checks:
        mark, style = _MARKS[check.status]
        table.add_row(Text(mark, style=style), Text(check.name), Text(_LONG_HEX.sub(r"\1…", check.detail), style="dim"))
    console.print(table)
    if found.receipt is not None:
        console.print()
        console.print(_facts(found.receipt))
        console.print()
        console.print(_readings(found.receipt.statement))
    console.print()
    if found.verified:
        console.print(Text(f"VERIFIED  {file.name}", style="bold green"))
        return
    failed = [check.name for check in found.checks if check.status == "failed"]
    unmade = [check.name for check in found.checks if check.status == "skipped"]
    reason = f"failed: {', '.join(failed)}" if failed else f"could not check: {', '.join(unmade)}"
    console.print(Text(f"NOT VERIFIED  {file.name}: {reason}", style="bold red" if failed else "bold yellow"))


def decimal_text(reading: Reading) -> str:
    """Return the value as decimal text with the sensor's resolution kept: 2150 and -2 give `21.50`."""
    return format(Decimal(reading.mantissa).scaleb(reading.exponent), "f")


def time_text(statement: Statement, reading: Reading) -> str:
    """Return the reading's time in UTC, or how long before signing it was if the board's clock was not set."""
    if statement.base_time is None:
        return f"{-reading.t:,} s before signing"
    return datetime.fromtimestamp(statement.base_time + reading.t, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _facts(receipt: ReceiptFile) -> Table:
    from rich.table import Table
    from rich.text import Text

    anchor = receipt.anchor
    table = Table.grid(padding=(0, 2, 0, 0))
    facts = [
        ("board", receipt.statement.kid.hex()),
        ("statement", f"number {receipt.statement.seq} of this board"),
        ("log", receipt.log_id.hex()),
        ("place", f"index {receipt.index:,} of {receipt.size:,}"),
    ]
    if anchor is None:
        facts.append(("anchor", "none yet: signed by the log alone"))
    else:
        facts.append(("anchor", f"block {anchor.block:,} of chain {anchor.chain_id}"))
        facts.append(("contract", f"0x{anchor.contract.hex()}"))
        facts.append(("transaction", f"0x{anchor.transaction.hex()}"))
    for name, value in facts:
        table.add_row(Text(name, style="cyan"), Text(value, overflow="fold"))
    return table


def _readings(statement: Statement) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("time (UTC)")
    table.add_column("quantity")
    table.add_column("value", justify="right")
    table.add_column("unit")
    shown_time = ""
    for reading in statement.readings:
        when = time_text(statement, reading)
        table.add_row("" if when == shown_time else when, Text(reading.name), decimal_text(reading), Text(reading.unit))
        shown_time = when
    return table


def _read(path: Path, limit: int, what: str) -> bytes:
    from trigpoint.errors import OperatorError

    try:
        with path.open("rb") as file:
            return file.read(limit + 1)  # one more, so that a longer file is seen as longer and not as cut
    except OSError as error:
        raise OperatorError(
            f"cannot read {what} {path}: {error.strerror}; give the path of an existing file"
        ) from error


def load_trust(path: Path | None) -> Trust | None:
    """Read the trust file at `path`, if one is named.

    Raises:
        OperatorError: it cannot be read, or is no trust file.
    """
    from trigpoint.errors import OperatorError
    from trigpoint.wire.errors import WireError
    from trigpoint.wire.trust import Trust

    if path is None:
        return None
    try:
        return Trust.from_json(_read(path, _MAX_TRUST_BYTES, "the trust file").decode())
    except (WireError, UnicodeDecodeError) as error:
        raise OperatorError(f"{path} is not a trust file: {error}; get trust.json from the gateway again") from error


def _on_chain(rpc: str, receipt: ReceiptFile | None, trusted: Trust | None) -> list[Check]:
    from trigpoint.verify import Check

    if trusted is None or receipt is None:
        missing = f"Not checked: {'there is no trust file' if trusted is None else 'the file could not be read'}."
        return [Check(name, "skipped", missing) for name in ("chain", "log on chain", "anchor on chain", "registry")]
    from trigpoint.chain.client import open_node
    from trigpoint.chain.confirm import confirm

    return confirm(open_node(rpc), receipt, trusted)
