"""Permits as files, on their way from who has the board to who pays: one JSON object each, or an array of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from trigpoint.errors import OperatorError
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.permit import Permit, verify

MAX_BYTES = 1 << 20
_MAX_PERMITS = 1_000
_HEX = {"owner": 20, "x": 32, "y": 32, "metadata_hash": 32, "r": 32, "s": 32, "registry": 20, "kid": 32}
_NUMBERS = ("chain_id", "deadline")
_DIGITS = re.compile(r"(0x)?((?:[0-9a-fA-F]{2})*)")


@dataclass(frozen=True)
class Filed:
    """A permit and where it counts.

    Attributes:
        chain_id: EIP-155 chain id.
        registry: address of the DeviceRegistry, 20 bytes.
        permit: what the board signed, with its signature, which fits.
        where: the file, and the permit's place in it if it is not alone there.
    """

    chain_id: int
    registry: bytes
    permit: Permit
    where: str

    @property
    def kid(self) -> bytes:
        """The id of the board that it is for."""
        return PublicKey(self.permit.x, self.permit.y).kid


def plain(permit: Permit, chain_id: int, registry: bytes) -> dict[str, str | int]:
    """Return a permit as the JSON object that `parse` reads."""
    return {
        "chain_id": chain_id,
        "registry": "0x" + registry.hex(),
        "kid": PublicKey(permit.x, permit.y).kid.hex(),
        "owner": "0x" + permit.owner.hex(),
        "x": permit.x.hex(),
        "y": permit.y.hex(),
        "metadata_hash": permit.metadata_hash.hex(),
        "deadline": permit.deadline,
        "r": permit.r.hex(),
        "s": permit.s.hex(),
    }


def parse(text: str, name: str) -> list[Filed]:
    """Read the permits in a file.

    Each signature is verified: nobody is to pay for a permit that the registry would refuse.

    Args:
        text: the content: an object, an array of objects, or objects one after the other as `--print-permit` and `cat`
            leave them.
        name: of the file, for errors.

    Raises:
        OperatorError: it is none of them, a field is wrong, or the board did not sign what it says.
    """
    if len(text) > MAX_BYTES:
        raise OperatorError(f"{name} is larger than {MAX_BYTES} bytes: split it")
    found = list(_objects(text, name))
    if not found:
        raise OperatorError(f"{name} holds no permit; `trigpoint board enroll --print-permit` prints one")
    if len(found) > _MAX_PERMITS:
        raise OperatorError(f"{name} holds more than {_MAX_PERMITS} permits: split it")
    if len(found) == 1:
        return [_filed(found[0], name)]
    return [_filed(item, f"{name}, permit {number}") for number, item in enumerate(found, 1)]


def _objects(text: str, name: str) -> Iterator[object]:
    decoder = json.JSONDecoder()
    at = _skip(text, 0)
    while at < len(text):
        try:
            item, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise OperatorError(
                f"{name} is not JSON: {type(error).__name__}; give what --print-permit printed"
            ) from error
        yield from item if isinstance(item, list) else (item,)
        at = _skip(text, at)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _filed(item: object, where: str) -> Filed:
    if not isinstance(item, dict):
        raise OperatorError(f"{where}: a permit is a JSON object, as `board enroll --print-permit` prints it")
    for field in (*_HEX, *_NUMBERS):
        if field not in item:
            raise OperatorError(f"{where}: {field}: missing")
    values = {field: _bytes(item[field], length, f"{where}: {field}") for field, length in _HEX.items()}
    numbers = {field: _number(item[field], f"{where}: {field}") for field in _NUMBERS}
    registry, kid = values.pop("registry"), values.pop("kid")
    permit = Permit(deadline=numbers["deadline"], **values)
    try:
        if PublicKey(permit.x, permit.y).kid != kid:
            raise OperatorError(f"{where}: kid: it is not the id of this key")
    except WireError as error:
        raise OperatorError(f"{where}: x, y: not a P-256 public key") from error
    if not verify(numbers["chain_id"], registry, permit):
        raise OperatorError(f"{where}: board {kid.hex()} did not sign this permit: let it sign a new one")
    return Filed(numbers["chain_id"], registry, permit, where)


def _bytes(value: object, length: int, where: str) -> bytes:
    match = _DIGITS.fullmatch(value) if isinstance(value, str) and len(value) <= 2 + 2 * length else None
    data = bytes.fromhex(match[2]) if match else b""
    if len(data) != length:
        raise OperatorError(f"{where}: want {2 * length} hexadecimal digits")
    return data


def _number(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 256:
        raise OperatorError(f"{where}: want a whole number, 0 or more")
    return value
