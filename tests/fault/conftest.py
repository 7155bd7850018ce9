"""Gives the tests of this folder their brokers and their chain."""

from anvil import _deployed, anvil, contracts
from brokers import broker, embedded_broker, mosquitto
from chaingateway import gateway
from faultynode import faulty

__all__ = ["_deployed", "anvil", "broker", "contracts", "embedded_broker", "faulty", "gateway", "mosquitto"]
