"""The command `trigpoint`: what it offers, and how it fails. The work itself is in `trigpoint.commands` and below.

Parts are imported inside the commands that need them, so that `--help` and `verify` start at once.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from trigpoint.commands.api import serve, token
from trigpoint.commands.board import board
from trigpoint.commands.chain import chain
from trigpoint.commands.demo import demo
from trigpoint.commands.fleet import fleet
from trigpoint.commands.gateway import LOOK_AFTER, RUN, SET_UP, gateway
from trigpoint.commands.gateway_backup import backup, restore
from trigpoint.commands.gateway_fsck import fsck
from trigpoint.commands.joinfile import join_file
from trigpoint.commands.log import log
from trigpoint.commands.receipt import receipt
from trigpoint.commands.verify import verify

_EXIT_CODES = "Exit codes: 0 done; 1 failed, or not verified; 2 wrong use of the command; 130 stopped with Ctrl-C."

app = typer.Typer(
    name="trigpoint",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXIT_CODES,
)
app.command(rich_help_panel="See it work")(demo)
app.add_typer(fleet, name="fleet", rich_help_panel="See it work")
app.command(rich_help_panel="Prove a reading")(verify)
app.add_typer(receipt, name="receipt", rich_help_panel="Prove a reading")
app.add_typer(log, name="log", rich_help_panel="Prove a reading")
gateway.command(rich_help_panel=RUN)(serve)
gateway.command(rich_help_panel=LOOK_AFTER)(fsck)
gateway.command(rich_help_panel=LOOK_AFTER)(backup)
gateway.command(rich_help_panel=LOOK_AFTER)(restore)
gateway.add_typer(token, name="token", rich_help_panel=SET_UP)
gateway.command(rich_help_panel=SET_UP)(join_file)
app.add_typer(gateway, name="gateway", rich_help_panel="Run your own")
app.add_typer(chain, name="chain", rich_help_panel="Run your own")
app.add_typer(board, name="board", rich_help_panel="Run your own")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"trigpoint {version('trigpoint')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="TRIGPOINT_DEBUG", help="On an error, show the whole traceback.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Readings from cheap boards that a stranger can build on: signed, logged, anchored, provable offline.

    To see the whole system work, attack itself and prove what came out: trigpoint demo

    To check a receipt that somebody gave you: trigpoint verify receipt.cose --trust trust.json
    """
    if debug:
        os.environ["TRIGPOINT_DEBUG"] = "1"  # main() reads it, and so do the processes that a command starts


def main() -> None:
    """Run the command and leave the process; an error is one line that says what to do next."""
    try:
        app(prog_name="trigpoint")
    except Exception as error:
        if os.environ.get("TRIGPOINT_DEBUG"):
            raise
        typer.echo(f"error: {one_line(error)}", err=True)
        sys.exit(1)


def one_line(error: Exception) -> str:
    """Return the error as one line: an operator's error as it is, any other with the way to find its cause."""
    import sqlite3

    from trigpoint.errors import OperatorError

    # Words of boards and of files may be in it, which are not to steer a terminal.
    text = "".join(char if char.isprintable() else "?" for char in " ".join(str(error).split()))
    if isinstance(error, OperatorError):
        return text
    if isinstance(error, sqlite3.Error):
        return f"the database: {text}; look at the disk (dmesg), then let `trigpoint gateway fsck` look at the database"
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; `trigpoint --debug ...` shows where"
    return f"unexpected {type(error).__name__}: {text}; please report it with the output of `trigpoint --debug ...`"
