"""Makes a whole board in a directory and lays its serial cable out, for programs that want a port and nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trigpoint.clock import WorldClock

from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.bootloader.chips import CHIPS
from trigpoint_tools.emulator.bootloader.flashchip import FlashChip, create
from trigpoint_tools.emulator.errors import EmulatorError
from trigpoint_tools.emulator.facts import Facts, access_point_of, heap_bytes, secure_element_of, wiring_of
from trigpoint_tools.emulator.host import Host, shared_host
from trigpoint_tools.emulator.image import Firmware, build
from trigpoint_tools.emulator.nvspartition import NvsPartition
from trigpoint_tools.emulator.partition import Partition
from trigpoint_tools.emulator.serialboard import SerialBoard
from trigpoint_tools.emulator.serialports import Pty, Rfc2217Server
from trigpoint_tools.emulator.weather import Weather

FACTS = "board.json"
"""Name of the file with what is fixed about a board."""
FLASH = "flash.bin"
"""Name of the file that is its flash chip."""
FIRMWARE = "firmware.bin"
"""Name of the file that stands for MicroPython's for its chip, to be flashed."""
_MAC_PREFIX = bytes.fromhex("240ac4")


@dataclass(frozen=True)
class Ports:
    """How to reach the board.

    Attributes:
        pty: device file; carries bytes alone.
        rfc2217: URL for pyserial, esptool and mpremote; carries DTR and RTS too.
        firmware_offset: where in flash firmware files of its chip begin.
    """

    pty: Path
    rfc2217: str
    firmware_offset: int


def make_directory(
    directory: Path, chip: str, config: Mapping[str, Any], *, flash_size: int = 4 << 20, blank: bool = False
) -> None:
    """Make a board, and beside it the firmware file that stands for MicroPython's for its chip.

    Args:
        directory: where it is to live; made if need be.
        chip: its chip, a name of `CHIPS`.
        config: the configuration of the world around it: the sensors soldered on and the Wi-Fi in reach are those that
            this names. Nothing of it is put on the flash.
        flash_size: bytes.
        blank: whether the flash is to be erased, rather than hold MicroPython.

    Raises:
        EmulatorError: there is a board already, or there is no such chip or size.
    """
    if chip not in CHIPS:
        raise EmulatorError(f"there is no chip {chip!r}; choose one of {', '.join(CHIPS)}")
    if (directory / FACTS).exists():
        raise EmulatorError(f"{directory} holds a board already; choose another directory")
    directory.mkdir(parents=True, exist_ok=True)
    create(directory / FLASH, flash_size)
    firmware = build(CHIPS[chip])
    (directory / FIRMWARE).write_bytes(firmware)
    if not blank:
        flash = FlashChip(directory / FLASH)
        flash.program(CHIPS[chip].bootloader_offset, firmware)
        flash.close()
    ssid, password = access_point_of(config)
    facts = Facts(
        mac=(_MAC_PREFIX + secrets.token_bytes(3)).hex(),
        heap=heap_bytes("160k"),
        ssid=ssid,
        password=password,
        wiring=wiring_of(config),
        secure_element=secure_element_of(config),
        chip=chip,
    )
    facts.save(directory / FACTS)


class SerialCable:
    """A board in a directory, powered by its cable from `plug_in` to `unplug`.

    Attributes:
        facts: what is fixed about it.

    Raises:
        EmulatorError: the directory holds no board with a flash chip, or another program has it.
    """

    def __init__(self, directory: Path, clock: WorldClock, weather: Weather, *, host: Host | None = None) -> None:
        self._directory = directory
        self.facts = Facts.load(directory / FACTS)
        if not (directory / FLASH).exists():
            raise EmulatorError(f"{directory} holds a board without a serial port; choose another directory")
        self._flash = FlashChip(directory / FLASH)
        self._clock = clock
        self._weather = weather
        self._host = host or shared_host()
        self._board = SerialBoard(
            CHIPS[self.facts.chip], bytes.fromhex(self.facts.mac), self._flash, self._make, self._send
        )
        self._server = Rfc2217Server(self._board)
        self._pty = Pty(self._board)

    @property
    def state(self) -> str:
        """What the board does: `bootloader`, `micropython` or `nothing`."""
        return self._board.state

    def plug_in(self, *, port: int = 0, link: Path | None = None) -> Ports:
        """Lay the cable out and switch the board on.

        Args:
            port: TCP port for RFC 2217, by default a free one.
            link: path of a link to the pty.

        Raises:
            OSError: the port is taken, or the link cannot be made.
        """
        return self._host.run(self._plug_in(port, link))

    def unplug(self) -> None:
        """Cut the power and take the ports away."""
        self._host.run(self._unplug())

    def close(self) -> None:
        """Let go of a board that was not plugged in."""
        self._flash.close()

    async def _plug_in(self, port: int, link: Path | None) -> Ports:
        number = await self._server.start(port)
        try:
            path = self._pty.start(link)
        except OSError:
            await self._server.stop()
            raise
        self._board.power_on()
        return Ports(path, f"rfc2217://127.0.0.1:{number}", CHIPS[self.facts.chip].bootloader_offset)

    async def _unplug(self) -> None:
        await self._board.power_off()
        await self._server.stop()
        self._pty.stop()
        self._flash.close()

    def _send(self, data: bytes) -> None:
        self._server.send(data)
        self._pty.send(data)

    def _make(self, firmware: Firmware) -> EmulatedBoard:
        files, nvs, rom = (firmware.partitions.get(name) for name in ("vfs", "nvs", "romfs"))
        assert files is not None
        assert nvs is not None
        return EmulatedBoard(
            self._directory,
            self.facts,
            self._clock,
            self._weather,
            self._host,
            partition=Partition(self._directory / FLASH, files.offset, files.size),
            rom=Partition(self._directory / FLASH, rom.offset, rom.size) if rom is not None else None,
            nvs=NvsPartition(self._flash, nvs.offset, nvs.size),
            screen=self._send,
        )
