"""The two ways in which a program of this machine can hold an emulated board's serial cable: RFC 2217 and a pty.

RFC 2217 (telnet with the lines of a serial port) carries DTR and RTS, so esptool can reset the board into its
bootloader. A pty carries bytes alone: whoever opens it finds what runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from serial.rfc2217 import PortManager

from trigpoint_tools.emulator.modemlines import ModemLines

_AT_ONCE = 65536


class Cable(Protocol):
    """The board's end of the cable."""

    def receive(self, data: bytes) -> None:
        """Take what the host sent."""

    def lines(self, lines: ModemLines) -> None:
        """Take a change of DTR and RTS."""


class _Port:
    """The port that pyserial's `PortManager` believes to be serving: it keeps settings and passes DTR and RTS on."""

    cts = dsr = cd = True
    ri = False

    def __init__(self, changed: Callable[[ModemLines], None]) -> None:
        self._changed = changed
        self._lines = ModemLines()
        self.baudrate = 115_200
        self.bytesize = 8
        self.parity = "N"
        self.stopbits = 1
        self.xonxoff = self.rtscts = False
        self.break_condition = False

    @property
    def dtr(self) -> bool:
        return self._lines.dtr

    @dtr.setter
    def dtr(self, asserted: bool) -> None:
        self._set(ModemLines(asserted, self._lines.rts))

    @property
    def rts(self) -> bool:
        return self._lines.rts

    @rts.setter
    def rts(self, asserted: bool) -> None:
        self._set(ModemLines(self._lines.dtr, asserted))

    def reset_input_buffer(self) -> None:
        """Nothing: what the board has sent is on its way to the host already."""

    def reset_output_buffer(self) -> None:
        """Nothing: what the host has sent is with the board already."""

    def _set(self, lines: ModemLines) -> None:
        if lines != self._lines:
            self._lines = lines
            self._changed(lines)


class Rfc2217Server:
    """Serves one board on a TCP port of this machine, to one host at a time, as a cable does."""

    def __init__(self, cable: Cable) -> None:
        self._cable = cable
        self._server: asyncio.Server | None = None
        self._host: tuple[PortManager, asyncio.StreamWriter] | None = None

    async def start(self, port: int = 0) -> int:
        """Listen on loopback; return the port's number. OSError if it is taken."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Hang up."""
        if self._server is not None:
            self._server.close()
        if self._host is not None:
            self._host[1].close()

    def send(self, data: bytes) -> None:
        """Send to the host, if there is one; else it is lost, as on a cable that nobody holds."""
        if self._host is not None:
            self._host[1].write(data.replace(b"\xff", b"\xff\xff"))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._host is not None:
            writer.close()
            return
        manager = PortManager(_Port(self._cable.lines), writer)
        self._host = manager, writer
        try:
            while data := await reader.read(_AT_ONCE):
                self._cable.receive(b"".join(manager.filter(data)))
        except OSError:
            pass
        finally:
            self._host = None
            self._cable.lines(ModemLines())
            writer.close()


class Pty:
    """A pseudo terminal that leads to the board, with a link of a fixed name to it."""

    def __init__(self, cable: Cable) -> None:
        self._cable = cable
        self._master = -1
        self._slave = -1

    def start(self, link: Path | None = None) -> Path:
        """Make it and return its path; a link to it is made, or replaced, if one is named."""
        self._master, self._slave = os.openpty()
        # Held open here, so that the master does not end with each program that closes it; raw, so that no byte is
        # changed on the way.
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        asyncio.get_running_loop().add_reader(self._master, self._readable)
        path = Path(os.ttyname(self._slave))
        if link is not None:
            with contextlib.suppress(FileNotFoundError):
                link.unlink()
            link.symlink_to(path)
        return path

    def stop(self) -> None:
        """Take it away."""
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)

    def send(self, data: bytes) -> None:
        """Send to whoever has it open. What does not fit is lost, as in a port that nobody reads."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._master, data)

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._cable.receive(os.read(self._master, _AT_ONCE))
