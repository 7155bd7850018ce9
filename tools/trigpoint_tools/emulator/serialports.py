"""The two ways in which a program of this machine can hold an emulated board's serial cable: RFC 2217 and a pty.

RFC 2217 (telnet with the lines of a serial port) carries DTR and RTS, so esptool can reset the board into its
bootloader. A pty carries bytes alone: whoever opens it finds what runs, and a SYNC stands for the lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import struct
import termios
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from serial.rfc2217 import PortManager

from trigpoint_tools.emulator.modemlines import ModemLines

_AT_ONCE = 65536
_WAITING = 1 << 20
"""Bytes that wait for a host that does not read; what comes then is lost, as in any serial port. A board that prints
for ever must not fill the memory."""
_LOOKS_EVERY_S = 0.05


class Cable(Protocol):
    """The board's end of the cable."""

    def receive(self, data: bytes) -> None:
        """Take what the host sent."""

    def lines(self, lines: ModemLines) -> None:
        """Take a change of DTR and RTS."""

    def receive_bare(self, data: bytes) -> None:
        """Take what the host sent over a cable without modem lines."""

    def let_go(self) -> None:
        """Take it that nobody holds the cable without modem lines any more."""


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
        if self._host is not None and self._host[1].transport.get_write_buffer_size() < _WAITING:
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
        except (OSError, ValueError, IndexError, struct.error):
            pass  # a host that vanished, or whose telnet options pyserial cannot parse: hang up
        finally:
            self._host = None
            self._cable.lines(ModemLines())
            writer.close()


class Pty:
    """A pseudo terminal that leads to the board, with a link of a fixed name to it.

    While no program has it open, what the board prints is lost, so that the next one does not find old text.
    """

    def __init__(self, cable: Cable) -> None:
        self._cable = cable
        self._master = -1
        self._path = Path()
        self._link: Path | None = None
        self._held = False
        self._looks: asyncio.TimerHandle | None = None
        self._waiting = bytearray()

    def start(self, link: Path | None = None) -> Path:
        """Make it and return its path; a link to it is made if one is named, in place of an earlier link.

        Raises:
            FileExistsError: there is something else where the link is to be.
            OSError: the link cannot be made.
        """
        self._master, slave = os.openpty()
        self._path = Path(os.ttyname(slave))
        os.close(slave)
        os.set_blocking(self._master, False)
        try:
            if link is not None:
                if link.is_symlink():
                    link.unlink()
                link.symlink_to(self._path)
                self._link = link
        except OSError:
            os.close(self._master)
            raise
        self._let_go()
        return self._path

    def stop(self) -> None:
        """Take it away, and the link with it."""
        if self._looks is not None:
            self._looks.cancel()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._master)
        loop.remove_writer(self._master)
        os.close(self._master)
        if self._link is not None and self._link.is_symlink() and self._link.readlink() == self._path:
            self._link.unlink()

    def send(self, data: bytes) -> None:
        """Send to whoever has it open; else it is lost."""
        if not self._held or len(self._waiting) > _WAITING:
            return
        if not self._waiting:
            asyncio.get_running_loop().add_writer(self._master, self._writable)
        self._waiting += data
        self._writable()

    def _writable(self) -> None:
        with contextlib.suppress(OSError):  # it is full, or the last program has just closed it
            del self._waiting[: os.write(self._master, self._waiting)]
        if not self._waiting:
            asyncio.get_running_loop().remove_writer(self._master)

    def _readable(self) -> None:
        try:
            data = os.read(self._master, _AT_ONCE)
        except BlockingIOError:
            return
        except OSError:  # Linux: the last program has closed it
            data = b""
        if data:
            self._cable.receive_bare(data)
        else:
            self._let_go()

    def _let_go(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._master)
        loop.remove_writer(self._master)
        self._waiting.clear()
        slave = os.open(self._path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(slave)  # no byte is to be changed on the way; the settings outlive the programs that have it open
        termios.tcflush(slave, termios.TCIFLUSH)
        os.close(slave)
        if self._held:
            self._held = False
            self._cable.let_go()
        self._look()

    def _look(self) -> None:
        """See whether a program has opened it. The system tells of the end alone, so this has to ask."""
        loop = asyncio.get_running_loop()
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        if any(events == select.POLLHUP for _, events in poll.poll(0)):
            self._looks = loop.call_later(_LOOKS_EVERY_S, self._look)
        else:
            self._held = True
            loop.add_reader(self._master, self._readable)
