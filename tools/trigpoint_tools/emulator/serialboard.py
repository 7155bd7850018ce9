"""A whole emulated board at the end of a serial cable: chip, flash, bootloader and MicroPython.

    reset --GPIO0 low--> bootloader                                       esptool speaks to it
          --GPIO0 high-> what is in the flash: MicroPython, or complaints   mpremote speaks to it

What is in the flash decides: a chip that is erased, or holds another chip's firmware, says so for ever. The firmware's
code itself is not run, for it is code of another processor: a flash that holds MicroPython (or this emulator's stand-in
for it) starts the real MicroPython of this machine over the flash's own file system.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.bootloader.chips import Chip
from trigpoint_tools.emulator.bootloader.flashchip import FlashChip
from trigpoint_tools.emulator.bootloader.rom import Bootloader
from trigpoint_tools.emulator.image import Firmware, ImageError, read
from trigpoint_tools.emulator.modemlines import EN_RISES_S, ModemLines, Pulse

_COMPLAINS_EVERY_S = 0.5

Maker = Callable[[Firmware], EmulatedBoard]


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
        self._lines = ModemLines()
        self._bootloader: Bootloader | None = None
        self._running: EmulatedBoard | None = None
        self._turn = asyncio.Lock()  # one reset after the other
        self._resets = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def power_on(self) -> None:
        """Begin as after power-on."""
        self._reset()

    async def power_off(self) -> None:
        """Cut the power."""
        self._resets += 1
        async with self._turn:
            await self._halt()

    def receive(self, data: bytes) -> None:
        """Take what the host sent; what comes during a reset is lost."""
        if self._bootloader is not None:
            if answer := self._bootloader.feed(data):
                self._send(answer)
        elif self._running is not None:
            self._running.type(data)

    def lines(self, lines: ModemLines) -> None:
        """Take a change of DTR and RTS."""
        pulse = self._lines.changed(lines)
        self._lines = lines
        if pulse is Pulse.HELD:
            self._reset(held=True)
        elif pulse is Pulse.RELEASED:
            self._reset(EN_RISES_S)

    def _reset(self, rises_s: float = 0, *, held: bool = False) -> None:
        """Reset and, unless it is held there, boot; a later reset overtakes an earlier one."""
        self._resets += 1
        task = asyncio.get_running_loop().create_task(self._restart(self._resets, rises_s, held))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _restart(self, number: int, rises_s: float, held: bool) -> None:
        async with self._turn:
            await self._halt()
            await asyncio.sleep(rises_s)
            while number == self._resets and not held:
                complaint = await self._boot()
                if complaint is None:
                    return
                self._say(complaint)
                await asyncio.sleep(_COMPLAINS_EVERY_S)

    async def _halt(self) -> None:
        self._bootloader = None
        if self._running is not None:
            running, self._running = self._running, None
            await running.switch_off()

    async def _boot(self) -> str | None:
        """Start bootloader or firmware; return what the chip says if it can start neither."""
        self._say(self._chip.banner)
        if self._lines.boot_pressed:
            self._say("rst:0x1 (POWERON_RESET),boot:0x1 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))")
            self._say("waiting for download")
            self._bootloader = Bootloader(self._chip, self._mac, self._flash, self._reset)
            return None
        self._say("rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)")
        try:
            firmware = read(self._flash.view(), self._chip)
        except ImageError as error:
            return str(error)
        self._running = self._make(firmware)
        await self._running.switch_on()
        return None

    def _say(self, line: str) -> None:
        self._send(line.encode() + b"\r\n")
