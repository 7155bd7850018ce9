"""The operating system's process in which one boot of a board runs."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import IO, Any

from trigpoint_tools.emulator.partition import Partition
from trigpoint_tools.emulator.rom import launcher
from trigpoint_tools.emulator.terminal import Terminal
from trigpoint_tools.emulator.wire import INTERRUPT, Kind, RequestReader, WireFormatError

# On an ESP32 the hardware's modules are in ROM and cost no heap. Here they are Python: this is what they take, and it
# is added, so that the board's code has what it would have in a plain `micropython -X heapsize=`.
_HARDWARE_HEAP = 34 * 1024 + 128

# What the ROMFS partition's driver takes. The partition's content comes on top, with the heap's own tables for it: on a
# chip it is in flash, in the processor's address space.
_ROM_HEAP = 2 * 1024
_ROM_TABLES = 32

Answer = Callable[[Kind, bytes], Coroutine[Any, Any, bytes | None]]


class BoardProcess:
    """One MicroPython process, its wire and its output. All methods run in the emulator's event loop.

    Args:
        micropython: the interpreter.
        heap: bytes of heap for the board's code.
        image: where its file system is.
        answer: makes the reply to a request; None for no reply.
        output: takes what the board prints.
        terminal: with one it goes on to its prompt after main.py; it prints there instead.
        rom: where its ROMFS partition is, None if it has none.
        machine: the board's name, as os.uname() has it; "" for that of the Unix port.
    """

    def __init__(
        self,
        micropython: Path,
        heap: int,
        image: Partition,
        answer: Answer,
        output: Callable[[bytes], None],
        *,
        terminal: Terminal | None = None,
        rom: Partition | None = None,
        machine: str = "",
    ) -> None:
        self._micropython = micropython
        self._rom = rom
        self._machine = machine
        self._heap = heap
        self._image = image
        self._answer = answer
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._interrupted = False
        self.terminal = terminal

    async def run(self, lock: int) -> int:
        """Run the process to its end; return the exit code, negative for a signal.

        It has a session of its own, so that a terminal's Ctrl-C does not reach it.

        Args:
            lock: file descriptor that the process is to keep open as long as it lives.
        """
        ours, theirs = socket.socketpair()
        size = self._heap + _HARDWARE_HEAP
        if self._rom is not None:
            size += self._rom.size + self._rom.size // _ROM_TABLES + _ROM_HEAP
        heap = f"heapsize={size}"
        image = self._image
        command: list[str | Path] = [self._micropython, "-X", heap, *(["-i"] if self.terminal else []), launcher()]
        command += [str(theirs.fileno()), image.path, str(image.start), str(image.size)]
        command += ["prompt" if self.terminal else "exit", self._machine]
        if self._rom is not None:
            command += [str(self._rom.start), str(self._rom.size)]
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if self.terminal is None else self.terminal.slave,
                stdout=subprocess.PIPE if self.terminal is None else self.terminal.slave,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno(), lock],
                start_new_session=True,
                env={**os.environ, "TZ": "UTC0", "MICROPYPATH": ".frozen"},
            )
        loop = asyncio.get_running_loop()
        output = self._listen(self._process.stdout) if self.terminal is None else self.terminal.run()
        reader, self._writer = await asyncio.open_connection(sock=ours)
        if self._interrupted:
            self._writer.write(INTERRUPT)
        await asyncio.gather(self._serve(reader, self._writer), output)
        return await loop.run_in_executor(None, self._process.wait)

    @property
    def pid(self) -> int | None:
        """The process's id, None before it has started."""
        return None if self._process is None else self._process.pid

    @property
    def heeds_interrupts(self) -> bool:
        """Whether Ctrl-C is to interrupt its code, which `micropython.kbd_intr(-1)` switches off."""
        # The Unix port then leaves the signal to the system, which /proc shows; elsewhere it has to be assumed.
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return True
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        return bool(caught >> signal.SIGINT - 1 & 1)

    def interrupt(self) -> None:
        """Press Ctrl-C: KeyboardInterrupt where the board's code next waits or uses its hardware."""
        if self._writer is None:
            self._interrupted = True
        elif not self._writer.is_closing():
            self._writer.write(INTERRUPT)

    def tell(self, frame: bytes) -> None:
        """Send the board something that it has not asked for; before it has started, nobody is there to be told."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(frame)

    def interrupt_now(self) -> None:
        """Raise KeyboardInterrupt at once, whatever it may break: for code that never waits."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """End it at whatever instruction it is."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests = RequestReader()
        try:
            while data := await reader.read(65536):
                for kind, payload in requests.feed(data):
                    reply = await self._answer(kind, payload)
                    if reply is not None:
                        writer.write(reply)
        except (OSError, WireFormatError):
            self.kill()
        finally:
            writer.close()

    async def _listen(self, stdout: IO[bytes] | None) -> None:
        printed = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(printed), stdout)
        while data := await printed.read(65536):
            self._output(data)
