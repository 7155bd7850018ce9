"""`trigpoint log`: audit and mirror anybody's log, and export one's own."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trigpoint.commands.gateway import GatewayDirectory
from trigpoint.commands.node import NodeUrl, NodeUrlFile, node_url
from trigpoint.words import counted

if TYPE_CHECKING:
    from rich.console import Console

    from trigpoint.audit.report import Report

log = typer.Typer(no_args_is_help=True, help="Audit and mirror a log, or export your own.")

_LONG_HEX = re.compile(r"((?:0x)?[0-9a-fA-F]{8})[0-9a-fA-F]{32,}")
_MARKS = {"ok": ("✓", "green"), "failed": ("✗", "bold red"), "skipped": ("–", "yellow")}


@log.command()
def audit(
    place: Annotated[
        str,
        typer.Argument(metavar="URL", help="Where the log's files are, or a directory with them.", show_default=False),
    ],
    *,
    trust: Annotated[
        Path | None,
        typer.Option("--trust", metavar="TRUST.JSON", help="The log that you mean to audit.", show_default=False),
    ] = None,
    rpc: NodeUrl = None,
    rpc_file: NodeUrlFile = None,
    mirror: Annotated[
        Path | None,
        typer.Option(
            "--mirror",
            metavar="DIR",
            help="Keep all files here, and remember what was seen: the next audit then fetches only what is new.",
            show_default=False,
        ),
    ] = None,
    deadline: Annotated[
        float, typer.Option("--deadline", metavar="SECONDS", min=1, help="Give up after so long.")
    ] = 3600,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Audit a log, as anybody can: fetch it, recompute its tree from every entry, and hold it to its word.

    Each tile and entry is verified against the signed checkpoint. With --mirror the log must extend all that it ever
    showed you; with --rpc it must be the one that the chain knows, and begin with the head that is anchored there.
    Run it from time to time, best from another place than the log's: a log cannot show you another history then.

    Exit code: 0 if no check failed, else 1. If the log forked, the proof is written to a file that anybody can check.

    Example: trigpoint log audit https://example.org/log --trust trust.json --mirror mirror
    """
    from rich.console import Console

    url = node_url(rpc, rpc_file)
    report = _audited(place, trust, url, mirror, deadline=deadline, quiet=as_json)
    proof = _write_evidence(report, mirror)
    if as_json:
        typer.echo(json.dumps({**report.as_dict(), "evidence": None if proof is None else str(proof)}, indent=2))
    else:
        show(Console(highlight=False), report)
        if proof is not None:
            typer.echo(f"The proof is in {proof}. Keep it, and show it to others.")
        elif mirror is None and report.passed:
            typer.echo("Next: add --mirror DIR, so that the log is held to what it showed today.")
    raise typer.Exit(0 if report.passed else 1)


@log.command()
def export(
    gateway: GatewayDirectory,
    directory: Annotated[
        Path, typer.Argument(metavar="TO", help="Where to: a new directory, or an earlier export.", show_default=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Copy a gateway's public log as static files, for a web server, object storage or git.

    Only what is new is copied, and each file is verified. The directory is a true copy at every moment; run it again to
    bring it up to date, or to go on after it was stopped. The gateway may be running.

    Example: trigpoint log export gw /var/www/log
    """
    from rich.console import Console

    from trigpoint.audit.export import export as export_log
    from trigpoint.commands.gateway import load_config

    config = load_config(gateway)
    with _progress(Console(stderr=True), "exporting", as_json) as progress:
        done = export_log(config.public, directory, progress)
    if as_json:
        result = {"log_id": done.log_id.hex(), "size": done.size, "before": done.before, "files": done.files}
        typer.echo(json.dumps({**result, "directory": str(directory)}, indent=2))
        return
    new = done.size - done.before
    typer.echo(
        f"{directory} holds {counted(done.size, 'leaf')}, {new:,} of them new; {counted(done.files, 'file')} copied."
    )
    typer.echo(f"Next: serve it, and then anybody can run: trigpoint log audit URL  (or: {_audit_command(directory)})")


def show(console: Console, report: Report) -> None:
    """Print a report for a person."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for check in report.checks:
        mark, style = _MARKS[check.status]
        detail = Text(_LONG_HEX.sub(r"\1…", check.detail), style="bold red" if check.status == "failed" else "dim")
        table.add_row(Text(mark, style=style), Text(check.name), detail)
    console.print(table)
    console.print()
    facts = Table.grid(padding=(0, 2, 0, 0))
    for name, value in _facts(report):
        facts.add_row(Text(name, style="cyan"), Text(value, overflow="fold"))
    console.print(facts)
    console.print()
    failed = [check.name for check in report.checks if check.status == "failed"]
    unmade = [check.name for check in report.checks if check.status == "skipped"]
    if report.evidence is not None:
        console.print(Text(f"FORKED  {report.place}: the log signed two histories", style="bold white on red"))
    elif failed:
        console.print(Text(f"NOT GOOD  {report.place}: failed: {', '.join(failed)}", style="bold red"))
    elif unmade:
        console.print(Text(f"GOOD, but not checked: {', '.join(unmade)}", style="bold yellow"))
    else:
        console.print(Text(f"GOOD  {report.place}", style="bold green"))


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    amount = report.amount
    yield "log", report.trust.log_id.hex()
    if report.head is not None:
        new = "" if report.earlier is None else f", {report.head.size - report.earlier:+,} since the last audit"
        yield "size", f"{counted(report.head.size, 'leaf')}{new}"
        yield "root", report.head.root.hex()
    if report.anchored is not None and report.anchored.size:
        yield (
            "on chain",
            f"{counted(report.anchored.size, 'leaf')}, anchored {_ago(report.anchored.age_s)} before the newest block",
        )
    yield (
        "verified",
        f"{counted(amount.leaves, 'leaf')}; {counted(amount.tiles + amount.bundles, 'file')}, "
        f"{amount.bytes / 1e6:,.1f} MB fetched in {report.seconds:,.1f} s",
    )


def _ago(seconds: int) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _audited(
    place: str, trust: Path | None, rpc: str | None, mirror: Path | None, *, deadline: float, quiet: bool
) -> Report:
    from rich.console import Console

    from trigpoint.audit.auditor import Auditor
    from trigpoint.audit.source import DirectorySource, HttpSource
    from trigpoint.audit.store import Mirror
    from trigpoint.commands.verify import load_trust

    web3 = None
    if rpc is not None:
        from trigpoint.chain.client import open_node

        web3 = open_node(rpc)
    trusted = load_trust(trust)
    with ExitStack() as stack:
        kept = None if mirror is None else Mirror(mirror)
        stack.enter_context(nullcontext() if kept is None else kept.locked())
        if place.startswith(("http://", "https://")):
            source: HttpSource | DirectorySource = stack.enter_context(HttpSource(place, deadline_s=deadline))
        else:
            source = DirectorySource(Path(place))
        progress = stack.enter_context(_progress(Console(stderr=True), "auditing", quiet))
        return Auditor(source, trusted, kept, web3, progress).run()


def _write_evidence(report: Report, mirror: Path | None) -> Path | None:
    from trigpoint.errors import OperatorError
    from trigpoint.files import write_whole

    if report.evidence is None:
        return None
    path = (Path() if mirror is None else mirror / "audit") / report.evidence.name
    try:
        write_whole(path, (json.dumps(report.evidence.content, indent=2) + "\n").encode())
    except OSError as error:
        raise OperatorError(
            f"THE LOG FORKED, but the proof cannot be written to {path}: {error.strerror}; audit from elsewhere"
        ) from error
    return path


@contextmanager
def _progress(console: Console, what: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal; what is done in a moment shows none."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("leaves"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _audit_command(directory: Path) -> str:
    return shlex.join(["trigpoint", "log", "audit", str(directory)])
