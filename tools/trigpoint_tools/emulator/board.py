"""An emulated board: an ESP32 with a sensor, made of a MicroPython process and models of what is around it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import math
import secrets
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from trigpoint.clock import WorldClock

from trigpoint_tools import boardfiles
from trigpoint_tools.emulator import flash
from trigpoint_tools.emulator.bootloader.chips import CHIPS
from trigpoint_tools.emulator.console import Console
from trigpoint_tools.emulator.errors import BoardError, EmulatorError, HardwareError
from trigpoint_tools.emulator.facts import (
    Facts,
    Wiring,
    access_point_of,
    heap_bytes,
    secure_element_of,
    wiring_of,
)
from trigpoint_tools.emulator.host import Host, shared_host
from trigpoint_tools.emulator.interpreter import find_micropython
from trigpoint_tools.emulator.link import Link
from trigpoint_tools.emulator.network import Network
from trigpoint_tools.emulator.nvs import Nvs, Storage, StorageFile
from trigpoint_tools.emulator.pads import Pads
from trigpoint_tools.emulator.partition import Partition
from trigpoint_tools.emulator.parts.atecc608 import Atecc608
from trigpoint_tools.emulator.parts.bme280 import Bme280
from trigpoint_tools.emulator.parts.fault import Fault
from trigpoint_tools.emulator.power import Usage
from trigpoint_tools.emulator.process import BoardProcess
from trigpoint_tools.emulator.soc import ResetCause, Soc
from trigpoint_tools.emulator.soldered import Part, solder
from trigpoint_tools.emulator.terminal import SOFT_REBOOT, Terminal
from trigpoint_tools.emulator.weather import Air
from trigpoint_tools.emulator.wifi import AccessPoint, Station
from trigpoint_tools.emulator.wire import Kind, clock_fault, edge, error, reply

_FACTS = "board.json"
_IMAGE = "flash.img"
_NVS = "nvs.json"
_LOCK = "lock"
_SECURE_ELEMENT = "atecc608.json"
_MAX_OUTPUT = 1 << 20
_TALKS = (Kind.I2C_TRANSFER, Kind.UART_READ, Kind.ONEWIRE_RESET, Kind.ONEWIRE_READ, Kind.ONEWIRE_WRITE)
_QUIET_S = 0.05
_NOT_RESOLVED = -202  # what the ESP32's getaddrinfo raises when there is no network or no such name
_ESPRESSIF = bytes.fromhex("240ac4")
_WATCHDOG_BITES = "\r\nE task_wdt: Task watchdog got triggered.\r\nRebooting...\r\n"


class EmulatedBoard:
    """One board. Made by `create` or `open`; its methods may be called from any one thread.

    Attributes:
        directory: where its flash image, NVS and facts lie.
        mac: its unique id, six bytes.
        parts: its sensors of all types, in the order of the wiring.
        sensors: those of them that are BME280s.
        secure_element: its ATECC608, None if it has none.
        station: its Wi-Fi; the networks in reach and the driver's faults may be changed while it is off.
        hosts: what names it can look up besides those that this machine can: name to IPv4 address. May be changed at
            any time.
        link: what is wrong with the way of its TCP connections. May be changed at any time.
    """

    def __init__(
        self,
        directory: Path,
        facts: Facts,
        clock: WorldClock,
        weather: Air,
        host: Host,
        *,
        partition: Partition | None = None,
        rom: Partition | None = None,
        nvs: Storage | None = None,
        screen: Callable[[bytes], None] | None = None,
    ) -> None:
        """Take a board's facts and its world.

        Args:
            directory: where its files lie.
            facts: what is fixed about it.
            clock: the world's clock.
            weather: what its sensors measure.
            host: what serves it.
            partition: where its file system lies, by default the flash image in the directory.
            rom: where its ROMFS lies, by default nowhere.
            nvs: where its NVS is kept, by default a file in the directory.
            screen: takes what it prints. With one it has a prompt, `type` reaches it, and it never ends by itself.
        """
        self.directory = directory
        self._screen = screen
        self._chip = CHIPS[facts.chip]
        self._rom = rom
        self.mac = bytes.fromhex(facts.mac)
        self._micropython = find_micropython()
        self._image = partition or Partition(directory / _IMAGE, 0, flash.BLOCK_SIZE * flash.BLOCKS)
        self._heap = facts.heap
        self._host = host
        self._console = Console()
        self._output = bytearray()
        self.station = Station(AccessPoint(facts.ssid, facts.password))
        soldered = solder(facts.wiring, self.mac, weather.at, clock.now, time.monotonic)
        self.parts = soldered.parts
        self.sensors = [part for part in self.parts if isinstance(part, Bme280)]
        self.secure_element: Atecc608 | None = None
        if chip := facts.secure_element:
            self.secure_element = Atecc608(chip.address, time.monotonic, directory / _SECURE_ELEMENT)
            soldered.i2c.setdefault((chip.scl, chip.sda), []).append(self.secure_element)
        self._soc = Soc(
            mac=self.mac,
            clock=clock,
            real_ns=time.time_ns,
            monotonic=time.monotonic,
            nvs=Nvs(nvs or StorageFile(directory / _NVS)),
            station=self.station,
            pads=Pads(
                buses=soldered.buses(),
                lines=soldered.lines,
                nets=soldered.nets(),
                probes=soldered.probes,
                interrupt=self._edge,
            ),
        )
        self.hosts: dict[str, str] = {}
        self.link = Link()
        self._network = Network(self._soc.connected, self.hosts, self.link)
        self._talked_at = 0.0
        self._once = False  # whether the board is to go off when its process ends, instead of booting again
        self._process: BoardProcess | None = None
        self._life: asyncio.Task[int] | None = None
        self._next_boot: ResetCause | None = None
        self._speed = clock.speed
        self._wakes_at: float | None = None  # monotonic; only while it sleeps, math.inf: for ever
        self._switched_off = asyncio.Event()

    @classmethod
    def create(
        cls,
        directory: Path,
        config: Mapping[str, Any],
        clock: WorldClock,
        weather: Air,
        heap: str = "160k",
        *,
        device: Path | None = None,
        access_point: tuple[str, str] | None = None,
        wiring: Sequence[Wiring] | None = None,
        mac: bytes | None = None,
        chip: str = "esp32",
        host: Host | None = None,
    ) -> EmulatedBoard:
        """Make a board with empty NVS and flash its file system.

        Args:
            directory: where it is to live; made if need be, must not hold a board.
            config: the content of /config.json.
            clock: the world's clock.
            weather: what its sensors measure.
            heap: size of the heap as `-X heapsize` takes it.
            device: folder of the board's files, by default the ones of this installation.
            access_point: name and key of the Wi-Fi in reach, by default the first that the configuration names.
            wiring: the sensors, by default those that the configuration names.
            mac: unique id, by default a new one.
            chip: which chip of the family it is.
            host: what serves it, by default one thread for all boards of this program.

        Raises:
            EmulatorError: there is a board already, or MicroPython or the board's files are missing.
        """
        if (directory / _FACTS).exists():
            raise EmulatorError(f"{directory} holds a board already; open it, or choose another directory")
        ssid, password = access_point or access_point_of(config)
        facts = Facts(
            mac=(mac or _ESPRESSIF + secrets.token_bytes(3)).hex(),
            heap=heap_bytes(heap),
            ssid=ssid,
            password=password,
            wiring=wiring_of(config) if wiring is None else tuple(wiring),
            secure_element=secure_element_of(config),
            chip=chip,
        )
        directory.mkdir(parents=True, exist_ok=True)
        files = boardfiles.device_files(device or boardfiles.device_directory(), compiled=True)
        flash.create_image(directory / _IMAGE, files | {"/config.json": json.dumps(config).encode()})
        facts.save(directory / _FACTS)
        return cls(directory, facts, clock, weather, host or shared_host())

    @classmethod
    def open(cls, directory: Path, clock: WorldClock, weather: Air, *, host: Host | None = None) -> EmulatedBoard:
        """Take up a board that `create` has made, perhaps in an earlier program.

        Raises:
            EmulatorError: there is none, or not all of it.
        """
        facts = Facts.load(directory / _FACTS)
        if not (directory / _IMAGE).exists():
            raise EmulatorError(f"{directory / _IMAGE} is missing; make the board anew in another directory")
        return cls(directory, facts, clock, weather, host or shared_host())

    @property
    def sensor(self) -> Bme280:
        """The first BME280."""
        return self.sensors[0]

    @property
    def readings_measured(self) -> int:
        """How many quantities the sensors have measured, counted at the parts."""
        return sum(part.readings for part in self.parts)

    @property
    def alive(self) -> bool:
        """Whether it runs. A board that resets itself does not stop to."""
        return self._life is not None and not self._life.done()

    @property
    def asleep(self) -> bool:
        """Whether it is in deep sleep."""
        return self.alive and self._wakes_at is not None

    @property
    def power(self) -> Usage:
        """Its time in each power state, since this object was made, up to the last change of state."""
        return self._soc.power.usage

    @property
    def boots(self) -> int:
        """How often it has started, since this object was made."""
        return self._soc.power.usage.boots

    @property
    def pid(self) -> int | None:
        """The id of the process in which it runs, None while it is off or asleep."""
        return self._process.pid if self._process is not None and self.alive and not self.asleep else None

    @property
    def connections(self) -> int:
        """How many TCP connections it has open."""
        return self._network.connections

    @property
    def clock_sets(self) -> int:
        """How often its firmware has set the clock, since this object was made."""
        return self._soc.rtc_sets

    @property
    def console(self) -> list[str]:
        """The newest lines that it has printed."""
        return self._console.lines()

    def write_file(self, path: str, content: bytes) -> None:
        """Write a file on its flash, while it is off."""
        self._must_be_off()
        flash.write_file(self.directory / _IMAGE, path, content)

    def read_file(self, path: str) -> bytes:
        """Return a file of its flash, while it is off; FileNotFoundError if it is not there."""
        self._must_be_off()
        return flash.read_file(self.directory / _IMAGE, path)

    def start(self) -> None:
        """Switch it on: boot.py, then main.py. When main.py ends, so does the board's process."""
        self._power_on(None)

    def exec(self, code: str, timeout: float = 30) -> str:
        """Switch it on, run boot.py and then `code` instead of main.py, and switch it off.

        Returns:
            What it printed.

        Raises:
            BoardError: the code raised an exception, did not end in time or reset the board.
        """
        self._power_on(code)
        assert self._life is not None
        try:
            status = self._host.run(_result(self._life), timeout)
        except TimeoutError:
            self.cut()
            raise BoardError(f"the code did not end within {timeout} s", self._printed()) from None
        if status:
            raise BoardError("the code failed on the board", self._printed())
        return self._printed()

    def stop(self, timeout: float = 10) -> None:
        """Press Ctrl-C and wait for the end of its program. A board in deep sleep is switched off.

        Raises:
            BoardError: it did not end in time; its power was cut.
        """
        if self._process is None or not self.alive:
            return
        for hard, patience in ((False, timeout / 2), (True, timeout / 2)):
            self._host.loop.call_soon_threadsafe(self._press, hard)
            if self.wait(patience) is not None:
                break
        else:
            self.cut()
            raise BoardError(f"the board did not stop within {timeout} s of Ctrl-C", "\n".join(self.console[-20:]))

    def cut(self) -> None:
        """Cut its power, at whatever instruction it is."""
        if self._life is not None:
            self._host.run(self._cut(self._life))

    def wait(self, timeout: float) -> int | None:
        """Wait until its process has ended; return the exit code, or None if it still runs after `timeout` seconds."""
        if self._life is None:
            return 0
        try:
            return self._host.run(_result(self._life), timeout)
        except TimeoutError:
            return None

    def wait_for(self, text: str, timeout: float = 30) -> None:
        """Wait until the console shows a line with `text` since the board was last switched on.

        Raises:
            BoardError: none came in time.
        """
        if not self._console.wait_for(text, timeout):
            raise BoardError(f"no line with {text!r} within {timeout} s", "\n".join(self.console[-20:]))

    def wifi(self, up: bool) -> None:
        """Switch its access point on or off."""
        self._host.loop.call_soon_threadsafe(self._switch_access_point, up)

    def reset_connections(self) -> None:
        """Reset its TCP connections, as routers do that have forgotten them."""
        self._host.loop.call_soon_threadsafe(self._network.reset)

    def skew(self, ppm: float, jump_s: int = 0) -> None:
        """Let its crystal run fast by so many parts per million from now on, and its clock jump by so many seconds.

        Timers and time of day go by the crystal; ticks and sleeps, which are real time, do not.
        """
        self._host.loop.call_soon_threadsafe(self._skew, ppm, jump_s)

    def break_part(self, number: int, fault: Fault) -> None:
        """Give one of `parts` a fault, or plug it in anew without one, as soon as nobody is talking to a part."""
        self._host.loop.call_soon_threadsafe(self._break, self.parts[number], fault)

    def drive(self, pin: int, level: int | None) -> None:
        """Put a level on a pin from outside, or with None take it away again."""
        self._host.loop.call_soon_threadsafe(self._soc.pads.pins.drive, pin, level)

    def pulse(self, pin: int, count: int = 1) -> None:
        """Pull a pin down and let it go, `count` times at once: what a rain gauge or an S0 output does."""
        self._host.loop.call_soon_threadsafe(self._soc.pads.pins.pulse, pin, count)

    async def switch_on(self) -> None:
        """Do what `start` does, in the emulator's event loop."""
        self._must_be_off()
        await self._begin(None)

    async def switch_off(self) -> None:
        """Do what `cut` does, in the emulator's event loop."""
        if self._life is not None:
            await self._cut(self._life)

    @property
    def prompt_is_raw(self) -> bool:
        """Whether it has a prompt and that is the raw one, where programs of the host speak to it."""
        terminal = None if self._process is None else self._process.terminal
        return terminal is not None and terminal.raw

    def type(self, data: bytes) -> None:
        """Type on its keyboard, if it has a prompt. In the emulator's event loop."""
        if self._process is not None and self._process.terminal is not None:
            self._process.terminal.type(data)

    def _must_be_off(self) -> None:
        if self.alive:
            raise EmulatorError("the board is on; stop it first")

    def _power_on(self, code: str | None) -> None:
        self._must_be_off()
        self._host.run(self._begin(code))

    def _printed(self) -> str:
        return self._output.decode("utf-8", "replace")

    def _print(self, data: bytes) -> None:
        self._console.write(data)
        if self._screen is not None:
            self._screen(data)
        if self._once and len(self._output) < _MAX_OUTPUT:
            self._output += data

    # The rest runs in the host's event loop.

    async def _begin(self, code: str | None) -> None:
        lock = _lock(self.directory)
        self._once = code is not None
        self._switched_off.clear()
        self._output.clear()
        self._console.mark()
        for part in self.parts:
            part.power_on()
        if self.secure_element is not None:
            self.secure_element.power_on()
        self._soc.reset(ResetCause.POWER_ON, code)
        self._life = asyncio.create_task(self._live(lock))

    async def _live(self, lock: IO[bytes]) -> int:
        """Boot as often as the board resets itself; return the exit code of the last boot."""
        raw = False
        with lock:
            while True:
                self._next_boot = self._wakes_at = None
                terminal = self._terminal(raw)
                self._process = BoardProcess(
                    self._micropython,
                    self._heap,
                    self._image,
                    self._answer,
                    self._print,
                    terminal=terminal,
                    rom=self._rom,
                    machine=self._machine if terminal else "",
                )
                status = await self._process.run(lock.fileno())
                await self._network.close()
                self._soc.power.ended(time.monotonic())
                raw = False
                if terminal is not None and self._next_boot in (None, ResetCause.SOFT) and not self._once:
                    raw = terminal.raw
                    self._print(SOFT_REBOOT)
                    self._soc.reset(ResetCause.SOFT, "" if raw else None)
                    continue
                if self._next_boot is None or self._once or (self._wakes_at is not None and not await self._sleep()):
                    return status
                if terminal is not None:
                    self._print(self._boot_message(self._next_boot))
                self._soc.reset(self._next_boot)

    def _terminal(self, raw: bool) -> Terminal | None:
        if self._screen is None:
            return None
        return Terminal(self._print, self._interrupt, self._heeds_interrupts, raw=raw, board=self._machine)

    @property
    def _machine(self) -> str:
        return f"Emulated {self._chip.title} module with {self._chip.title}"

    def _boot_message(self, cause: ResetCause) -> bytes:
        words = self._chip.words
        text = words.message(words.deep_sleep if cause is ResetCause.DEEP_SLEEP else words.software, words.flash)
        if cause is ResetCause.WATCHDOG:
            text = _WATCHDOG_BITES + text
        return text.encode()

    def _heeds_interrupts(self) -> bool:
        return self._process is not None and self._process.heeds_interrupts

    def _interrupt(self, at_once: bool) -> None:
        if self._process is not None and self._process.heeds_interrupts:
            if at_once:
                self._process.interrupt_now()
            else:
                self._process.interrupt()

    async def _sleep(self) -> bool:
        """Wait for the end of deep sleep; return False if it was switched off meanwhile."""
        assert self._wakes_at is not None
        left = None if self._wakes_at == math.inf else max(0.0, self._wakes_at - time.monotonic())
        try:
            await asyncio.wait_for(self._switched_off.wait(), left)
        except TimeoutError:
            return True
        return False

    def _press(self, hard: bool) -> None:
        """Ctrl-C; the board is not to boot again."""
        self._once = True
        self._switched_off.set()
        self._interrupt(hard)

    async def _cut(self, life: asyncio.Task[int]) -> None:
        self._once = True
        self._switched_off.set()
        if self._process is not None:
            self._process.kill()
        await asyncio.wait([life])

    async def _answer(self, kind: Kind, payload: bytes) -> bytes | None:
        try:
            if kind == Kind.RESET:
                self._restart(ResetCause(payload[0]))
                return None
            if kind == Kind.DEEP_SLEEP:
                self._fall_asleep(self._soc.deep_sleep(payload))
                return None
            if kind in (Kind.RESOLVE, Kind.RESOLVE_DATAGRAM):
                return reply(await self._resolve(kind, payload))
            if kind in _TALKS:
                self._talked_at = time.monotonic()
            answer = self._soc.answer(kind, payload)
            if kind == Kind.WATCHDOG_START:
                self._watch(self._process)
            return reply(answer)
        except HardwareError as fault:
            return error(fault.code, fault.text)
        except (ValueError, struct.error, IndexError):
            return error(22)  # EINVAL

    async def _resolve(self, kind: Kind, payload: bytes) -> bytes:
        if not self._soc.connected():
            raise HardwareError(_NOT_RESOLVED)
        route = self._network.route if kind == Kind.RESOLVE else self._network.route_datagrams
        try:
            port = await route(payload[2:].decode(), int.from_bytes(payload[:2], "little"))
        except OSError:
            raise HardwareError(_NOT_RESOLVED) from None
        return port.to_bytes(2, "little")

    def _edge(self, pin: int) -> None:
        if self._process is not None:
            self._process.tell(edge(pin))

    def _restart(self, cause: ResetCause) -> None:
        self._next_boot = cause
        if self._process is not None:
            self._process.kill()

    def _fall_asleep(self, seconds: float | None) -> None:
        self._wakes_at = math.inf if seconds is None else time.monotonic() + seconds / self._speed
        self._restart(ResetCause.DEEP_SLEEP)

    def _watch(self, process: BoardProcess | None) -> None:
        watchdog = self._soc.watchdog
        if process is not self._process or watchdog.timeout is None:
            return
        left = watchdog.deadline - time.monotonic()
        if left <= 0:
            self._restart(ResetCause.WATCHDOG)
        else:
            self._host.loop.call_later(left, self._watch, process)

    def _skew(self, ppm: float, jump_s: int) -> None:
        told = self._soc.skew(ppm, jump_s)
        if self._process is not None:
            self._process.tell(clock_fault(told))

    def _break(self, part: Part, fault: Fault) -> None:
        """Between a part's answer and the end of its transfer a fault would make nonsense of what it has counted."""
        if time.monotonic() - self._talked_at < _QUIET_S:
            self._host.loop.call_later(_QUIET_S, self._break, part, fault)
        else:
            part.fault = fault
            if fault == Fault.NONE:
                part.power_on()  # or it might hand over what it had measured for a question of long ago

    def _switch_access_point(self, up: bool) -> None:
        self.station.access_point_switched(up, time.monotonic())
        self._network.wake()


async def _result(life: asyncio.Task[int]) -> int:
    return await asyncio.shield(life)


def _lock(directory: Path) -> IO[bytes]:
    """Keep other programs from running the same board until the file is closed: two would ruin its flash."""
    file = (directory / _LOCK).open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise EmulatorError(f"the board in {directory} is running in another program; stop that first") from None
    return file
