"""Speaks MQTT for test boards as the firmware does: sends in order, resends until acked."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import paho.mqtt.client as paho
from brokers import HOST
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.enums import CallbackAPIVersion
from statements import TestBoard
from trigpoint.wire import ack
from trigpoint.wire.errors import WireError


class BoardClient:
    """One MQTT connection that serves many boards.

    Attributes:
        acked: for each board, the highest seq that a genuine ack named; -1 before the first.
        acks: all genuine acks in order: (kid, seq).
    """

    def __init__(self, port: int, link_key: ec.EllipticCurvePrivateKey, boards: Sequence[TestBoard]) -> None:
        self.boards = {f"trig/1/{board.kid.hex()}/a": board for board in boards}
        self.keys = {board.kid: ack.derive_key(link_key, board.public) for board in boards}
        self.acked = {board.kid: -1 for board in boards}
        self.acks: list[tuple[bytes, int]] = []
        self.changed = threading.Condition()
        self.ready = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, f"boards-{port}-{id(self)}")
        self.client.max_inflight_messages_set(100)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = self._on_message
        self.client.connect(HOST, port)
        self.client.loop_start()
        assert self.ready.wait(10)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def send(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1, and do not wait for the PUBACK."""
        self.client.publish(topic, payload, qos=1)

    def wait_acked(self, board: TestBoard, seq: int, timeout_s: float = 20) -> None:
        """Wait until the gateway has said that `seq` is on its disk."""
        with self.changed:
            done = self.changed.wait_for(lambda: self.acked[board.kid] >= seq, timeout_s)
        assert done, f"seq {seq} not acked, only {self.acked[board.kid]}"

    def wait_acks(self, number: int, timeout_s: float = 20) -> None:
        """Wait for so many acks in all."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.acks) >= number, timeout_s), f"{len(self.acks)} acks"

    def deliver(self, boards: Sequence[TestBoard], *, resend_s: float = 1.0, timeout_s: float = 60) -> None:
        """Send what is not acked yet of what the boards have signed, again and again, until all of it is."""
        deadline = time.monotonic() + timeout_s
        while True:
            missing = 0
            for board in boards:
                for seq in range(self.acked[board.kid] + 1, board.next_seq):
                    self.send(board.topic, board.sent[seq])
                    missing += 1
            if not missing:
                return
            assert time.monotonic() < deadline, f"{missing} statements are not acked"
            with self.changed:
                self.changed.wait_for(
                    lambda: all(self.acked[board.kid] == board.next_seq - 1 for board in boards), resend_s
                )

    def _on_connect(self, client, _user, _flags, reason, _properties):  # type: ignore[no-untyped-def]
        if not reason.is_failure:
            client.subscribe([(topic, 1) for topic in self.boards])

    def _on_message(self, _client, _user, message):  # type: ignore[no-untyped-def]
        board = self.boards[message.topic]
        try:
            seq = ack.open_ack(self.keys[board.kid], message.payload).seq
        except WireError:
            return
        with self.changed:
            self.acks.append((board.kid, seq))
            self.acked[board.kid] = max(self.acked[board.kid], seq)
            self.changed.notify_all()
