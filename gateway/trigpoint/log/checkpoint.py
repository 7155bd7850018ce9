"""The log's signed head: a C2SP tlog-checkpoint in a signed note (docs/protocol.md section 9)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from trigpoint.log.merkle import EMPTY_ROOT, MAX_SIZE

_ALG_ED25519 = b"\x01"
_BASE64 = r"[A-Za-z0-9+/]+={0,2}"
_MATCH_NOTE = re.compile(
    r"(?P<body>(?P<origin>trigpoint/(?P<log_id>[0-9a-f]{64}))\n"
    r"(?P<size>0|[1-9][0-9]{0,14})\n"
    rf"(?P<root>{_BASE64})\n)"
    rf"\n— (?P<signer>[!-~]+) (?P<signature>{_BASE64})\n"
)
_MAX_LENGTH = 512


class CheckpointError(ValueError):
    """A text that is not a checkpoint, or not one that the log signed."""


@dataclass(frozen=True)
class Checkpoint:
    """A head of a log. Whether the log signed it is for `verify` to say.

    Attributes:
        log_id: 32 bytes.
        size: leaves, 0 to 2^48 - 1.
        root: 32 bytes.
        body: the signed lines.
        key_id: 4 bytes that tell which key is meant.
        signature: Ed25519, 64 bytes.
    """

    log_id: bytes
    size: int
    root: bytes
    body: str
    key_id: bytes
    signature: bytes


def log_id(opener: bytes, log_key: bytes) -> bytes:
    """Return the id of the log that an address (20 bytes) opened on chain with an Ed25519 key (32 bytes).

    Raises:
        CheckpointError: if a length is wrong.
    """
    if len(opener) != 20 or len(log_key) != 32:
        raise CheckpointError("a log id is made from an address of 20 bytes and a key of 32")
    return hashlib.sha256(opener.rjust(32, b"\x00") + log_key).digest()


def origin(log_id: bytes) -> str:
    """Return the first line of the log's checkpoints, which is also the name of its key."""
    return f"trigpoint/{log_id.hex()}"


def sign(log_id: bytes, key: Ed25519PrivateKey, size: int, root: bytes) -> str:
    """Return the signed checkpoint.

    Raises:
        CheckpointError: if size or a length is out of range.
    """
    if not 0 <= size <= MAX_SIZE or len(root) != 32 or len(log_id) != 32:
        raise CheckpointError("a checkpoint has a size of 0 to 2^48 - 1, and a log id and a root of 32 bytes")
    name = origin(log_id)
    body = f"{name}\n{size}\n{base64.b64encode(root).decode()}\n"
    signed = _key_id(name, key.public_key().public_bytes_raw()) + key.sign(body.encode())
    return f"{body}\n— {name} {base64.b64encode(signed).decode()}\n"


def parse(text: str) -> Checkpoint:
    """Read a checkpoint with its one signature line; the signature is not checked.

    Raises:
        CheckpointError: for all that `sign` cannot give.
    """
    if len(text) > _MAX_LENGTH:
        raise CheckpointError(f"{len(text)} characters, at most {_MAX_LENGTH} allowed")
    match = _MATCH_NOTE.fullmatch(text)
    if match is None:
        raise CheckpointError("not a checkpoint: origin, size and root lines, a blank line, one signature line")
    if match["signer"] != match["origin"]:
        raise CheckpointError("the signature line does not name the origin")
    size = int(match["size"])
    if size > MAX_SIZE:
        raise CheckpointError(f"size {size} is above 2^48 - 1")
    root = _unbase64(match["root"], 32, "root")
    if size == 0 and root != EMPTY_ROOT:
        raise CheckpointError("size 0 with a root that is not the empty tree's")
    signed = _unbase64(match["signature"], 68, "signature")
    return Checkpoint(bytes.fromhex(match["log_id"]), size, root, match["body"], signed[:4], signed[4:])


def verify(text: str, log_id: bytes, log_key: bytes) -> Checkpoint:
    """Read a checkpoint and check that this log's key signed it.

    Args:
        text: the note.
        log_id: the log that it must be of, 32 bytes.
        log_key: its Ed25519 public key, 32 bytes.

    Raises:
        CheckpointError: also if it is another log's, or the signature does not verify.
    """
    checkpoint = parse(text)
    if checkpoint.log_id != log_id:
        raise CheckpointError(f"a checkpoint of log {checkpoint.log_id.hex()}, not {log_id.hex()}")
    if checkpoint.key_id != _key_id(origin(log_id), log_key):
        raise CheckpointError("signed by another key than the log's")
    try:
        Ed25519PublicKey.from_public_bytes(log_key).verify(checkpoint.signature, checkpoint.body.encode())
    except InvalidSignature:
        raise CheckpointError("the signature does not verify") from None
    return checkpoint


def _key_id(name: str, log_key: bytes) -> bytes:
    """Return the key id of a signed note's Ed25519 key."""
    return hashlib.sha256(name.encode() + b"\n" + _ALG_ED25519 + log_key).digest()[:4]


def _unbase64(text: str, length: int, field: str) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error:
        value = b""
    # Decoders ignore the unused bits of the last digit; a second spelling is refused.
    if len(value) != length or base64.b64encode(value).decode() != text:
        raise CheckpointError(f"{field} is not {length} bytes of base64")
    return value
