"""The whole board on its way to the gateway: a broker that moves, a network time before TLS, crashes that are told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import test_app
from brokers import RunningBroker, embedded_broker, free_port, make_mosquitto  # noqa: F401
from mqttproxy import Proxy
from test_app import World
from test_mqtt_tls import certificate
from test_ntp import Server, answer, server

__all__ = ["server"]


@pytest.fixture(autouse=True)
def real_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_app, "SPEED", 1)


@pytest.fixture
def worlds() -> Iterator[list[World]]:
    made: list[World] = []
    yield made
    for world in made:
        world.close()


def online(world: World, timeout: float = 30) -> dict[str, Any]:
    """Wait for the next report of the board itself and return it."""
    before = len(world.gateway.health)

    def news(gateway: test_app.Gateway) -> bool:
        return any(report["online"] for report in gateway.health[before:])

    world.gateway.wait_for(news, timeout)
    return next(report for report in world.gateway.health[before:] if report["online"])


def test_broker_that_has_moved_is_found(tmp_path: Path, embedded_broker: RunningBroker, worlds: list[World]) -> None:  # noqa: F811
    port = free_port()
    broker = {"host": "broker.example", "port": port, "tls": False, "keepalive_s": 5}
    worlds.append(world := World(tmp_path, embedded_broker.port, broker=broker))
    try:
        old = Proxy(embedded_broker.port, ("127.0.0.2", port))
    except OSError:
        pytest.skip("this system has no address 127.0.0.2")
    with old:
        world.board.hosts["broker.example"] = "127.0.0.2"
        world.board.start()
        assert online(world)["connections"] == 1
        with Proxy(embedded_broker.port, ("127.0.0.3", port)):
            world.board.hosts["broker.example"] = "127.0.0.3"
            old.__exit__()
            report = online(world)
            while report["connections"] < 2:  # one that was on its way when the broker went
                report = online(world)
            assert report["link_error"] == "broker closed the connection"


def test_name_that_is_unknown_is_told_once_it_is_known(
    tmp_path: Path,
    embedded_broker: RunningBroker,  # noqa: F811
    worlds: list[World],
) -> None:
    broker = {"host": "broker.invalid", "port": embedded_broker.port, "tls": False, "keepalive_s": 5}
    worlds.append(world := World(tmp_path, embedded_broker.port, broker=broker))
    world.board.start()
    time.sleep(1.5)
    world.board.hosts["broker.invalid"] = "127.0.0.1"
    assert online(world)["link_error"] == "the broker's name cannot be looked up"


@pytest.mark.parametrize("answers", [True, False])
def test_network_time_is_asked_for_before_tls(
    tmp_path: Path,
    server: Server,
    worlds: list[World],
    answers: bool,
) -> None:
    authority = certificate(tmp_path, "authority")
    certificate(tmp_path, "server", "localhost", authority)
    port = free_port()
    running = make_mosquitto(
        tmp_path, f"listener {port} 127.0.0.1\ncertfile {tmp_path}/server.pem\nkeyfile {tmp_path}/server.key\n"
    )
    running.start()
    try:
        broker = {"host": "localhost", "port": port, "ca": "/ca.der", "keepalive_s": 5}
        ntp = {"host": "time.example", "port": server.port}
        worlds.append(world := World(tmp_path, running.port, broker=broker, ntp=ntp))
        server.make = lambda nonce: [answer(nonce, world.clock.now_ms())] if answers else []
        world.board.write_file("/ca.der", (tmp_path / "authority.der").read_bytes())
        world.board.hosts["time.example"] = "127.0.0.1"
        world.board.start()
        report = online(world)
        assert report["link_error"] == "" and len(server.requests) == 1
        if answers:
            assert (report["clock_source"], report["ntp_error"]) == ("ntp", "")
        else:
            assert (report["clock_set"], report["ntp_error"]) == (False, "no answer in time")
        world.gateway.wait_for(lambda gateway: len(gateway.stored) >= 1)
    finally:
        running.stop()


def test_crash_is_told_once_after_the_restart(
    tmp_path: Path,
    embedded_broker: RunningBroker,  # noqa: F811
    worlds: list[World],
) -> None:
    worlds.append(world := World(tmp_path, embedded_broker.port))
    crash = "import trig.crash; trig.crash.Crashes().record('Traceback\\nValueError: a cause', 77)"
    world.board.exec(crash)
    world.board.start()
    report = online(world)
    assert report["crashes"] == 1 and report["crash"]["text"] == "Traceback | ValueError: a cause"
    assert report["reset_cause"] == "power_on" and report["ssid"] == "trig" and report["rssi"] == -61
    time.sleep(0.5)
    world.board.cut()
    world.board.start()
    report = online(world)
    assert report["crashes"] == 1 and "crash" not in report
