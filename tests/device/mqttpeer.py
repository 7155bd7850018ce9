"""The other end of a test's broker: a client that subscribes to everything and can publish."""

from __future__ import annotations

import threading

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion


class Peer:
    """The other end: subscribes to everything and can publish."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._news = threading.Condition()
        self._ready = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = self._on_message
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self.client.reconnect_delay_set(0.2, 0.5)  # type: ignore[arg-type]
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._ready.wait(5)

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        with self._news:
            self.messages.append((message.topic, message.payload))
            self._news.notify_all()

    def expect(self, topic: str, payload: bytes, timeout: float = 10) -> None:
        with self._news:
            assert self._news.wait_for(lambda: (topic, payload) in self.messages, timeout), self.messages

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
