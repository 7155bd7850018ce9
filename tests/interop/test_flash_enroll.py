"""A blank board on a cable becomes one whose statements a gateway has verified: flash, install, enrol."""

from __future__ import annotations

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
from trigpoint_tools.serial import enrol, firmware, install, settings
from trigpoint_tools.serial.esptool import Esptool
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
def ports(tmp_path: Path) -> Iterator[tuple[Ports, float]]:
    """A blank ESP32 at the end of a cable, and when its world began."""
    make_directory(tmp_path / "board", "esp32", AROUND, blank=True)
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
    parts: list[float] = []
    chosen = firmware.load(image, "esp32")
    Esptool(port).write(chosen.chip, chosen.offset, image, parts.append)
    assert parts and parts[-1] == 1.0

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
            files = install.application()
            assert set(install.install(session, files).write) == set(files)
            again = install.install(session, files)
            assert (again.write, again.remove) == ((), ())
            result = enrol.enrol(session, told, world, steps.append, wait_s=60)
        assert steps == [enrol.Step.CONFIGURE, enrol.Step.KEY, enrol.Step.REGISTER, enrol.Step.START, enrol.Step.DONE]
        assert result.stored >= 1
        assert world.registered(result.kid)
        with Session(port) as session:
            steps.clear()
            second = enrol.enrol(session, told, world, steps.append, wait_s=60)
        assert (second.kid, second.permit) == (result.kid, None)
        assert steps == [enrol.Step.KEY, enrol.Step.DONE]
    finally:
        gateway.stop()
