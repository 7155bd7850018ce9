"""`trigpoint demo`: the whole system on real weather, attacked while it runs."""

from __future__ import annotations

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
    raise typer.Exit(run(directory))
