"""The board's MQTT client against real brokers, with everything that goes wrong on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from boardrunner import run
from brokers import RunningBroker, any_broker, free_port, mosquitto  # noqa: F401
from mqttboard import MqttBoard
from mqttpeer import Peer
from mqttproxy import Proxy

PUBLISH, PINGREQ = 3, 12


@pytest.fixture
def peer(any_broker: RunningBroker) -> Iterator[Peer]:  # noqa: F811
    other = Peer(any_broker.port)
    yield other
    other.close()


def test_publish_receive_and_last_will(any_broker: RunningBroker, peer: Peer) -> None:  # noqa: F811
    with MqttBoard(any_broker.port) as board:
        board.expect("up", 1)
        board.publish("from/board", b"\x00\x01 body")
        peer.expect("from/board", b"\x00\x01 body")
        board.publish("from/board", bytes(4096))
        peer.expect("from/board", bytes(4096))
        peer.client.publish("to/board", b"hello", qos=1)
        board.expect("message", ["to/board", b"hello".hex()])
    peer.expect("will/board", b"gone")


def test_packet_ids_wrap_past_65535(any_broker: RunningBroker, peer: Peer) -> None:  # noqa: F811
    """umqtt.simple sends packet id 0 here and then waits for ever."""
    _publish_many(any_broker, peer, first_id=65530, count=12, timeout=15)


def test_messages_do_not_wait_for_delayed_acknowledgements(any_broker: RunningBroker) -> None:  # noqa: F811
    """Head and payload are two segments: with Nagle's algorithm each message took 40 ms."""
    with MqttBoard(any_broker.port) as board:
        board.expect("up", 1)
        began = time.monotonic()
        board.publish("from/board", bytes(700), count=200)
        assert time.monotonic() - began < 4


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_seventy_thousand_publishes(any_broker: RunningBroker, peer: Peer) -> None:  # noqa: F811
    _publish_many(any_broker, peer, first_id=1, count=70_000, timeout=1000)


def _publish_many(broker: RunningBroker, peer: Peer, first_id: int, count: int, timeout: float) -> None:
    with MqttBoard(broker.port, first_id=first_id) as board:
        board.expect("up", 1)
        board.start_publish("from/board", b"x", count=count)
        board.expect("published", "from/board", timeout)
        board.publish("from/board", b"the last")
        peer.expect("from/board", b"the last", timeout)
        assert peer.messages.count(("from/board", b"x")) == count
        assert board.status()[2] == 1, "on one connection"


def test_kept_session_is_resumed(any_broker: RunningBroker, peer: Peer) -> None:  # noqa: F811
    """mqtt_as raises when the broker says that it kept the session."""
    with MqttBoard(any_broker.port) as board:
        board.expect("up", 1)
        board.publish("from/board", b"here")
    peer.expect("will/board", b"gone")
    peer.client.publish("to/board", b"while you were out", qos=1).wait_for_publish(5)
    with MqttBoard(any_broker.port) as board:
        board.expect("up", 1)
        board.expect("message", ["to/board", b"while you were out".hex()])
        board.publish("from/board", b"back")
        peer.expect("from/board", b"back")


def test_lost_puback_is_asked_for_again_with_dup(any_broker: RunningBroker, peer: Peer) -> None:  # noqa: F811
    with Proxy(any_broker.port) as proxy, MqttBoard(proxy.port) as board:
        board.expect("up", 1)
        proxy.swallow = {4}
        board.start_publish("from/board", b"once more")
        peer.expect("from/board", b"once more")
        proxy.swallow = set()
        proxy.cut()
        board.expect("up", 2)
        board.expect("published", "from/board")
        (first, body), (again, body_again) = proxy.sent(PUBLISH)
        assert body == body_again, "the same packet id"
        assert (first & 8, again & 8) == (0, 8)


def test_half_open_connection_is_left(any_broker: RunningBroker, peer: Peer) -> None:  # noqa: F811
    """Nobody answers and nobody hangs up; the broker, for its part, gives the board up and publishes its will."""
    with Proxy(any_broker.port) as proxy, MqttBoard(proxy.port, keepalive_s=2, response_ms=700) as board:
        board.expect("up", 1)
        proxy.silent.set()
        assert "ping" in board.expect("down")
        peer.expect("will/board", b"gone")
        proxy.silent.clear()
        board.expect("up", timeout=20)
        board.publish("from/board", b"back")


def test_keepalive_holds_the_connection(any_broker: RunningBroker) -> None:  # noqa: F811
    with Proxy(any_broker.port) as proxy, MqttBoard(proxy.port, keepalive_s=2) as board:
        board.expect("up", 1)
        time.sleep(5.5)
        assert board.status()[:3] == ["", 0, 1]
        assert 2 <= len(proxy.sent(PINGREQ)) <= 4


def test_broker_restart(any_broker: RunningBroker, peer: Peer) -> None:  # noqa: F811
    with MqttBoard(any_broker.port) as board:
        board.expect("up", 1)
        any_broker.stop(kill=True)
        board.expect("down")
        board.start_publish("from/board", b"published while it was away")
        time.sleep(0.3)
        any_broker.start()
        board.expect("up", timeout=20)
        board.expect("published", "from/board")
        peer.client.publish("to/board", b"still subscribed", qos=1)
        board.expect("message", ["to/board", b"still subscribed".hex()], timeout=20)


def test_retained(any_broker: RunningBroker) -> None:  # noqa: F811
    with MqttBoard(any_broker.port) as board:
        board.publish("health", b"{}", retain=True)
        late = Peer(any_broker.port)
        late.expect("health", b"{}")
        late.close()


def test_broker_that_is_not_there_is_told_in_one_line() -> None:
    with MqttBoard(free_port()) as board:
        time.sleep(0.5)
        assert board.status()[0] == "OSError: [Errno 111] ECONNREFUSED"


def test_errors_are_told_in_the_words_of_who_reads_them() -> None:
    run("""
from trig.mqtt import explain
from trig.mqtt_packets import MqttError
for error, line in (
    (OSError(-202), "the broker's name cannot be looked up"),
    (OSError(104), "broker closed the connection"),
    (OSError(113, "x"), "broker closed the connection"),
    (OSError(111), "OSError: [Errno 111] ECONNREFUSED"),
    (OSError(-30592, "MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE"), "OSError: MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE"),
    (OSError("Wifi Not Started"), "OSError: Wifi Not Started"),
    (MqttError("no answer to a ping"), "no answer to a ping"),
    (ValueError("The certificate has expired\\n"), "TLS: The certificate has expired"),
    (MemoryError("memory allocation failed"), "MemoryError: memory allocation failed"),
):
    assert explain(error) == line, explain(error)
""")
