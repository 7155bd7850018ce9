"""The access list that we ship, in a real Mosquitto: a board may do what section 7 of the protocol says and no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count, product
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from brokers import RunningBroker, make_mosquitto
from paho.mqtt.enums import CallbackAPIVersion
from trigpoint import broker

SHIPPED = Path(broker.__file__).parent
BOARD, OTHER = "a" * 64, "b" * 64
VERIFIED = (f"homeassistant/sensor/{BOARD}/config", f"trigpoint/{BOARD}/temperature")
_numbers = count()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RunningBroker]:
    rules = tmp_path / "acl"
    rules.write_bytes((SHIPPED / "acl").read_bytes())
    rules.chmod(0o644)
    running = make_mosquitto(tmp_path, f"acl_file {rules}\nmessage_size_limit 4096\n")
    running.start()
    yield running
    running.stop()


class User:
    """A connection under a user name, which this test's broker takes without a password."""

    def __init__(self, port: int, name: str) -> None:
        self.got: list[tuple[str, bytes]] = []
        self._ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, f"{name}-{next(_numbers)}")
        self._client.username_pw_set(name)
        self._client.on_connect = lambda *_: self._ready.set()
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _client, _user, message: self.got.append((message.topic, message.payload))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(5)

    def hear(self, topic: str) -> None:
        self._ready.clear()
        self._client.subscribe(topic, qos=1)
        assert self._ready.wait(5)

    def say(self, topic: str, payload: bytes) -> None:
        """Publish, and leave: Mosquitto 2.0.11 hangs up on who publishes what it may not."""
        with suppress(RuntimeError):
            self._client.publish(topic, payload, qos=1).wait_for_publish(0.3)
        self.close()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_each_gets_and_says_what_is_its_own(guarded: RunningBroker) -> None:
    heard = {
        **{
            kid: {(f"trig/1/{kid}/a", b"gateway"), (f"trig/1/{kid}/c", b"owner"), (f"trig/1/{kid}/p", b"owner")}
            for kid in (BOARD, OTHER)
        },
        "gateway": {(f"trig/1/{BOARD}/s", b"board"), (f"trig/1/{BOARD}/h", b"board")},
        "owner": {(f"trig/1/{BOARD}/h", b"board"), (f"trig/1/{BOARD}/u", b"board")},
        "homeassistant": {(topic, b"gateway") for topic in VERIFIED},
    }
    listeners = {name: User(guarded.port, name) for name in heard}
    for listener in listeners.values():
        listener.hear("#")
    own = [f"trig/1/{kid}/{kind}" for kid in (BOARD, OTHER) for kind in "sachup"]
    topics = [*own, *VERIFIED, "trig/1", "elsewhere", f"trig/1/{BOARD}", f"trig/1/{BOARD}/s/x"]
    sayings = product(((BOARD, b"board"), ("gateway", b"gateway"), ("owner", b"owner")), topics)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda said: User(guarded.port, said[0][0]).say(said[1], said[0][1]), sayings))
    User(guarded.port, BOARD).say(f"trig/1/{BOARD}/s", bytes(4_097))
    deadline = time.monotonic() + 5
    while any(len(listeners[name].got) < len(heard[name]) for name in heard) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    for listener in listeners.values():
        listener.close()
    assert {name: set(listener.got) for name, listener in listeners.items()} == heard
