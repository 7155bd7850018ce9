"""What `board flash` and `board enroll` ask for alike, and how answers become a board's settings.

Secrets never come in an argument, where other users and the shell's history see them: a file, the environment, or a
question without echo.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trigpoint_tools.serial.batch import Row
    from trigpoint_tools.serial.settings import Settings
    from trigpoint_tools.serial.world import GatewayWorld

    from trigpoint.config import Config

WIFI_PASSWORD = "TRIGPOINT_WIFI_PASSWORD"  # noqa: S105, the name of a variable
BROKER_PASSWORD = "TRIGPOINT_BROKER_PASSWORD"  # noqa: S105, the name of a variable

_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")

Wifi = Annotated[
    str | None,
    typer.Option(
        "--wifi",
        metavar="NAME",
        help="The Wi-Fi network. Its password is asked for, if no file or variable has it.",
        show_default=False,
    ),
]
WifiPasswordFile = Annotated[
    Path | None,
    typer.Option("--wifi-password-file", metavar="FILE", help="It is in this file, mode 0600, on one line."),
]
BrokerPasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--broker-password-file",
        metavar="FILE",
        help="The board's password at the broker, mode 0600; default: one is made for it, if `gateway init` has set up "
        "the broker.",
    ),
]
Broker = Annotated[
    str | None,
    typer.Option("--broker", metavar="HOST:PORT", help="The broker as the board reaches it; default: the gateway's."),
]
BaseConfig = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="More of the board's config.json; see device/README.md."),
]
Sensors = Annotated[
    list[str] | None,
    typer.Option("--sensor", metavar="TYPE", help="A sensor at its usual pins (docs/hardware.md); may be repeated."),
]
SampleEvery = Annotated[
    int | None, typer.Option("--sample-every", metavar="SECONDS", help="How often it measures.", min=1, max=86_400)
]
Ntp = Annotated[str | None, typer.Option("--ntp", metavar="HOST", help="A time server; wanted with a broker over TLS.")]
OwnerKey = Annotated[
    Path | None,
    typer.Option(
        "--owner-key",
        metavar="FILE",
        help="Whose commands and updates it takes: this key's, made if it is not there; default: nobody's.",
    ),
]
Owner = Annotated[
    str | None, typer.Option("--owner", metavar="ADDRESS", help="Who will own the board's token; default: who pays.")
]
Metadata = Annotated[
    Path | None,
    typer.Option("--metadata", metavar="FILE", help="A document about the board; its hash goes on the chain."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", metavar="FILE", help="The account that pays; default: the gateway's own."),
]
Wait = Annotated[
    int, typer.Option("--wait", metavar="SECONDS", help="How long to wait for the first statement; 0: not.", min=0)
]
LabelFile = Annotated[
    str | None,
    typer.Option("--label", metavar="FILE", help="Make a QR label: an .svg, a .png, or - for the terminal."),
]
Fleet = Annotated[str, typer.Option("--fleet", metavar="NAME", help="A name for the label.")]
VerifyLink = Annotated[
    str, typer.Option("--verify-link", metavar="URL", help="What the label leads to, with {kid} for the board id.")
]


@dataclass(frozen=True)
class Answers:
    """What the command was told; a field that is None was not given."""

    gateway: Path
    wifi: str | None = None
    wifi_password_file: Path | None = None
    broker: str | None = None
    broker_password_file: Path | None = None
    config: Path | None = None
    sensors: tuple[str, ...] = ()
    sample_every: int | None = None
    ntp: str | None = None
    owner_key: Path | None = None
    owner: str | None = None
    metadata: Path | None = None
    key_file: Path | None = None
    wait: int = 900
    label: str | None = None
    fleet: str = ""
    verify_link: str = ""

    def for_row(self, row: Row) -> Answers:
        """Return the answers for one line of a batch."""
        return replace(
            self,
            wifi=row.wifi or self.wifi,
            sensors=tuple(row.sensors.split()) or self.sensors,
            owner=row.owner or self.owner,
            config=Path(row.config) if row.config else self.config,
            metadata=Path(row.metadata) if row.metadata else self.metadata,
            label=row.label or self.label,
        )


class Secrets:
    """Passwords, each asked for once in a run."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def wifi(self, answers: Answers) -> str:
        """Return the password of a network; empty for an open one.

        Raises:
            OperatorError: its file cannot be read, or nobody is there to be asked.
        """
        from trigpoint.errors import OperatorError

        if answers.wifi_password_file:
            return _password_file(answers.wifi_password_file)
        if WIFI_PASSWORD in os.environ:
            return os.environ[WIFI_PASSWORD]
        name = answers.wifi or ""
        if name not in self._known:
            if not sys.stdin.isatty():
                raise OperatorError(
                    f"the password of {name!r} is not known: put it into {WIFI_PASSWORD}, or a file for "
                    "--wifi-password-file"
                )
            self._known[name] = str(
                typer.prompt(f"Password of {name} (empty if it has none)", hide_input=True, default="", err=True)
            )
        return self._known[name]

    def broker(self, answers: Answers) -> str:
        """Return the board's password at the broker, empty for none."""
        if answers.broker_password_file:
            return _password_file(answers.broker_password_file)
        return os.environ.get(BROKER_PASSWORD, "")


def told_by(answers: Answers, config: Config, chip: str, secrets: Secrets) -> Callable[[bytes | None], Settings]:
    """Return what a board is told, by its id; None stands for a board that has no id yet.

    Where `gateway init` has set a broker up, each board has a password of its own there; it is made when it is wanted.

    Raises:
        OperatorError: an answer is wrong or missing.
    """
    from trigpoint_tools.owner import owner_key_hex
    from trigpoint_tools.serial import settings

    from trigpoint.commands.gateway import link_key_hex
    from trigpoint.keyfiles import load_owner_key, load_password

    broker = config.broker
    host, port = broker_of(answers, config)
    given = secrets.broker(answers)
    folder = None if given else broker_folder(answers.gateway, config)
    base = settings.read_base(answers.config) if answers.config else {}
    gateway = settings.Gateway(
        host, port, broker.tls, settings.authority_of(broker.ca) if broker.tls else None, link_key_hex(config)
    )
    wifi = [(answers.wifi, secrets.wifi(answers))] if answers.wifi else []
    owner_key = owner_key_hex(load_owner_key(answers.owner_key)) if answers.owner_key else ""

    def told(kid: bytes | None) -> Settings:
        from trigpoint.broker.folder import add_user

        password = given
        if folder is not None and kid is not None:
            password = load_password(add_user(folder, kid.hex()))
        return settings.build(
            base,
            gateway,
            chip=chip,
            wifi=wifi,
            sensors=answers.sensors,
            broker_password=password,
            owner_key=owner_key,
            sample_s=answers.sample_every,
            ntp=answers.ntp or "",
        )

    told(None)  # a wrong answer is told before anything is made
    return told


def broker_of(answers: Answers, config: Config) -> tuple[str, int]:
    """Return host and port of the broker as the board is to reach it."""
    from trigpoint.commands.questions import split_host_port

    return split_host_port(answers.broker) if answers.broker else (config.broker.host, config.broker.port)


def broker_folder(gateway: Path, config: Config) -> Path | None:
    """Return the set-up of a broker with a password for each board; None if the gateway's directory has none."""
    from trigpoint.broker.folder import FOLDER

    folder = gateway / FOLDER
    return folder if config.broker.username is not None and (folder / "acl").exists() else None


def install_passwords(folder: Path) -> tuple[str, str]:
    """Return the commands by which Mosquitto learns of the passwords in `folder`, as its README.md has them."""
    source = shlex.quote(str(folder / "passwd"))
    return (
        f"sudo install -o root -g mosquitto -m 640 {source} /etc/mosquitto/trigpoint/",
        "sudo systemctl reload mosquitto",
    )


def make_owner_key(path: Path) -> bool:
    """Make the owner key in `path` unless there is one; return whether it was made.

    Raises:
        OperatorError: it cannot be written.
    """
    from trigpoint.errors import OperatorError
    from trigpoint.keyfiles import create_owner_key

    if path.exists():
        return False
    try:
        create_owner_key(path)
    except FileExistsError:
        return False
    except OSError as error:
        raise OperatorError(f"cannot make the owner key {path}: {error.strerror}; check the path") from error
    return True


def world_for(
    answers: Answers, config: Config, told: Callable[[bytes | None], Settings] | None = None, *, submit: bool = True
) -> GatewayWorld:
    """Return chain, broker and gateway as one enrolment sees them.

    Args:
        answers: what the command was told.
        config: the gateway's.
        told: what the board is told, from `told_by`; None to leave the broker alone.
        submit: whether the permit is submitted at once, and not by somebody else one day.

    Raises:
        OperatorError: no node answers, or the account's key cannot be read.
    """
    from trigpoint_tools.serial.login import refusal
    from trigpoint_tools.serial.world import PERMIT_LIFE_S, PRINTED_LIFE_S, GatewayWorld

    from trigpoint.chain.keys import load_account, load_signer

    account = load_account(answers.key_file) if answers.key_file else load_signer(config.chain)
    host, port = broker_of(answers, config)

    def refused(kid: bytes) -> str:
        if told is None:
            return ""
        settings = told(kid)
        return refusal(host, port, settings.authority, kid, settings.broker_password)

    return GatewayWorld(
        config,
        registry_of(config, answers.gateway),
        account,
        address(answers.owner or account.address),
        hash_of(answers.metadata) if answers.metadata else bytes(32),
        refused,
        PERMIT_LIFE_S if submit else PRINTED_LIFE_S,
    )


def registry_of(config: Config, gateway: Path) -> bytes:
    """Return the DeviceRegistry's address. Raises OperatorError if there is none yet."""
    from trigpoint.errors import OperatorError

    if not config.chain.device_registry:
        raise OperatorError(
            f"{gateway} names no contracts yet; run `trigpoint chain deploy --gateway {gateway}`, or put the addresses "
            "of contracts that exist into its gateway.toml"
        )
    return address(config.chain.device_registry)


def address(text: str) -> bytes:
    """Return an address, 20 bytes. Raises OperatorError if `text` is none."""
    from trigpoint.errors import OperatorError

    if not _ADDRESS.fullmatch(text):
        raise OperatorError(f"{text!r} is not an address; write it as 0x and 40 hexadecimal digits")
    return bytes.fromhex(text[2:])


def hash_of(path: Path) -> bytes:
    """Return a document's SHA-256. Raises OperatorError if it cannot be read."""
    from trigpoint.errors import OperatorError

    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError as error:
        raise OperatorError(f"cannot read {path}: {error.strerror}; give the path of an existing file") from error


def is_port(text: str) -> bool:
    """Return whether `text` names a serial port and not an emulated board's directory."""
    if "://" in text or text.startswith("/dev/") or re.fullmatch(r"COM\d+", text):
        return True
    try:
        return stat.S_ISCHR(Path(text).stat().st_mode)
    except OSError:
        return False


def _password_file(path: Path) -> str:
    from trigpoint.keyfiles import load_password

    return load_password(path)
