"""Gives the tests of this folder their brokers."""

from brokers import broker, embedded_broker, mosquitto

__all__ = ["broker", "embedded_broker", "mosquitto"]
