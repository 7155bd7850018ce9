"""`trigpoint gateway fsck`: check all that a gateway keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trigpoint.words import counted

if TYPE_CHECKING:
    from trigpoint.config import Config
    from trigpoint.fsck.anchors import OnChain
    from trigpoint.fsck.check import Scope
    from trigpoint.fsck.findings import Progress, Report

_MARKS = {"ok": "[green]✓[/green]", "skipped": "[dim]–[/dim]", "broken": "[bold red]✗[/bold red]"}


def fsck(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The gateway's directory, as `gateway init` made it.", show_default=False),
    ],
    *,
    signatures: Annotated[
        bool, typer.Option("--signatures", help="Verify the board's signature on every statement, on all cores.")
    ] = False,
    chain: Annotated[bool, typer.Option("--chain", help="Compare with the contract on the chain as well.")] = False,
    backup: Annotated[
        Path | None,
        typer.Option("--backup", metavar="FILE", help="Check this backup instead of the database.", show_default=False),
    ] = None,
    mend: Annotated[
        bool,
        typer.Option("--mend", help="Make anew what follows from the statements, if that is broken. Stop the gateway."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Check all that a gateway keeps: every statement, the log, the index, the public files, the anchors.

    It reads each statement, follows each board's chain, builds the log again and compares. Of each check that finds
    something broken it names the first broken row and what to do. It changes nothing, and the gateway may be running.

    With --mend it changes what can be made again from the statements, and never a statement.

    Exit code: 0 if nothing is broken, else 1.

    Example: trigpoint gateway fsck gw --chain
    """
    from trigpoint.commands.gateway import load_config
    from trigpoint.errors import OperatorError

    if mend and backup is not None:
        raise OperatorError("a backup is never changed: leave out --mend, or restore it first")
    config = load_config(directory)
    report = examine(config, backup, signatures=signatures, chain=chain, quiet=as_json)
    if mend and _can_mend(report):
        _mend(config)
        report = examine(config, signatures=signatures, chain=chain, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        show(report)
    raise typer.Exit(0 if report.clean else 1)


def examine(
    config: Config, backup: Path | None = None, *, signatures: bool = False, chain: bool = False, quiet: bool = False
) -> Report:
    """Check a gateway's database and files, or a backup of its database.

    Raises:
        OperatorError: the database or a key cannot be opened.
    """
    from trigpoint.fsck.check import Scope
    from trigpoint.keyfiles import load_log_key

    scope = Scope(
        public=config.public if backup is None else None,
        log_key=load_log_key(config.log.key_file).public_key().public_bytes_raw(),
        signatures=signatures,
        chain=_on_chain(config) if chain else None,
    )
    return check_file(backup or config.database, scope, quiet=quiet)


def check_file(database: Path, scope: Scope, *, quiet: bool) -> Report:
    """Check a database file, with a progress bar unless `quiet`. Raises OperatorError if it cannot be opened."""
    from trigpoint.fsck.check import check, check_schema
    from trigpoint.store.database import open_database

    with closing(open_database(database, read_only=True)) as connection, show_progress(quiet=quiet) as progress:
        check_schema(connection, database)
        return check(connection, scope, progress)


def show(report: Report) -> None:
    """Print what each check came to, and what to do about what is broken."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    lines = Table.grid(padding=(0, 2, 0, 0))
    lines.add_column(no_wrap=True)
    lines.add_column(no_wrap=True)
    lines.add_column()
    for finding in report.findings:
        detail = f"{finding.where}: {finding.detail}" if finding.where else finding.detail
        style = {"broken": "red", "skipped": "dim"}.get(finding.status, "default")
        lines.add_row(_MARKS[finding.status], finding.check, f"[{style}]{escape(detail)}[/{style}]")
        if finding.remedy:
            lines.add_row("", "", escape(f"What to do: {finding.remedy}."))
    console.print(lines)
    rate = f", {report.statements / report.seconds:,.0f} statements/s" if report.seconds >= 1 else ""
    broken = len(report.broken)
    said = (
        "[green]Nothing is broken[/green]" if report.clean else f"[bold red]Broken: {broken} of the checks[/bold red]"
    )
    console.print(f"\n{said}: {counted(report.statements, 'statement')} in {report.seconds:.1f} s{rate}.")


def _on_chain(config: Config) -> OnChain:
    from trigpoint.chain.client import connect
    from trigpoint.chain.node import address_bytes
    from trigpoint.fsck.anchors import OnChain

    web3 = connect(config.chain.rpc_url, config.chain.chain_id)
    return OnChain(web3, config.chain.chain_id, address_bytes(config.chain.transparency_log))


def _can_mend(report: Report) -> bool:
    """Tell whether something is broken, and nothing but what can be made again."""
    from trigpoint.fsck.mend import FOLDED

    return not report.clean and all(finding.check in FOLDED for finding in report.broken)


def _mend(config: Config) -> None:
    from trigpoint.fsck.mend import fold_again
    from trigpoint.lock import only_one
    from trigpoint.store.writer import Writer

    with only_one(config.data), Writer(config.database) as writer:
        writer.submit(fold_again)


@contextmanager
def show_progress(*, quiet: bool) -> Iterator[Progress]:
    """Show on standard error how far it is, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def tell(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        yield tell
