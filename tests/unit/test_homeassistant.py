"""What Home Assistant is told: the format it wants, verified values only, over a real broker with our access list."""

import json
import re
import socket
import sqlite3
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import paho.mqtt.client as paho
import pytest
from brokers import make_mosquitto
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion
from statements import BASE_TIME, TestBoard, enrol
from trigpoint import broker as shipped
from trigpoint import config
from trigpoint.homeassistant import publisher as publishing
from trigpoint.homeassistant.discovery import UNITS, Place, Sensor, discovery, states
from trigpoint.homeassistant.outbox import Outbox
from trigpoint.homeassistant.publisher import Publisher
from trigpoint.store.database import open_database
from trigpoint.store.writer import Writer
from trigpoint.wire.statement import Reading, build, parse

PLACE = Place("homeassistant", "trigpoint", "trigpoint/gateway/gw", "1.2.3", 0)
# Topics and unique ids: https://www.home-assistant.io/integrations/mqtt/#discovery-topic
TOPIC = re.compile(r"homeassistant/sensor/[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+/config")
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9\-:./_]{0,63}", fullmatch=True)
UNIT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=16)


@given(NAMES, UNIT, st.integers(0, 18))
def test_any_sensor_has_a_discovery_that_home_assistant_takes(name, unit, decimals):
    sensor = Sensor(b"\xab" * 32, name, unit)
    message = discovery(sensor, PLACE, decimals)
    told = json.loads(message)
    assert TOPIC.fullmatch(sensor.config_topic(PLACE))
    assert told["state_topic"] == sensor.state_topic(PLACE)
    assert not set("#+") & set(told["state_topic"])
    assert told["device"]["identifiers"] == ["trigpoint_" + "ab" * 32]
    assert told["origin"]["name"]
    assert told["unique_id"] and told["name"]
    assert len(message) < 4_000  # of the 4,096 that our Mosquitto takes


@given(st.lists(st.tuples(NAMES, UNIT), min_size=2, max_size=8, unique=True))
def test_sensors_that_differ_have_topics_that_differ(kinds):
    sensors = [Sensor(bytes(32), name, unit) for name, unit in kinds]
    assert len({sensor.config_topic(PLACE) for sensor in sensors}) == len(kinds)
    assert len({sensor.state_topic(PLACE) for sensor in sensors}) == len(kinds)


@pytest.mark.parametrize(
    ("unit", "device_class", "shown"),
    [
        ("Cel", "temperature", "°C"),
        ("%RH", "humidity", "%"),
        ("Pa", "pressure", "Pa"),
        ("pH", "ph", None),
        ("rad", None, "rad"),
    ],
)
def test_units_are_home_assistants(unit, device_class, shown):
    told = json.loads(discovery(Sensor(bytes(32), "x", unit), PLACE, 2))
    assert told.get("device_class") == device_class
    assert told.get("unit_of_measurement") == shown
    assert told["suggested_display_precision"] == 2
    assert "expire_after" not in told


def test_only_the_classes_that_home_assistant_has():
    # https://developers.home-assistant.io/docs/core/entity/sensor/#available-device-classes
    known = """
        apparent_power battery current data_rate data_size distance duration energy frequency humidity illuminance
        irradiance ph power pressure reactive_power signal_strength sound_pressure speed temperature voltage
        volume_flow_rate volume_storage weight
    """
    assert {device_class for device_class, _ in UNITS.values()} - {None} == set(known.split())


@given(
    st.lists(
        st.tuples(st.integers(-(2**31) + 1, 2**31 - 1), st.integers(-18, 0), st.integers(0, 3)), min_size=1, max_size=6
    )
)
def test_the_newest_value_of_each_sensor_counts_and_is_exact(measured):
    readings = [Reading("t", "Cel", mantissa, exponent, t) for mantissa, exponent, t in measured]
    header = {"kid": bytes(32), "seq": 7, "prev": bytes(32), "oldest": 0, "base_time": BASE_TIME}
    statement = parse(build(**header, readings=readings, sign=lambda _: bytes(64)))
    ((message, decimals),) = states(statement, 5, BASE_TIME * 1000).values()
    newest = max(measured, key=lambda item: item[2])[2]
    mantissa, exponent, _ = next(item for item in reversed(measured) if item[2] == newest)
    told = json.loads(message)
    assert decimals == -exponent
    whole, _, part = told["value"].partition(".")
    assert (int(whole + part), len(part)) == (mantissa, -exponent)
    assert told["statement"] == {"time": BASE_TIME + newest, "time_source": "board", "seq": 7, "leaf_index": 5}


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.binary(max_size=2), st.booleans()), max_size=60))
def test_the_outbox_keeps_the_newest_of_each_topic_and_is_bounded(steps):
    outbox, waiting, dropped = Outbox(3), {}, []
    for topic, message, take in steps:
        if take:
            expected = next(iter(waiting.items()), None)
            assert outbox.take() == expected
            waiting.pop(topic if expected is None else expected[0], None)
        else:
            waiting[topic] = message
            gone = [] if len(waiting) <= 3 else [next(iter(waiting))]
            outbox.put(topic, message, partial(dropped.append, topic))
            assert dropped == gone
            dropped.clear()
            for oldest in gone:
                del waiting[oldest]
        assert len(outbox) == len(waiting)


class DeafBroker:
    """Takes connections and messages, and confirms none."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.published = 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        connection, _ = self.listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"\x20\x02\x00\x00")
            while piece := connection.recv(65_536):
                self.published += piece.count(b"homeassistant/sensor")


def test_a_broker_that_takes_nothing_costs_bounded_memory_and_what_it_missed_comes_again(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(publishing, "_WAITING", 10)
    monkeypatch.setattr(publishing, "_IN_FLIGHT", 5)
    broker, boards = DeafBroker(), [TestBoard(number) for number in range(1, 11)]
    made = configured(tmp_path, broker.port)
    with Writer(made.database) as writer, broker.listener:
        writer.submit(lambda connection: enrol(connection, *boards))
        publisher = Publisher(made)
        publisher.start()
        try:
            for _ in range(3):
                for board in boards:
                    store(writer, board, board.next(readings=5))
                time.sleep(1.2)
            assert len(publisher._outbox) == 10
            assert len(publisher._client._out_messages) <= 5 + 1  # and that it is online
            announced = {sensor.config_topic(publisher._place) for sensor in publisher._announced}
            assert len(announced) <= 10 + 5
        finally:
            publisher.stop()
    assert [record.levelname for record in caplog.records if "slow" in record.message] == ["WARNING"]


# With a real Mosquitto and its access list


class HomeAssistant:
    """What Home Assistant would know: the retained messages that its user may read."""

    def __init__(self, port):
        self.known = {}
        self.changed = threading.Condition()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "ha")
        self.client.username_pw_set("homeassistant")
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _on_message(self, _client, _user, message):
        with self.changed:
            if message.payload:
                self.known[message.topic] = message.payload
            else:
                self.known.pop(message.topic, None)
            self.changed.notify_all()

    def wait(self, condition, timeout_s=15):
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.known), timeout_s), self.known

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def mosquitto(tmp_path):
    rules = tmp_path / "acl"
    rules.write_bytes((Path(shipped.__file__).parent / "acl").read_bytes())
    rules.chmod(0o644)
    running = make_mosquitto(tmp_path, f"acl_file {rules}\nmessage_size_limit 4096\n")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def settings(tmp_path, mosquitto):
    return configured(tmp_path, mosquitto.port)


def configured(tmp_path, port):
    text = (
        f'data = "data"\n[broker]\nhost = "127.0.0.1"\nport = {port}\ntls = false\nusername = "gateway"\n'
        '[chain]\nrpc_url = "http://127.0.0.1:1"\nchain_id = 1\nkey_file = "k"\n[log]\nkey_file = "k"\n'
        '[link]\nkey_file = "k"\n[homeassistant]\nenabled = true\n'
    )
    made = config.parse(text, tmp_path / "gateway.toml")
    made.data.mkdir()
    return made


def store(writer, board, raw):
    """Store a statement as ingest would, once it has verified it."""

    def work(connection):
        (number,) = connection.execute("SELECT number FROM boards WHERE kid = ?", (board.kid,)).fetchone()
        connection.execute(
            "INSERT INTO statements SELECT (SELECT count(*) FROM statements), ?, ?, ?, ?",
            (number, parse(raw).seq, BASE_TIME * 1000, raw),
        )

    writer.submit(work)


def test_sensors_come_change_and_go_with_what_is_stored(settings, mosquitto):
    boards = [TestBoard(1), TestBoard(2)]
    with Writer(settings.database) as writer:
        writer.submit(lambda connection: enrol(connection, *boards))
        store(writer, boards[0], boards[0].next(value=2150))
        publisher = Publisher(settings)
        publisher.start()
        home = HomeAssistant(mosquitto.port)
        try:
            first, second = (Sensor(board.kid, "r0", "Cel") for board in boards)
            home.wait(lambda known: {first.config_topic(PLACE), first.state_topic(PLACE)} <= known.keys())
            told = json.loads(home.known[first.config_topic(PLACE)])
            assert json.loads(home.known[told["state_topic"]])["value"] == "21.50"
            assert home.known[told["availability_topic"]] == b"online"
            assert settings.broker.client_id not in str(home.known)

            store(writer, boards[0], boards[0].next(value=-7))
            store(writer, boards[1], boards[1].next(value=5, readings=3))
            home.wait(lambda known: b"-0.07" in known[first.state_topic(PLACE)] and len(known) == 2 * 4 + 1)

            mosquitto.stop(kill=True)  # and it comes back without what it was told to keep
            for kept in mosquitto.log.parent.glob("sessions/*"):
                kept.unlink()
            home.known.clear()
            mosquitto.start()
            home.wait(lambda known: {first.config_topic(PLACE), second.config_topic(PLACE)} <= known.keys(), 40)

            writer.submit(lambda connection: connection.execute("UPDATE boards SET active_until = 2 WHERE number = 1"))
            publisher._anew.set()
            home.wait(lambda known: not any(boards[0].kid.hex() in topic for topic in known))
            assert second.config_topic(PLACE) in home.known
        finally:
            publisher.stop()
            home.wait(lambda known: b"offline" in known.values())
            home.close()


def test_a_database_that_is_away_for_a_moment_leaves_nothing_unannounced(settings, monkeypatch, caplog):
    board = TestBoard(1)
    with Writer(settings.database) as writer:
        writer.submit(lambda connection: enrol(connection, board))
        store(writer, board, board.next())
        publisher = Publisher(settings)
        publisher._anew.set()
        with monkeypatch.context() as broken:
            broken.setattr(publishing, "_size", Mock(side_effect=sqlite3.OperationalError("disk I/O error")))
            publisher._look(1)
        assert "has to wait" in caplog.text and len(publisher._outbox) == 0
        publisher._look(2)
        assert len(publisher._outbox) == 2


def test_a_board_that_makes_up_names_fills_no_broker(settings, monkeypatch):
    monkeypatch.setattr(publishing, "_SENSORS_OF_BOARD", 2)
    boards, told = [TestBoard(1), TestBoard(2)], []
    with Writer(settings.database) as writer:
        writer.submit(lambda connection: enrol(connection, *boards))
        publisher = Publisher(settings)
        monkeypatch.setattr(publisher, "_send", lambda topic, *_: told.append(topic))
        for readings in (1, 3):
            for board in boards:
                store(writer, board, board.next(readings=readings))
        with closing(open_database(settings.database, read_only=True)) as connection:
            publisher._follow(connection)
            assert sorted(told) == sorted(
                topic
                for board in boards
                for sensor in (Sensor(board.kid, f"r{number}", "Cel") for number in range(2))
                for topic in (sensor.config_topic(publisher._place), sensor.state_topic(publisher._place))
            )


def test_what_no_gateway_has_verified_is_not_shown(settings, mosquitto):
    board = TestBoard(1)
    with Writer(settings.database) as writer:
        writer.submit(lambda connection: enrol(connection, board))
        publisher = Publisher(settings)
        publisher.start()
        home = HomeAssistant(mosquitto.port)
        try:
            home.wait(lambda known: b"online" in known.values())
            for name in (board.kid.hex(), "owner"):
                client = paho.Client(CallbackAPIVersion.VERSION2, name)
                client.username_pw_set(name)
                client.connect("127.0.0.1", mosquitto.port)
                client.loop_start()
                client.publish(Sensor(board.kid, "r0", "Cel").state_topic(PLACE), b'{"value":"99"}', qos=0, retain=True)
                client.publish(board.topic, board.next(), qos=0)
                time.sleep(0.3)
                client.disconnect()
                client.loop_stop()
            time.sleep(1.5)
            assert list(home.known.values()) == [b"online"]
        finally:
            publisher.stop()
            home.close()
