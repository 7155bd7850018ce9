"""A node of the chain: the few questions we ask it, and its answers as checked values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from eth_typing import ChecksumAddress
from hexbytes import HexBytes
from requests.exceptions import HTTPError, RequestException, Timeout
from web3 import Web3
from web3.exceptions import BlockNotFound, ContractLogicError, TransactionNotFound, Web3RPCError
from web3.types import BlockIdentifier, TxParams

from trigpoint.chain.abi import Interface
from trigpoint.chain.errors import ChainUnavailableError, NodeRefusedError, RevertedError
from trigpoint.chain.http import AnswerTooLargeError

_LONGEST_REASON = 200


@dataclass(frozen=True)
class Block:
    """A block's head.

    `hash` and `parent`, the hash of the block before it, are 32 bytes; `time` is in seconds since 1970; `base_fee` is
    in wei, None on a chain without EIP-1559.
    """

    number: int
    hash: bytes
    parent: bytes
    time: int
    base_fee: int | None


@dataclass(frozen=True)
class Log:
    """One event: the contract that emitted it, its topics and data, and where it stands."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes
    block: int
    block_hash: bytes
    transaction: bytes


@dataclass(frozen=True)
class Receipt:
    """What became of a mined transaction.

    `cost` is what was paid for it in wei, with what a chain that lives on another one charges for room there (`l1Fee`
    of the OP Stack, such as Base); None if the node does not say the price.
    """

    succeeded: bool
    block: int
    block_hash: bytes
    gas_used: int
    contract: bytes | None
    logs: tuple[Log, ...]
    cost: int | None = None


class Node:
    """Asks one node; every answer is checked for its type and size before anybody sees it.

    All methods raise ChainUnavailableError if the node cannot be reached or answers with nonsense, and
    NodeRefusedError if it answers with an error of its own.
    """

    def __init__(self, web3: Web3) -> None:
        self.web3 = web3

    @property
    def place(self) -> str:
        """Scheme, host and port of the node that is asked now, for messages."""
        return place(str(getattr(self.web3.provider, "endpoint_uri", "")))

    def chain_id(self) -> int:
        """Return the chain's EIP-155 id."""
        with self._asking("eth_chainId"):
            return _uint(self.web3.eth.chain_id)

    def head(self) -> int:
        """Return the newest block's number."""
        with self._asking("eth_blockNumber"):
            return _uint(self.web3.eth.block_number)

    def block(self, number: int | None = None) -> Block | None:
        """Return a block by its number, or the newest one; None if the node has no such block."""
        with self._asking("eth_getBlockByNumber"):
            try:
                block = self.web3.eth.get_block("latest" if number is None else number)
            except BlockNotFound:
                return None
            fee = block.get("baseFeePerGas")
            found = Block(
                _uint(block["number"]),
                _bytes(block["hash"], 32),
                _bytes(block["parentHash"], 32),
                _uint(block["timestamp"]),
                None if fee is None else _uint(fee),
            )
            if number not in (None, found.number):
                raise ValueError("another block's number")
            return found

    def has_code(self, address: bytes) -> bool:
        """Tell whether there is a contract at `address`."""
        with self._asking("eth_getCode"):
            return len(self.web3.eth.get_code(checksum(address))) > 0

    def balance(self, address: bytes) -> int:
        """Return the account's balance in wei."""
        with self._asking("eth_getBalance"):
            return _uint(self.web3.eth.get_balance(checksum(address)))

    def nonce(self, address: bytes, *, pending: bool, block: int | None = None) -> int:
        """Return the account's next nonce after what is mined, or after what is waiting to be mined as well.

        With a block's number: after what was mined up to it.
        """
        at: BlockIdentifier = block if block is not None else "pending" if pending else "latest"
        with self._asking("eth_getTransactionCount"):
            return _uint(self.web3.eth.get_transaction_count(checksum(address), at))

    def receipt(self, transaction: bytes) -> Receipt | None:
        """Return a transaction's receipt; None while it is not in a block."""
        with self._asking("eth_getTransactionReceipt"):
            try:
                found = self.web3.eth.get_transaction_receipt(HexBytes(transaction))
            except TransactionNotFound:
                return None
            if _bytes(found["transactionHash"], 32) != transaction:
                raise ValueError("another transaction's receipt")
            contract = found.get("contractAddress")
            price, extra = found.get("effectiveGasPrice"), found.get("l1Fee")
            return Receipt(
                _uint(found["status"]) == 1,
                _uint(found["blockNumber"]),
                _bytes(found["blockHash"], 32),
                _uint(found["gasUsed"]),
                None if contract is None else address_bytes(contract),
                tuple(_log(entry) for entry in found["logs"]),
                None if price is None else _uint(found["gasUsed"]) * _uint(price) + _quantity(extra),
            )

    def knows(self, transaction: bytes) -> bool:
        """Tell whether the node has the transaction, mined or waiting."""
        with self._asking("eth_getTransactionByHash"):
            try:
                self.web3.eth.get_transaction(HexBytes(transaction))
            except TransactionNotFound:
                return False
            return True

    def logs(self, address: bytes, topics: list[list[bytes]], first: int, last: int) -> list[Log]:
        """Return a contract's events in the blocks from `first` to `last`, both included, oldest first."""
        with self._asking("eth_getLogs"):
            entries = self.web3.eth.get_logs(
                {
                    "address": checksum(address),
                    "topics": [[HexBytes(topic) for topic in choice] for choice in topics],
                    "fromBlock": first,
                    "toBlock": last,
                }
            )
            logs = sorted(entries, key=lambda entry: (_uint(entry["blockNumber"]), _uint(entry["logIndex"])))
            found = [_log(entry) for entry in logs]
            if any(log.address != address or not first <= log.block <= last for log in found):
                raise ValueError("events that were not asked for")
            return found

    def call(
        self, interface: Interface, address: bytes, function: str, *arguments: object, block: int | None = None
    ) -> tuple[Any, ...]:
        """Call a view function, at the end of a block or of the newest one.

        Raises:
            RevertedError: the contract refused, or returned what this function cannot return: it is another contract.
        """
        request: TxParams = {"to": checksum(address), "data": HexBytes(interface.call(function, *arguments))}
        with self._asking(f"{interface.name}.{function}", interface):
            data = bytes(self.web3.eth.call(request, "latest" if block is None else block))
        try:
            return interface.result(function, data)
        except ValueError:
            raise RevertedError(
                f"the contract at {checksum(address)} is no {interface.name}: check its address"
            ) from None

    def estimate_gas(self, request: TxParams, interface: Interface) -> int:
        """Return the gas that a transaction would use now. Raises RevertedError if it would revert."""
        with self._asking("eth_estimateGas", interface):
            return _uint(self.web3.eth.estimate_gas(request))

    def priority_fee(self) -> int:
        """Return the tip per gas that gets a transaction mined, in wei (EIP-1559)."""
        with self._asking("eth_maxPriorityFeePerGas"):
            return _uint(self.web3.eth.max_priority_fee)

    def gas_price(self) -> int:
        """Return the price per gas on a chain without EIP-1559, in wei."""
        with self._asking("eth_gasPrice"):
            return _uint(self.web3.eth.gas_price)

    def send(self, raw: bytes) -> None:
        """Hand a signed transaction to the node."""
        with self._asking("eth_sendRawTransaction"):
            self.web3.eth.send_raw_transaction(HexBytes(raw))

    @contextmanager
    def _asking(self, what: str, interface: Interface | None = None) -> Iterator[None]:
        """Turn whatever comes out of web3.py into one of our errors.

        A request's own text may quote the URL, which may hold an access token, so it is never passed on.
        """
        try:
            yield
        except ContractLogicError as error:
            raise _reverted(what, error, interface) from None
        except Web3RPCError as error:
            reason = _one_line(_node_words(error))
            raise NodeRefusedError(f"the node at {self.place} refused {what}: {reason}", reason) from None
        except AnswerTooLargeError:
            reason = "its answer is too large"
            raise NodeRefusedError(f"the node at {self.place} refused {what}: {reason}", reason) from None
        except Timeout:
            raise ChainUnavailableError(
                f"the node at {self.place} did not answer {what} in time; is it overloaded?"
            ) from None
        except HTTPError as error:
            status = error.response.status_code if error.response is not None else "an error"
            raise ChainUnavailableError(
                f"the node at {self.place} answered HTTP {status}; "
                "check its address (chain.rpc_url or --rpc), access token and limits"
            ) from None
        except json.JSONDecodeError:
            raise ChainUnavailableError(
                f"what is at {self.place} is no node: check its address (chain.rpc_url or --rpc)"
            ) from None
        except (RequestException, OSError):
            raise ChainUnavailableError(
                f"cannot reach the node at {self.place}: is it running? check its address (chain.rpc_url or --rpc)"
            ) from None
        except Exception as error:
            # A node may answer anything, and web3.py lets through whatever its formatters stumble over.
            kind = type(error).__name__
            raise ChainUnavailableError(
                f"the node at {self.place} answered {what} with nonsense ({kind}); "
                "check its address (chain.rpc_url or --rpc)"
            ) from None


def checksum(address: bytes) -> ChecksumAddress:
    """Write a 20-byte address as web3.py wants it."""
    return Web3.to_checksum_address("0x" + address.hex())


def address_bytes(text: str) -> bytes:
    """Read an address of 0x and 40 hexadecimal digits. Raises ValueError."""
    address = bytes.fromhex(text.removeprefix("0x"))
    if len(address) != 20:
        raise ValueError("an address has 20 bytes")
    return address


def place(url: str) -> str:
    """Return scheme, host and port of a URL: the part that may be shown."""
    parts = urlsplit(url)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def _log(entry: Any) -> Log:
    return Log(
        address_bytes(entry["address"]),
        tuple(_bytes(topic, 32) for topic in entry["topics"]),
        bytes(HexBytes(entry["data"])),
        _uint(entry["blockNumber"]),
        _bytes(entry["blockHash"], 32),
        _bytes(entry["transactionHash"], 32),
    )


def _uint(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 256:
        raise ValueError("not a number")
    return value


def _quantity(value: object) -> int:
    """Read a number of a field that web3.py does not know: hexadecimal, or missing for 0."""
    if value is None:
        return 0
    return _uint(int(value, 16) if isinstance(value, str) and value.startswith("0x") else value)


def _bytes(value: object, size: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != size:
        raise ValueError(f"not {size} bytes")
    return bytes(value)


def _node_words(error: Web3RPCError) -> str:
    response = error.rpc_response
    inner = response.get("error") if isinstance(response, dict) else None
    if isinstance(inner, dict) and isinstance(inner.get("message"), str):
        return str(inner["message"])
    return str(error.message)


def _one_line(text: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in text[:_LONGEST_REASON])
    return " ".join(printable.split())


def _reverted(what: str, error: ContractLogicError, interface: Interface | None) -> RevertedError:
    data = error.data
    if interface is not None and isinstance(data, str):
        try:
            decoded = interface.error(bytes.fromhex(data.removeprefix("0x")))
        except ValueError:
            decoded = None
        if decoded is not None:
            name, arguments = decoded
            return RevertedError(f"{interface.name} refuses: {name}", name, arguments)
    return RevertedError(f"the contract refuses {what}: {_one_line(str(error.message))}")
