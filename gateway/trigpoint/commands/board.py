"""`trigpoint board`: emulate a board on this machine, and enrol it on the chain."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from trigpoint_tools.emulator.board import EmulatedBoard

    from trigpoint.config import Config
    from trigpoint.wire.permit import Permit

board = typer.Typer(no_args_is_help=True, help="Emulate a board on this machine, and enrol it on the chain.")

BoardDirectory = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="The emulated board's directory; made if it is not there.", show_default=False),
]
GatewayOption = Annotated[
    Path,
    typer.Option("--gateway", metavar="DIR", help="The directory of the gateway it belongs to.", show_default=False),
]
StationOption = Annotated[
    str,
    typer.Option("--station", help="Whose weather it measures: EWR, JFK or LGA, New York's three airports."),
]

_PERMIT_LIFE_S = 3600
_CONFIG_FILE = "/config.json"
_AUTHORITY_FILE = "/ca.der"
_OWNER = re.compile("0x[0-9a-fA-F]{40}")
_NO_METADATA = bytes(32)


@board.command()
def emulate(
    directory: BoardDirectory,
    *,
    gateway: GatewayOption,
    station: StationOption = "JFK",
    password_file: Annotated[
        Path | None,
        typer.Option(
            "--password-file",
            metavar="FILE",
            help="The board's password at the broker, which goes into its config.json: once is enough.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run an emulated board in the foreground, with its console, until Ctrl-C.

    It is the board's own firmware in the real MicroPython; the chips around it are emulated, and its sensor measures
    the weather of 2013. Its flash and its key stay in DIR: run it again and it goes on where it was. The gateway must
    live in an emulated world (gateway init --world-speed), so that both agree on the time.

    Enrol it first (board enroll), or its gateway refuses what it says until you do. If the broker asks for passwords,
    give it one (gateway broker add-board), or it never gets through.

    Example: trigpoint board emulate board1 --gateway gw --station LGA
    """
    from trigpoint.commands.gateway import load_config

    with _explained():
        emulated = open_board(directory, load_config(gateway), station)
        if password_file is not None:
            _set_password(emulated, password_file)
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


@board.command()
def enroll(
    directory: BoardDirectory,
    *,
    gateway: GatewayOption,
    station: StationOption = "JFK",
    owner: Annotated[
        str | None,
        typer.Option("--owner", metavar="ADDRESS", help="Who will own the board's token; default: who pays."),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option("--metadata", metavar="FILE", help="A document about the board; its hash goes on the chain."),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", metavar="FILE", help="The account that pays; default: the gateway's own."),
    ] = None,
    print_permit: Annotated[
        bool, typer.Option("--print-permit", help="Print the permit as JSON for someone else to submit.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Register a board on the chain: it signs a permit, and an account of yours pays to submit it.

    The permit binds owner, contract, chain, document and a deadline of one hour: whoever submits it can do only what
    the board signed. From then on the gateway accepts what the board says. The board must not be running.

    Example: trigpoint board enroll board1 --gateway gw
    """
    from trigpoint.broker.folder import FOLDER
    from trigpoint.chain.client import connect
    from trigpoint.chain.keys import load_account, load_signer
    from trigpoint.chain.node import Node
    from trigpoint.chain.registration import register
    from trigpoint.commands.gateway import load_config
    from trigpoint.errors import OperatorError

    config = load_config(gateway)
    registry = _registry(config, gateway)
    account = load_account(key_file) if key_file else load_signer(config.chain)
    web3 = connect(config.chain.rpc_url, config.chain.chain_id)
    head = Node(web3).block()
    if head is None:
        raise OperatorError("the node has no block yet; try again when it has started")
    with _explained():
        permit = sign_permit(
            open_board(directory, config, station),
            chain_id=config.chain.chain_id,
            registry=registry,
            owner=_address(owner or account.address),
            metadata_hash=_hash_of(metadata) if metadata else _NO_METADATA,
            deadline=head.time + _PERMIT_LIFE_S,
        )
    if print_permit:
        typer.echo(json.dumps({"chain_id": config.chain.chain_id, "registry": "0x" + registry.hex(), **_plain(permit)}))
        return
    done = register(web3, account, registry, permit, chain_id=config.chain.chain_id)
    if as_json:
        answer = {
            "board": kid_of(permit).hex(),
            "owner": "0x" + permit.owner.hex(),
            "transaction": None if done.transaction is None else "0x" + done.transaction.hex(),
            "block": done.block,
            "gas_used": done.gas_used,
        }
        typer.echo(json.dumps(answer, indent=2))
        return
    if done.transaction is None:
        typer.echo(f"Board {kid_of(permit).hex()} is enrolled already, for the owner 0x{permit.owner.hex()}.")
    else:
        typer.echo(f"Enrolled board {kid_of(permit).hex()}")
        typer.echo(f"in block {done.block} for {done.gas_used:,} gas; its owner is 0x{permit.owner.hex()}.")
    next_words = ["trigpoint", "board", "emulate", str(directory), "--gateway", str(gateway), "--station", station]
    if config.broker.username:
        kid = kid_of(permit).hex()
        typer.echo(f"Next: {shlex.join(['trigpoint', 'gateway', 'broker', 'add-board', str(gateway), kid])}")
        password = f"--password-file {shlex.quote(str(gateway / FOLDER / 'passwords' / kid))}"
        typer.echo(f"and then: {shlex.join(next_words)} {password}")
    else:
        typer.echo(f"Next: {shlex.join(next_words)}")


def open_board(directory: Path, config: Config, station: str) -> EmulatedBoard:
    """Open the board in `directory`, or make it there.

    Raises:
        OperatorError: the gateway lives in real time, or a new board cannot have its broker's certificate authority.
        EmulatorError: the board cannot be opened or made.
    """
    from trigpoint_tools.emulator.board import EmulatedBoard
    from trigpoint_tools.emulator.weather import Weather

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
    authority = _authority(broker.ca) if broker.tls else None
    firmware = board_config(broker.host, broker.port, link_key_hex(config), tls=broker.tls)
    made = EmulatedBoard.create(directory, firmware, clock, weather)
    if authority is not None:
        made.write_file(_AUTHORITY_FILE, authority)
    return made


def _set_password(emulated: EmulatedBoard, file: Path) -> None:
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
def _explained() -> Iterator[None]:
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


def _authority(ca: Path | None) -> bytes:
    """Return the broker's certificate authority as the board wants it, in DER."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from trigpoint.errors import OperatorError

    if ca is None:
        raise OperatorError("a board has no list of authorities: name the one of your broker in broker.ca")
    try:
        return x509.load_pem_x509_certificate(ca.read_bytes()).public_bytes(Encoding.DER)
    except (OSError, ValueError) as error:
        raise OperatorError(f"cannot read a PEM certificate from {ca}; correct broker.ca") from error


def _print_new(shown: list[str], now: list[str]) -> list[str]:
    """Print the lines that came since `shown`; the console keeps only its newest lines."""
    start = len(shown)
    while now[:start] != shown[len(shown) - start :]:
        start -= 1
    for line in now[start:]:
        typer.echo(line)
    return now


def _registry(config: Config, gateway: Path) -> bytes:
    from trigpoint.errors import OperatorError

    if not config.chain.device_registry:
        raise OperatorError(
            f"{gateway} names no contracts yet; run `trigpoint chain deploy --gateway {gateway}`, or put the addresses "
            "of contracts that exist into its gateway.toml"
        )
    return _address(config.chain.device_registry)


def _address(text: str) -> bytes:
    from trigpoint.errors import OperatorError

    if not _OWNER.fullmatch(text):
        raise OperatorError(f"{text!r} is not an address; write it as 0x and 40 hexadecimal digits")
    return bytes.fromhex(text[2:])


def _hash_of(path: Path) -> bytes:
    from trigpoint.errors import OperatorError

    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError as error:
        raise OperatorError(f"cannot read {path}: {error.strerror}; give the path of an existing file") from error


def _plain(permit: Permit) -> dict[str, str | int]:
    return {
        "kid": kid_of(permit).hex(),
        "owner": "0x" + permit.owner.hex(),
        "x": permit.x.hex(),
        "y": permit.y.hex(),
        "metadata_hash": permit.metadata_hash.hex(),
        "deadline": permit.deadline,
        "r": permit.r.hex(),
        "s": permit.s.hex(),
    }
