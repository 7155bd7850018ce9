"""An asyncio MQTT 3.1.1 client for one board: QoS 1, a persistent session, one connection for ever.

``run`` keeps the connection; ``publish`` returns when the broker has acknowledged, however many connections that
takes; messages come out of ``async for topic, payload in client``. One lock is held from the first to the last byte of
a packet. A connection that falls silent half-way, or a broker that breaks the protocol, costs a reconnect and no more.

A message is lent from the buffer that it was received in. The next packet is looked at, and the message acknowledged,
when whoever took it asks for another: no queue, whatever the broker sends.
"""

import asyncio
import gc
import random
import ssl
import time

from micropython import const

from trig.mqtt_packets import (
    CONNACK,
    DISCONNECT_BYTES,
    PINGREQ_BYTES,
    PUBACK,
    PUBLISH,
    REFUSED,
    SUBACK,
    MqttError,
    Receiver,
    connack_error,
    connect,
    puback,
    publish_head,
    subscribe,
)

_RECEIVE_BYTES = const(1024)
_SMALL = const(256)  # takes an ack, and whatever else comes often
_RESPONSE_MS = const(15000)
_SLICE_MS = const(1000)
_BACKOFF_MS = const(500)
_MAX_BACKOFF_MS = const(60000)
_STEADY_MS = const(10000)
_MAX_FLIGHTS = const(8)
_MAX_TOPIC = const(128)
_PIECE = const(512)

# The same numbers in lwIP and in the C libraries; not every port names them.
_IPPROTO_TCP = const(6)
_TCP_NODELAY = const(1)

_NO_SUCH_NAME = const(-202)  # the ESP32's getaddrinfo: no such name, or nobody to ask
# ECONNRESET, EPIPE, ENOTCONN, and ECONNABORTED of lwIP.
_CLOSED = const((104, 32, 107, 113))


class _Flight:
    """A PUBLISH that waits for its PUBACK."""

    def __init__(self):
        self.event = asyncio.Event()
        self.done = False


class Client:
    """One board's connection to its broker.

    Attributes:
        up: asyncio.Event, set while connected and subscribed.
        session: how many connections there have been.
        error: why the last connection ended, or could not be made; "" if there was no such trouble.
        refused: messages that were too large, or for which there was no room.
    """

    def __init__(
        self,
        open_stream,
        client_id,
        *,
        will_topic,
        will,
        topics=(),
        user="",
        password="",
        keepalive_s=60,
        first_id=1,
        response_ms=_RESPONSE_MS,
        receive_bytes=_RECEIVE_BYTES,
    ):
        """Take the settings; ``run`` connects.

        Args:
            open_stream: ``async def open_stream()`` that returns a connected asyncio stream; see ``tcp``.
            client_id, user, password: text.
            will_topic, will: text; the broker publishes it, retained, when the connection ends without our word.
            topics: subscribed with QoS 1 at each connect, whether or not the broker says that it kept the session.
            keepalive_s: the longest silence, in seconds.
            first_id: the first packet id.
            response_ms: how long to wait for any answer, and for a packet to be complete.
            receive_bytes: the largest packet taken in.
        """
        self._open_stream = open_stream
        self._connect_bytes = connect(client_id, user, password, keepalive_s, will_topic, will)
        self._topics = topics
        self._idle_ms = keepalive_s * 750
        # How late a ping can be; the broker's patience ends at one and a half times the keepalive.
        self._slice_ms = min(_SLICE_MS, keepalive_s * 250)
        self._response_ms = response_ms
        self._receiver = Receiver(_SMALL, receive_bytes)
        self._head = bytearray(_MAX_TOPIC + 9)
        self._last_id = (first_id - 2) % 65535 + 1
        self._flights = {}
        self._message = None
        self._came = asyncio.Event()
        self._taken = asyncio.Event()
        self._hurry = asyncio.Event()
        self._lock = asyncio.Lock()
        self._stream = None
        self._broken = None
        self._session_present = False
        self._sent_at = self._received_at = self._partial_at = self._pinged_at = time.ticks_ms()
        self.up = asyncio.Event()
        self.session = 0
        self.error = ""
        self.refused = 0

    # -- the connection

    async def run(self):
        """Connect and serve until cancelled; wait ever longer, with jitter, between attempts that fail."""
        backoff = _BACKOFF_MS
        while True:
            began = time.ticks_ms()
            before = self.error
            try:
                await self._serve()
            except asyncio.TimeoutError:
                self.error = "no answer in time"
            except (OSError, ValueError, MemoryError, MqttError) as error:
                self.error = explain(error)
            if self.error != before:
                print("broker:", self.error)  # for whoever is at the cable: health does not get through
            if time.ticks_diff(time.ticks_ms(), began) > _STEADY_MS:
                backoff = _BACKOFF_MS
            gc.collect()
            try:
                pause = backoff // 2 + random.getrandbits(16) * (backoff // 2) // 65535
                await asyncio.wait_for_ms(self._hurry.wait(), pause)
            except asyncio.TimeoutError:
                pass
            self._hurry.clear()
            backoff = min(2 * backoff, _MAX_BACKOFF_MS)

    def hurry(self):
        """Cut short the wait for the next attempt: the network has come back."""
        self._hurry.set()

    async def _serve(self):
        self._broken = None
        self._receiver.reset()
        self._stream = await asyncio.wait_for_ms(self._open_stream(), self._response_ms)
        try:
            began = self._received_at = self._sent_at = time.ticks_ms()
            await self._send(self._connect_bytes)
            if await self._receive(began) != CONNACK:
                raise MqttError("first packet is not CONNACK")
            if self._receiver.code:
                raise connack_error(self._receiver.code)
            self._session_present = self._receiver.session_present
            await self._subscribe()
            self.session += 1
            self.up.set()
            while True:
                await self._handle(await self._receive(0))
        finally:
            self.up.clear()
            self._message = None
            stream, self._stream = self._stream, None
            for flight in self._flights.values():
                flight.event.set()
            await stream.wait_closed()

    async def _subscribe(self):
        if not self._topics:
            return
        packet_id = self._take_id()
        await self._send(subscribe(packet_id, self._topics))
        began = time.ticks_ms()
        while True:
            kind = await self._receive(began)
            if kind == SUBACK and self._receiver.packet_id == packet_id:
                if self._receiver.code > 2:
                    raise MqttError("broker refused a subscription")
                return
            await self._handle(kind)

    async def _receive(self, began):
        """Return the kind of the next packet; it must come within the response time of ``began`` (ticks, unless 0)."""
        receiver = self._receiver
        pinged = False
        while True:
            kind = receiver.next()
            if kind is not None:
                return kind
            now = time.ticks_ms()
            if self._broken:
                raise MqttError(self._broken)
            silence = time.ticks_diff(now, self._received_at)
            if began and time.ticks_diff(now, began) > self._response_ms:
                raise MqttError("no answer in time")
            if receiver.partial and time.ticks_diff(now, self._partial_at) > self._response_ms:
                raise MqttError("a packet came too slowly")
            if not began and max(silence, time.ticks_diff(now, self._sent_at)) > self._idle_ms and not pinged:
                pinged = True
                self._pinged_at = now
                await self._send(PINGREQ_BYTES)
            if pinged and time.ticks_diff(now, self._pinged_at) > self._response_ms:
                raise MqttError("no answer to a ping")
            room = receiver.room()
            try:
                count = await asyncio.wait_for_ms(self._stream.readinto(room), self._slice_ms)
            except asyncio.TimeoutError:
                continue
            if count is None:
                continue
            if count == 0:
                raise MqttError("broker closed the connection")
            if not receiver.partial:
                self._partial_at = time.ticks_ms()
            receiver.fill(count)
            self._received_at = time.ticks_ms()

    async def _handle(self, kind):
        receiver = self._receiver
        self._partial_at = time.ticks_ms()  # of what may follow in the buffer
        if kind == PUBACK:
            flight = self._flights.get(receiver.packet_id)
            if flight:
                flight.done = True
                flight.event.set()
        elif kind == PUBLISH:
            try:
                self._message = (str(receiver.topic, "utf-8"), receiver.payload)
            except ValueError:
                raise MqttError("topic is not UTF-8")
            self._taken.clear()
            self._came.set()
            await self._taken.wait()
            if receiver.packet_id:
                await self._send(puback(receiver.packet_id))
        elif kind == REFUSED:
            self.refused += 1
            if receiver.packet_id:
                await self._send(puback(receiver.packet_id))
        elif kind == CONNACK:
            raise MqttError("a second CONNACK")

    async def _send(self, data):
        async with self._lock:
            await self._write(data, b"")

    async def _write(self, data, payload):
        """Send one packet. Call with the lock held: whatever ends it half-way ends the connection."""
        stream = self._stream
        if stream is None or self._broken:
            raise MqttError(self._broken or "not connected")
        whole = False
        try:
            # The first piece is read before anything is sent: if it cannot be, the connection is none the worse.
            piece = payload[0:_PIECE]
            stream.write(data)
            at = 0
            while piece:
                at += len(piece)
                stream.write(piece)
                if at < len(payload):
                    await asyncio.wait_for_ms(stream.drain(), self._response_ms)
                piece = payload[at : at + _PIECE]
            await asyncio.wait_for_ms(stream.drain(), self._response_ms)
            whole = True
        finally:
            if not whole:
                self._broken = "a packet was cut short"
        self._sent_at = time.ticks_ms()

    # -- for the rest of the board

    async def publish(self, topic, payload, retain=False):
        """Publish with QoS 1; return when the broker has acknowledged.

        Waits for a connection, and after a reconnect sends again, with DUP if the broker kept the session.

        Args:
            topic: text, at most 128 bytes.
            payload: what has a length and gives slices of up to 512 bytes, the same until this returns: bytes, a
                memoryview, or trig.journal.Stored.

        Raises:
            MqttError: the topic is too long, or eight others wait already.
            Exception: what the payload raises.
        """
        topic = topic.encode()
        if isinstance(payload, bytes):
            payload = memoryview(payload)  # its slices are no copies
        if len(topic) > _MAX_TOPIC:
            raise MqttError("topic of {} bytes".format(len(topic)))
        if len(self._flights) >= _MAX_FLIGHTS:
            raise MqttError("too many messages in flight")
        packet_id = self._take_id()
        flight = self._flights[packet_id] = _Flight()
        sent = False
        try:
            while not flight.done:
                await self.up.wait()
                flight.event.clear()
                dup = sent and self._session_present
                sent = True
                try:
                    async with self._lock:
                        length = publish_head(self._head, topic, len(payload), packet_id, dup, retain)
                        await self._write(memoryview(self._head)[:length], payload)
                    await asyncio.wait_for_ms(flight.event.wait(), self._response_ms)
                except asyncio.TimeoutError:
                    self._break("no PUBACK in time")
                except (OSError, MqttError) as error:
                    self._break(str(error))
        finally:
            del self._flights[packet_id]

    async def leave(self):
        """Say goodbye, so that the broker keeps the last will to itself. Cancel ``run`` after it."""
        if self.up.is_set():
            try:
                await self._send(DISCONNECT_BYTES)
            except (OSError, MqttError, asyncio.TimeoutError):
                pass

    def __aiter__(self):
        return self

    async def __anext__(self):
        """Return the next message, (topic text, payload memoryview); wait for it for ever.

        The payload is good until this is called again. Whoever takes messages must not wait for the broker meanwhile.
        """
        self._taken.set()
        while self._message is None:
            self._came.clear()
            await self._came.wait()
        message, self._message = self._message, None
        return message

    def _break(self, why):
        """End the connection at the next turn of ``run``; nobody writes to it from now on."""
        if self._stream is not None:
            self._broken = self._broken or why
        self.up.clear()

    def _take_id(self):
        """Return the next packet id: 1 to 65,535, never one in flight (section 2.3.1)."""
        while True:
            self._last_id = self._last_id % 65535 + 1
            if self._last_id not in self._flights:
                return self._last_id


def explain(error):
    """One line that says why a connection ended or could not be made, for whoever reads the health report."""
    if isinstance(error, MqttError):
        return str(error)
    if isinstance(error, ValueError):
        # What mbedTLS says of a certificate, with its line end.
        return "TLS: " + str(error).strip()
    if isinstance(error, OSError) and error.errno == _NO_SUCH_NAME:
        return "the broker's name cannot be looked up"
    if isinstance(error, OSError) and error.errno in _CLOSED:
        return "broker closed the connection"
    # Of TLS and the Wi-Fi driver, the second argument is the name and the first a number.
    return "{}: {}".format(type(error).__name__, error.args[1] if len(error.args) > 1 else error)


def tls_context(authority):
    """A TLS client context that accepts nobody but a server certified by ``authority``, and under the name asked for.

    MicroPython's default is CERT_NONE: no check at all.

    Args:
        authority: the CA certificate, DER.

    Raises:
        ValueError: it is not a certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority)
    return context


def tcp(host, port, context=None):
    """Return an ``open_stream`` for Client. The name is looked up again at each connect: brokers move.

    A packet is two writes, its head and its payload. Without TCP_NODELAY the second waits for the broker's delayed
    acknowledgement of the first: 40 ms for each message.
    """

    async def open_stream():
        stream = (await asyncio.open_connection(host, port))[0]
        link = stream.s  # type: ignore[attr-defined]  # extmod/asyncio/stream.py keeps its socket there
        link.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, 1)
        if context is None:
            return stream
        link = context.wrap_socket(link, server_hostname=host, do_handshake_on_connect=False)
        link.setblocking(False)
        return asyncio.StreamReader(link)

    return open_stream
