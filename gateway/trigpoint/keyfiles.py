"""The gateway's private keys: made in place, readable by their owner alone, never overwritten."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from trigpoint.errors import OperatorError

_MAX_SIZE = 16_384


def create_log_key(path: Path) -> None:
    """Make the Ed25519 key that signs checkpoints and receipts, as PKCS#8 PEM. Raises FileExistsError."""
    key = ed25519.Ed25519PrivateKey.generate()
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def create_link_key(path: Path) -> None:
    """Make the P-256 key from which the ack keys derive, as PKCS#8 PEM. Raises FileExistsError."""
    key = ec.generate_private_key(ec.SECP256R1())
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def create_chain_key(path: Path) -> None:
    """Make the secp256k1 key of the gateway's chain account, as 64 hexadecimal digits. Raises FileExistsError."""
    number = ec.generate_private_key(ec.SECP256K1()).private_numbers().private_value
    write_private(path, f"{number:064x}\n".encode())


def create_owner_key(path: Path) -> None:
    """Make the P-256 key that signs commands to boards, as PKCS#8 PEM. Raises FileExistsError."""
    create_link_key(path)


def load_log_key(path: Path) -> ed25519.Ed25519PrivateKey:
    """Read the log key. Raises OperatorError if the file is missing, open to others, or not an Ed25519 key."""
    key = _load_pem(path)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise OperatorError(f"log key file {path} does not hold an Ed25519 key; name the file that `gateway init` made")
    return key


def load_link_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read the link key. Raises OperatorError if the file is missing, open to others, or not a P-256 key."""
    return _load_p256(path, "link", "`gateway init` made")


def load_owner_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read the owner key. Raises OperatorError if the file is missing, open to others, or not a P-256 key."""
    return _load_p256(path, "owner", "was made when the board was enrolled")


def load_chain_key(path: Path) -> bytes:
    """Read the chain key, 32 bytes. Raises OperatorError if the file is missing, open to others, or not a key."""
    text = _read(path, "key").decode("ascii", errors="replace").strip().removeprefix("0x")
    try:
        key = bytes.fromhex(text)
        ec.derive_private_key(int.from_bytes(key, "big"), ec.SECP256K1())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise OperatorError(f"chain key file {path} does not hold a secp256k1 key as 64 hexadecimal digits")
    return key


def is_keystore(path: Path) -> bool:
    """Tell whether a chain key file is an encrypted keystore (JSON) rather than plain digits. Raises OperatorError."""
    return _read(path, "key").lstrip()[:1] == b"{"


def load_keystore(path: Path) -> dict[str, object]:
    """Read an encrypted keystore. Raises OperatorError if the file is missing, open to others, or not a JSON object."""
    try:
        keystore = json.loads(_read(path, "key"))
    except (ValueError, RecursionError):
        keystore = None
    if not isinstance(keystore, dict):
        raise OperatorError(f"key file {path} is not a keystore: give the JSON file that a wallet exported")
    return keystore


def load_password(path: Path, what: str = "password") -> str:
    """Read a password file: one line. Raises OperatorError if it is missing, open to others, empty or not UTF-8."""
    try:
        password = _read(path, what).decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise OperatorError(f"{what} file {path} is not UTF-8 text") from error
    if not password or "\n" in password:
        raise OperatorError(f"{what} file {path} must hold the {what} on one line")
    return password


def _load_p256(path: Path, name: str, made: str) -> ec.EllipticCurvePrivateKey:
    key = _load_pem(path)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise OperatorError(f"{name} key file {path} does not hold a P-256 key; name the file that {made}")
    return key


def _load_pem(path: Path) -> object:
    data = _read(path, "key")
    try:
        return load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        # The library's own text may quote the file, so it is not passed on.
        raise OperatorError(f"key file {path} is not an unencrypted PEM private key") from error


def write_private(path: Path, data: bytes) -> None:
    """Create `path` with mode 0600 and all of `data`, or not at all.

    There is no moment at which others could open it, and a crash half way leaves no short file under that name.

    Raises:
        FileExistsError: there is a file of that name; it is left as it is.
        OSError: the file cannot be written.
    """
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(unfinished)  # unlike a rename, it never replaces
    finally:
        unfinished.unlink()


def _read(path: Path, what: str) -> bytes:
    credential = _credential(path)
    path = credential or path
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            # A credential's own mode says little: systemd gives it to the service by an access list.
            if credential is None and stat.S_IMODE(mode) & 0o077:
                raise OperatorError(f"{what} file {path} can be read by others: run `chmod 600 {path}`")
            return file.read(_MAX_SIZE)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OperatorError(f"cannot read the {what} file {path}: {reason}; check the path and its owner") from error


def _credential(path: Path) -> Path | None:
    """Return the systemd credential that stands for `path`: the one of the same file name, if the service has it."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    credential = Path(folder, path.name)
    return credential if credential.exists() else None
