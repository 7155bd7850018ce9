"""Who signs for the gateway's account: a key in this process, or a program of the operator's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import rlp  # type: ignore[import-untyped]
from eth_account.signers.local import LocalAccount
from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_typing import Hash32
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException  # type: ignore[import-untyped]

from trigpoint.errors import OperatorError

COMMAND_TIMEOUT_S: Final = 60.0
"""Long enough for a person to touch a hardware key, short enough that the chain is not left alone for long."""

_LARGEST_OUTPUT = 262_144
_HALF_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2
_EIP_1559 = 2
_LEAST_V = 37  # EIP-155, of chain 1


class SigningError(OperatorError):
    """No signature was made, or not the one that was asked for. Nothing was sent."""


@dataclass(frozen=True)
class Unsigned:
    """A transaction before it is signed: EIP-1559 if it has a tip, else one with a gas price (EIP-155).

    Attributes:
        chain_id: EIP-155 chain id.
        nonce: the account's.
        to: 20 bytes; empty creates a contract.
        data: the call, or the creation code.
        gas: most gas that it may use.
        fee: most to be paid for one gas, in wei; without a tip what is paid for one gas.
        tip: most of that which goes to whoever makes the block, in wei; None on a chain without EIP-1559.
    """

    chain_id: int
    nonce: int
    to: bytes
    data: bytes
    gas: int
    fee: int
    tip: int | None

    @property
    def worst_cost(self) -> int:
        """The most that it can cost, in wei."""
        return self.gas * self.fee

    def payload(self) -> bytes:
        """Return the bytes whose Keccak-256 is signed (EIP-155, EIP-1559)."""
        if self.tip is None:
            return _rlp([*self._fields(), self.chain_id, 0, 0])
        return bytes([_EIP_1559]) + _rlp(self._fields())

    def signed(self, parity: int, r: int, s: int) -> bytes:
        """Return the transaction as it is sent, with a signature; `parity` is that of the point's y coordinate."""
        if self.tip is None:
            return _rlp([*self._fields(), 2 * self.chain_id + 35 + parity, r, s])
        return bytes([_EIP_1559]) + _rlp([*self._fields(), parity, r, s])

    def _fields(self) -> list[Any]:
        if self.tip is None:
            return [self.nonce, self.fee, self.gas, self.to, 0, self.data]
        return [self.chain_id, self.nonce, self.tip, self.fee, self.gas, self.to, 0, self.data, []]


@dataclass(frozen=True)
class Signed:
    """A signed transaction: its bytes, and their hash, 32 bytes, by which it is found again."""

    raw: bytes
    hash: bytes


class CommandSigner:
    """Has a program of the operator's sign: a hardware key, another machine, a vault.

    Each time the program is started anew, without a shell. It reads one JSON object from its standard input, signs, and
    prints the signed transaction as 0x and hexadecimal digits. docs/operating.md describes the object's members. What
    it prints is believed only if it is this very transaction under the account's key.

    Args:
        command: the program and its arguments.
        address: the account, 0x and 40 hexadecimal digits.
        timeout_s: seconds; then the program is killed with all that it started.
    """

    def __init__(self, command: Sequence[str], address: str, *, timeout_s: float = COMMAND_TIMEOUT_S) -> None:
        self._command = list(command)
        self.address = to_checksum_address(address)
        self._timeout_s = timeout_s

    def sign(self, unsigned: Unsigned) -> bytes:
        """Return the signed transaction, checked. Raises SigningError."""
        return self._checked(self._run(json.dumps(self._question(unsigned)).encode()), unsigned)

    def _question(self, unsigned: Unsigned) -> dict[str, object]:
        fees: dict[str, object] = (
            {"gas_price": str(unsigned.fee)}
            if unsigned.tip is None
            else {"max_fee_per_gas": str(unsigned.fee), "max_priority_fee_per_gas": str(unsigned.tip)}
        )
        return {
            "account": self.address,
            "chain_id": unsigned.chain_id,
            "type": 0 if unsigned.tip is None else _EIP_1559,
            "nonce": unsigned.nonce,
            "to": to_checksum_address(unsigned.to) if unsigned.to else None,
            "value": "0",
            "data": "0x" + unsigned.data.hex(),
            "gas": unsigned.gas,
            **fees,
            "signing_hash": "0x" + keccak(unsigned.payload()).hex(),
        }

    def _run(self, question: bytes) -> bytes:
        name = self._command[0]
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise SigningError(f"cannot run chain.signer_command {name}: {error.strerror}; check its path") from None
        with process:
            try:
                answer, _ = process.communicate(question, timeout=self._timeout_s)
            except subprocess.TimeoutExpired:
                raise SigningError(
                    f"chain.signer_command {name} did not sign in {self._timeout_s:.0f} s: is its key connected?"
                ) from None
            finally:
                # Whatever it started goes with it, or would hold its pipe open and this thread with it.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode != 0:
            raise SigningError(
                f"chain.signer_command {name} failed with exit code {process.returncode}: run it by hand to see why"
            )
        return answer

    def _checked(self, answer: bytes, unsigned: Unsigned) -> bytes:
        try:
            raw = bytes.fromhex(answer[:_LARGEST_OUTPUT].decode("ascii").strip().removeprefix("0x"))
            said, sender = decode(raw)
        except ValueError:
            raise SigningError(
                f"chain.signer_command {self._command[0]} printed no signed transaction: "
                "it must print 0x and hexadecimal digits, and nothing else"
            ) from None
        if said != unsigned or sender.lower() != self.address.lower():
            raise SigningError(
                f"chain.signer_command {self._command[0]} signed another transaction than asked for, or with another "
                f"key than that of {self.address}: check the program and chain.account"
            )
        return raw


Signer = LocalAccount | CommandSigner
"""Signs for one account; `address` is its address, 0x and 40 hexadecimal digits."""


def sign(signer: Signer, unsigned: Unsigned) -> Signed:
    """Sign a transaction. Raises SigningError; a key in this process never does."""
    if isinstance(signer, CommandSigner):
        raw = signer.sign(unsigned)
    else:
        made = signer.unsafe_sign_hash(Hash32(keccak(unsigned.payload())))
        raw = unsigned.signed(made.v - 27, made.r, made.s)
    return Signed(raw, keccak(raw))


def decode(raw: bytes) -> tuple[Unsigned, str]:
    """Take a signed transaction apart: what it says, and the address that signed it.

    Only what `sign` makes is understood: no value, no access list, low s, the one canonical encoding.

    Raises:
        ValueError: it is none of these.
    """
    unsigned, vrs = _taken_apart(raw)
    try:
        key = Signature(vrs=vrs).recover_public_key_from_msg_hash(Hash32(keccak(unsigned.payload())))
    except (BadSignature, ValidationError) as error:
        raise ValueError("nobody signed it") from error
    return unsigned, key.to_checksum_address()


def unsigned_of(raw: bytes) -> Unsigned:
    """Return what a transaction says that `sign` made; who signed it is known, and takes long to find out."""
    return _taken_apart(raw)[0]


def _taken_apart(raw: bytes) -> tuple[Unsigned, tuple[int, int, int]]:
    typed = raw[:1] == bytes([_EIP_1559])
    try:
        fields = rlp.decode(raw[1:] if typed else raw)
        if typed:
            chain_id, nonce, tip, fee, gas, to, _, data, _, parity, r, s = fields
            unsigned = Unsigned(_uint(chain_id), _uint(nonce), to, data, _uint(gas), _uint(fee), _uint(tip))
            odd = _uint(parity)
        else:
            nonce, fee, gas, to, _, data, v, r, s = fields
            if _uint(v) < _LEAST_V:
                raise ValueError("good for every chain")
            chain_id, odd = divmod(_uint(v) - 35, 2)
            unsigned = Unsigned(chain_id, _uint(nonce), to, data, _uint(gas), _uint(fee), None)
        # Encoded again it must be the same: so what was passed over above is empty, and there is no second spelling.
        if unsigned.signed(odd, _uint(r), _uint(s)) != raw or _uint(s) > _HALF_ORDER:
            raise ValueError("not canonical")
    except (RLPException, TypeError) as error:
        raise ValueError("not a signed transaction") from error
    return unsigned, (odd, _uint(r), _uint(s))


def _rlp(fields: list[Any]) -> bytes:
    encoded: bytes = rlp.encode(fields)
    return encoded


def _uint(data: bytes) -> int:
    if not isinstance(data, bytes):
        raise ValueError("a list in place of a number")
    return int.from_bytes(data, "big")
