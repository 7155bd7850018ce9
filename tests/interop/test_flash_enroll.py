"""A blank board on a cable becomes one whose statements a gateway has verified: flash, install, enrol."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from trigpoint.chain.deploy import deploy
from trigpoint.chain.node import address_bytes
from trigpoint.clock import WorldClock
from trigpoint.commands.gateway import link_key_hex
from trigpoint.config import Config, load
from trigpoint.init import Answers, create, create_keys, record_contracts
from trigpoint_tools.demo import processes
from trigpoint_tools.emulator.bootloader.chips import CHIPS
from trigpoint_tools.emulator.image import build
from trigpoint_tools.emulator.serialcable import Ports, SerialCable, make_directory
from trigpoint_tools.emulator.weather import Sample, Weather
from trigpoint_tools.localchain import CHAIN_ID, LocalChain
from trigpoint_tools.serial import enrol, firmware, flashing, install, settings
from trigpoint_tools.serial.ports import Port
from trigpoint_tools.serial.session import Session
from trigpoint_tools.serial.world import GatewayWorld

SPEED = 600
ORIGIN = 1_370_000_000
WEATHER = Weather((0, 2_000_000_000), (Sample(2000, 5000, 101_325), Sample(2000, 5000, 101_325)))
AROUND = {
    "wifi": [{"ssid": "home", "password": "correct horse"}],
    "sensors": [{"type": "bme280", "scl": 22, "sda": 21, "address": 118}],
}


@pytest.fixture
def ports(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Ports, float]]:
    """An ESP32 at the end of a cable, blank unless the test asks for MicroPython, and when its world began."""
    make_directory(tmp_path / "board", "esp32", AROUND, blank="blank" in request.node.name)
    started = time.time()
    cable = SerialCable(tmp_path / "board", WorldClock(ORIGIN, started, SPEED), WEATHER)
    yield cable.plug_in(), started
    cable.unplug()


@pytest.fixture
def chain() -> Iterator[LocalChain]:
    with LocalChain() as running:
        yield running


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    port = processes.free_port()
    running = processes.broker(port, tmp_path / "broker.log")
    running.start()
    try:
        processes.wait_for_port(port, running)
        yield port
    finally:
        running.stop()


def make_gateway(directory: Path, chain: LocalChain, broker: int, started: float) -> Config:
    create_keys(directory)
    answers = Answers(
        broker_host="127.0.0.1",
        broker_port=broker,
        broker_tls=False,
        rpc_url=chain.url,
        chain_id=CHAIN_ID,
        confirmations=0,
        world=(ORIGIN, started, SPEED),
    )
    create(directory, answers)
    deployed = deploy(chain.web3, chain.account())
    record_contracts(directory / "gateway.toml", deployed.device_registry, deployed.transparency_log, deployed.block)
    return load(directory / "gateway.toml")


def test_a_blank_board_to_its_first_verified_statement(
    tmp_path: Path, ports: tuple[Ports, float], chain: LocalChain, broker: int
) -> None:
    port, started = ports[0].rfc2217, ports[1]
    image = tmp_path / "firmware.bin"
    image.write_bytes(build(CHIPS["esp32"]))
    stages: list[str] = []

    def follow(what: str, part: float) -> None:
        assert 0 <= part <= 1
        stages.append(what)

    plain = Port(port)
    done = flashing.flash(plain, lambda chip: firmware.load(image, chip), install.application(), follow)
    assert (done.chip.name, done.chip.flash, done.version) == ("esp32", 4 << 20, "v1.29.0")
    assert done.files == len(install.application())
    assert list(dict.fromkeys(stages)) == ["look", "write", "start", "install", "ready"]

    config = make_gateway(tmp_path / "gw", chain, broker, started)
    gateway = processes.gateway(tmp_path / "gw", tmp_path / "gateway.log")
    gateway.start()
    try:
        facts = settings.Gateway("127.0.0.1", broker, False, None, link_key_hex(config))
        told = settings.build(
            {}, facts, chip="esp32", wifi=[("home", "correct horse")], sensors=["bme280"], sample_s=600
        )
        account = chain.account()
        owner = address_bytes(account.address)
        world = GatewayWorld(config, address_bytes(config.chain.device_registry), account, owner, bytes(32))
        steps: list[enrol.Step] = []
        with Session(port) as session:
            again = install.install(session, install.application())
            assert (again.write, again.remove) == ((), ())
            result = enrol.enrol(session, lambda kid: told, world, steps.append, wait_s=60)
        assert steps == [
            enrol.Step.CONFIGURE,
            enrol.Step.KEY,
            enrol.Step.ADMIT,
            enrol.Step.CHECK,
            enrol.Step.REGISTER,
            enrol.Step.START,
            enrol.Step.DONE,
        ]
        assert result.stored >= 1
        assert world.registered(result.kid)
        with Session(port) as session:
            steps.clear()
            second = enrol.enrol(session, lambda kid: told, world, steps.append, wait_s=60)
        assert (second.kid, second.permit) == (result.kid, None)
        assert steps == [enrol.Step.KEY, enrol.Step.DONE]
    finally:
        gateway.stop()


def test_the_commands(
    tmp_path: Path, ports: tuple[Ports, float], chain: LocalChain, broker: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A board with MicroPython, from `update` to `rm`, as a user types it."""
    monkeypatch.setenv("TRIGPOINT_WIFI_PASSWORD", "correct horse")
    port, started = ports[0].rfc2217, ports[1]
    make_gateway(tmp_path / "gw", chain, broker, started)
    account = chain.account()
    (tmp_path / "payer.key").write_text(account.key.hex())
    (tmp_path / "payer.key").chmod(0o600)
    gw, payer = str(tmp_path / "gw"), str(tmp_path / "payer.key")
    gateway = processes.gateway(tmp_path / "gw", tmp_path / "gateway.log")
    gateway.start()
    try:
        early = trigpoint("board", "sensors", port, fails=True)
        assert early.stderr == "error: Trigpoint is not on this board: run `trigpoint board flash` first\n"
        installed = json.loads(trigpoint("board", "update", port, "--json").stdout)
        assert installed["files_written"] > 20
        wrong = ["--wifi", "home", "--config", str(tmp_path / "wrong.json"), "--sample-every", "600"]
        (tmp_path / "wrong.json").write_text('{"sensors": [{"type": "bme280", "scl": 99, "sda": 21}]}')
        to_chain = ["--gateway", gw, "--key-file", payer]
        refused = trigpoint("board", "enroll", port, *to_chain, *wrong, fails=True)
        assert "the board refuses this configuration: sensors[0].scl" in refused.stderr
        assert "horse" not in refused.stderr + refused.stdout
        away = ["--wifi", "elsewhere", "--sensor", "bme280", "--sample-every", "600"]
        lost = trigpoint("board", "enroll", port, *to_chain, *away, fails=True)
        assert "cannot join its Wi-Fi (elsewhere: not found)" in lost.stderr
        right = ["--wifi", "home", "--sensor", "bme280", "--sample-every", "600", "--label", str(tmp_path / "l.svg")]
        enrolled = json.loads(trigpoint("board", "enroll", port, *to_chain, *right, "--wait", "60", "--json").stdout)
        kid = enrolled["board"]
        assert enrolled["statements"] >= 1
        assert kid[:32] in (tmp_path / "l.svg").read_text()

        remote = json.loads(trigpoint("board", "status", kid[:8], "--gateway", gw, "--json").stdout)
        assert (remote["board"], remote["active"]) == (kid, True)
        assert remote["health"]["sensor_errors"] == {}
        listed = json.loads(trigpoint("board", "ls", "--gateway", gw, "--json").stdout)
        assert [(board["board"], board["active"]) for board in listed["gateway"]] == [(kid, True)]
        stored = json.loads(trigpoint("board", "sensors", "--gateway", gw, "--json").stdout)
        newest = {row["name"]: row["value"] for row in stored}
        assert set(newest) == {"temperature", "humidity", "pressure"}
        assert newest["temperature"] == "20.00"
        measured = json.loads(trigpoint("board", "sensors", port, "--json").stdout)
        assert next(row[:3] for row in measured[0]["readings"]) == ["temperature", "Cel", 2000]
        local = json.loads(trigpoint("board", "status", port, "--json").stdout)
        assert (local["board"], local["sensors"], local["slot"]) == (kid, ["bme280"], "a")
        assert "horse" not in json.dumps(local)
        assert json.loads(trigpoint("board", "logs", port, "--json").stdout) == {"crashes": ""}

        removed = json.loads(trigpoint("board", "rm", port, *to_chain, "--yes", "--json").stdout)
        assert removed["board"] == kid
        assert removed["transaction"]
        assert json.loads(trigpoint("board", "status", port, "--json").stdout)["board"] is None
    finally:
        gateway.stop()


def trigpoint(*arguments: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "trigpoint", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done
