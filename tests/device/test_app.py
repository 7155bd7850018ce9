"""The whole firmware on an emulated board, with the embedded broker and a gateway of a few lines."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from boardrunner import DEVICE
from brokers import RunningBroker, embedded_broker  # noqa: F401
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.enums import CallbackAPIVersion
from trigpoint.clock import WorldClock
from trigpoint.wire import ack, permit, statement
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.statement import Statement
from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.weather import Weather

SPEED = 7200
LINK = ec.derive_private_key(4711, ec.SECP256R1())


class Gateway:
    """Takes statements in order and acks them; checks the chain of each board as section 5 says."""

    def __init__(self, port: int, clock: WorldClock, board: PublicKey) -> None:
        self.board = board
        self.clock = clock
        self.key = ack.derive_key(LINK, board)
        self.stored: list[Statement] = []
        self.health: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self.duplicates = 0
        self.deaf = False
        self._news = threading.Condition()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="gateway", clean_session=False)
        self.client.on_message = self._on_message
        self.client.on_connect = lambda client, *_: client.subscribe([("trig/1/+/s", 1), ("trig/1/+/h", 1)])
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        with self._news:
            try:
                self._take(message.topic, message.payload)
            except Exception as error:
                self.failures.append(repr(error))
            self._news.notify_all()

    def _take(self, topic: str, payload: bytes) -> None:
        if topic.endswith("/h"):
            self.health.append(json.loads(payload))
            return
        if self.deaf:
            return
        found = statement.parse(payload)
        expected = len(self.stored)
        if found.seq == expected:
            assert self.board.verify(found.signature, found.to_be_signed())
            prev = hashlib.sha256(self.stored[-1].raw).digest() if self.stored else bytes(32)
            assert found.prev == prev
            self.stored.append(found)
        elif found.seq < expected:
            assert self.stored[found.seq].raw == found.raw, "a seq with two bodies"
            self.duplicates += 1
        else:
            return
        sealed = ack.seal(self.key, len(self.stored) - 1, self.clock.now_ms())
        self.client.publish(f"trig/1/{found.kid.hex()}/a", sealed, qos=1)

    @property
    def readings(self) -> int:
        return sum(len(found.readings) for found in self.stored)

    def wait_for(self, condition: Any, timeout: float = 30) -> None:
        with self._news:
            assert self._news.wait_for(lambda: condition(self), timeout), (len(self.stored), self.failures, self.health)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        assert self.failures == []


class World:
    def __init__(self, directory: Path, port: int, *, heap: str = "160k", **changes: Any) -> None:
        weather = Weather.load(station="JFK")
        self.clock = WorldClock(int(weather.first) + 86400, time.time(), SPEED)
        numbers = LINK.public_key().public_numbers()
        config = {
            "version": 1,
            "wifi": [{"ssid": "trig", "password": "password"}],
            "broker": {"host": "127.0.0.1", "port": port, "tls": False, "keepalive_s": 5},
            "link_key": (numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")).hex(),
            "sensors": [{"type": "bme280", "scl": 22, "sda": 21}],
            "sample_s": 1800,
            "batch": {"samples": 4, "age_s": 21600},
            "resend_s": 2,
            **changes,
        }
        self.board = EmulatedBoard.create(directory / "board", config, self.clock, weather, heap)
        self.public = json.loads(self.board.exec("import trig.enroll; trig.enroll.show()"))
        self.key = PublicKey(bytes.fromhex(self.public["x"]), bytes.fromhex(self.public["y"]))
        self.gateway = Gateway(port, self.clock, self.key)

    def close(self) -> None:
        self.board.cut()
        self.gateway.close()


@pytest.fixture
def world(tmp_path: Path, embedded_broker: RunningBroker) -> Iterator[World]:  # noqa: F811
    made = World(tmp_path, embedded_broker.port)
    yield made
    made.close()


def test_every_reading_arrives_through_cuts_outages_and_restarts(
    world: World,
    embedded_broker: RunningBroker,  # noqa: F811
) -> None:
    board, gateway = world.board, world.gateway
    board.start()
    gateway.wait_for(lambda g: len(g.stored) >= 3)
    first, third = gateway.stored[0], gateway.stored[2]
    assert first.base_time is None and len(first.readings) == 3, "the first sample goes out at once, in relative time"
    assert third.base_time is not None, "its ack has set the clock"
    assert abs(third.base_time + third.readings[-1].t - world.clock.now()) < 10 * SPEED

    embedded_broker.stop(kill=True)
    time.sleep(1.5)
    embedded_broker.start()
    before = len(gateway.stored)
    gateway.wait_for(lambda g: len(g.stored) > before + 2)

    gateway.deaf = True
    time.sleep(1.5)
    board.cut()
    gateway.deaf = False
    board.start()
    before = len(gateway.stored)
    gateway.wait_for(lambda g: len(g.stored) > before + 3)

    board.stop()
    board.start()
    before = len(gateway.stored)
    gateway.wait_for(lambda g: len(g.stored) > before)
    board.stop()
    # All that was measured is stored or waits in the journal, but for what was in RAM at the cut: under one batch.
    stopped = board.console[-1]
    assert stopped.startswith("stopped, next seq "), board.console
    waiting = int(stopped.split()[-1]) - len(gateway.stored)
    assert 0 <= waiting <= 3
    assert board.readings_measured - gateway.readings <= 12 * (waiting + 1)


def test_health_says_what_is_wrong_and_sampling_goes_on(world: World) -> None:
    board, gateway = world.board, world.gateway
    board.wifi(False)
    board.start()
    time.sleep(2)
    assert gateway.stored == []
    board.wifi(True)
    gateway.wait_for(lambda g: len(g.stored) >= 2)
    gateway.wait_for(lambda g: any(report.get("online") for report in g.health))
    report = next(report for report in gateway.health if report["online"])
    assert report["version"] and report["heap_low"] > 20_000 and report["sensor_errors"] == {}
    table = (DEVICE / "README.md").read_text().partition("\n## Health\n")[2].partition("\nWhat `link_error`")[0]
    documented = {name for row in table.splitlines() for name in re.findall("`([a-z_]+)`", row.split(" | ")[0])}
    assert set(report) <= documented, set(report) - documented
    board.cut()
    gateway.wait_for(lambda g: g.health[-1] == {"online": False})


def test_batch_is_flushed_by_age_when_the_sensor_falls_silent(tmp_path: Path, embedded_broker: RunningBroker) -> None:  # noqa: F811
    made = World(tmp_path, embedded_broker.port, batch={"samples": 200, "age_s": 10800})
    made.board.sensor.end_at = made.clock.now() + 3 * 3600
    made.board.start()
    made.gateway.wait_for(lambda g: len(g.stored) >= 2 and g.readings == made.board.readings_measured)
    time.sleep(1)
    assert made.gateway.readings == made.board.readings_measured
    made.close()


def test_permit_is_what_the_gateway_checks(world: World) -> None:
    registry, owner, metadata = bytes(range(20)), bytes(range(20, 40)), bytes(range(32))
    printed = world.board.exec(
        "import trig.enroll; trig.enroll.permit("
        f"31337, '{registry.hex()}', '0x{owner.hex()}', '{metadata.hex()}', 1900000000)"
    )
    made = json.loads(printed)
    assert made["kid"] == world.public["kid"]
    signed = permit.Permit(
        owner=owner,
        x=world.key.x,
        y=world.key.y,
        metadata_hash=metadata,
        deadline=1900000000,
        r=bytes.fromhex(made["r"]),
        s=bytes.fromhex(made["s"]),
    )
    assert permit.verify(31337, registry, signed)


def test_key_without_journal_is_replaced(world: World) -> None:
    show = "import trig.enroll; trig.enroll.show()"
    assert json.loads(world.board.exec(show)) == world.public
    world.board.exec("import os\nfor n in os.listdir('/journal'): os.remove('/journal/' + n)")
    assert json.loads(world.board.exec(show))["kid"] != world.public["kid"]


def test_bad_configuration_is_one_line_that_names_the_field(world: World) -> None:
    config = json.loads(world.board.read_file("/config.json"))
    config["broker"]["port"] = 0
    world.board.write_file("/config.json", json.dumps(config).encode())
    world.board.start()
    assert world.board.wait(10) == 0
    assert "config.json: broker.port: want a whole number, 1 to 65535" in world.board.console
