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
_MATCH_BODY = re.compile(
    r"trigpoint/(?P<log_id>[0-9a-f]{64})\n"
    r"(?P<size>0|[1-9][0-9]{0,14})\n"
    rf"(?P<root>{_BASE64})\n"
)
_MATCH_SIGNATURE = re.compile(rf"— (?P<name>[^\s+\x00-\x1f]+) (?P<signature>{_BASE64})")
_MAX_SIGNATURES = 32

MAX_LENGTH = 131_072
"""Characters of the longest checkpoint that is read. C2SP signed-note wants 16 signatures to fit in, of 5 kB each."""

_P = 2**255 - 19
# y coordinate of the points of order 8, which have this one or its negative (RFC 8032 section 5.1 names the curve).
_Y8 = 0x5FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER = frozenset({0, 1, _P - 1, _Y8, _P - _Y8})


class CheckpointError(ValueError):
    """A text that is not a checkpoint, or not one that the log signed."""


@dataclass(frozen=True)
class Signature:
    """One signature line of a note.

    Attributes:
        name: of the key.
        key_id: 4 bytes that tell, with the name, which key and algorithm is meant.
        value: the signature, as the algorithm has it.
    """

    name: str
    key_id: bytes
    value: bytes


@dataclass(frozen=True)
class Checkpoint:
    """A head of a log. Whether the log signed it is for `verify` to say.

    Attributes:
        log_id: 32 bytes.
        size: leaves, 0 to 2^48 - 1.
        root: 32 bytes.
        text: the whole note.
        body: the signed lines.
        signatures: the log's, and maybe those of witnesses.
    """

    log_id: bytes
    size: int
    root: bytes
    text: str
    body: str
    signatures: tuple[Signature, ...]


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
    """Read a checkpoint; no signature is checked.

    Raises:
        CheckpointError: for all that `sign` cannot give, but for further signature lines (C2SP signed-note).
    """
    if len(text) > MAX_LENGTH:
        raise CheckpointError(f"{len(text)} characters, at most {MAX_LENGTH} allowed")
    body, blank, lines = text.partition("\n\n")
    body += "\n"
    match = _MATCH_BODY.fullmatch(body)
    if match is None or not blank or not lines.endswith("\n"):
        raise CheckpointError("not a checkpoint: origin, size and root lines, a blank line, signature lines")
    size = int(match["size"])
    if size > MAX_SIZE:
        raise CheckpointError(f"size {size} is above 2^48 - 1")
    root = _unbase64(match["root"], "root", 32)
    if size == 0 and root != EMPTY_ROOT:
        raise CheckpointError("size 0 with a root that is not the empty tree's")
    signatures = tuple(_signature(line) for line in lines[:-1].split("\n", _MAX_SIGNATURES))
    if len(signatures) > _MAX_SIGNATURES:
        raise CheckpointError(f"more than {_MAX_SIGNATURES} signature lines")
    return Checkpoint(bytes.fromhex(match["log_id"]), size, root, text, body, signatures)


def verify(text: str, log_id: bytes, log_key: bytes) -> Checkpoint:
    """Read a checkpoint and check that this log's key signed it. What others signed is not looked at.

    Args:
        text: the note.
        log_id: the log that it must be of, 32 bytes.
        log_key: its Ed25519 public key, 32 bytes.

    Raises:
        CheckpointError: also if it is another log's, no signature is by this key or one does not verify, or the key
            is one under which anybody can sign.
    """
    checkpoint = parse(text)
    if checkpoint.log_id != log_id:
        raise CheckpointError(f"a checkpoint of log {checkpoint.log_id.hex()}, not {log_id.hex()}")
    if is_weak(log_key):
        raise CheckpointError("the log key is a point of small order: anybody can sign under it")
    name = origin(log_id)
    key_id = _key_id(name, log_key)
    ours = [line.value for line in checkpoint.signatures if (line.name, line.key_id) == (name, key_id)]
    if not ours:
        raise CheckpointError("not signed by the log's key")
    key = Ed25519PublicKey.from_public_bytes(log_key)
    try:
        for signature in ours:
            key.verify(signature, checkpoint.body.encode())
    except InvalidSignature:
        raise CheckpointError("the signature does not verify") from None
    return checkpoint


def is_weak(log_key: bytes) -> bool:
    """Tell whether an Ed25519 public key (32 bytes) is a point of small order, in any of its encodings.

    Under such a key one signature fits all messages, or every eighth. RFC 8032 does not refuse it, nor does OpenSSL;
    "Taming the many EdDSAs" (IACR ePrint 2020/1244, section 5) says what follows.
    """
    y = int.from_bytes(log_key, "little") & ((1 << 255) - 1)
    return y % _P in _SMALL_ORDER


def _key_id(name: str, log_key: bytes) -> bytes:
    """Return the key id of a signed note's Ed25519 key."""
    return hashlib.sha256(name.encode() + b"\n" + _ALG_ED25519 + log_key).digest()[:4]


def _signature(line: str) -> Signature:
    match = _MATCH_SIGNATURE.fullmatch(line)
    if match is None:
        raise CheckpointError("a signature line that is none: dash, name and base64, with one space between")
    signed = _unbase64(match["signature"], "signature")
    if len(signed) < 5:
        raise CheckpointError("a signature line without a signature")
    return Signature(match["name"], signed[:4], signed[4:])


def _unbase64(text: str, field: str, length: int | None = None) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except binascii.Error:
        value = b""
    # Decoders ignore the unused bits of the last digit; a second spelling is refused.
    if not value or (length is not None and len(value) != length) or base64.b64encode(value).decode() != text:
        raise CheckpointError(f"{field} is not {'' if length is None else f'{length} bytes of '}base64")
    return value
