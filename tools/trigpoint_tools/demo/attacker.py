"""Somebody who can reach the broker and wants to get false readings in, or true ones lost.

The first half makes the forged messages, from captured ones, and is pure. The second half is the client that listens
and sends. The attacker knows the protocol and everything that passes the broker; of one board it also has the private
key, read from its flash chip: NVS is not encrypted in stock builds, so whoever holds a board can do that.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.enums import CallbackAPIVersion
from trigpoint.errors import OperatorError
from trigpoint.wire import ack, cbor
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey, sign
from trigpoint.wire.statement import Reading, Statement, build, parse

from trigpoint_tools.demo.accounting import REPLAY, Forgery

BAD_SIGNATURE = "bad signature"
UNKNOWN_BOARD = "unknown board"
TRUNCATED = "truncated"
CLONED_KEY = "cloned key"
KINDS = (BAD_SIGNATURE, UNKNOWN_BOARD, REPLAY, TRUNCATED, CLONED_KEY)

_PATIENCE_S = 20.0


def changed_value(captured: Statement) -> bytes:
    """Return a captured statement that says another value under the old signature."""
    return _rebuilt(captured, captured.seq, captured.prev, lambda _: captured.signature)


def invented_next(captured: Statement, random: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
    """Return what the board might say next, right in everything but the signature, which is random."""
    return _rebuilt(captured, captured.seq + 1, captured.entry, lambda _: _random_signature(random))


def stranger(captured: Statement) -> bytes:
    """Return a statement well made and well signed by a key that nobody has enrolled."""
    key = ec.generate_private_key(ec.SECP256R1())
    return build(
        kid=PublicKey.of(key).kid,
        seq=0,
        prev=bytes(32),
        oldest=0,
        base_time=captured.base_time,
        readings=captured.readings,
        sign=lambda message: sign(key, message),
    )


def truncated(captured: Statement) -> bytes:
    """Return a captured statement that breaks off somewhere."""
    return captured.raw[: 1 + secrets.randbelow(len(captured.raw) - 1)]


def cloned(captured: Statement, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return another value under a seq that the board has used, signed with the board's own key."""
    return _rebuilt(captured, captured.seq, captured.prev, lambda message: sign(key, message))


def forged_ack(seq: int, time_ms: int, random: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
    """Return an ack for everything up to seq, under a key that is not the board's and the gateway's."""
    return ack.seal(random(32), seq, time_ms)


def acked_seq(data: bytes) -> int:
    """Return the seq of an ack, which anyone may read (docs/protocol.md section 6); -1 if it is no ack."""
    match cbor.decode(data):
        case cbor.Tag(cbor.TAG_MAC0, [_, _, bytes(payload), _]):
            match cbor.decode(payload):
                case {1: int(seq)}:
                    return seq
    return -1


class Attacker:
    """Listens to all that passes the broker, and sends forged messages to boards and gateway.

    Attributes:
        acks_sent: how many forged acks were sent to boards.
    """

    def __init__(self, host: str, port: int) -> None:
        self.acks_sent = 0
        self._captured: dict[bytes, list[Statement]] = {}
        self._acks: dict[bytes, list[bytes]] = {}
        self._made: set[bytes] = set()
        self._lock = threading.Lock()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"intruder-{secrets.token_hex(4)}")
        self._client.on_connect = lambda client, *_: client.subscribe([("trig/1/+/s", 1), ("trig/1/+/a", 1)])
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async(host, port)
        self._client.loop_start()

    def close(self) -> None:
        """Leave the broker."""
        self._client.disconnect()
        self._client.loop_stop()

    def captured(self, kid: bytes) -> list[Statement]:
        """Return the true statements of a board seen so far, each once, in the order seen."""
        with self._lock:
            return list(self._captured.get(kid, ()))

    def captured_acks(self, kid: bytes) -> list[bytes]:
        """Return the gateway's acks to a board seen so far."""
        with self._lock:
            return list(self._acks.get(kid, ()))

    def acked(self, kid: bytes) -> list[Statement]:
        """Return the captured statements of a board that the gateway has acked: its seqs that are used."""
        newest = max(map(acked_seq, self.captured_acks(kid)), default=-1)
        return [statement for statement in self.captured(kid) if statement.seq <= newest]

    def send(self, forgery: Forgery) -> None:
        """Send a forged statement to the gateway as if from its board; return when the broker has it.

        Raises:
            OperatorError: the broker did not take it.
        """
        self._made.add(forgery.raw)  # before it is sent: the broker sends it back to us as to everyone
        self._publish(f"trig/1/{forgery.kid.hex()}/s", forgery.raw)

    def send_ack(self, kid: bytes, raw: bytes) -> None:
        """Send a forged ack, or a replayed one, to a board."""
        if raw not in self.captured_acks(kid):
            self._made.add(raw)
        self._publish(f"trig/1/{kid.hex()}/a", raw)
        self.acks_sent += 1

    def _publish(self, topic: str, raw: bytes) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            if self._client.is_connected():
                message = self._client.publish(topic, raw, qos=1)
                if message.rc == mqtt.MQTT_ERR_SUCCESS:
                    message.wait_for_publish(max(0.0, deadline - time.monotonic()))
                    if message.is_published():
                        return
            time.sleep(0.02)
        raise OperatorError(f"the broker did not take a forged message within {_PATIENCE_S:.0f} s")

    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        kid = bytes.fromhex(message.topic.split("/")[2])
        payload = bytes(message.payload)
        with self._lock:
            if message.topic.endswith("/a"):
                if payload in self._made:
                    return
                self._acks.setdefault(kid, []).append(payload)
                return
            try:
                statement = parse(payload)
            except WireError:
                return  # its own truncated ones come back to it
            seen = self._captured.setdefault(kid, [])
            if statement.raw not in self._made and all(statement.raw != other.raw for other in seen):
                seen.append(statement)


def _rebuilt(captured: Statement, seq: int, prev: bytes, signer: Callable[[bytes], bytes]) -> bytes:
    first = captured.readings[0]
    other = first._replace(mantissa=first.mantissa + 1 + secrets.randbelow(1000))
    readings: tuple[Reading, ...] = (other, *captured.readings[1:])
    return build(
        kid=captured.kid,
        seq=seq,
        prev=prev,
        oldest=min(captured.oldest, seq),
        base_time=captured.base_time,
        readings=readings,
        sign=signer,
    )


def _random_signature(random: Callable[[int], bytes]) -> bytes:
    """64 bytes of the shape of a signature: the second half below half of the group's order."""
    return random(32) + bytes([random(1)[0] & 0x7F]) + random(31)
