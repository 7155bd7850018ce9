"""The two contracts' interfaces: calls, results, events and errors, as bytes and back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any, Final

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import collapse_if_tuple, event_abi_to_log_topic, function_abi_to_4byte_selector

_SELECTOR = 4


@dataclass(frozen=True, eq=False)
class Interface:
    """One contract's ABI and the code that creates it, as `make contracts` wrote them.

    Attributes:
        name: the contract's name.
        items: the ABI's entries.
        bytecode: creation code, without constructor arguments.
    """

    name: str
    items: list[dict[str, Any]]
    bytecode: bytes

    def creation(self, *arguments: object) -> bytes:
        """Return the data of the transaction that creates the contract."""
        inputs: list[dict[str, Any]] = next(
            (item["inputs"] for item in self.items if item["type"] == "constructor"), []
        )
        return self.bytecode + encode(_types(inputs), arguments)

    def call(self, function: str, *arguments: object) -> bytes:
        """Return the data of a call; a struct argument is a tuple in the order of its fields."""
        item = self._named["function", function]
        return function_abi_to_4byte_selector(item) + encode(_types(item["inputs"]), arguments)  # type: ignore[arg-type]

    def result(self, function: str, data: bytes) -> tuple[Any, ...]:
        """Read what a call returned. Raises ValueError if it is not what this function returns."""
        try:
            return decode(_types(self._named["function", function]["outputs"]), data)
        except (DecodingError, OverflowError, UnicodeDecodeError) as error:
            raise ValueError(f"not a result of {self.name}.{function}") from error

    def topic(self, event: str) -> bytes:
        """Return the event's first topic, 32 bytes."""
        return event_abi_to_log_topic(self._named["event", event])  # type: ignore[arg-type]

    def error(self, data: bytes) -> tuple[str, tuple[Any, ...]] | None:
        """Return the name and the arguments of a custom error, or None if it is none of this contract's."""
        item = self._errors.get(data[:_SELECTOR])
        if item is None:
            return None
        try:
            return item["name"], decode(_types(item["inputs"]), data[_SELECTOR:])
        except (DecodingError, OverflowError, UnicodeDecodeError):
            return None

    @cached_property
    def _named(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {(item["type"], item["name"]): item for item in self.items if "name" in item}

    @cached_property
    def _errors(self) -> dict[bytes, dict[str, Any]]:
        errors = (item for item in self.items if item["type"] == "error")
        return {function_abi_to_4byte_selector(item): item for item in errors}  # type: ignore[arg-type]


def _types(inputs: list[dict[str, Any]]) -> list[str]:
    return [collapse_if_tuple(item) for item in inputs]


def _load(name: str) -> Interface:
    text = (resources.files("trigpoint.chain") / "contracts" / f"{name}.json").read_text(encoding="utf-8")
    artifact = json.loads(text)
    return Interface(name, artifact["abi"], bytes.fromhex(artifact["bytecode"].removeprefix("0x")))


DEVICE_REGISTRY: Final = _load("DeviceRegistry")
TRANSPARENCY_LOG: Final = _load("TransparencyLog")
