"""Gives the tests of this folder a chain and a broker, for those that want one."""

from anvil import _deployed, anvil, contracts
from brokers import embedded_broker

__all__ = ["_deployed", "anvil", "contracts", "embedded_broker"]
