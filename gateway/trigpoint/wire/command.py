"""The command: what a board's owner tells it, signed (docs/protocol.md section 14)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from cryptography.hazmat.primitives.asymmetric import ec

from trigpoint.wire import cbor, keys
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.statement import sig_structure

LABEL_BOARD = -65542
LABEL_COUNTER = -65543
MAX_SIZE = 4096


class Kind(IntEnum):
    """What a command is about."""

    CONFIGURATION = 1
    UPDATE = 2


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        board: id of the board that it is for, 32 bytes.
        counter: above that of every command the board has obeyed, below 2^32.
        kind: what it is about.
        body: the JSON text of config.json, or the encoded manifest (section 15).

    Raises:
        WireError: `shape`, if a field has not its length or range.
    """

    board: bytes
    counter: int
    kind: Kind
    body: bytes

    def __post_init__(self) -> None:
        """Check lengths and range."""
        if len(self.board) != 32:
            raise WireError("shape", "board", f"{len(self.board)} bytes, 32 wanted")
        if not 1 <= self.counter < 1 << 32:
            raise WireError("shape", "counter", f"{self.counter} is not 1 to 2^32 - 1")


def seal(owner: ec.EllipticCurvePrivateKey, command: Command) -> bytes:
    """Sign a command with the owner's key, and encode it.

    Raises:
        WireError: `size`, if it is more than 4,096 bytes.
    """
    protected, payload = _header(PublicKey.of(owner).kid, command), _payload(command)
    signature = keys.sign(owner, sig_structure(protected, payload))
    data = cbor.encode(cbor.Tag(cbor.TAG_SIGN1, [protected, {}, payload, signature]))
    if len(data) > MAX_SIZE:
        raise WireError("size", "command", f"{len(data)} bytes, at most {MAX_SIZE} allowed")
    return data


def open_command(owner: PublicKey, data: bytes) -> Command:
    """Read a command as a board does, for tests and tools; whom it is for and its counter are the caller's to compare.

    Raises:
        WireError: `size`, `shape`, or `signature` if it is not this owner's.
    """
    match cbor.decode(data, max_size=MAX_SIZE):
        case cbor.Tag(cbor.TAG_SIGN1, [bytes(protected), {**unprotected}, bytes(payload), bytes(signature)]):
            pass
        case _:
            raise WireError("shape", "command", "not 18([protected, {}, payload, signature])")
    if unprotected:
        raise WireError("shape", "unprotected header", "not empty")
    match cbor.decode(protected):
        case {1: -7, 4: bytes(kid), -65542: bytes(board), -65543: int(counter), **others} if not others:
            pass
        case _:
            raise WireError("shape", "protected header", "not alg, kid, board and counter alone")
    match cbor.decode(payload):
        case {1: int(kind), 2: bytes(body), **others} if not others and kind in tuple(Kind):
            pass
        case _:
            raise WireError("shape", "payload", "not {1: kind, 2: body}, kind 1 or 2")
    command = Command(board, int(counter), Kind(kind), body)
    if protected != _header(kid, command) or payload != _payload(command):
        raise WireError("shape", "command", "true or false where a number belongs")
    if kid != owner.kid:
        raise WireError("signature", "kid", "not this owner's key")
    if not owner.verify(signature, sig_structure(protected, payload)):
        raise WireError("signature", "command", "the owner's key does not verify it")
    return command


def _header(kid: bytes, command: Command) -> bytes:
    return cbor.encode({1: -7, 4: kid, LABEL_BOARD: command.board, LABEL_COUNTER: command.counter})


def _payload(command: Command) -> bytes:
    return cbor.encode({1: int(command.kind), 2: command.body})
