"""Publishes what has been verified and stored for Home Assistant, over a connection of its own.

It follows the database rather than ingest, so that it can only say what is on the disk, and cannot hold ingest up.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import ssl
import threading
from collections import Counter
from contextlib import closing, suppress
from importlib.metadata import version
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from trigpoint import keyfiles
from trigpoint.config import Config
from trigpoint.errors import OperatorError
from trigpoint.homeassistant.discovery import Place, Sensor, discovery, states
from trigpoint.store import queries
from trigpoint.store.database import open_database
from trigpoint.wire.statement import parse

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_LOOK_FOR_REVOKED_EVERY = 30
"""Looks between two at the boards that the registry has ended."""

_NEWEST = 2_000
"""Statements taken at one look: of more, the older ones are passed over, for only the newest value of each matters."""

_SENSORS_OF_BOARD = 256
"""Sensors of one board that are announced, as many as one statement has readings. What is announced stays at the broker
and at Home Assistant, and a board can make up a new name for each reading."""

_ALL = 1_000_000
_KEEPALIVE_S = 60


class Publisher:
    """Announces each sensor once it has stated something, publishes its values, and removes it with its board.

    Args:
        config: the gateway's.

    Raises:
        OperatorError: the broker's password cannot be read.
    """

    def __init__(self, config: Config) -> None:
        settings, broker = config.homeassistant, config.broker.for_gateway()
        client_id = f"{broker.client_id[:48]}-homeassistant"
        # Not the client id itself: who knows it can end the gateway's session at the broker.
        name = hashlib.sha256(broker.client_id.encode()).hexdigest()[:16]
        availability = f"{settings.state_prefix}/gateway/{name}"
        self._place = Place(
            settings.discovery_prefix,
            settings.state_prefix,
            availability,
            version("trigpoint"),
            settings.expire_after_s,
        )
        self._config = config
        self._stopping = threading.Event()
        self._anew = threading.Event()
        self._announced: set[Sensor] = set()
        self._sensors: Counter[bytes] = Counter()
        self._ended: set[bytes] = set()
        self._size = 0
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id)
        self._client.reconnect_delay_set(1, 30)
        self._client.will_set(availability, b"offline", qos=1, retain=True)
        self._client.on_connect = self._on_connect
        if broker.username is not None:
            password = keyfiles.load_password(broker.password_file) if broker.password_file else None
            self._client.username_pw_set(broker.username, password)
        if broker.tls:
            self._client.tls_set_context(ssl.create_default_context(cafile=broker.ca))
        self._thread = threading.Thread(target=self._run, name="homeassistant", daemon=True)

    def start(self) -> None:
        """Connect, again and again until the broker is there, and begin."""
        broker = self._config.broker.for_gateway()
        self._client.connect_async(broker.host, broker.port, _KEEPALIVE_S)
        self._client.loop_start()
        self._thread.start()

    def stop(self) -> None:
        """Say that the gateway is away, and leave. What was announced stays."""
        self._stopping.set()
        self._thread.join()
        if self._client.is_connected():
            with suppress(RuntimeError, ValueError):
                self._client.publish(self._place.availability, b"offline", qos=1, retain=True).wait_for_publish(1)
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self, client: paho.Client, _user: Any, _flags: paho.ConnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        if reason.is_failure:
            _log.error("broker refused the connection for Home Assistant reason=%r", str(reason))
            return
        client.publish(self._place.availability, b"online", qos=1, retain=True)
        self._anew.set()  # the broker may have lost what it was told to keep

    def _run(self) -> None:
        looks = 0
        while not self._stopping.wait(_LOOK_EVERY_S):
            if not self._client.is_connected():
                continue
            try:
                with closing(open_database(self._config.database, read_only=True)) as connection:
                    if self._anew.is_set():
                        self._anew.clear()
                        self._begin(connection)
                    self._follow(connection)
                    if looks % _LOOK_FOR_REVOKED_EVERY == 0:
                        self._remove_ended(connection)
            except (sqlite3.Error, OperatorError) as error:
                _log.error("Home Assistant has to wait: %s", error)
            looks += 1

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Announce everything, each sensor with its newest value."""
        self._ended.clear()
        self._remove_ended(connection)
        self._announced.clear()
        self._sensors.clear()
        self._size = _size(connection)
        for board in queries.standings(connection, 0, _ALL):
            if board.active_until_s is None and board.newest is not None and board.newest.leaf_index < self._size:
                self._publish(connection, board.newest.leaf_index, board.newest.leaf_index + 1)

    def _follow(self, connection: sqlite3.Connection) -> None:
        """Publish the newest value of each sensor in what has been stored since the last look."""
        size = _size(connection)
        if size > self._size:
            self._publish(connection, max(self._size, size - _NEWEST), size)
            self._size = size

    def _publish(self, connection: sqlite3.Connection, start: int, end: int) -> None:
        newest: dict[Sensor, tuple[bytes, int]] = {}
        for leaf_index, arrival_ms, raw in connection.execute(
            "SELECT leaf_index, arrival_ms, raw FROM statements WHERE leaf_index >= ? AND leaf_index < ?"
            " ORDER BY leaf_index",
            (start, end),
        ):
            newest.update(states(parse(raw), leaf_index, arrival_ms))
        for sensor, (message, decimals) in newest.items():
            if sensor.kid in self._ended:
                continue
            if sensor not in self._announced:
                if self._sensors[sensor.kid] >= _SENSORS_OF_BOARD:
                    continue
                self._sensors[sensor.kid] += 1
                self._send(sensor.config_topic(self._place), discovery(sensor, self._place, decimals))
                self._announced.add(sensor)
            self._send(sensor.state_topic(self._place), message)

    def _remove_ended(self, connection: sqlite3.Connection) -> None:
        """Remove the sensors of boards that the registry has ended, and announce anew those that it took back."""
        ended = {board.kid for board in queries.standings(connection, 0, _ALL) if board.active_until_s is not None}
        for kid in ended - self._ended:
            sensors = {Sensor(kid, name, unit) for name, unit in _series(connection, kid)}
            for sensor in sensors | {known for known in self._announced if known.kid == kid}:
                self._send(sensor.config_topic(self._place), b"")
                self._send(sensor.state_topic(self._place), b"")
                self._announced.discard(sensor)
            del self._sensors[kid]
        self._ended = ended

    def _send(self, topic: str, message: bytes) -> None:
        # QoS 0 would lose discovery in a broker that is busy; what waits for a PUBACK is bounded by the sensors.
        self._client.publish(topic, message, qos=1, retain=True)


def _size(connection: sqlite3.Connection) -> int:
    (newest,) = connection.execute("SELECT max(leaf_index) FROM statements").fetchone()
    return 0 if newest is None else int(newest) + 1


def _series(connection: sqlite3.Connection, kid: bytes) -> list[tuple[str, str]]:
    """Return name and unit of what the index knows of a board; what it has not taken in yet was announced just now."""
    return connection.execute(
        "SELECT DISTINCT name, unit FROM series JOIN boards ON boards.number = series.board WHERE kid = ?", (kid,)
    ).fetchall()
