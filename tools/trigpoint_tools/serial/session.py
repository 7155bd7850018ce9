"""A board's prompt over a cable, through mpremote's transport: run code, list, read and write files."""

from __future__ import annotations

import ast
import codecs
import contextlib
import hashlib
import json
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self

import serial
from mpremote import transport_serial  # type: ignore[import-untyped]
from mpremote.transport import TransportError, TransportExecError  # type: ignore[import-untyped]
from trigpoint.errors import OperatorError

from trigpoint_tools.serial import ports

# Before it raises, it prints what the board said last. To redirect stdout is not for many boards in many threads.
transport_serial.print = lambda *_: None

_CHUNK = 1024
_ENTER_S = 15.0
_TRY_S = 3
_PAUSE_S = 1.0
_SILENCE_S = 20.0
_LISTEN_S = 0.2
_FEED_S = 30.0
# As long as trig.guard.WATCHDOG_MS.
_FEED = "import machine\nmachine.WDT(timeout=120000).feed()\n"


class BoardCodeError(OperatorError):
    """Code raised an exception on the board. `last` is its last line, such as `ConfigError: broker.port: missing`."""

    def __init__(self, said: str) -> None:
        # Whatever the board is, its words do not steer the terminal on which they are shown.
        last = "".join(char if char.isprintable() else "?" for char in (said.strip().splitlines() or ["nothing"])[-1])
        if last.startswith("ImportError: no module named 'trig"):
            super().__init__("Trigpoint is not on this board: run `trigpoint board flash` first")
        else:
            super().__init__(f"the board says: {last}")
        self.last = last


class Session:
    """A board that has stopped its application and does what it is told, until `close`.

    Every method raises OperatorError if the board falls silent.

    Args:
        port: a device's path, or a URL of pyserial.

    Raises:
        OperatorError: the port cannot be opened, or there is no MicroPython behind it.
    """

    def __init__(self, port: str) -> None:
        self.port = port
        try:
            self._transport = transport_serial.SerialTransport(port, baudrate=115200, timeout=_SILENCE_S)
        except TransportError as error:
            cause = _cause(port)
            raise OperatorError(cause) from error
        self._fed = time.monotonic()
        try:
            with _talk(port, "no MicroPython answers at {port}: `trigpoint board flash {port}` puts it there"):
                self._enter()
        except BaseException:
            self._transport.close()
            raise

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the port."""
        self.close()

    def close(self) -> None:
        """Leave the raw prompt and let go of the port. The application is not started."""
        with contextlib.suppress(OSError, TransportError):
            self._transport.exit_raw_repl()
        with contextlib.suppress(OSError):
            self._transport.close()

    def run(self, code: str, timeout: float = 30) -> str:
        """Run code and return what it printed.

        Args:
            code: MicroPython.
            timeout: seconds that may go without a character from the board.

        Raises:
            BoardCodeError: it raised an exception.
        """
        with _talk(self.port):
            if time.monotonic() - self._fed > _FEED_S:
                # The application that was stopped may have left its watchdog running, which nothing stops.
                self._transport.exec_raw(_FEED, timeout=_SILENCE_S)
                self._fed = time.monotonic()
            printed, raised = self._transport.exec_raw(code, timeout=timeout)
        if raised:
            raise BoardCodeError(raised.decode(errors="replace"))
        return str(printed.decode(errors="replace"))

    def ask(self, code: str, timeout: float = 30) -> Any:
        """Run code whose last line printed is JSON; return that, decoded.

        Raises:
            BoardCodeError: it raised an exception.
            OperatorError: it printed something else.
        """
        printed = self.run(code, timeout).strip()
        try:
            return json.loads(printed.splitlines()[-1])
        except (ValueError, IndexError) as error:
            raise OperatorError(f"the board answered {printed[-120:]!r}; is its firmware of this version?") from error

    def hashes(self, folders: Sequence[str] = ("/",)) -> dict[str, str]:
        """Return the files below `folders`: absolute path to SHA-256, hexadecimal."""
        printed = self.run(HASHES + f"for f in {list(folders)!r}: walk(f)\n", timeout=60)
        listed = (line.partition(" ") for line in printed.splitlines() if line.startswith(_HEXADECIMAL))
        return {path: digest for digest, _, path in listed if len(digest) == 64}

    def write(self, path: str, content: bytes) -> None:
        """Write a file, whole or not at all, and verify it as it lies on flash.

        Raises:
            OperatorError: it does not read back as it was written.
        """
        draft = path + ".new"
        self.run(MAKE_FOLDERS + f"make({path!r})\nf=open({draft!r},'wb')\nw=f.write\n")
        for at in range(0, len(content), _CHUNK):
            self.run(f"w({content[at : at + _CHUNK]!r})")
        self.run("f.close()")
        printed = self.run(HASHES + f"one({draft!r})\n").split()
        if not printed or printed[0] != hashlib.sha256(content).hexdigest():
            raise OperatorError(f"{path} came out wrong on the board's flash; run this again, or try another cable")
        self.run(f"os.rename({draft!r},{path!r})")

    def read(self, path: str) -> bytes | None:
        """Return a file's content, None if it is not there."""
        code = (
            f"try:\n f=open({path!r},'rb')\nexcept OSError:\n print(None)\nelse:\n while 1:\n"
            "  b=f.read(256)\n  if not b: break\n  print(b)\n"
        )
        parts = [ast.literal_eval(line) for line in self.run(code, timeout=60).splitlines()]
        return None if parts == [None] else b"".join(parts)

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is passed over."""
        self.run(f"import os\ntry: os.remove({path!r})\nexcept OSError: pass\n")

    def start_over(self) -> None:
        """Soft reset: memory is empty and boot.py has run, main.py has not."""
        with _talk(self.port):
            self._enter()

    def _enter(self) -> None:
        """Reach the raw prompt of a freshly reset interpreter; a board that is just starting loses what it is sent."""
        end = time.monotonic() + _ENTER_S
        line = self._transport.serial
        while True:
            try:
                # While nothing comes, the port's own time-out is the one that counts.
                line.timeout = 0.5
                self._transport.enter_raw_repl(soft_reset=True, timeout_overall=_TRY_S)
                return
            except TransportError:
                if time.monotonic() > end:
                    raise
                # By itself, for what follows at once may be taken by the code that it interrupts.
                line.write(b"\x03")
                time.sleep(_PAUSE_S)
            finally:
                line.timeout = _SILENCE_S

    def restart(self) -> None:
        """Reset the board; its application starts. The session is over but for `close`."""
        with contextlib.suppress(OSError, TransportError, struct.error):
            self._transport.exec_raw_no_follow("import machine\nmachine.reset()\n")
        self._transport.in_raw_repl = False

    def overheard(self) -> str:
        """Return what the board has printed since it was restarted or last asked for; empty if the port is gone."""
        with contextlib.suppress(OSError):
            waiting = self._transport.serial.in_waiting
            return bytes(self._transport.serial.read(waiting)).decode(errors="replace") if waiting else ""
        return ""


_HEXADECIMAL = tuple("0123456789abcdef")

# These two are public for the browser's page, which does the same on a board.

MAKE_FOLDERS = """\
import os
def make(path):
    at = path.find('/', 1)
    while at > 0:
        try: os.mkdir(path[:at])
        except OSError: pass
        at = path.find('/', at + 1)
"""

HASHES = """\
import os, hashlib, binascii
def one(path):
    h = hashlib.sha256()
    b = bytearray(512)
    v = memoryview(b)
    with open(path, 'rb') as f:
        while 1:
            n = f.readinto(b)
            if not n: break
            h.update(v[:n])
    print(binascii.hexlify(h.digest()).decode(), path)
def walk(folder):
    try: entries = list(os.ilistdir(folder))
    except OSError: return
    for e in entries:
        path = (folder if folder[-1] == '/' else folder + '/') + e[0]
        if e[1] & 0x4000: walk(path)
        else: one(path)
"""


@contextlib.contextmanager
def _talk(port: str, otherwise: str = "") -> Iterator[None]:
    """Turn what a transport raises into one line."""
    try:
        yield
    except TransportExecError as error:
        raise BoardCodeError(str(error)) from error
    except (TransportError, struct.error) as error:
        text = otherwise or "the board at {port} does not answer any more: plug it in again and run the same command"
        raise OperatorError(text.format(port=port)) from error
    except OSError as error:
        raise OperatorError(
            f"the connection to {port} was cut in the middle: plug the board in again and run the same command"
        ) from error


def _cause(port: str) -> str:
    """Open the port once more, as the transport hides why it could not."""
    try:
        serial.serial_for_url(port, timeout=1).close()
    except OSError as error:
        return ports.explain(port, error) if "://" not in port else ports.missing(port)
    return ports.busy(port)


def open_prompt(port: str) -> int:
    """Join the terminal to a board's prompt until Ctrl-]; return 0 if that went well, else 1. Nothing is stopped."""
    command = [sys.executable, "-m", "mpremote", "connect", port, "resume", "repl"]
    return 1 if subprocess.run(command, check=False).returncode else 0


def listen(port: str, seconds: float) -> Iterator[str]:
    """Yield what a board prints, as it comes. Nothing is sent to it.

    Raises:
        OperatorError: the port cannot be opened, or goes away.
    """
    end = time.monotonic() + seconds
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        with serial.serial_for_url(port, baudrate=115200, timeout=_LISTEN_S) as line:
            while time.monotonic() < end:
                text = decoder.decode(line.read(max(1, line.in_waiting)))
                if text:
                    yield "".join(char for char in text if char in "\n\t" or char.isprintable())
    except OSError as error:
        raise OperatorError(ports.explain(port, error) if "://" not in port else ports.missing(port)) from error
