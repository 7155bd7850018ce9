"""Fixtures of the unit tests."""

from anvil import _deployed, anvil, contracts
from chaingateway import gateway

__all__ = ["_deployed", "anvil", "contracts", "gateway"]
