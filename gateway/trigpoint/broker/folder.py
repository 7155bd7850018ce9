"""The folder with everything that Mosquitto needs: made once, added to board by board, renewed in place."""

from __future__ import annotations

import fcntl
import os
import shlex
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from cryptography import x509

from trigpoint import keyfiles
from trigpoint.broker import certificates, passwords
from trigpoint.broker.certificates import Identity
from trigpoint.errors import OperatorError

FOLDER = "broker"
"""Its name in the gateway's directory."""

AUTHORITY = "ca.pem"
BOARDS_LIST, GATEWAY_LIST = "passwd", "passwd-gateway"
"""Who may log in at the listener for boards, and at that for the gateway."""

_LISTS = {BOARDS_LIST: ("owner", "homeassistant"), GATEWAY_LIST: ("gateway", "owner")}
"""The services in each. All that is no service is a board."""

_PRIVATE, _PUBLIC = 0o600, 0o644
_MAX_PORT = 65_535


@dataclass(frozen=True)
class Made:
    """What `make` did.

    Attributes:
        authority: whether the authority is new: then everybody needs the new ca.pem.
        certificate: whether the server's certificate is new.
        names: under which the broker can be reached.
        until: when the server's certificate ends.
    """

    authority: bool
    certificate: bool
    names: list[str]
    until: datetime


def own_names(host: str) -> list[str]:
    """Return the names under which a broker at `host` is likely to be reached; `host` comes first.

    A broker on this machine is reached from outside by the machine's name, in the local network with `.local` (mDNS).
    """
    names = [host]
    if _is_here(host):
        machine = socket.gethostname()
        names += ["localhost", machine, *([] if "." in machine else [f"{machine}.local"]), "127.0.0.1", "::1"]
    return list(dict.fromkeys(names))


def gateway_address(host: str, port: int) -> str:
    """Return where the gateway reaches a broker that boards reach at `host` and `port`: HOST:PORT, the next port.

    If the broker is on this machine only this machine reaches it there.
    """
    place = "localhost" if _is_here(host) else f"[{host}]" if ":" in host else host
    return f"{place}:{port + 1 if port < _MAX_PORT else port - 1}"


def make(folder: Path, names: list[str], port: int, now: datetime, *, gateway: str = "", renew: bool = False) -> Made:
    """Make what is missing in `folder`, and the server's certificate anew if it does not serve any more.

    The authority and the passwords stay as they are; configuration, access list and README are written again.

    Args:
        folder: made as needed.
        names: under which boards and gateway reach the broker; those in an earlier certificate are kept.
        port: where it listens for boards.
        gateway: HOST:PORT at which the gateway reaches it; by default `gateway_address` of the first name.
        now: an aware time.
        renew: make the server's certificate anew in any case.

    Raises:
        OperatorError: the folder cannot be written, or what is there is damaged.
    """
    with _writing(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder):
            new_authority = not (folder / "ca.key").exists()
            if new_authority:
                made = certificates.make_authority(f"Trigpoint broker authority of {socket.gethostname()}", now)
                _replace(folder / AUTHORITY, made.certificate, _PUBLIC)
                _replace(folder / "ca.key", made.key, _PRIVATE)
            authority = _identity(folder / "ca.key", folder / AUTHORITY)
            names = list(dict.fromkeys([*names, *_earlier_names(folder / "server.pem")]))
            new_server = renew or not _serves(folder, authority, names, now)
            if new_server:
                server = certificates.make_server(authority, names, now)
                _replace(folder / "server.key", server.key, _PRIVATE)
                _replace(folder / "server.pem", server.certificate, _PUBLIC)
            until = _identity(folder / "server.key", folder / "server.pem").loaded().not_valid_after_utc
            _replace(folder / "acl", _shipped("acl").encode(), _PUBLIC)
            gateway = gateway or gateway_address(names[0], port)
            _replace(folder / "mosquitto.conf", _configuration(port, gateway), _PUBLIC)
            _write_users(folder, _users(folder))
            readme = _shipped("README.md").format(
                names=", ".join(names),
                until=f"{until:%Y-%m-%d}",
                directory=shlex.quote(str(folder.parent.absolute())),
                port=port,
                gateway=gateway,
            )
            _replace(folder / "README.md", readme.encode(), _PUBLIC)
    return Made(new_authority, new_server, names, until)


def add_user(
    folder: Path, name: str, *, replace: bool = False, new: Callable[[], str] = passwords.make_password
) -> Path:
    """Give the user `name` a password, and return the file, mode 0600, with it.

    A user that has one keeps it. A crash on the way leaves at most the file with a password that the broker does not
    know yet; the next call goes on from there.

    Args:
        folder: the set-up.
        name: a board id or one of `passwords.SERVICES`.
        replace: make a new password though there is one.
        new: makes a password.

    Raises:
        OperatorError: `name` is no user, or the folder is missing, damaged or cannot be written.
    """
    name = passwords.check_user(name)
    with _writing(folder), _locked(folder):
        path = folder / "passwords" / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if replace or not path.exists():
            _replace(path, f"{new()}\n".encode(), _PRIVATE)
        password = keyfiles.load_password(path)
        users = _users(folder)
        if name not in users or not passwords.fits(password, users[name]):
            users[name] = passwords.seal(password)
            _write_users(folder, users)
    return path


def remove_user(folder: Path, name: str) -> bool:
    """Take the password of `name` away; return whether it had one. Raises OperatorError as `add_user`."""
    name = passwords.check_user(name)
    with _writing(folder), _locked(folder):
        users = _users(folder)
        known = users.pop(name, None) is not None
        if known:
            _write_users(folder, users)
        (folder / "passwords" / name).unlink(missing_ok=True)
    return known


def users(folder: Path) -> list[str]:
    """Return the users that the broker is to know, boards and others.

    Raises:
        OperatorError: the folder is missing, or its list of users is damaged.
    """
    with _writing(folder):
        folder.stat()
        return sorted(_users(folder))


def _users(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _LISTS:
        if (folder / name).exists():
            found |= passwords.parse((folder / name).read_text(encoding="ascii", errors="replace"))
    return found


def _write_users(folder: Path, users: Mapping[str, str]) -> None:
    """Write each list; one from before there were two is parted."""
    for name, services in reversed(_LISTS.items()):  # the gateway's first: a crash between the two loses no user
        kept = {user: sealed for user, sealed in users.items() if _belongs(user, name, services)}
        _replace(folder / name, passwords.render(kept).encode(), _PRIVATE)


def _belongs(user: str, name: str, services: Collection[str]) -> bool:
    return user in services if user in passwords.SERVICES else name == BOARDS_LIST


def _configuration(port: int, gateway: str) -> bytes:
    host, _, gateway_port = gateway.rpartition(":")
    text = _shipped("mosquitto.conf").replace("listener 8883", f"listener {port}")
    bind = " 127.0.0.1" if _is_here(host) else ""
    return text.replace("listener 8884 127.0.0.1", f"listener {gateway_port}{bind}").encode()


def _is_here(host: str) -> bool:
    machine = socket.gethostname()
    return host in ("localhost", "127.0.0.1", "::1", machine, f"{machine}.local")


def _serves(folder: Path, authority: Identity, names: list[str], now: datetime) -> bool:
    if not (folder / "server.key").exists() or not (folder / "server.pem").exists():
        return False
    server = _identity(folder / "server.key", folder / "server.pem")
    return certificates.serves(server, authority, names, now)


def _earlier_names(path: Path) -> list[str]:
    if not path.exists():
        return []
    certificate = certificates.load_certificate(path.read_bytes())
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _identity(key: Path, certificate: Path) -> Identity:
    return Identity(key.read_bytes(), certificate.read_bytes())


def _shipped(name: str) -> str:
    return (resources.files("trigpoint.broker") / name).read_text(encoding="utf-8")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise OperatorError(
            f"cannot use the broker's set-up, {where}: {error.strerror}; `trigpoint gateway broker renew DIR` makes one"
        ) from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time change the folder; the system lets go of it however the process ends."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, data: bytes, mode: int) -> None:
    """Put `data` under `path`, whole or not at all; others never see a private file with an open mode."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def today() -> datetime:
    """Return the machine's time: certificates live by it, also in an emulated world."""
    return datetime.now(UTC)
