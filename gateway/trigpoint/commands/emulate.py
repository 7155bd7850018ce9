"""`trigpoint board emulate`: a board on this machine, with its console, or as a device at the end of a serial cable."""

from __future__ import annotations

import json
import shlex
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from trigpoint_tools.emulator.facts import Facts
    from trigpoint_tools.emulator.serialcable import Ports, SerialCable
    from trigpoint_tools.emulator.weather import Weather

    from trigpoint.clock import WorldClock

_DEFAULT_CHIP = "esp32"
_LOOKS_EVERY_S = 0.2
_SAYS = {
    "bootloader": "in the bootloader",
    "micropython": "runs MicroPython",
    "nothing": "in reset, or without a firmware that it can start",
}


def emulate(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="The emulated board's directory; made if it is not there.", show_default=False
        ),
    ],
    *,
    gateway: Annotated[
        Path | None,
        typer.Option("--gateway", metavar="DIR", help="The directory of the gateway it belongs to."),
    ] = None,
    station: Annotated[
        str,
        typer.Option("--station", help="Whose weather it measures: EWR, JFK or LGA, New York's three airports."),
    ] = "JFK",
    password_file: Annotated[
        Path | None,
        typer.Option(
            "--password-file",
            metavar="FILE",
            help="The board's password at the broker, which goes into its config.json: once is enough.",
            show_default=False,
        ),
    ] = None,
    serial: Annotated[
        bool, typer.Option("--serial", help="Be a device on a serial port, for esptool and mpremote.")
    ] = False,
    chip: Annotated[
        str | None,
        typer.Option("--chip", help="With --serial: esp32, esp32s3, esp32c3 or esp32c6; default: esp32."),
    ] = None,
    blank: Annotated[
        bool, typer.Option("--blank", help="With --serial: make the board with an erased flash, as to be flashed.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="With --serial: TCP port for RFC 2217; 0: a free one.")
    ] = 0,
    link: Annotated[
        Path | None,
        typer.Option("--link", metavar="PATH", help="With --serial: make a link of this name to the pty."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --serial: print one JSON object instead of text.")
    ] = False,
) -> None:
    """Run an emulated board in the foreground until Ctrl-C.

    It is the board's own firmware in the real MicroPython; the chips around it are emulated, and its sensor measures
    the weather of 2013. Its flash and its key stay in DIR: run it again and it goes on where it was. The gateway must
    live in an emulated world (gateway init --world-speed), so that both agree on the time. Enrol the board first
    (board enroll), or its gateway refuses what it says until you do. If the broker asks for passwords, give it one
    (gateway broker add-board), or it never gets through.

    With --serial it is a board as it comes out of its bag, at the end of a serial cable: there is nothing on it but
    MicroPython (with --blank not even that), and esptool, mpremote and `trigpoint board` do with it what they do with
    real ones. Then --gateway is needed only to live in that gateway's world; without it time goes at its real speed.

    Example: trigpoint board emulate board1 --gateway gw --station LGA

    Example: trigpoint board emulate board2 --serial --chip esp32c3
    """
    from trigpoint.commands.board import explained
    from trigpoint.errors import OperatorError

    if serial:
        if password_file is not None:
            raise OperatorError("a board on a port gets its password from `trigpoint board enroll`")
        with explained():
            _serve(directory, gateway, station, chip=chip, blank=blank, port=port, link=link, as_json=as_json)
        return
    if chip is not None or blank or port or link is not None or as_json:
        raise OperatorError("--chip, --blank, --port, --link and --json belong to a board on a port: add --serial")
    if gateway is None:
        raise OperatorError("name the gateway it belongs to with --gateway, or add --serial for a board on a port")
    with explained():
        _run(directory, gateway, station, password_file)


def _run(directory: Path, gateway: Path, station: str, password_file: Path | None) -> None:
    from trigpoint.commands.board import open_board, set_password
    from trigpoint.commands.gateway import load_config

    emulated = open_board(directory, load_config(gateway), station)
    if password_file is not None:
        set_password(emulated, password_file)
    emulated.start()
    typer.echo(f"Running the board in {directory} with the weather of {station}. Ctrl-C stops it.")
    shown: list[str] = []
    try:
        while emulated.wait(0.2) is None:
            shown = _print_new(shown, emulated.console)
    except KeyboardInterrupt:
        typer.echo("Stopping. What is not acknowledged yet stays in its journal.")
    finally:
        emulated.stop()
        _print_new(shown, emulated.console)


def _print_new(shown: list[str], now: list[str]) -> list[str]:
    """Print the lines that came since `shown`; the console keeps only its newest lines."""
    start = len(shown)
    while now[:start] != shown[len(shown) - start :]:
        start -= 1
    for line in now[start:]:
        typer.echo(line)
    return now


def _serve(
    directory: Path,
    gateway: Path | None,
    station: str,
    *,
    chip: str | None,
    blank: bool,
    port: int,
    link: Path | None,
    as_json: bool,
) -> None:
    from trigpoint_tools.emulator.serialcable import SerialCable
    from trigpoint_tools.emulator.weather import Weather

    from trigpoint.errors import OperatorError

    weather = Weather.load(station)
    _make(directory, chip, blank=blank)
    cable = SerialCable(directory, _clock(gateway, weather), weather)
    try:
        ports = cable.plug_in(port=port, link=link)
    except OSError as error:
        cable.close()
        what = f"TCP port {port}" if link is None or error.filename is None else f"the link {link}"
        raise OperatorError(f"cannot make {what}: {error.strerror}; choose another one") from error
    try:
        if as_json:
            typer.echo(json.dumps(_description(directory, cable.facts, ports)))
        else:
            _print_ports(directory, cable.facts, ports)
        _watch(cable, silent=as_json)
    except KeyboardInterrupt:
        pass
    finally:
        cable.unplug()


def _make(directory: Path, chip: str | None, *, blank: bool) -> None:
    """Make the board if there is none; refuse to be told other things of one that there is."""
    from trigpoint_tools.emulator.facts import Facts
    from trigpoint_tools.emulator.serialcable import FACTS, make_directory

    from trigpoint.errors import OperatorError

    if directory.exists() and not directory.is_dir():
        raise OperatorError(f"{directory} is a file; give a directory for the board")
    if not (directory / FACTS).exists():
        chip = chip or _DEFAULT_CHIP
        make_directory(directory, chip, _surroundings(chip), blank=blank)
        return
    known = Facts.load(directory / FACTS).chip
    if chip not in (None, known):
        raise OperatorError(f"the board in {directory} has an {known}; leave --chip away, or choose another directory")
    if blank:
        raise OperatorError(f"the board in {directory} has its flash already; erase it with esptool erase-flash")


def _surroundings(chip: str) -> dict[str, Any]:
    """Return what a board finds around it: a BME280 on the chip's usual I2C pins, and a Wi-Fi."""
    from trigpoint_tools.pins import PINS, places

    where = places("bme280", chip if chip in PINS else _DEFAULT_CHIP)  # an unknown chip is refused with a better word
    return {
        "wifi": [{"ssid": "trigpoint", "password": "emulated"}],
        "sensors": [{"type": "bme280", "name": "", "i2c": 0, "address": 118, **where}],
    }


def _clock(gateway: Path | None, weather: Weather) -> WorldClock:
    """Return the gateway's clock, if it lives in an emulated world; else today of the weather's year at real speed."""
    from trigpoint.clock import WorldClock
    from trigpoint.commands.gateway import load_config

    clock = None if gateway is None else load_config(gateway).make_clock()
    if isinstance(clock, WorldClock):
        return clock
    now = time.time()
    new_year = datetime(datetime.fromtimestamp(now, UTC).year, 1, 1, tzinfo=UTC).timestamp()
    first, last = weather.first, weather.last
    return WorldClock(int(min(first + now - new_year, last)), now, 1)


def _description(directory: Path, facts: Facts, ports: Ports) -> dict[str, Any]:
    from trigpoint_tools.emulator.serialcable import FIRMWARE, FLASH

    return {
        "directory": str(directory),
        "chip": facts.chip,
        "mac": facts.mac,
        "pty": str(ports.pty),
        "rfc2217": ports.rfc2217,
        "flash": str(directory / FLASH),
        "firmware": str(directory / FIRMWARE),
        "firmware_offset": ports.firmware_offset,
        "wifi": {"ssid": facts.ssid, "password": facts.password},
    }


def _print_ports(directory: Path, facts: Facts, ports: Ports) -> None:
    from rich.console import Console
    from rich.markup import escape
    from trigpoint_tools.emulator.bootloader.chips import CHIPS
    from trigpoint_tools.emulator.serialcable import FIRMWARE, FLASH

    mac = ":".join(facts.mac[at : at + 2] for at in range(0, 12, 2))
    firmware = shlex.quote(str(directory / FIRMWARE))
    write = f"write-flash {ports.firmware_offset:#x} {firmware}"
    flash = escape(str(directory / FLASH))
    wires = facts.wiring[0]
    console = Console(highlight=False, soft_wrap=True)
    lines = (
        f"[bold]An {CHIPS[facts.chip].title} with the MAC address {mac}[/bold]; its flash is {flash}.",
        f"  pty       [bold]{ports.pty}[/bold]",
        f"  RFC 2217  [bold]{ports.rfc2217}[/bold]   carries DTR and RTS too",
        f"  I2C       a {wires.type.upper()} at {wires.address:#x}, SCL {wires.scl}, SDA {wires.sda}",
        f"  Wi-Fi     {facts.ssid}, password {facts.password}",
        "",
        "Its prompt and its files:",
        f"  mpremote connect {ports.pty}",
        "Its flash; either port will do:",
        f"  esptool --port {ports.rfc2217} flash-id",
        f"  esptool --port {ports.pty} --before no-reset --after no-reset {escape(write)}",
        "",
        "Ctrl-C unplugs it. What is in the flash stays.",
    )
    for line in lines:
        console.print(line)


def _watch(cable: SerialCable, *, silent: bool) -> None:
    """Say what the board does, until Ctrl-C."""
    shown = ""
    while True:
        now = cable.state
        if now != shown and not silent:
            typer.echo(f"{datetime.now():%H:%M:%S}  {_SAYS[now]}")
        shown = now
        time.sleep(_LOOKS_EVERY_S)
