"""The demo's world: the parts, how they start, how they are cut, and how all of them end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from eth_account.signers.local import LocalAccount
from trigpoint.chain.deploy import Deployment, deploy
from trigpoint.chain.keys import load_signer
from trigpoint.chain.registration import Registered, register_batch
from trigpoint.clock import WorldClock
from trigpoint.commands.board import board_config, kid_of, sign_permit
from trigpoint.commands.gateway import link_key_hex
from trigpoint.config import Config
from trigpoint.init import Answers, create
from trigpoint.wire.permit import Permit

from trigpoint_tools.demo import processes
from trigpoint_tools.demo.accounting import Timed, Value
from trigpoint_tools.demo.plan import Plan
from trigpoint_tools.emulator import flash
from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.errors import EmulatorError
from trigpoint_tools.emulator.nvs import Nvs, StorageFile
from trigpoint_tools.emulator.weather import Weather
from trigpoint_tools.localchain import LocalChain

_BUILD_THREADS = 3
_PERMIT_LIFE_S = 3600


@dataclass(frozen=True)
class DemoBoard:
    """One board of the demo."""

    number: int
    station: str
    emulated: EmulatedBoard
    kid: bytes

    @property
    def label(self) -> str:
        """What to call it."""
        return f"board {self.number} ({self.station}, {self.kid.hex()[:8]})"

    def measured(self) -> list[Timed]:
        """Return every value that its sensor has measured, in the resolution in which a board states it.

        The part's own results are finer (1/1024 % and 1/256 Pa, BME280 data sheet section 4.2.3); a board states the
        nearest 0.01 % and 0.1 Pa.
        """
        found: list[Timed] = []
        for conversion in list(self.emulated.sensor.conversions):
            if conversion.temperature is not None:
                found.append(Timed(Value("temperature", conversion.temperature, -2), conversion.time))
            if conversion.humidity is not None:
                humidity = (conversion.humidity * 100 + 512) // 1024
                found.append(Timed(Value("humidity", humidity, -2), conversion.time))
            if conversion.pressure is not None:
                pressure = (conversion.pressure * 10 + 128) // 256
                found.append(Timed(Value("pressure", pressure, -1), conversion.time))
        return found

    def journal_segments(self) -> list[bytes]:
        """Return the files of its journal, read out of its flash image; it must be off."""
        image = self.emulated.directory / "flash.img"
        return [flash.read_file(image, name) for name in flash.list_files(image) if name.startswith("/journal/")]

    def stolen_key(self) -> ec.EllipticCurvePrivateKey:
        """Return its private key as whoever holds its flash chip can read it: NVS is not encrypted in stock builds."""
        secret = Nvs(StorageFile(self.emulated.directory / "nvs.json")).get_blob("trig/key")
        return ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())


class World:
    """All parts of one run. A context manager: whatever was started has ended when it is left.

    Args:
        directory: the run's own folder.
        logs: where the parts' output goes.
        plan: what to run.
    """

    chain: LocalChain
    deployment: Deployment
    config: Config
    broker: processes.Child
    gateway: processes.Child
    clock: WorldClock

    def __init__(self, directory: Path, logs: Path, plan: Plan) -> None:
        self._directory = directory
        self._logs = logs
        self._plan = plan
        self._stack = ExitStack()
        self._operator: LocalAccount
        self.boards: list[DemoBoard] = []
        self.broker_port = 0

    def __enter__(self) -> World:
        """Nothing is started yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything, last started first."""
        self._stack.close()

    @property
    def gateway_directory(self) -> Path:
        """Where the gateway lives."""
        return self._directory / "gateway"

    def on_exit(self, act: Callable[[], None]) -> None:
        """Have something done when the world ends, before what was started earlier is stopped."""
        self._stack.callback(act)

    def start_chain(self) -> None:
        """Start a chain and deploy the contracts, paid for by an account of the operator's."""
        self.chain = self._stack.enter_context(LocalChain())
        self._operator = self.chain.account()
        self.deployment = deploy(self.chain.web3, self._operator)

    def start_gateway(self) -> None:
        """Make a gateway's keys and configuration, give its account coin, and start a broker and the gateway."""
        self.broker_port = processes.free_port()
        self.clock = WorldClock(self._plan.start, time.time(), self._plan.speed)
        self.config = create(
            self.gateway_directory,
            Answers(
                broker_host="127.0.0.1",
                broker_port=self.broker_port,
                broker_tls=False,
                rpc_url=self.chain.url,
                chain_id=self.deployment.chain_id,
                device_registry=self.deployment.device_registry,
                transparency_log=self.deployment.transparency_log,
                deploy_block=self.deployment.block,
                confirmations=0,
                anchor_every_s=round(self._plan.anchor_every_s * self._plan.speed),  # it goes by the world's clock
                world=(self.clock.origin, self.clock.real_origin, self.clock.speed),
            ),
        )
        self.chain.rpc("anvil_setBalance", load_signer(self.config.chain).address, hex(10**20))
        self.broker = processes.broker(self.broker_port, self._logs / "broker.log")
        self._stack.callback(self.broker.stop)
        self.start_broker()
        self.gateway = processes.gateway(self.gateway_directory, self._logs / "gateway.log")
        self._stack.callback(self.gateway.stop)
        self.gateway.start()
        processes.wait_for_file(self.config.public / "trust.json", self.gateway)

    def start_broker(self) -> None:
        """Start the broker, or start it again on the same port."""
        self.broker.start()
        processes.wait_for_port(self.broker_port, self.broker)

    def make_boards(self) -> Registered:
        """Make the boards, have each sign its permit, and register all of them in one transaction."""
        self._stack.callback(self._keep_records)
        self._stack.callback(self._cut_boards)
        head = self.chain.web3.eth.get_block("latest")
        deadline = int(head["timestamp"]) + _PERMIT_LIFE_S
        weather = {station: Weather.load(station) for station in set(self._plan.stations)}
        with ThreadPoolExecutor(_BUILD_THREADS) as pool:
            stations = self._plan.stations
            numbers = range(1, len(stations) + 1)
            made = list(pool.map(lambda n, station: self._make_board(n, weather[station], deadline), numbers, stations))
        permits = [permit for _, permit in made]
        self.boards = [
            DemoBoard(number, station, emulated, kid_of(permit))
            for number, station, (emulated, permit) in zip(numbers, stations, made, strict=True)
        ]
        return register_batch(self.chain.web3, self._operator, self._registry, permits)

    def start_boards(self) -> None:
        """Switch all boards on."""
        for board in self.boards:
            board.emulated.start()

    def silence_sensors(self) -> None:
        """Let every sensor fall silent from now on; the boards go on."""
        for board in self.boards:
            board.emulated.sensor.end_at = self.clock.now()

    def date(self) -> str:
        """Return the world's date and hour."""
        return datetime.fromtimestamp(self.clock.now(), UTC).strftime("%Y-%m-%d %Hh")

    def readings_measured(self) -> int:
        """Return how many readings all sensors have measured so far."""
        return sum(board.emulated.readings_measured for board in self.boards)

    @property
    def _registry(self) -> bytes:
        return bytes.fromhex(self.deployment.device_registry[2:])

    def _make_board(self, number: int, weather: Weather, deadline: int) -> tuple[EmulatedBoard, Permit]:
        plan = self._plan
        config = board_config(
            "127.0.0.1",
            self.broker_port,
            link_key_hex(self.config),
            sample_s=plan.sample_s,
            batch_samples=plan.batch_samples,
            resend_s=plan.resend_s,
        )
        emulated = EmulatedBoard.create(self._directory / f"board-{number}", config, self.clock, weather)
        permit = sign_permit(
            emulated,
            chain_id=self.deployment.chain_id,
            registry=self._registry,
            owner=bytes.fromhex(self._operator.address[2:]),
            metadata_hash=bytes(32),
            deadline=deadline,
        )
        return emulated, permit

    def _cut_boards(self) -> None:
        for board in self.boards:
            with contextlib.suppress(EmulatorError):
                board.emulated.cut()

    def _keep_records(self) -> None:
        """Leave what each board has printed and what each sensor has measured, for whoever looks into a fault."""
        for board in self.boards:
            text = "".join(f"{line}\n" for line in board.emulated.console)
            (self._logs / f"board-{board.number}.log").write_text(text)
            rows = (f"{time:.0f},{value.name},{value.mantissa},{value.exponent}\n" for value, time in board.measured())
            (self._logs / f"sensor-{board.number}.csv").write_text("time,name,mantissa,exponent\n" + "".join(rows))
