"""The trust file: what a verifier must believe, and a chain can confirm (docs/protocol.md section 11)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from trigpoint.wire.errors import WireError

MAX_SIZE = 4_096

_LENGTHS = {"device_registry": 20, "transparency_log": 20, "log_id": 32, "log_key": 32}


@dataclass(frozen=True)
class Trust:
    """One log, its key, and the contracts that know it.

    Attributes:
        chain_id: EIP-155 chain id, 1 to 2^64 - 1.
        device_registry: address, 20 bytes.
        transparency_log: address, 20 bytes.
        log_id: 32 bytes.
        log_key: Ed25519 public key, 32 bytes.

    Raises:
        WireError: `shape`, if a field has not its length or range.
    """

    chain_id: int
    device_registry: bytes
    transparency_log: bytes
    log_id: bytes
    log_key: bytes

    def __post_init__(self) -> None:
        """Check lengths and range."""
        if not 1 <= self.chain_id < 1 << 64:
            raise WireError("shape", "chain_id", "not an integer from 1 to 2^64 - 1")
        for field, length in _LENGTHS.items():
            if len(getattr(self, field)) != length:
                raise WireError("shape", field, f"{len(getattr(self, field))} bytes, {length} wanted")

    def to_json(self) -> str:
        """Return the trust file's text."""
        document = {
            "chain_id": self.chain_id,
            "contracts": {
                "device_registry": "0x" + self.device_registry.hex(),
                "transparency_log": "0x" + self.transparency_log.hex(),
            },
            "log_id": self.log_id.hex(),
            "log_key": self.log_key.hex(),
        }
        return json.dumps(document, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Trust:
        """Read a trust file. Members that the protocol does not define are refused: they may be misspelt ones.

        Raises:
            WireError: `size` above 4,096 bytes; `shape`, with the member at fault, for all else.
        """
        if len(text) > MAX_SIZE:
            raise WireError("size", "trust file", f"{len(text)} bytes, at most {MAX_SIZE} allowed")
        try:
            document = json.loads(text, object_pairs_hook=_object)
        except WireError:
            raise
        except (ValueError, RecursionError):
            raise WireError("shape", "trust file", "not JSON") from None
        top = _members(document, "trust file", {"chain_id", "contracts", "log_id", "log_key"})
        contracts = _members(top["contracts"], "contracts", {"device_registry", "transparency_log"})
        chain_id = top["chain_id"]
        if type(chain_id) is not int:
            raise WireError("shape", "chain_id", "not an integer")
        return cls(
            chain_id=chain_id,
            device_registry=_hex(contracts["device_registry"], "contracts.device_registry", "0x", 20),
            transparency_log=_hex(contracts["transparency_log"], "contracts.transparency_log", "0x", 20),
            log_id=_hex(top["log_id"], "log_id", "", 32),
            log_key=_hex(top["log_key"], "log_key", "", 32),
        )


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise WireError("shape", "trust file", "a member twice")
    return members


def _members(item: object, field: str, names: set[str]) -> dict[str, object]:
    if not isinstance(item, dict):
        raise WireError("shape", field, "not a JSON object")
    if set(item) != names:
        raise WireError("shape", field, f"must have exactly the members {', '.join(sorted(names))}")
    return item


def _hex(item: object, field: str, prefix: str, length: int) -> bytes:
    if not isinstance(item, str) or not re.fullmatch(f"{prefix}[0-9a-fA-F]{{{2 * length}}}", item):
        raise WireError("shape", field, f"not {2 * length} hex digits" + (f" after {prefix}" if prefix else ""))
    return bytes.fromhex(item[len(prefix) :])
