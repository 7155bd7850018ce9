"""The gateway's session at the MQTT broker: statements in, acks out, each message confirmed only when told so."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode

from trigpoint import keyfiles
from trigpoint.clock import Clock
from trigpoint.config import Broker
from trigpoint.errors import OperatorError
from trigpoint.ingest.client import Client, puback_packet, publish_packet
from trigpoint.ingest.message import TOPIC_KEPT, Delivery, Message

_log = logging.getLogger(__name__)

SUBSCRIPTION = "trig/1/+/s"
_KEEPALIVE_S = 60
_FIRST_CONNECTION_S = 15.0
_RECONNECT_MIN_S, _RECONNECT_MAX_S = 1, 30


class Session:
    """A persistent MQTT 3.1.1 session that subscribes to all statements with QoS 1.

    The broker keeps what comes while the gateway is away, and sends again what was not confirmed. A connection that
    is lost is made again, with back-off, for as long as the session is open.

    Args:
        settings: where the broker is.
        clock: stamps arrivals.
        receive: called for each message from the network thread. It may block: then nothing more is read from the
            broker, which is how a slow disk holds back the boards rather than losing their messages.
        failed: called once, from the network thread, if that thread has to give up.
    """

    def __init__(
        self,
        settings: Broker,
        clock: Clock,
        receive: Callable[[Delivery], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._receive = receive
        # Packet ids mean something only within one connection: after a reconnect the broker may give the id of a
        # message that we still hold to another one. Hence whoever confirms must hold this lock and compare numbers.
        self._lock = threading.Lock()
        self._connection = 0
        self._connected = False
        self._settled = threading.Event()
        self._refusal = ""
        self._client = Client(settings.client_id, self._on_published, failed)
        self._client.reconnect_delay_set(_RECONNECT_MIN_S, _RECONNECT_MAX_S)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect

    def start(self) -> bool:
        """Connect and subscribe; return whether that was done. A broker that is away is tried until it is there.

        Raises:
            OperatorError: the broker refuses the gateway, or cannot be trusted, or is none.
        """
        settings = self._settings
        where = f"{settings.host}:{settings.port}"
        if settings.username is not None:
            password = keyfiles.load_password(settings.password_file) if settings.password_file else None
            self._client.username_pw_set(settings.username, password)
        if settings.tls:
            try:
                self._client.tls_set_context(ssl.create_default_context(cafile=settings.ca))
            except OSError as error:
                raise OperatorError(f"cannot read broker.ca {settings.ca}: {error}; name a PEM file") from error
        try:
            self._client.connect(settings.host, settings.port, _KEEPALIVE_S)
        except ssl.SSLError as error:
            raise OperatorError(
                f"no trusted TLS connection to the broker at {where}: {error}; check broker.ca, broker.tls and the host"
            ) from error
        except OSError as error:
            # After a power cut broker, network and gateway come up in any order.
            _log.warning(
                "cannot reach the MQTT broker at %s: %s; check broker.host, port and tls, or start it; "
                "it is tried until it is there",
                where,
                error,
            )
            self._client.connect_async(settings.host, settings.port, _KEEPALIVE_S)
            self._client.loop_start()
            return False
        except ValueError as error:
            raise OperatorError(f"cannot connect to {where}: {error}; check broker.host and broker.port") from error
        self._client.loop_start()
        if not self._settled.wait(_FIRST_CONNECTION_S):
            self._refusal = f"no answer in {_FIRST_CONNECTION_S:.0f} s; check that an MQTT broker listens there"
        if self._refusal:
            self.stop()
            raise OperatorError(f"the MQTT broker at {where} does not serve this gateway: {self._refusal}")
        return True

    def stop(self) -> None:
        """Send what is waiting to be sent, and leave. The broker keeps the session."""
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the broker now."""
        return self._connected

    def answer(self, acks: Sequence[tuple[str, bytes]], confirmed: Sequence[Delivery]) -> None:
        """Publish acks with QoS 0, and then send the PUBACKs of messages, all at once.

        Nothing is sent while there is no connection: a board without its ack sends again. A message whose own
        connection is gone is not confirmed, for the broker sends it again under another packet id.
        """
        packets = [publish_packet(topic.encode(), payload) for topic, payload in acks]
        with self._lock:
            if not self._connected:
                return
            packets += [
                puback_packet(packet_id)
                for _, connection, packet_id in confirmed
                if packet_id is not None and connection == self._connection
            ]
            self._client.send(packets)

    def _on_connect(
        self, client: paho.Client, _user: Any, flags: paho.ConnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        if reason.is_failure:
            _log.error("broker refused the connection reason=%r", str(reason))
            self._settle(f"{reason}; check broker.username, broker.password_file and the broker's access list")
            return
        with self._lock:
            self._connection += 1
            self._connected = True
        _log.info("broker connected session_present=%s", flags.session_present)
        # Also in a resumed session: subscribing again changes nothing there, and mends a session that has lost it.
        client.subscribe(SUBSCRIPTION, qos=1)

    def _on_subscribe(
        self, _client: paho.Client, _user: Any, _packet_id: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        if any(reason.is_failure or reason.value != 1 for reason in reasons):
            _log.error("broker refused the subscription topic=%s", SUBSCRIPTION)
            self._settle(f"it refuses the subscription to {SUBSCRIPTION} with QoS 1; check its access list")
        else:
            self._settle("")

    def _on_disconnect(
        self, _client: paho.Client, _user: Any, _flags: paho.DisconnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        with self._lock:
            self._connected = False
        if reason.is_failure:
            _log.warning("broker connection lost reason=%r", str(reason))

    def _on_published(self, topic: str, payload: bytes, size: int, packet_id: int | None) -> None:
        message = Message(topic[:TOPIC_KEPT], payload, size, self._clock.now_ms())
        self._receive(Delivery(message, self._connection, packet_id))

    def _settle(self, refusal: str) -> None:
        """Note how the first connection went; later ones are only logged."""
        if not self._settled.is_set():
            self._refusal = refusal
            self._settled.set()
