"""A gateway with its chain and broker, and boards on cables to be enrolled at it: real parts on loopback ports.

Everything lives in real time, as TLS wants it: certificates are of today.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import Result
from trigpoint.chain.abi import DEVICE_REGISTRY
from trigpoint.chain.deploy import deploy
from trigpoint.chain.node import address_bytes
from trigpoint.cli import app, one_line
from trigpoint.clock import WorldClock
from trigpoint.config import Config, load
from trigpoint.init import Answers, create, create_keys, record_contracts
from trigpoint_tools.demo import processes
from trigpoint_tools.emulator.serialcable import FACTS, Ports, SerialCable, make_directory
from trigpoint_tools.emulator.weather import Sample, Weather
from trigpoint_tools.localchain import CHAIN_ID, LocalChain
from trigpoint_tools.serial import install
from trigpoint_tools.serial.session import Session
from typer.testing import CliRunner

WIFI, WIFI_PASSWORD = "home", "correct horse battery"
WEATHER = Weather((0, 4_000_000_000), (Sample(2000, 5000, 101_325), Sample(2000, 5000, 101_325)))
SENSOR = {"type": "bme280", "scl": 22, "sda": 21, "address": 118}
AROUND = {"wifi": [{"ssid": WIFI, "password": WIFI_PASSWORD}], "sensors": [SENSOR]}


def trigpoint(*words: object, fails: bool = False) -> Result:
    """Run the command in this process, which spares the time to load it; its error is told as `main` tells it."""
    result = CliRunner().invoke(app, [str(word) for word in words], prog_name="trigpoint")
    if isinstance(result.exception, Exception) and not isinstance(result.exception, SystemExit):
        result.stderr_bytes = (result.stderr_bytes or b"") + f"error: {one_line(result.exception)}\n".encode()
    assert (result.exit_code != 0) == fails, result.stdout + result.stderr
    return result


def told(*words: object) -> Any:
    """Run the command with --json and return what it prints."""
    return json.loads(trigpoint(*words, "--json").stdout)


def error_of(*words: object) -> str:
    """Run a command that fails; return its error, which is one line and the last."""
    lines = trigpoint(*words, fails=True).stderr.splitlines()
    assert lines[-1].startswith("error: "), lines
    return lines[-1]


@dataclass
class Boards:
    """Makes boards that have the application, and lays out their cables.

    Attributes:
        directory: where they are to live.
        around: the world around them, as of `make_directory`.
        heap: bytes of heap of each.
    """

    directory: Path
    around: dict[str, Any] = field(default_factory=lambda: dict(AROUND))
    heap: int = 160 << 10

    @contextmanager
    def plugged(self, name: str = "board") -> Iterator[Ports]:
        """A board on its cable, powered while this lasts; it is made if there is none of that name."""
        place = self.directory / name
        if not place.exists():
            self._make(place)
        cable = SerialCable(place, WorldClock(int(time.time()), time.time(), 1), WEATHER)
        try:
            yield cable.plug_in()
        finally:
            cable.unplug()

    def _make(self, place: Path) -> None:
        # The application is put on one board, and copied to the others with their flash.
        template = self.directory / f"template-{abs(hash(json.dumps(self.around)))}"
        if not template.exists():
            make_directory(template, "esp32", self.around)
            cable = SerialCable(template, WorldClock(int(time.time()), time.time(), 1), WEATHER)
            ports = cable.plug_in()
            with Session(str(ports.pty)) as session:
                install.install(session, install.application())
            cable.unplug()
        shutil.copytree(template, place)
        facts = json.loads((place / FACTS).read_text())
        (place / FACTS).write_text(json.dumps({**facts, "heap": self.heap, "mac": "240ac4" + secrets.token_hex(3)}))


def make_gateway(directory: Path, chain: LocalChain, broker: int, **answers: Any) -> Config:
    """Make a gateway's directory whose account has coin, and put the contracts on the chain."""
    (directory / "keys").mkdir(parents=True)
    account = chain.account()
    key = directory / "keys" / "chain.key"
    key.write_text(account.key.hex())
    key.chmod(0o600)
    create_keys(directory)
    given = Answers(
        broker_host="127.0.0.1",
        broker_port=broker,
        broker_tls=False,
        rpc_url=chain.url,
        chain_id=CHAIN_ID,
        confirmations=0,
    )
    create(directory, replace_answers(given, **answers))
    deployed = deploy(chain.web3, account)
    record_contracts(directory / "gateway.toml", deployed.device_registry, deployed.transparency_log, deployed.block)
    return load(directory / "gateway.toml")


def replace_answers(given: Answers, **changes: Any) -> Answers:
    """Return the answers with some of them changed."""
    from dataclasses import replace

    return replace(given, **changes)


@dataclass
class Site:
    """A gateway that runs, with its chain and its broker.

    Attributes:
        directory: of all of it.
        chain: Anvil.
        gateway: the gateway's directory.
        config: its configuration.
        boards: makes boards.
    """

    directory: Path
    chain: LocalChain
    gateway: Path
    config: Config
    boards: Boards

    @property
    def paid(self) -> int:
        """How many boards have been registered."""
        topic = DEVICE_REGISTRY.topic("DeviceRegistered")
        found = {"address": self.config.chain.device_registry, "topics": ["0x" + topic.hex()], "fromBlock": 0}
        return len(self.chain.web3.eth.get_logs(found))

    @property
    def registry(self) -> bytes:
        """The DeviceRegistry's address."""
        return address_bytes(self.config.chain.device_registry)


@contextmanager
def site(directory: Path) -> Iterator[Site]:
    """A chain, an open broker and a gateway that runs."""
    port = processes.free_port()
    broker = processes.broker(port, directory / "broker.log")
    with LocalChain() as chain:
        broker.start()
        gateway = processes.gateway(directory / "gw", directory / "gateway.log")
        try:
            processes.wait_for_port(port, broker)
            config = make_gateway(directory / "gw", chain, port)
            gateway.start()
            yield Site(directory, chain, directory / "gw", config, Boards(directory))
        finally:
            gateway.stop()
            broker.stop()
