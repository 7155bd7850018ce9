"""Boards at the end of a serial cable, and the tools that drive them, each run as the program that users run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from emulated import CONFIG, ORIGIN, WEATHER
from trigpoint.clock import WorldClock
from trigpoint_tools.emulator.serialcable import FIRMWARE, FLASH, Ports, SerialCable, make_directory

NO_LINES = ("--before", "no-reset", "--after", "no-reset")


@dataclass
class Device:
    """A plugged-in board: its directory, its cable and its ports.

    `link` leads to its pty, and to nothing once it is unplugged: the pty's own name is soon another's.
    """

    directory: Path
    cable: SerialCable
    ports: Ports
    link: Path
    plugged: bool = True

    def unplug(self) -> None:
        """Cut its power, if it has any."""
        if self.plugged:
            self.plugged = False
            self.cable.unplug()

    @property
    def flash(self) -> bytes:
        return (self.directory / FLASH).read_bytes()

    @property
    def firmware(self) -> Path:
        return self.directory / FIRMWARE

    def esptool(self, *words: str | Path, rfc2217: bool = False, fails: bool = False) -> str:
        port = [self.ports.rfc2217] if rfc2217 else [str(self.ports.pty), *NO_LINES]
        return _run([sys.executable, "-m", "esptool", "--port", *port, *map(str, words)], fails=fails)

    def mpremote(self, *words: str | Path, rfc2217: bool = False, fails: bool = False, keys: str = "") -> str:
        port = self.ports.rfc2217 if rfc2217 else str(self.ports.pty)
        return _run([sys.executable, "-m", "mpremote", "connect", port, *map(str, words)], fails=fails, keys=keys)

    def wait_until(self, state: str) -> None:
        """Wait until the cable says that the board does this."""
        end = time.monotonic() + 20
        while self.cable.state != state:
            assert time.monotonic() < end, f"the board does not come to {state}"
            time.sleep(0.02)


def _run(command: list[str], *, fails: bool, keys: str = "") -> str:
    environment = {**os.environ, "COLUMNS": "200"}
    environment.pop("PYTHONUNBUFFERED", None)
    done = subprocess.run(
        command, input=keys, capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    printed = done.stdout + done.stderr
    assert (done.returncode != 0) is fails, printed
    return printed


Plug = Callable[..., Device]


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[Plug]:
    """Make a board, or take up the one of the same name, and plug it in."""
    plugged: list[Device] = []

    def plug_in(name: str = "board", chip: str = "esp32", *, blank: bool = False) -> Device:
        directory = tmp_path / name
        if not directory.exists():
            make_directory(directory, chip, CONFIG, blank=blank)
        cable = SerialCable(directory, WorldClock(ORIGIN, time.time(), 1.0), WEATHER)
        link = tmp_path / f"{name}.tty"
        plugged.append(Device(directory, cable, cable.plug_in(link=link), link))
        return plugged[-1]

    yield plug_in
    for device in plugged:
        device.unplug()
