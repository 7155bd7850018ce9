"""Fixtures of the unit tests."""

from anvil import _deployed, anvil, contracts

__all__ = ["_deployed", "anvil", "contracts"]
