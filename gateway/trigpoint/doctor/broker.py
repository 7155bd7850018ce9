"""The broker: reachable, trusted, and does it let the gateway do its work."""

from __future__ import annotations

import queue
import secrets
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Self

import paho.mqtt.client as paho
from cryptography import x509
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from trigpoint import keyfiles
from trigpoint.config import Broker
from trigpoint.doctor.finding import Finding, fail, ok, unknown, warn
from trigpoint.errors import OperatorError
from trigpoint.words import counted

_PATIENCE_S = 5.0
_THROWN_OFF_S = 0.5
"""A broker ends the older of two connections before it answers the newer; that has to be read yet."""

_SUBSCRIPTION = "trig/1/+/s"
_NOBODY = f"trig/1/{'0' * 64}/a"
"""The acks of a board that cannot exist: a place to try the right to publish where nobody listens."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_NOT_AUTHORISED = 135
_SOON_DAYS = 30
_RENEW = "`trigpoint gateway broker renew DIR`, and install it as its README.md says"


def examine(settings: Broker) -> Iterator[Finding]:
    """Look at the broker as the gateway would, under client ids of our own: a running gateway is not disturbed."""
    own = settings.for_gateway()
    yield from _examine_as_gateway(own)
    if own is not settings:
        yield _examine_boards_way(settings)
    yield from _examine_client_ids(settings)


def _examine_as_gateway(settings: Broker) -> Iterator[Finding]:
    try:
        end = _connect(settings)
    except ssl.SSLCertVerificationError as error:
        yield fail(
            "broker",
            "TLS",
            f"its certificate is not trusted: {error.verify_message}",
            "check broker.ca and broker.host: the certificate must be for that name; or " + _RENEW,
        )
        return
    except ssl.SSLError as error:
        yield fail("broker", "TLS", f"no TLS: {error.reason or error}", "check broker.port and broker.tls")
        return
    except (OSError, ValueError) as error:
        yield fail(
            "broker",
            "connection",
            f"cannot reach {settings.host}:{settings.port}: {error}",
            "start it (`sudo systemctl start mosquitto`), or check broker.host, port and gateway_address",
        )
        return
    yield ok("broker", "connection", f"{settings.host}:{settings.port} answers")
    if end is not None:
        yield judge_certificate("TLS certificate", end, datetime.now(UTC))
        yield from _examine_authority(settings)
    elif settings.host not in _LOOPBACK:
        yield warn("broker", "TLS", "passwords and readings cross the network in the clear", "set broker.tls = true")
    yield from _examine_rights(settings)


def _examine_boards_way(settings: Broker) -> Finding:
    what, where = "for boards", f"{settings.host}:{settings.port}"
    try:
        _connect(settings)
    except (OSError, ValueError) as error:
        remedy = "check broker.host and broker.port, and that the broker has a listener for boards there"
        return fail("broker", what, f"cannot reach {where}: {getattr(error, 'verify_message', '') or error}", remedy)
    return ok("broker", what, f"{where} answers")


def _examine_client_ids(settings: Broker) -> Iterator[Finding]:
    if settings.username is None:
        if settings.host not in _LOOPBACK:
            yield judge_client_ids(None)
        return
    with suppress(OSError, ValueError, OperatorError):  # said before
        password = keyfiles.load_password(settings.password_file) if settings.password_file else None
        kept = _try_client_ids(settings, password)
        shared = settings.for_gateway() is settings
        if kept is not Kept.NO_ANSWER and not (shared and kept is Kept.REFUSED):
            yield judge_client_ids(kept)


class Kept(Enum):
    """What became of the gateway's user, coming to the boards' listener under two client ids, one after the other."""

    NO_ANSWER = 0
    REFUSED = 1
    """It is not let in: boards are among themselves there."""
    ONE = 2
    """The second login ended the first: the client id is the user name."""
    BOTH = 3
    """Each keeps the client id that it gave itself."""


def judge_client_ids(kept: Kept | None) -> Finding:
    """Judge whether a board can end the connections of others, by their client ids; None if no passwords are asked."""
    what = "client ids"
    if kept is None:
        return warn(
            "broker",
            what,
            "no password is asked: whoever reaches it can throw boards and gateway off",
            "give the broker passwords: " + _RENEW,
        )
    if kept is Kept.BOTH:
        return warn(
            "broker",
            what,
            "a board can take another's, or the gateway's, and so throw it off",
            "`trigpoint gateway broker renew DIR`, and do what it prints; with another broker than Mosquitto, make a"
            " board's user name its client id",
        )
    if kept is Kept.REFUSED:
        return ok("broker", what, "boards are among themselves where they log in: none can take the gateway's")
    return ok("broker", what, "each user has its own, whatever it calls itself")


def judge_certificate(what: str, until: datetime, now: datetime) -> Finding:
    """Judge how long a certificate lasts; both times are aware."""
    days = (until - now).days
    text = f"until {until:%Y-%m-%d}, {counted(days, 'day')}"
    if days < 0:
        return fail("broker", what, f"it ended on {until:%Y-%m-%d}", _RENEW)
    if days < _SOON_DAYS:
        return warn("broker", what, text, _RENEW)
    return ok("broker", what, text)


def _connect(settings: Broker) -> datetime | None:
    """Connect once; return when the broker's certificate ends, or None without TLS."""
    with socket.create_connection((settings.host, settings.port), _PATIENCE_S) as plain:
        if not settings.tls:
            return None
        context = ssl.create_default_context(cafile=settings.ca)
        with context.wrap_socket(plain, server_hostname=settings.host) as secured:
            der = secured.getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der).not_valid_after_utc if der else None


def _examine_authority(settings: Broker) -> Iterator[Finding]:
    if settings.ca is None:
        return
    with suppress(OSError, ValueError):
        authorities = x509.load_pem_x509_certificates(settings.ca.read_bytes())
        yield judge_certificate("authority", min(one.not_valid_after_utc for one in authorities), datetime.now(UTC))


def _examine_rights(settings: Broker) -> Iterator[Finding]:
    try:
        password = keyfiles.load_password(settings.password_file) if settings.password_file else None
    except OperatorError as error:
        yield fail("broker", "login", "the password file cannot be used", str(error))
        return
    # MQTT 5 says why something is refused; 3.1.1, which the gateway speaks, often hangs up or says nothing.
    for version in (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311):
        answers = _try_rights(settings, password, version)
        if answers.login is not None:
            break
    yield from judge_rights(answers, settings.username)


@dataclass
class Answers:
    """What the broker said to login, subscription and publication: reason codes; None for nothing."""

    login: int | None = None
    login_text: str = ""
    subscribe: int | None = None
    publish: int | None = None
    explains: bool = False


def judge_rights(answers: Answers, username: str | None) -> Iterator[Finding]:
    """Judge the broker's answers; `explains` is whether it speaks MQTT 5 and so says what it refuses."""
    name = username or "nobody"
    if answers.login is None:
        yield fail("broker", "login", "no answer: is it an MQTT broker?", "check broker.port")
        return
    if answers.login != 0:
        yield fail(
            "broker",
            "login",
            f"it does not let in {name}: {answers.login_text}",
            "check broker.username and broker.password_file, and that the broker has the new password file",
        )
        return
    yield ok("broker", "login", f"as {name}")
    if answers.subscribe is None or answers.subscribe >= 0x80:
        yield fail(
            "broker", "right to read", f"{_SUBSCRIPTION} is refused", f"allow {name} to read it in its access list"
        )
    elif answers.subscribe != 1:
        yield fail("broker", "right to read", "it delivers at most once", "use a broker with QoS 1")
    else:
        yield ok("broker", "right to read", f"{_SUBSCRIPTION}, with QoS 1")
    what, topic = "right to write", "trig/1/+/a"
    if not answers.explains:
        yield unknown("broker", what, "this broker has no MQTT 5, so it does not say")
    elif answers.publish is None or answers.publish == _NOT_AUTHORISED:
        yield fail("broker", what, f"{topic} is refused: boards would get no acks", f"allow {name} to write it")
    else:
        yield ok("broker", what, topic)


def _try_rights(settings: Broker, password: str | None, version: MQTTProtocolVersion) -> Answers:
    answers = Answers(explains=version == MQTTProtocolVersion.MQTTv5)
    with suppress(OSError, ValueError), _Connection(settings, password, version) as connection:
        login = connection.next("login")
        if login is None:
            return answers
        answers.login, answers.login_text = login
        if answers.login == 0:
            connection.client.subscribe(_SUBSCRIPTION, qos=1)
            if (granted := connection.next("subscribe")) is not None:
                answers.subscribe = granted[0]
            connection.client.publish(_NOBODY, b"", qos=1)
            if (published := connection.next("publish")) is not None:
                answers.publish = published[0]
    return answers


def _try_client_ids(settings: Broker, password: str | None) -> Kept:
    with _Connection(settings, password) as first:
        login = first.next("login")
        if login is None or login[0] != 0:
            return Kept.NO_ANSWER if login is None else Kept.REFUSED
        with _Connection(settings, password) as second:
            if second.next("login") is None:
                return Kept.NO_ANSWER
            return Kept.BOTH if first.next("gone", _THROWN_OFF_S) is None else Kept.ONE


class _Connection:
    """A connection under a client id that nobody else has, as a context manager; what the broker says is queued.

    Raises:
        OSError, ValueError: when entered, if there is none to be had.
    """

    def __init__(
        self, settings: Broker, password: str | None, version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311
    ) -> None:
        self._settings = settings
        self._events: queue.Queue[tuple[str, int, str]] = queue.Queue()
        client_id = f"trigpoint-doctor-{secrets.token_hex(6)}"
        self.client = client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=version, reconnect_on_failure=False
        )

        def note(kind: str, reason: Any) -> None:
            self._events.put((kind, int(reason.value), str(reason)))

        client.on_connect = lambda _client, _user, _flags, reason, _properties: note("login", reason)
        client.on_subscribe = lambda _client, _user, _packet, reasons, _properties: note("subscribe", reasons[0])
        client.on_publish = lambda _client, _user, _packet, reason, _properties: note("publish", reason)
        client.on_disconnect = lambda _client, _user, _flags, reason, _properties: note("gone", reason)
        if settings.username is not None:
            client.username_pw_set(settings.username, password)
        if settings.tls:
            client.tls_set_context(ssl.create_default_context(cafile=settings.ca))

    def __enter__(self) -> Self:
        self.client.connect(self._settings.host, self._settings.port, keepalive=30)
        self.client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def next(self, wanted: str, patience_s: float = _PATIENCE_S) -> tuple[int, str] | None:
        """Wait for an answer; None if the broker hangs up or says nothing."""
        with suppress(queue.Empty):
            while True:
                kind, value, text = self._events.get(timeout=patience_s)
                if kind == wanted:
                    return value, text
                if kind == "gone":
                    return None
        return None
