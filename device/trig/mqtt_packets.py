"""MQTT 3.1.1 packets (OASIS standard of 29 October 2014): bytes made and bytes taken apart, no I/O.

Only what a board needs: it connects with a persistent session and a will, publishes with QoS 1, subscribes, and
receives with QoS 0 or 1.
"""

import gc
import struct

from micropython import const

CONNACK = const(2)
PUBLISH = const(3)
PUBACK = const(4)
SUBACK = const(9)
_PINGRESP = const(13)
REFUSED = const(-1)  # a PUBLISH that was too large to take in, now passed over

PINGREQ_BYTES = b"\xc0\x00"
DISCONNECT_BYTES = b"\xe0\x00"

_MAX_TEXT = const(256)
_MAX_PASSED_OVER = const(65536)

_CONNACK_WORDS = (
    "",
    "protocol level not accepted",
    "client id not accepted",
    "broker unavailable",
    "bad user name or password",
    "not authorised",
)


class MqttError(Exception):
    """The broker broke the protocol, refused us, or fell silent; the message says which."""


def _text(string):
    data = string.encode()
    if len(data) > _MAX_TEXT:
        raise MqttError("text of {} bytes".format(len(data)))
    return struct.pack(">H", len(data)) + data


def _head(kind, body):
    # A remaining length of up to 16,383 takes two bytes; nothing we send but a PUBLISH comes near that.
    length = len(body)
    if length < 128:
        return bytes((kind, length)) + body
    return bytes((kind, length & 0x7F | 0x80, length >> 7)) + body


def connect(client_id, user, password, keepalive_s, will_topic, will):
    """A CONNECT with a persistent session (clean session 0) and a retained will of QoS 1 (section 3.1)."""
    flags = 0x04 | 0x08 | 0x20
    end = b""
    if user:
        flags |= 0x80
        end = _text(user)
        if password:
            flags |= 0x40
            end += _text(password)
    body = b"\x00\x04MQTT\x04" + struct.pack(">BH", flags, keepalive_s) + _text(client_id)
    return _head(0x10, body + _text(will_topic) + _text(will) + end)


def subscribe(packet_id, topics):
    """A SUBSCRIBE to the topics, each with QoS 1 (section 3.8)."""
    body = struct.pack(">H", packet_id)
    for topic in topics:
        body += _text(topic) + b"\x01"
    return _head(0x82, body)


def puback(packet_id):
    """A PUBACK (section 3.4)."""
    return struct.pack(">BBH", 0x40, 2, packet_id)


def publish_head(buffer, topic, size, packet_id, dup, retain):
    """Write all of a QoS 1 PUBLISH that goes before its payload of ``size`` bytes; return its length (section 3.3)."""
    remaining = 2 + len(topic) + 2 + size
    buffer[0] = 0x32 | (0x08 if dup else 0) | (0x01 if retain else 0)
    at = 1
    while True:
        buffer[at] = remaining & 0x7F | (0x80 if remaining > 0x7F else 0)
        remaining >>= 7
        at += 1
        if not remaining:
            break
    struct.pack_into(">H", buffer, at, len(topic))
    at += 2
    buffer[at : at + len(topic)] = topic
    at += len(topic)
    struct.pack_into(">H", buffer, at, packet_id)
    return at + 2


class Receiver:
    """Takes what the broker sends, in pieces of any size, and gives it back packet by packet from one buffer.

    Most packets are small. For a PUBLISH that is not, up to the largest that is wanted, there is a buffer as long as it
    takes; where the heap has none, it is passed over like one that is too large.

    Attributes of the packet that ``next`` returned, good until the next call of ``room``:
        packet_id: of PUBACK, SUBACK, and PUBLISH or REFUSED with QoS 1; else 0.
        code: return code of CONNACK (0 is accepted), first one of SUBACK.
        session_present: of CONNACK.
        topic, payload: of PUBLISH, memoryviews into the buffer.
    """

    def __init__(self, size, largest=0):
        """Keep a buffer of ``size`` bytes, take packets of up to ``largest``."""
        self._small = bytearray(size)
        self._largest = largest
        self.reset()

    def reset(self):
        """Forget everything: a new connection begins."""
        self._use(self._small)
        self._start = 0
        self._end = 0
        self._pass_over = 0
        self.packet_id = 0
        self.code = 0
        self.session_present = False
        self.topic = self.payload = self._view[:0]

    def _use(self, buffer):
        self._buffer = buffer
        self._view = memoryview(buffer)

    @property
    def partial(self):
        """Whether a packet has begun that is not complete."""
        return self._end > self._start or self._pass_over > 0

    def room(self):
        """Where the next bytes go: a memoryview that is never empty."""
        if self._start == self._end:
            self._start = self._end = 0
            if self._buffer is not self._small:
                self._use(self._small)
        elif self._start:
            length = self._end - self._start
            self._buffer[:length] = self._view[self._start : self._end]
            self._start, self._end = 0, length
        return self._view[self._end :]

    def fill(self, count):
        """Note that ``count`` bytes were put where ``room`` said."""
        self._end += count

    def next(self):
        """Return the kind of the next whole packet, or None if it is not there yet.

        Raises:
            MqttError: what came is not what a broker may send to a board; the connection is of no further use.
        """
        if self._pass_over:
            taken = min(self._pass_over, self._end - self._start)
            self._start += taken
            self._pass_over -= taken
            return None if self._pass_over else REFUSED
        head, remaining = self._fixed_header()
        if head < 0:
            return None
        start = self._start
        first = self._buffer[start]
        if head + remaining > len(self._buffer):
            if first >> 4 != PUBLISH or head + remaining > self._largest or not self._grow(head + remaining):
                return self._oversize(first, head, remaining)
            start = 0
        if self._end - start < head + remaining:
            return None
        self._start = start + head + remaining
        return self._parse(first, self._view[start + head : self._start])

    def _fixed_header(self):
        """Return (header length, remaining length), (-1, 0) if more bytes are needed (section 2.2)."""
        remaining = 0
        for i in range(1, 5):
            if self._start + i >= self._end:
                return -1, 0
            byte = self._buffer[self._start + i]
            remaining |= (byte & 0x7F) << 7 * (i - 1)
            if byte < 0x80:
                return i + 1, remaining
        raise MqttError("remaining length of more than four bytes")

    def _grow(self, size):
        """Go on in a buffer for the one packet of this size that has begun; return whether there is room for it."""
        gc.collect()
        try:
            buffer = bytearray(size)
        except MemoryError:
            return False
        length = self._end - self._start
        buffer[:length] = self._view[self._start : self._end]
        self._use(buffer)
        self._start, self._end = 0, length
        return True

    def _oversize(self, first, head, remaining):
        if first >> 4 != PUBLISH or remaining > _MAX_PASSED_OVER:
            raise MqttError("packet of {} bytes".format(remaining))
        if self._end - self._start < len(self._buffer):
            return None
        # Passed over and acknowledged: a broker that kept it would offer it again after every reconnect.
        self._parse(first, self._view[self._start + head : self._end])
        self._pass_over = head + remaining - len(self._buffer)
        self._start = self._end = 0
        return None

    def _parse(self, first, body):
        kind = first >> 4
        size = len(body)
        if kind == PUBLISH:
            self._parse_publish(first, body)
            return kind
        if first & 0x0F:
            raise MqttError("packet with flags 0x{:02x}".format(first))
        if kind == CONNACK and size == 2 and body[0] <= 1:
            self.session_present = body[0] == 1
            self.code = body[1]
        elif kind == PUBACK and size == 2:
            self.packet_id = body[0] << 8 | body[1]
        elif kind == SUBACK and size >= 3:
            self.packet_id = body[0] << 8 | body[1]
            self.code = max(body[2:])
        elif kind != _PINGRESP or size:
            raise MqttError("unexpected packet 0x{:02x} of {} bytes".format(first, size))
        return kind

    def _parse_publish(self, first, body):
        qos = first >> 1 & 3
        if qos > 1:
            raise MqttError("message with QoS {}".format(qos))
        size = len(body)
        at = 2 + (body[0] << 8 | body[1]) if size >= 2 else 0
        end = at + 2 if qos else at
        if at < 3 or end > size:
            raise MqttError("message of {} bytes is cut short".format(size))
        self.topic = body[2:at]
        self.packet_id = 0
        if qos:
            self.packet_id = body[at] << 8 | body[at + 1]
            if not self.packet_id:
                raise MqttError("message with packet id 0")
        self.payload = body[end:]


def connack_error(code):
    """The MqttError for a CONNACK that is not 0 (section 3.2.2.3)."""
    word = _CONNACK_WORDS[code] if code < len(_CONNACK_WORDS) else "code {}".format(code)
    return MqttError("broker refused the connection: " + word)
