"""Many boards in one process: each signs, sends in order, and sends again what was not acked."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.enums import CallbackAPIVersion
from trigpoint.wire import ack, keys, statement
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.statement import NO_PREV, Reading

_BASE_TIME = 1_700_000_000
_EVERY_S = 60
_TICK_S = 0.1


class Board:
    """One board, and all that it ever signed.

    Attributes:
        sent: its statements by seq.
        acked: the highest seq that a genuine ack named; -1 before the first.
    """

    def __init__(self, number: int) -> None:
        self.key = ec.derive_private_key(0x7_000_000 + number, ec.SECP256R1())
        self.public = PublicKey.of(self.key)
        self.kid = self.public.kid
        self.topic = f"trig/1/{self.kid.hex()}/s"
        self.sent: list[bytes] = []
        self.acked = -1
        self._prev = NO_PREV

    def sign_next(self) -> bytes:
        """Sign the next statement: two readings, a minute after the last one."""
        seq = len(self.sent)
        time_s = _BASE_TIME + _EVERY_S * seq
        readings = [Reading("temperature", "Cel", seq % 4000, -2, 0), Reading("humidity", "%RH", seq % 100, 0, 30)]
        raw = statement.build(
            kid=self.kid,
            seq=seq,
            prev=self._prev,
            oldest=self.acked + 1,
            base_time=time_s,
            readings=readings,
            sign=lambda message: keys.sign(self.key, message),
        )
        self.sent.append(raw)
        self._prev = statement.parse(raw).entry
        return raw


class Fleet:
    """Boards that send for as long as it is open, each with a bounded number of statements on the way.

    Args:
        port: the broker's, on this machine.
        link_key: the gateway's; it makes the keys of the acks.
        boards: who sends.
        window: statements that a board sends ahead of its acks.
        resend_s: a board without an ack for so long sends again what is not acked.
        flowing: whether boards sign of themselves; otherwise they sign what `sign_each` tells them to.
    """

    def __init__(
        self,
        port: int,
        link_key: ec.EllipticCurvePrivateKey,
        boards: Sequence[Board],
        *,
        window: int = 16,
        resend_s: float = 0.5,
        flowing: bool = True,
    ) -> None:
        self.boards = list(boards)
        self._by_topic = {f"trig/1/{board.kid.hex()}/a": board for board in boards}
        self._keys = {board.kid: ack.derive_key(link_key, board.public) for board in boards}
        self._port = port
        self._window = window
        self._resend_s = resend_s
        self._heard = dict.fromkeys((board.kid for board in boards), 0.0)
        self._changed = threading.Condition()
        self._flowing = flowing
        self._open = True
        self._client = paho.Client(CallbackAPIVersion.VERSION2, f"fleet-{id(self)}")
        self._client.max_inflight_messages_set(1_000)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._ticker = threading.Thread(target=self._tick, name="fleet", daemon=True)

    def __enter__(self) -> Self:
        """Connect and begin to send."""
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop sending and leave."""
        self._open = False
        self._ticker.join()
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def acked(self) -> int:
        """How many statements have been acked, of all boards."""
        return sum(board.acked + 1 for board in self.boards)

    @property
    def sent(self) -> int:
        """How many statements have been signed, of all boards."""
        return sum(len(board.sent) for board in self.boards)

    def wait_acked(self, number: int, timeout_s: float = 30) -> bool:
        """Wait until so many statements are acked in all. Returns whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: self.acked >= number, timeout_s)

    def settle(self, timeout_s: float = 60) -> bool:
        """Sign nothing new any more, and wait until all that was signed is acked. Returns whether it is."""
        with self._changed:
            self._flowing = False
            return self._changed.wait_for(lambda: self.acked == self.sent, timeout_s)

    def sign_each(self, number: int) -> None:
        """Let every board sign and send so many statements."""
        with self._changed:
            for board in self.boards:
                self._heard[board.kid] = time.monotonic()
                for _ in range(number):
                    self._client.publish(board.topic, board.sign_next(), qos=1)

    def _on_connect(self, client: paho.Client, _user: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not reason.is_failure:
            client.subscribe([(topic, 1) for topic in self._by_topic])

    def _on_message(self, _client: paho.Client, _user: Any, message: paho.MQTTMessage) -> None:
        board = self._by_topic[message.topic]
        try:
            seq = ack.open_ack(self._keys[board.kid], bytes(message.payload)).seq
        except WireError:
            return
        with self._changed:
            if board.acked < seq < len(board.sent):
                board.acked = seq
                self._heard[board.kid] = time.monotonic()
                self._fill(board)
                self._changed.notify_all()

    def _tick(self) -> None:
        while self._open:
            with self._changed:
                now = time.monotonic()
                for board in self.boards:
                    if now - self._heard[board.kid] >= self._resend_s:
                        self._heard[board.kid] = now
                        for raw in board.sent[board.acked + 1 :]:
                            self._client.publish(board.topic, raw, qos=1)
                    self._fill(board)
            time.sleep(_TICK_S)

    def _fill(self, board: Board) -> None:
        while self._flowing and len(board.sent) - board.acked - 1 < self._window:
            self._client.publish(board.topic, board.sign_next(), qos=1)
