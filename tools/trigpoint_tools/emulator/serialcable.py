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

_FACTS = "board.json"
_FLASH = "flash.bin"
_MAC_PREFIX = bytes.fromhex("240ac4")


@dataclass(frozen=True)
class Ports:
    """How to reach the board.

    Attributes:
        pty: device file; carries bytes alone.
        rfc2217: URL for pyserial, esptool and mpremote; carries DTR and RTS too.
    """

    pty: Path
    rfc2217: str


def make_directory(
    directory: Path, chip: str, config: Mapping[str, Any], *, flash_size: int = 4 << 20, blank: bool = False
) -> None:
    """Make a board.

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
    if (directory / _FACTS).exists():
        raise EmulatorError(f"{directory} holds a board already; choose another directory")
    directory.mkdir(parents=True, exist_ok=True)
    create(directory / _FLASH, flash_size)
    if not blank:
        flash = FlashChip(directory / _FLASH)
        flash.program(CHIPS[chip].bootloader_offset, build(CHIPS[chip]))
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
    facts.save(directory / _FACTS)


class SerialCable:
    """A board in a directory, powered by its cable from `plug_in` to `unplug`.

    Raises:
        EmulatorError: the directory holds no board with a flash chip.
    """

    def __init__(self, directory: Path, clock: WorldClock, weather: Weather, *, host: Host | None = None) -> None:
        self._directory = directory
        self._facts = Facts.load(directory / _FACTS)
        self._flash = FlashChip(directory / _FLASH)
        self._clock = clock
        self._weather = weather
        self._host = host or shared_host()
        self._board = SerialBoard(
            CHIPS[self._facts.chip], bytes.fromhex(self._facts.mac), self._flash, self._make, self._send
        )
        self._server = Rfc2217Server(self._board)
        self._pty = Pty(self._board)

    def plug_in(self, *, port: int = 0, link: Path | None = None) -> Ports:
        """Lay the cable out and switch the board on.

        Args:
            port: TCP port for RFC 2217, by default a free one.
            link: path of a link to the pty.
        """
        return self._host.run(self._plug_in(port, link))

    def unplug(self) -> None:
        """Cut the power and take the ports away."""
        self._host.run(self._unplug())

    async def _plug_in(self, port: int, link: Path | None) -> Ports:
        number = await self._server.start(port)
        path = self._pty.start(link)
        self._board.power_on()
        return Ports(path, f"rfc2217://127.0.0.1:{number}")

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
            self._facts,
            self._clock,
            self._weather,
            self._host,
            partition=Partition(self._directory / _FLASH, files.offset, files.size),
            rom=Partition(self._directory / _FLASH, rom.offset, rom.size) if rom is not None else None,
            nvs=NvsPartition(self._flash, nvs.offset, nvs.size),
            screen=self._send,
        )
