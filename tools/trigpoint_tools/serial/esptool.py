"""Runs esptool as a program of its own (its licence is the GPL), and reads what it prints.

lines -> Reader      pure: what chip, how far, what went wrong
Esptool              starts the program
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trigpoint.errors import OperatorError

from trigpoint_tools.serial import ports
from trigpoint_tools.serial.image import title

BAUD = 460800
"""Bits a second while writing: what all bridges in use can do. The conversation begins at 115,200."""

_KEEP = 60
_CHIP = re.compile(r"Chip type:\s+(\S.*)")
_CONNECTED = re.compile(r"Connected to (ESP[0-9A-Z-]+)")
# An ESP32-C6 has a longer one for 802.15.4 as its MAC, and this one as its BASE MAC.
_MAC = re.compile(r"^(?:BASE )?MAC:\s+([0-9a-f]{2}(?::[0-9a-f]{2}){5})$")
_SIZE = re.compile(r"Detected flash size:\s+(\d+)(KB|MB)")
_PROGRESS = re.compile(r"Writing at 0x[0-9a-f]+ .*?([0-9]+(?:\.[0-9]+)?)%")
_WROTE = re.compile(r"Wrote (\d+) bytes")
_COMPRESSED = re.compile(r"Compressed (\d+) bytes to")
_FATAL = re.compile(r"A fatal error occurred:\s*(.*)")
_UNITS = {"KB": 1 << 10, "MB": 1 << 20}

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Chip:
    """What is at the end of the cable.

    Attributes:
        name: as esptool's --chip takes it, such as esp32s3.
        description: as esptool has it, with revision.
        mac: six bytes, hexadecimal, colons between.
        flash: bytes, 0 if not known.
    """

    name: str
    description: str
    mac: str
    flash: int


@dataclass
class Reader:
    """Follows what esptool prints, a line at a time.

    Attributes:
        chip, description, mac, flash: as in `Chip`, empty until they were printed.
        total: bytes that are to be written in all.
        part: how much of them is written, 0 to 1.
        connected: whether the chip answered.
        fatal: esptool's own words for what went wrong.
    """

    chip: str = ""
    description: str = ""
    mac: str = ""
    flash: int = 0
    total: int = 0
    part: float = 0.0
    connected: bool = False
    fatal: str = ""
    _last: list[str] = field(default_factory=list)
    _piece: int = 0
    _done: int = 0

    def line(self, text: str) -> None:
        """Take a line, or what stands between two carriage returns."""
        text = text.strip()
        if not text or text.startswith("NOTE:"):
            return
        self._last = [*self._last[1 - _KEEP :], text]
        if found := _CONNECTED.search(text):
            self.connected = True
            self.chip = found[1].lower().replace("-", "")
        elif found := _CHIP.match(text):
            self.description = found[1]
        elif found := _MAC.match(text):
            self.mac = found[1]
        elif found := _SIZE.search(text):
            self.flash = int(found[1]) * _UNITS[found[2]]
        elif found := _PROGRESS.search(text):
            self._at(self._done + self._piece * min(100.0, float(found[1])) / 100)
        elif found := _COMPRESSED.match(text):
            self._piece = int(found[1])
        elif found := _WROTE.match(text):
            self._done += int(found[1])
            self._at(self._done)
        elif found := _FATAL.search(text):
            self.fatal = found[1]

    def _at(self, written: float) -> None:
        self.part = min(1.0, written / self.total) if self.total else 0.0

    @property
    def said(self) -> str:
        """The last lines as one, for patterns."""
        return " ".join(self._last)


# What esptool says, the first that fits, and what a person can do. {port} and {chip} are filled in.
_REMEDIES: tuple[tuple[str, str], ...] = (
    (r"Permission denied", "{permission}"),
    (r"No such file or directory|FileNotFoundError", "{missing}"),
    (r"Could not exclusively lock|Resource temporarily unavailable|Device or resource busy|\[Errno 16\]", "{busy}"),
    (r"Connection refused|timed out while (?:connecting|opening)|Name or service not known", "{missing}"),
    (
        r"is not an? (\S+) image",
        "the firmware is not for this chip, which is {chip}: take the one for it (`--firmware VERSION` finds it)",
    ),
    (
        r"This chip is (\S+), not (\S+?)\. ",
        "the firmware is for another chip: this one is {0}, not {1}; take the firmware for it",
    ),
    (
        r"Wrong boot mode detected|download mode",
        "the board at {port} does not go into its bootloader by itself: hold its BOOT button, press RESET, let go, and "
        "run this again",
    ),
    (
        r"No serial data received|serial TX path seems to be down",
        "{port} is there but the chip is silent: check that the board has power, try another cable, or hold its BOOT "
        "button while this starts",
    ),
    (
        r"will not fit in \d+ bytes of flash",
        "the firmware is larger than the flash of this board: take a build for its size",
    ),
    (
        r"requires chip revision (\S+) or higher \(this chip is revision (\S+)\)",
        "the chip at {port} is of revision {1} and this firmware needs {0}: take an older release, or another board",
    ),
    (
        r"fatal error occurred:.*(?:[Ss]ecure [Dd]ownload|[Ss]ecure [Bb]oot|[Ff]lash encryption)",
        "the chip at {port} is locked by its fuses (secure boot or flash encryption) for whoever holds its keys: take "
        "another board",
    ),
    (
        r"Failed to autodetect chip type|[Uu]nsupported chip|unknown chip",
        "the chip at {port} is none that esptool knows: Trigpoint runs on ESP32, S2, S3, C3 and C6",
    ),
    (
        r"Failed to set baud rate",
        "the bridge at {port} cannot do {baud} bits a second: bring its driver up to date, or try another cable",
    ),
    (
        r"MD5 of file does not match|Digest mismatch|Hash of data.*(?:fail|mismatch)",
        "what lies in the flash is not what was written: try a shorter cable or another USB port, and run this again",
    ),
    (
        r"stopped responding|No more data|device disconnected|Input/output error|returned no data|Packet content "
        r"transfer stopped|data stream stopped|Response doesn't match|Invalid (?:head of packet|SLIP escape)|Timed out "
        r"waiting|write failed|Lost connection|socket disconnected|Connection reset|Broken pipe|start stub flasher"
        r"|Guru Meditation|No such file or directory",
        "the connection to {port} was cut in the middle: plug the board in again and run the same command, it begins "
        "anew where it must",
    ),
)


def explain(reader: Reader, port: str) -> str:
    """Return in one line what went wrong, and what to do."""
    said = f"{reader.said} {reader.fatal} "
    for pattern, remedy in _REMEDIES:
        if reader.connected and remedy in ("{permission}", "{missing}", "{busy}"):
            continue  # it was open: that the port is gone now means that the cable was pulled
        if found := re.search(pattern, said):
            return _fill(remedy, found, reader, port)
    if reader.connected and not reader.fatal:
        return _fill(_REMEDIES[-1][1], None, reader, port)
    if "://" in port and (not reader.fatal or reader.fatal.startswith("Could not open")):
        return ports.busy(port)  # a server of RFC 2217 has one place, and hangs up on a second program
    words = reader.fatal or reader.said[-160:] or "nothing"
    return f"esptool gave up at {port}: {words}; pull the cable, plug it in again, and run this again"


def _fill(remedy: str, found: re.Match[str] | None, reader: Reader, port: str) -> str:
    if remedy == "{permission}":
        return ports.explain(port, PermissionError(13, "Permission denied"))
    groups = [group.upper() for group in found.groups()] if found else []
    return remedy.format(
        *groups, port=port, chip=title(reader.chip), baud=BAUD, missing=ports.missing(port), busy=ports.busy(port)
    )


def pieces(raw: Iterator[bytes]) -> Iterator[str]:
    """Split a stream of bytes at line ends and carriage returns."""
    rest = b""
    for data in raw:
        *whole, rest = re.split(rb"[\r\n]", rest + data)
        for piece in whole:
            yield piece.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")


class Esptool:
    """esptool at one port.

    Args:
        port: a device's path, or a URL of pyserial.
        command: the program, for tests.
    """

    def __init__(self, port: str, command: Sequence[str] = (sys.executable, "-m", "esptool")) -> None:
        self._port = port
        self._command = tuple(command)

    def identify(self) -> Chip:
        """Ask the chip what it is; it restarts afterwards.

        Raises:
            OperatorError: it does not answer; with the remedy.
        """
        reader = self._run(["flash-id"])
        if not reader.chip or not reader.mac:
            raise OperatorError(
                f"esptool does not say what is at {self._port}: bring it up to date with `pip install -U esptool`"
            )
        return Chip(reader.chip, reader.description, reader.mac, reader.flash)

    def erase(self, chip: str) -> None:
        """Erase the whole flash, and with it files, NVS and key.

        Raises:
            OperatorError: it could not; with the remedy.
        """
        self._run(["--chip", chip, "--baud", str(BAUD), "erase-flash"])

    def write(self, chip: str, pieces: Sequence[tuple[int, Path]], progress: Progress = lambda part: None) -> Chip:
        """Write files and verify them; the board restarts afterwards. What is there already is not written again.

        Args:
            chip: its name; another chip is refused before anything is written.
            pieces: where in flash (bytes), and the file.
            progress: called with the part written, 0 to 1.

        Raises:
            OperatorError: it could not; with the remedy.
        """
        arguments = ["--chip", chip, "--baud", str(BAUD), "write-flash", "--flash-size", "keep", "--skip-flashed"]
        for offset, path in pieces:
            arguments += [hex(offset), str(path)]
        reader = self._run(arguments, progress, total=sum(path.stat().st_size for _, path in pieces))
        progress(1.0)
        return Chip(reader.chip or chip, reader.description, reader.mac, reader.flash)

    def _run(self, arguments: Sequence[str], progress: Progress = lambda part: None, total: int = 0) -> Reader:
        reader = Reader(total=total)
        with subprocess.Popen(
            [*self._command, "--port", self._port, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
        ) as process:
            assert process.stdout is not None
            descriptor = process.stdout.fileno()
            try:
                for piece in pieces(iter(lambda: os.read(descriptor, 4096), b"")):
                    before = reader.part
                    reader.line(piece)
                    if reader.part != before:
                        progress(reader.part)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            raise OperatorError(explain(reader, self._port))
        return reader
