"""The MQTT client under the gateway's session: paho's, with a quick way in for statements and out for answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MessageType, MQTTErrorCode

from trigpoint.wire.statement import MAX_SIZE

_RECEIVED_AT_ONCE = 65_536
_PACKET_KEPT = 2 + 65_535 + 2 + MAX_SIZE + 1
"""Bytes of a PUBLISH after its fixed header: the longest topic, a packet id, and a payload seen to be too long."""

Published = Callable[[str, bytes, int, int | None], None]
"""Takes a message: topic, beginning of the payload, bytes of the whole payload, packet id or None for QoS 0."""


class Client(paho.Client):
    """paho's client, for many small messages: what is plain goes past its general machinery.

    paho reads a packet byte by byte from the socket, and asks the system before each whether there is one: about 100 us
    for a message, more than its signature takes to verify. Here the socket is read in large pieces, and each PUBLISH
    that is whole in a piece is taken from it directly. All other packets, and those cut by the end of a piece, go
    through paho as ever, which also judges whatever is malformed.

    Args:
        client_id: of the session.
        published: takes each message, in the network thread; it may block.
        failed: called once, from the network thread, if that thread has to give up.
    """

    def __init__(self, client_id: str, published: Published, failed: Callable[[Exception], None]) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id, clean_session=False, manual_ack=True)
        self._published = published
        self._failed = failed
        self._unread = b""
        self._position = 0
        self._passed_over = 0
        self.on_message = self._on_message_whole

    def send(self, packets: Iterable[bytes]) -> None:
        """Send encoded packets that need no answer, all at once."""
        joined = b"".join(packets)
        if joined:
            # Named PUBACK, because paho keeps no account of those.
            self._packet_queue(MessageType.PUBACK, joined, 0, 1)

    def reconnect(self) -> MQTTErrorCode:
        """Connect again; what was left of the last connection is nothing to the new one."""
        self._unread, self._position = b"", 0
        return super().reconnect()

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Read what the socket has, once, and handle each packet that is in it."""
        try:
            self._unread, self._position = super()._sock_recv(_RECEIVED_AT_ONCE), 0
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        if not self._unread:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()
        while self._position < len(self._unread):
            if self._in_packet["command"] == 0:
                self._take_messages()
                if self._position == len(self._unread):
                    break
            code = self._packet_read()
            if code > 0:
                return self._loop_rc_handle(code)
            if self._sock is None:
                return MQTTErrorCode.MQTT_ERR_NO_CONN
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:
        """Run the network loop until the client disconnects."""
        try:
            return super().loop_forever(timeout, retry_first_connection)
        except Exception as error:
            self._failed(error)
            return MQTTErrorCode.MQTT_ERR_UNKNOWN

    def _take_messages(self) -> None:
        """Take each PUBLISH (MQTT 3.1.1 section 3.3) of QoS 0 or 1 that is whole, up to the first other packet."""
        data, at, end = self._unread, self._position, len(self._unread)
        while at + 1 < end:
            first, length, body = data[at], data[at + 1], at + 2
            if first & 0xF0 != MessageType.PUBLISH or first & 0x06 > 0x02:
                break
            if length > 0x7F:  # section 2.2.3: seven bits a byte, the lowest first; three bytes are more than a piece
                if at + 3 >= end:
                    break
                length, body = (length & 0x7F) | data[at + 2] << 7, at + 3
                if length & 0x4000:
                    if data[at + 3] > 0x7F:
                        break
                    length, body = (length & 0x3FFF) | data[at + 3] << 14, at + 4
            stop = body + length
            if stop > end or length < 2:
                break
            topic_end = body + 2 + (data[body] << 8 | data[body + 1])
            confirmed = first & 0x06
            payload = topic_end + 2 if confirmed else topic_end
            if payload > stop:
                break
            packet_id = (data[topic_end] << 8 | data[topic_end + 1]) if confirmed else None
            if packet_id == 0 or topic_end == body + 2:
                break
            self._position = at = stop
            kept = data[payload : min(stop, payload + MAX_SIZE + 1)]
            self._published(_text(data[body + 2 : topic_end]), kept, stop - payload, packet_id)

    def _sock_recv(self, bufsize: int) -> bytes:
        # paho gathers a packet whole, and it may have 256 MB: more than a small computer has room for. To end the
        # connection would not help, for the broker would begin the next one with the same message. MQTT 3.1.1 has no
        # way to tell a broker our limit. So the end of such a packet is dropped as it comes.
        packet = self._in_packet["packet"]
        if not packet:
            self._passed_over = 0
        elif (excess := len(packet) - _PACKET_KEPT) > 0:
            del packet[_PACKET_KEPT:]
            self._passed_over += excess
        bufsize = min(bufsize, _RECEIVED_AT_ONCE)
        if self._position < len(self._unread):
            piece = self._unread[self._position : self._position + bufsize]
            self._position += len(piece)
            return piece
        return super()._sock_recv(bufsize)

    def _on_message_whole(self, _client: paho.Client, _user: Any, received: paho.MQTTMessage) -> None:
        """Take a message that came through paho."""
        try:
            topic = received.topic
        except UnicodeDecodeError:
            topic = ""
        size = len(received.payload) + self._passed_over
        self._published(topic, bytes(received.payload[: MAX_SIZE + 1]), size, received.mid if received.qos else None)


def publish_packet(topic: bytes, payload: bytes) -> bytes:
    """Encode a PUBLISH of QoS 0 whose topic and payload have less than 16,382 bytes together."""
    length = 2 + len(topic) + len(payload)
    size = bytes((length,)) if length < 0x80 else bytes((0x80 | length & 0x7F, length >> 7))
    return b"".join((b"\x30", size, len(topic).to_bytes(2, "big"), topic, payload))


def puback_packet(packet_id: int) -> bytes:
    """Encode a PUBACK (section 3.4)."""
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


def _text(topic: bytes) -> str:
    try:
        return topic.decode()
    except UnicodeDecodeError:
        return ""
