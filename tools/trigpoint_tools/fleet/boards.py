"""The boards of a fleet: how they are made, and what is known about each from outside."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from trigpoint.commands.board import board_config, sign_permit
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.permit import Permit

from trigpoint_tools.demo.accounting import Timed
from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.errors import EmulatorError
from trigpoint_tools.emulator.nvs import Nvs, StorageFile
from trigpoint_tools.emulator.weather import Weather
from trigpoint_tools.fleet.scenario import BoardGroup, Scenario
from trigpoint_tools.fleet.schedule import Draw
from trigpoint_tools.fleet.senses import Senses, told
from trigpoint_tools.fleet.site import Site

_BUILD_THREADS = 3
_SCL, _SDA, _WIRE = 22, 21, 4
_SECURE_SCL, _SECURE_SDA = 26, 25


@dataclass(frozen=True)
class FleetBoard:
    """One board.

    Attributes:
        number: its place in the scenario, from 0.
        group: what it is one of.
        station: whose weather it measures.
        ppm: parts per million by which its crystal is fast.
        emulated: the board itself.
        senses: what its sensors sense.
        public: its public key.
    """

    number: int
    group: BoardGroup
    station: str
    ppm: float
    emulated: EmulatedBoard
    senses: Senses
    public: PublicKey

    @property
    def kid(self) -> bytes:
        """Its id, 32 bytes."""
        return self.public.kid

    def told(self) -> list[Timed]:
        """Return every value that its sensors have told it, in the resolution in which it states them."""
        return told(self.emulated.parts, prefixes(self.group))

    @property
    def image(self) -> Path:
        """Its flash."""
        return self.emulated.directory / "flash.img"

    def stolen_key(self) -> ec.EllipticCurvePrivateKey:
        """Return its private key as whoever holds its flash chip can read it: NVS is not encrypted in stock builds."""
        secret = Nvs(StorageFile(self.emulated.directory / "nvs.json")).get_blob("trig/key")
        return ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())


def prefixes(group: BoardGroup) -> tuple[str, ...]:
    """Return the name of each sensor of a group: its type where there are several, else nothing."""
    return group.sensors if len(group.sensors) > 1 else ("",)


def configuration(group: BoardGroup, port: int, link_key: str) -> dict[str, Any]:
    """Return the config.json of a group's boards (device/README.md says what each part means)."""
    config = board_config(
        "127.0.0.1",
        port,
        link_key,
        sample_s=group.sample_s,
        batch_samples=group.batch,
        resend_s=group.resend_s,
    )
    wires: dict[str, dict[str, Any]] = {
        "bme280": {"i2c": 0, "scl": _SCL, "sda": _SDA, "address": 0x76},
        "sht4x": {"i2c": 0, "scl": _SCL, "sda": _SDA, "address": 0x44},
        "ds18b20": {"pin": _WIRE},
    }
    config["sensors"] = [
        {"type": sensor, "name": name, **wires[sensor]}
        for sensor, name in zip(group.sensors, prefixes(group), strict=True)
    ]
    if group.secure_element:
        config["secure_element"] = {"i2c": 1, "scl": _SECURE_SCL, "sda": _SECURE_SDA}
    return config


def weather_of(scenario: Scenario) -> dict[str, Weather]:
    """Return the weather of every station that the boards need; EmulatorError if the data are missing."""
    return {station: Weather.load(station) for group in scenario.boards for station in group.stations}


def make(
    scenario: Scenario, site: Site, weather: Mapping[str, Weather], directory: Path, made: Callable[[int], None]
) -> list[FleetBoard]:
    """Make all boards, have each sign its permit, and register them.

    Args:
        scenario: which boards.
        site: where they belong.
        weather: from `weather_of`.
        directory: gets a folder for each.
        made: told how many are there, now and then.

    Raises:
        OperatorError, EmulatorError: a board cannot be made, or the registry refuses it.
    """
    deadline = site.permit_deadline()

    def build(number: int) -> tuple[FleetBoard, Permit]:
        group = scenario.group_of(number)
        station = group.stations[number % len(group.stations)]
        low, high = group.clock_ppm
        draw = Draw(scenario.seed, "board", number)
        ppm = low + draw.fraction() * (high - low)
        senses = Senses(weather[station])
        emulated = EmulatedBoard.create(
            directory / f"board-{number}",
            configuration(group, site.broker_port, site.link_key),
            site.clock,
            senses,
            chip=group.chip,
        )
        permit = sign_permit(
            emulated,
            chain_id=site.deployment.chain_id,
            registry=site.registry,
            owner=site.owner,
            metadata_hash=bytes(32),
            deadline=deadline,
        )
        emulated.skew(ppm)
        return FleetBoard(number, group, station, ppm, emulated, senses, PublicKey(permit.x, permit.y)), permit

    boards: list[FleetBoard] = []
    permits: list[Permit] = []
    with ThreadPoolExecutor(_BUILD_THREADS) as pool:
        try:
            for board, permit in pool.map(build, range(scenario.count)):
                boards.append(board)
                permits.append(permit)
                made(len(boards))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            cut_all(boards)
            raise
    site.register(permits)
    return boards


def cut_all(boards: Sequence[FleetBoard]) -> None:
    """Cut the power of all boards; whatever goes wrong with one, the others follow."""
    for board in boards:
        with contextlib.suppress(EmulatorError):
            board.emulated.cut()
