"""Publishes what has been verified and stored for Home Assistant, over a connection of its own.

It follows the database rather than ingest, so that it can only say what is on the disk, and cannot hold ingest up.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import sqlite3
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from importlib.metadata import version
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from trigpoint import keyfiles, stated
from trigpoint.config import Config
from trigpoint.errors import OperatorError
from trigpoint.homeassistant.discovery import Place, Sensor, discovery, states
from trigpoint.homeassistant.outbox import Outbox
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

_WAITING = 10_000
"""Messages of different topics that may wait for the broker. They have some 500 bytes."""

_IN_FLIGHT = 100
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
        self._outbox = Outbox(_WAITING)
        self._in_flight: set[int] = set()
        self._taken: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id)
        self._client.reconnect_delay_set(1, 30)
        self._client.will_set(availability, b"offline", qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_publish = self._on_publish
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
        self._wake.set()
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

    def _on_publish(self, _client: paho.Client, _user: Any, packet_id: int, _reason: Any, _properties: Any) -> None:
        # No more than this in paho's thread: it holds a lock here that publishing wants too.
        self._taken.put(packet_id)
        self._wake.set()

    def _run(self) -> None:
        looks, next_look = 0, time.monotonic() + _LOOK_EVERY_S
        while True:
            self._wake.wait(max(0.0, next_look - time.monotonic()))
            self._wake.clear()
            if self._stopping.is_set():
                return
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + _LOOK_EVERY_S
                if self._client.is_connected():
                    self._look(looks)
                    looks += 1
            self._flush()

    def _look(self, number: int) -> None:
        try:
            with closing(open_database(self._config.database, read_only=True)) as connection:
                if self._anew.is_set():
                    self._anew.clear()
                    try:
                        self._begin(connection)
                    except sqlite3.Error:
                        self._anew.set()
                        raise
                self._follow(connection)
                if number % _LOOK_FOR_REVOKED_EVERY == 0:
                    self._remove_ended(connection)
        except (sqlite3.Error, OperatorError) as error:
            _log.error("Home Assistant has to wait: %s", error)

    def _flush(self) -> None:
        """Give paho what it may have on its way; it holds that for a connection to come, and knows no bound."""
        with suppress(queue.Empty):
            while True:
                self._in_flight.discard(self._taken.get_nowait())
        while self._client.is_connected() and len(self._in_flight) < _IN_FLIGHT and (next_one := self._outbox.take()):
            # QoS 0 would lose discovery in a broker that is busy.
            self._in_flight.add(self._client.publish(*next_one, qos=1, retain=True).mid)

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Announce everything, each sensor with its newest value."""
        self._ended.clear()
        self._remove_ended(connection)
        self._announced.clear()
        self._sensors.clear()
        self._size = _size(connection)
        for board in stated.boards(connection):
            if board.active and board.leaf_index < self._size:
                self._publish(connection, board.leaf_index, board.leaf_index + 1)

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
                self._announced.add(sensor)
                announcement = discovery(sensor, self._place, decimals)
                self._send(sensor.config_topic(self._place), announcement, partial(self._not_announced, sensor))
            self._send(sensor.state_topic(self._place), message)

    def _remove_ended(self, connection: sqlite3.Connection) -> None:
        """Remove the sensors of boards that the registry has ended, and announce anew those that it took back."""
        ended = {board.kid for board in stated.boards(connection) if not board.active}
        newly, self._ended = ended - self._ended, ended
        for kid in newly:
            sensors = {Sensor(kid, name, unit) for name, unit in _series(connection, kid)}
            for sensor in sensors | {known for known in self._announced if known.kid == kid}:
                self._send(sensor.config_topic(self._place), b"", partial(self._not_removed, kid))
                self._send(sensor.state_topic(self._place), b"")
                self._announced.discard(sensor)
            del self._sensors[kid]

    def _not_announced(self, sensor: Sensor) -> None:
        """Announce it again with its next value."""
        if sensor in self._announced:
            self._announced.discard(sensor)
            self._sensors[sensor.kid] -= 1

    def _not_removed(self, kid: bytes) -> None:
        """Remove it again at the next look for ended boards."""
        self._ended.discard(kid)

    def _send(self, topic: str, message: bytes, dropped: Callable[[], None] = lambda: None) -> None:
        self._outbox.put(topic, message, dropped)


def _size(connection: sqlite3.Connection) -> int:
    (newest,) = connection.execute("SELECT max(leaf_index) FROM statements").fetchone()
    return 0 if newest is None else int(newest) + 1


def _series(connection: sqlite3.Connection, kid: bytes) -> list[tuple[str, str]]:
    """Return name and unit of what the index knows of a board; what it has not taken in yet was announced just now."""
    return connection.execute(
        "SELECT DISTINCT name, unit FROM series JOIN boards ON boards.number = series.board WHERE kid = ?", (kid,)
    ).fetchall()
