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
"""Told what is going on and how much of it is done, 0 to 1. In this order: look, firmware, erase (if it was asked for),
write, start, install, ready."""

Choose = Callable[[str], Firmware]
"""From a chip's name to its firmware."""


@dataclass(frozen=True)
class Flashed:
    """A board that is ready to be enrolled.

    Attributes:
        port: where it is now: native USB can come back under another name.
        chip: what it is.
        version: MicroPython's.
        place: where the application is: /rom, /a or /b.
        files: how many files were written; 0 if all were there.
    """

    port: ports.Port
    chip: Chip
    version: str
    place: str
    files: int


def flash(
    port: ports.Port,
    choose: Choose,
    files: Mapping[str, bytes],
    stage: Stage = lambda what, part: None,
    *,
    found: Callable[[Chip], None] = lambda chip: None,
    erase: bool = False,
    restart: bool = False,
    esptool: Callable[[str], Esptool] = Esptool,
    sleep: Callable[[float], None] = time.sleep,
) -> Flashed:
    """Flash a board and install the application.

    Args:
        port: where it is.
        choose: gives the firmware, once the chip is known.
        files: as `install.application` gives them.
        stage: told of the progress.
        found: told of the chip.
        erase: whether to erase the whole flash before, and with it key and journal.
        restart: whether to start the application when it is installed; else the board stays at its prompt.
        esptool: makes the esptool for a port.
        sleep: waits.

    Raises:
        OperatorError: a step failed, with the remedy; the same call finishes the job.
    """
    stage("look", 0.0)
    ports.check(port)
    tool = esptool(port.device)
    chip = tool.identify()
    found(chip)
    stage("firmware", 0.0)
    chosen = choose(chip.name)
    content = firmware.pieces(chosen, chosen.path.read_bytes())
    start, end = chosen.rom
    image = install.rom(files)
    in_rom = len(image) <= end - start
    if in_rom:
        content.append((start, image))
    end = max(offset + len(data) for offset, data in content)
    if chip.flash and end > chip.flash:
        raise OperatorError(
            f"{chosen.path} needs more than the {chip.flash >> 20} MB of flash at {port.device}: take a smaller build"
        )
    if erase:
        stage("erase", 0.0)
        tool.erase(chip.name)
    stage("write", 0.0)
    with tempfile.TemporaryDirectory(prefix="trigpoint-") as folder:
        pieces = []
        for offset, data in content:
            path = Path(folder) / f"{offset:#x}.bin"
            path.write_bytes(data)
            pieces.append((offset, path))
        tool.write(chip.name, pieces, lambda part: stage("write", part))
    stage("start", 0.0)
    port, session = await_prompt(port, chip, sleep)
    with session:
        stage("install", 0.0)
        place = "/rom" if in_rom else install.active_slot(session)
        done = install.install(session, files, lambda part: stage("install", part), in_rom=in_rom)
        if restart:
            session.restart()
    stage("ready", 1.0)
    return Flashed(port, chip, chosen.version, place, len(done.write))


def await_prompt(
    port: ports.Port, chip: Chip, sleep: Callable[[float], None] = time.sleep
) -> tuple[ports.Port, Session]:
    """Open the prompt of a board that has just been reset; the first start of a new one formats its flash.

    Returns:
        The port, under the name that it has now, and the session.

    Raises:
        OperatorError: MicroPython did not come up.
    """
    began = time.monotonic()
    while True:
        try:
            return port, Session(port.device)
        except OperatorError as error:
            if time.monotonic() - began > _PROMPT_S:
                raise OperatorError(
                    f"MicroPython is on the board at {port.device} but does not answer: press its RESET button and run "
                    "this again; if that does not help, --erase removes what runs on it, and with it its key"
                ) from error
        sleep(_PAUSE_S)
        port = ports.moved(port, chip.mac, ports.find())
