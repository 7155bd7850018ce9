"""One board from whatever it was to MicroPython with Trigpoint on it.

    look -> choose the firmware -> write -> wait for the prompt -> install

A second run finishes the job: esptool leaves alone what is in the flash already, and so does the installation. The
board's key and journal outlive it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trigpoint.errors import OperatorError

from trigpoint_tools.serial import firmware, install, ports
from trigpoint_tools.serial.esptool import Chip, Esptool
from trigpoint_tools.serial.firmware import Firmware
from trigpoint_tools.serial.session import Session

_PROMPT_S = 40
_PAUSE_S = 1.0

Stage = Callable[[str, float], None]
"""Told what is going on, in a word or two, and how much of it is done, 0 to 1."""

Choose = Callable[[str], Firmware]
"""From a chip's name to its firmware."""


@dataclass(frozen=True)
class Flashed:
    """A board that is ready to be enrolled.

    Attributes:
        port: where it is.
        chip: what it is.
        version: MicroPython's.
        files: how many files were written; 0 if all were there.
    """

    port: str
    chip: Chip
    version: str
    files: int


def flash(
    port: ports.Port,
    choose: Choose,
    files: Mapping[str, bytes],
    stage: Stage = lambda what, part: None,
    *,
    erase: bool = False,
    esptool: Callable[[str], Esptool] = Esptool,
    sleep: Callable[[float], None] = time.sleep,
) -> Flashed:
    """Flash a board and install the application.

    Args:
        port: where it is.
        choose: gives the firmware, once the chip is known.
        files: as `install.application` gives them.
        stage: told of the progress.
        erase: whether to erase the whole flash before, and with it key and journal.
        esptool: makes the esptool for a port.
        sleep: waits.

    Raises:
        OperatorError: a step failed, with the remedy; the same call finishes the job.
    """
    stage("look", 0.0)
    ports.check(port)
    tool = esptool(port.device)
    chip = tool.identify()
    chosen = choose(chip.name)
    data = chosen.path.read_bytes()
    if chip.flash and chosen.offset + len(data) > chip.flash:
        raise OperatorError(
            f"{chosen.path} needs more than the {chip.flash >> 20} MB of flash at {port.device}: take a smaller build"
        )
    if erase:
        stage("erase", 0.0)
        tool.erase(chip.name)
    with tempfile.TemporaryDirectory(prefix="trigpoint-") as folder:
        pieces = []
        for offset, content in firmware.pieces(chosen, data):
            path = Path(folder) / f"{offset:#x}.bin"
            path.write_bytes(content)
            pieces.append((offset, path))
        stage("write", 0.0)
        tool.write(chip.name, pieces, lambda part: stage("write", part))
    stage("start", 0.0)
    with await_prompt(port.device, sleep) as session:
        done = install.install(session, files, lambda part: stage("install", part))
    stage("ready", 1.0)
    return Flashed(port.device, chip, chosen.version, len(done.write))


def await_prompt(device: str, sleep: Callable[[float], None] = time.sleep) -> Session:
    """Open the prompt of a board that has just been reset; the first start of a new one formats its flash.

    Raises:
        OperatorError: MicroPython did not come up.
    """
    began = time.monotonic()
    while True:
        try:
            return Session(device)
        except OperatorError:
            if time.monotonic() - began > _PROMPT_S:
                raise
        sleep(_PAUSE_S)
