"""The emulated board's serial port: esptool's round trip through its flash, and mpremote's own test suite.

The programs are those that users run, unmodified. The suite is not part of this repository: it needs a checkout of
micropython/micropython, so `make mpremote-suite SUITE=<path>` runs it, after `make bench`, and adds its figures.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trigpoint.clock import WorldClock

from trigpoint_tools.emulator.serialcable import Ports, SerialCable, make_directory
from trigpoint_tools.emulator.weather import Weather

RESULTS = Path("build/bench/results.json")
ROUND_TRIP = 1 << 20
OFFSET = 0x110000

_SURROUNDINGS: dict[str, Any] = {
    "wifi": [{"ssid": "trigpoint", "password": "emulated"}],
    "sensors": [{"type": "bme280", "scl": 22, "sda": 21, "address": 0x76}],
}
_LINE = re.compile(r"^\S*?/?(test_\w+)\.sh: (\w+)$")
_NO_LINES = ("--before", "no-reset", "--after", "no-reset")
_PATIENCE_S = 900

# The tests that fail for a reason outside of the emulated board: what their difference shows, and what it means.
KNOWN: dict[str, tuple[str, str]] = {
    "resume": ("no device found", "ends with a connection by USB id, and a pty has none"),
    "unicode": (r"\u65e5\u672c\u8a9e", "wants a repr() of non-ASCII text that is newer than the interpreter"),
}


@dataclass(frozen=True)
class Outcome:
    """How one test of the suite ended.

    Attributes:
        name: the test's.
        passed: whether its output is the expected one.
        difference: the lines of the difference, or what else the suite said.
    """

    name: str
    passed: bool
    difference: str

    @property
    def reason(self) -> str:
        """Why it failed, in words if that is known."""
        sign, why = KNOWN.get(self.name.removeprefix("test_"), ("", ""))
        return why if sign and sign in self.difference else self.difference


@contextmanager
def plugged_in(directory: Path, *, blank: bool) -> Iterator[Ports]:
    """Make a board in the directory and plug it in."""
    weather = Weather.load("JFK")
    make_directory(directory, "esp32", _SURROUNDINGS, blank=blank)
    cable = SerialCable(directory, WorldClock(weather.first, time.time(), 1), weather)
    ports = cable.plug_in()
    try:
        yield ports
    finally:
        cable.unplug()


def round_trip(directory: Path, size: int) -> int:
    """Write random bytes with esptool, which verifies them by MD5, and read them back.

    Returns:
        How many bytes came back as they were sent.

    Raises:
        RuntimeError: esptool failed, or did not verify.
    """
    sent, back = directory / "sent.bin", directory / "back.bin"
    sent.write_bytes(hashlib.shake_128(b"round trip").digest(size))
    with plugged_in(directory / "board", blank=True) as ports:
        if "Hash of data verified" not in _esptool(ports, "write-flash", hex(OFFSET), str(sent)):
            raise RuntimeError("esptool did not verify what it wrote")
        _esptool(ports, "read-flash", hex(OFFSET), str(size), str(back))
    return sum(one == other for one, other in zip(sent.read_bytes(), back.read_bytes(), strict=True))


def _esptool(ports: Ports, *words: str) -> str:
    command = [sys.executable, "-m", "esptool", "--port", str(ports.pty), *_NO_LINES, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    if done.returncode:
        raise RuntimeError(f"esptool failed: {(done.stdout + done.stderr)[-500:]}")
    return done.stdout


def parse_suite(printed: str) -> list[Outcome]:
    """Return the outcomes that the suite's output tells of; a skipped test is none."""
    outcomes: list[Outcome] = []
    name, verdict, lines = "", "", list[str]()

    def end() -> None:
        if name and verdict != "skip":
            outcomes.append(Outcome(name, verdict == "OK", "\n".join(lines)))

    for line in printed.splitlines():
        found = _LINE.match(line)
        if found:
            end()
            name, verdict, lines = found[1], found[2], []
        else:
            lines.append(line)
    end()
    return outcomes


def run_suite(checkout: Path, directory: Path) -> list[Outcome]:
    """Run mpremote's own tests of a checkout of micropython/micropython against a new board.

    Raises:
        RuntimeError: there are none, or they do not start.
    """
    script = checkout.resolve() / "tools" / "mpremote" / "tests" / "run-mpremote-tests.sh"
    if not script.is_file():
        raise RuntimeError(
            f"{script} is missing; name a checkout of micropython/micropython: make mpremote-suite SUITE="
        )
    if "getopts" not in script.read_text():
        raise RuntimeError(f"{script} is older than its option -t; take a checkout of 27 July 2026 or later")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}
    # With it Python writes byte by byte, and two tests compare how output of two programs is mixed.
    environment.pop("PYTHONUNBUFFERED", None)
    with plugged_in(directory / "board", blank=False) as ports:
        time.sleep(2)
        done = subprocess.run(
            ["bash", str(script), "-t", str(ports.pty)],
            cwd=script.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
        )
    outcomes = parse_suite(done.stdout)
    if not outcomes:
        raise RuntimeError(f"the suite did not run: {(done.stdout + done.stderr)[-500:]}")
    return outcomes


def figures(report: Callable[[str], None]) -> dict[str, int | float]:
    """Measure the round trip; `report` is told what goes on.

    Returns:
        esptool_roundtrip_bytes: bytes written, verified and read back equal in one run.

    Raises:
        EmulatorError, RuntimeError: the board or esptool failed.
    """
    report(f"{ROUND_TRIP:,} bytes to an emulated board's flash and back with esptool: some seconds")
    with tempfile.TemporaryDirectory(prefix="trigpoint-serial-") as folder:
        return {"esptool_roundtrip_bytes": round_trip(Path(folder), ROUND_TRIP)}


def main(arguments: list[str]) -> int:
    """Run the suite of the checkout that is named, print each outcome, and add the figures to the results.

    Exit code 0 when nothing failed but what is known to, 1 otherwise, 2 when it could not be run.
    """
    if len(arguments) != 1 or not arguments[0]:
        print("error: name a checkout of micropython/micropython: make mpremote-suite SUITE=<path>")
        return 2
    print("mpremote's own tests against an emulated board: about a minute", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="trigpoint-serial-") as folder:
            outcomes = run_suite(Path(arguments[0]), Path(folder))
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        print(f"error: {error}")
        return 2
    for outcome in outcomes:
        print(f"  {'passed' if outcome.passed else 'FAILED'}  {outcome.name}")
        if not outcome.passed:
            print("          " + outcome.reason.replace("\n", "\n          "))
    passed = sum(outcome.passed for outcome in outcomes)
    print(f"mpremote_suite_passed {passed} of {len(outcomes)}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results |= {"mpremote_suite_passed": passed, "mpremote_suite_tests": len(outcomes)}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    unknown = [outcome for outcome in outcomes if not outcome.passed and outcome.reason == outcome.difference]
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
