"""How long the whole demo takes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from trigpoint_tools.demo.run import run


def figures(report: Callable[[str], None]) -> dict[str, int | float]:
    """Run the demo and return its time; set-up is done before.

    Args:
        report: takes a line of progress.

    Raises:
        RuntimeError: the demo found a fault, and then its time means nothing.
    """
    with tempfile.TemporaryDirectory(prefix="trigpoint-bench-") as folder:
        transcript = Path(folder) / "transcript.txt"
        began = time.monotonic()
        with transcript.open("w") as file:
            code = run(Path(folder) / "demo", console=Console(file=file, width=80))
        seconds = time.monotonic() - began
        if code:
            raise RuntimeError(f"the demo failed:\n{transcript.read_text()}")
    report(f"the whole demo, six boards: {seconds:.1f} s")
    return {"demo_seconds": round(seconds, 1)}
