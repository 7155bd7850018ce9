"""`trigpoint board`: boards on a cable, over the network, and emulated on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from trigpoint.commands.board_enroll import enroll
from trigpoint.commands.board_flash import flash
from trigpoint.commands.board_logs import console, logs
from trigpoint.commands.board_ls import ls
from trigpoint.commands.board_rm import rm
from trigpoint.commands.board_sensors import sensors
from trigpoint.commands.board_site import site
from trigpoint.commands.board_status import status
from trigpoint.commands.board_update import update
from trigpoint.commands.emulate import emulate

if TYPE_CHECKING:
    from trigpoint_tools.emulator.board import EmulatedBoard

    from trigpoint.config import Config
    from trigpoint.wire.permit import Permit

board = typer.Typer(no_args_is_help=True, help="Flash, enrol and look after boards, real or emulated.")

_CONFIG_FILE = "/config.json"
_AUTHORITY_FILE = "/ca.der"


for _command in (flash, enroll, ls, status, sensors, logs, console, update, rm, site, emulate):
    board.command()(_command)


def open_board(directory: Path, config: Config, station: str) -> EmulatedBoard:
    """Open the board in `directory`, or make it there.

    Raises:
        OperatorError: the gateway lives in real time, or a new board cannot have its broker's certificate authority.
        EmulatorError: the board cannot be opened or made.
    """
    from trigpoint_tools.emulator.board import EmulatedBoard
    from trigpoint_tools.emulator.weather import Weather
    from trigpoint_tools.serial.settings import authority_of

    from trigpoint.clock import WorldClock
    from trigpoint.commands.gateway import link_key_hex
    from trigpoint.errors import OperatorError

    clock = config.make_clock()
    if not isinstance(clock, WorldClock):
        raise OperatorError(
            "this gateway lives in real time, and an emulated board in 2013: make a gateway for it with "
            "`trigpoint gateway init DIR --world-speed 3600`"
        )
    weather = Weather.load(station)
    if directory.exists() and not directory.is_dir():
        raise OperatorError(f"{directory} is a file; give a directory for the board")
    if (directory / "board.json").exists():
        return EmulatedBoard.open(directory, clock, weather)
    broker = config.broker
    authority = authority_of(broker.ca) if broker.tls else None
    firmware = board_config(broker.host, broker.port, link_key_hex(config), tls=broker.tls)
    made = EmulatedBoard.create(directory, firmware, clock, weather)
    if authority is not None:
        made.write_file(_AUTHORITY_FILE, authority)
    return made


def set_password(emulated: EmulatedBoard, file: Path) -> None:
    """Write the password in `file` into a board's configuration. Raises OperatorError if the file holds none."""
    from trigpoint.keyfiles import load_password

    firmware = json.loads(emulated.read_file(_CONFIG_FILE))
    firmware["broker"]["password"] = load_password(file)
    emulated.write_file(_CONFIG_FILE, json.dumps(firmware).encode())


def board_config(
    host: str,
    port: int,
    link_key: str,
    *,
    tls: bool = False,
    sample_s: int = 3600,
    batch_samples: int = 6,
    resend_s: int = 5,
) -> dict[str, Any]:
    """Return the /config.json of an emulated board with one BME280 (device/README.md says what each part means)."""
    return {
        "version": 1,
        "wifi": [{"ssid": "trigpoint", "password": "emulated"}],
        "broker": {
            "host": host,
            "port": port,
            "tls": tls,
            "ca": _AUTHORITY_FILE if tls else "",
            "password": "",
            "keepalive_s": 60,
        },
        "link_key": link_key,
        "sensors": [{"type": "bme280", "name": "", "i2c": 0, "scl": 22, "sda": 21, "address": 118}],
        "sample_s": sample_s,
        "batch": {"samples": batch_samples, "age_s": sample_s * batch_samples},
        "resend_s": resend_s,
    }


def sign_permit(
    emulated: EmulatedBoard, *, chain_id: int, registry: bytes, owner: bytes, metadata_hash: bytes, deadline: int
) -> Permit:
    """Have the board sign its permit, and check what it gave.

    Args:
        emulated: the board; it must be off, and is off again afterwards.
        chain_id: the chain.
        registry: the DeviceRegistry's address, 20 bytes.
        owner: the owner's address, 20 bytes.
        metadata_hash: SHA-256 of the document about it, zeros for none.
        deadline: seconds since 1970.

    Raises:
        OperatorError: the board did not sign this permit.
    """
    from trigpoint.errors import OperatorError
    from trigpoint.wire.permit import Permit, verify

    arguments = f"{chain_id}, '{registry.hex()}', '{owner.hex()}', '{metadata_hash.hex()}', {deadline}"
    printed = emulated.exec(f"import trig.enroll\ntrig.enroll.permit({arguments})")
    try:
        answer = json.loads(printed.strip().splitlines()[-1])
        x, y, r, s = (bytes.fromhex(answer[name]) for name in ("x", "y", "r", "s"))
        permit = Permit(owner, x, y, metadata_hash, deadline, r, s)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise OperatorError(f"the board gave no permit but: {printed.strip()[-200:]!r}") from error
    if not verify(chain_id, registry, permit):
        raise OperatorError("the board's signature does not fit its permit; is its firmware of this version?")
    return permit


def kid_of(permit: Permit) -> bytes:
    """Return the id of the board that a permit is for."""
    from trigpoint.wire.keys import PublicKey

    return PublicKey(permit.x, permit.y).kid


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the emulator raises into an operator's error.

    Raises:
        OperatorError: with the emulator's own words, or how to install it.
    """
    from trigpoint.errors import OperatorError

    try:
        from trigpoint_tools.emulator.errors import EmulatorError
    except ModuleNotFoundError as error:
        raise OperatorError(
            f"emulated boards need the package {error.name}; install it with: pip install 'trigpoint[emulator]'"
        ) from error
    try:
        yield
    except EmulatorError as error:
        raise OperatorError(str(error)) from error
