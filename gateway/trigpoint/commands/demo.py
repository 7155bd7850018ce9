"""`trigpoint demo`: the whole system on real weather, attacked while it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def demo(
    directory: Annotated[
        Path, typer.Option("--directory", metavar="DIR", help="Where the run's files and its summary go.")
    ] = Path("build/demo"),
) -> None:
    """Run the whole system here, attack it, and prove what came out. Takes about a minute.

    Starts a local chain, a broker, a gateway and six emulated boards that measure real weather at a fast pace. While
    they run it cuts a board's power, takes the broker down, kills the gateway, and sends forged messages. Then it
    counts every reading, from the sensor's own count to the chain. Needs no network and leaves no process behind.

    Leaves summary.json, receipt.cose and trust.json in DIR. Files of an earlier run in DIR are replaced.

    Exit code: 0 if nothing was lost, duplicated or wrongly accepted, else 1.

    Example: trigpoint demo, and then: trigpoint verify build/demo/receipt.cose --trust build/demo/trust.json
    """
    try:
        from trigpoint_tools.demo.run import run
    except ModuleNotFoundError as error:
        from trigpoint.errors import OperatorError

        raise OperatorError(
            f"the demo needs the package {error.name}; install its parts with: pip install 'trigpoint[emulator]'"
        ) from error
    raise typer.Exit(run(directory, program=_own_name(Path(sys.argv[0]), Path.cwd())))


def _own_name(program: Path, here: Path) -> str:
    """Return how to call this program again from `here`: by its path if that leads down from there, else by its name.

    After `make demo` the program is in .venv/bin, which is on nobody's PATH yet.
    """
    path = here / program
    return str(path.relative_to(here)) if path.is_relative_to(here) and path.exists() else "trigpoint"
