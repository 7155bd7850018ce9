"""What the demo leaves: one table for people, and summary.json for programs."""

from __future__ import annotations

import io
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trigpoint_tools.demo.accounting import Account
from trigpoint_tools.demo.attacker import KINDS

WIDTH = 80


@dataclass(frozen=True)
class Gas:
    """What the chain's work cost, in units of gas."""

    deploy: int
    register_each: int
    anchor_mean: int


@dataclass(frozen=True)
class Outcome:
    """All that a run has shown.

    Attributes:
        boards: how many took part.
        account: the audit.
        acks_forged: forged acks sent to boards.
        anchors: heads of the log on the chain.
        anchored_size: leaves under the newest of them.
        gas: what the chain's work cost.
        receipts_verified: boards of which a receipt was verified, offline and on the chain.
        flips_refused: one-byte changes of a receipt that the verifier refused, of `flips_tried`.
        flips_tried: one-byte changes tried.
        worst_time_ms: by how much the worst of the boards' times is off, in milliseconds of this machine.
        seconds: how long the run took.
        faults: sentences; the demo fails if there is one.
    """

    boards: int
    account: Account
    acks_forged: int
    anchors: int
    anchored_size: int
    gas: Gas
    receipts_verified: int
    flips_tried: int
    flips_refused: int
    worst_time_ms: int
    seconds: float
    faults: tuple[str, ...]


def summary(outcome: Outcome) -> dict[str, int]:
    """Return the run's figures as a flat object of integers."""
    account = outcome.account
    return {
        "boards": outcome.boards,
        "readings_measured": account.measured,
        "readings_stored": account.stored,
        "statements": account.statements,
        "lost": account.lost,
        "duplicated": account.duplicated,
        "in_ram_at_cut": account.in_ram_at_cut,
        "forged_sent": sum(account.forged_sent.values()) + outcome.acks_forged,
        "forged_stored": account.forged_stored,
        "clones_flagged": account.clones_flagged,
        "anchors": outcome.anchors,
        "receipts_verified": outcome.receipts_verified,
        "gas_deploy": outcome.gas.deploy,
        "gas_register_each": outcome.gas.register_each,
        "gas_anchor_mean": outcome.gas.anchor_mean,
        "worst_time_ms": outcome.worst_time_ms,
        "seconds": round(outcome.seconds),
    }


def write_summary(path: Path, outcome: Outcome) -> None:
    """Write summary.json."""
    path.write_text(json.dumps(summary(outcome), indent=2) + "\n")


def table(outcome: Outcome) -> Table:
    """Return the one table that says what came out."""
    account = outcome.account
    result = Table(
        box=box.HORIZONTALS,
        title="From board to chain: what came out",
        title_style="bold",
        show_header=False,
        width=WIDTH,
        padding=(0, 1),
    )
    result.add_column(style="cyan", no_wrap=True)
    result.add_column(justify="right", style="bold", no_wrap=True)
    result.add_column(style="dim")
    _row(result, "measured", account.measured, f"readings, counted at {outcome.boards} sensors")
    _row(result, "stored", account.stored, f"in {account.statements:,} signed statements")
    _row(result, "in RAM at power cut", account.in_ram_at_cut, "not signed yet when the power went")
    _row(result, "lost", account.lost, "measured, but not stored", bad=account.lost > 0)
    _row(result, "duplicated", account.duplicated, "stored, but never measured", bad=account.duplicated > 0)
    _row(result, "time off by at most", outcome.worst_time_ms, "ms of this machine, of any reading")
    result.add_section()
    for kind in KINDS:
        sent, refused = account.forged_sent.get(kind, 0), account.refused.get(kind, 0)
        _row(result, f"forged: {kind}", sent, f"{refused} refused", bad=refused != sent)
    _row(result, "forged: acks to boards", outcome.acks_forged, "ignored: no statement was let go")
    _row(result, "forged and stored", account.forged_stored, "", bad=account.forged_stored > 0)
    _row(
        result,
        "clones flagged",
        account.clones_flagged,
        "boards whose key another has used",
        bad=account.clones_flagged == 0,
    )
    result.add_section()
    anchored = f"heads on chain, the last of size {outcome.anchored_size:,}"
    _row(result, "anchored", outcome.anchors, anchored, bad=outcome.anchored_size != account.statements)
    _row(result, "gas of an anchor", outcome.gas.anchor_mean, "mean, with its consistency proof")
    _row(result, "gas of a board", outcome.gas.register_each, f"mean of {outcome.boards} in one transaction")
    _row(result, "gas of deployment", outcome.gas.deploy, "both contracts, once")
    result.add_section()
    short = outcome.receipts_verified < outcome.boards
    _row(result, "receipts verified", outcome.receipts_verified, "one per board, offline and on chain", bad=short)
    flips = f"of {outcome.flips_tried:,} with one byte changed"
    _row(result, "changed ones refused", outcome.flips_refused, flips, bad=outcome.flips_refused < outcome.flips_tried)
    return result


def show(console: Console, outcome: Outcome, directory: Path, program: str) -> None:
    """Print the table, what is wrong if anything is, and what to do next."""
    console.print()
    console.print(table(outcome))
    if outcome.faults:
        for fault in outcome.faults:
            console.print(Text(f"✗ {fault}", style="bold red"))
        console.print(f"The demo FAILED. Its logs are in {directory / 'logs'}.", markup=False)
        return
    console.print(
        Text.assemble(
            ("✓ ", "green"), f"nothing lost, nothing doubled, no forgery accepted, in {outcome.seconds:.0f} s. Next:"
        )
    )
    words = [program, "verify", str(directory / "receipt.cose"), "--trust", str(directory / "trust.json")]
    console.print(Text(f"  {shlex.join(words)}"), soft_wrap=True)


def export_svg(outcome: Outcome, path: Path) -> None:
    """Draw the table as an SVG picture, for documents. It loads no fonts from elsewhere, as rich's pictures do."""
    console = Console(record=True, width=WIDTH, force_terminal=True, color_system="truecolor", file=io.StringIO())
    console.print(table(outcome))
    picture = console.export_svg(title="make demo")
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL))


def _row(result: Table, name: str, value: int, what: str, *, bad: bool | None = None) -> None:
    """Add a row; one that can go wrong is green or red."""
    style = "" if bad is None else "bold red" if bad else "bold green"
    result.add_row(name, Text(f"{value:,}", style=style), what)
