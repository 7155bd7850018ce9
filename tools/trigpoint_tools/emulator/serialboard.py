"""A whole emulated board at the end of a serial cable: chip, flash, bootloader and MicroPython.

    reset --GPIO0 low--> bootloader                                       esptool speaks to it
          --GPIO0 high-> what is in the flash: MicroPython, or complaints   mpremote speaks to it

What is in the flash decides: a chip that is erased, or holds another chip's firmware, says so for ever. The firmware's
code itself is not run, for it is code of another processor: a flash that holds MicroPython (or this emulator's stand-in
for it) starts the real MicroPython of this machine over the flash's own file system.

A cable without DTR and RTS (a pty) cannot press the board's two buttons. There a SYNC, with which each conversation
with the bootloader begins, presses them: it is a frame of 46 bytes that nobody types. It is let through to MicroPython
while the raw prompt is up, where a program sends what it likes; mpremote leaves it when it ends. When the last program
lets go of such a cable, the board leaves the bootloader.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.bootloader.chips import Chip
from trigpoint_tools.emulator.bootloader.flashchip import FlashChip
from trigpoint_tools.emulator.bootloader.packets import Command, parse
from trigpoint_tools.emulator.bootloader.rom import Bootloader
from trigpoint_tools.emulator.bootloader.slip import SlipReader
from trigpoint_tools.emulator.errors import EmulatorError
from trigpoint_tools.emulator.image import Firmware, ImageError, read
from trigpoint_tools.emulator.modemlines import UNDECIDED_S, ModemLines, Pulse, ResetCircuit

_COMPLAINS_EVERY_S = 0.5
_SYNC_BYTES = b"\x07\x07\x12\x20" + 32 * b"\x55"

Maker = Callable[[Firmware], EmulatedBoard]
_Boot = Callable[[asyncio.Event], Awaitable[None]]


class SerialBoard:
    """The board's end of a `trigpoint_tools.emulator.serialports.Cable`. All methods run in one event loop.

    Args:
        chip: which chip.
        mac: six bytes.
        flash: its flash.
        make: makes the board that runs a firmware.
        send: takes what goes to the host.
    """

    def __init__(self, chip: Chip, mac: bytes, flash: FlashChip, make: Maker, send: Callable[[bytes], None]) -> None:
        self._chip = chip
        self._mac = mac
        self._flash = flash
        self._make = make
        self._send = send
        self._circuit = ResetCircuit()
        self._settles: asyncio.TimerHandle | None = None
        self._watch = SlipReader()
        self._bootloader: Bootloader | None = None
        self._running: EmulatedBoard | None = None
        self._synced = False  # whether a SYNC pressed the buttons, not the modem lines
        self._turn = asyncio.Lock()  # one reset after the other
        self._overtaken = asyncio.Event()  # set when the next reset comes
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> str:
        """What it does: `bootloader`, `micropython`, or `nothing` (in reset, or without firmware)."""
        return "bootloader" if self._bootloader else "micropython" if self._running else "nothing"

    def power_on(self) -> None:
        """Begin as after power-on."""
        self._reset(self._run)

    async def power_off(self) -> None:
        """Cut the power."""
        self._overtaken.set()
        async with self._turn:
            await self._halt()

    def receive(self, data: bytes) -> None:
        """Take what the host sent; what comes during a reset is lost."""
        if self._bootloader is not None:
            if answer := self._bootloader.feed(data):
                self._send(answer)
        elif self._running is not None:
            self._running.type(data)

    def receive_bare(self, data: bytes) -> None:
        """Take what the host sent over a cable without modem lines."""
        syncs = self._bootloader is None and any(map(_is_sync, self._watch.feed(data)))
        if syncs and (self._running is None or not self._running.prompt_is_raw):
            self._reset(self._download, synced=True)
        else:
            self.receive(data)

    def let_go(self) -> None:
        """Take it that nobody holds the cable without modem lines any more."""
        self._watch = SlipReader()
        if self._synced:
            self._reset(self._run)

    def lines(self, lines: ModemLines) -> None:
        """Take a change of DTR and RTS."""
        pulse = self._circuit.set(lines)
        if pulse is not Pulse.NOTHING and self._settles is not None:
            self._settles.cancel()
        match pulse:
            case Pulse.HOLD:
                self._reset(None)
            case Pulse.RUN:
                self._reset(self._run)
            case Pulse.DOWNLOAD:
                self._reset(self._download)
            case Pulse.UNDECIDED:
                self._settles = asyncio.get_running_loop().call_later(UNDECIDED_S, self._settle)

    def _settle(self) -> None:
        if self._circuit.settle():
            self._reset(self._run)

    def _reset(self, then: _Boot | None, *, synced: bool = False) -> None:
        """Reset, then boot, or stay in reset. A later reset overtakes an earlier one."""
        self._overtaken.set()
        self._overtaken = asyncio.Event()
        self._synced = synced
        task = asyncio.get_running_loop().create_task(self._restart(then, self._overtaken))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _restart(self, then: _Boot | None, overtaken: asyncio.Event) -> None:
        async with self._turn:
            await self._halt()
            if then is not None and not overtaken.is_set():
                await then(overtaken)

    async def _halt(self) -> None:
        self._bootloader = None
        if self._running is not None:
            running, self._running = self._running, None
            await running.switch_off()

    async def _download(self, _overtaken: asyncio.Event) -> None:
        words = self._chip.words
        self._say(words.message(words.power_on, words.download) + "waiting for download\r\n")
        self._bootloader = Bootloader(self._chip, self._mac, self._flash, lambda: self._reset(self._run))

    async def _run(self, overtaken: asyncio.Event) -> None:
        """Start what is in the flash; if there is nothing to start, complain until the next reset."""
        words = self._chip.words
        cause = words.power_on
        while not overtaken.is_set():
            self._say(words.message(cause, words.flash))
            try:
                self._running = self._make(read(self._flash.view(), self._chip))
                await self._running.switch_on()
                return
            except (ImageError, EmulatorError) as error:
                self._running = None
                self._say(f"{error}\r\n")
            cause = words.watchdog
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(overtaken.wait(), _COMPLAINS_EVERY_S)

    def _say(self, text: str) -> None:
        self._send(text.encode())


def _is_sync(frame: bytes) -> bool:
    request = parse(frame)
    return request is not None and request.command == Command.SYNC and request.data == _SYNC_BYTES
