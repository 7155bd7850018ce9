"""The owner's commands to a board that sleeps: they wait at the broker, and it stays awake while a trial is on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import RunningBroker, embedded_broker  # noqa: F401
from ownedboard import OWNER, OwnerClient, application
from test_battery import World
from trigpoint_tools import owner
from trigpoint_tools.owner import Shelf


class Sleeper:
    """A board on batteries that connects at every third wake, asleep; its gateway, and its owner."""

    def __init__(self, directory: Path, broker: RunningBroker) -> None:
        changes = {"owner_key": owner.owner_key_hex(OWNER), "trial_s": 30}
        self.world = World(directory, broker, speed=3600, changes=changes, connect_every=3, awake_s=20)
        self.kid = self.world.gateway.board.kid
        self.owner = OwnerClient(broker.port, self.kid)
        self.world.board.start()
        self.world.wait_for_wakes(2)

    def ended(self, counter: int, state: str, timeout: float = 60) -> dict[str, Any]:
        """Wait until a report of a wake says that this command is in this state; return it."""

        def told(report: dict[str, Any]) -> bool:
            found = report.get("command", {})
            return "battery" in report and (found.get("counter"), found.get("state")) == (counter, state)

        gateway = self.world.gateway
        gateway.wait_for(lambda g: any(map(told, g.health)), timeout)
        return next(report for report in gateway.health if told(report))

    def sleeps_on(self) -> None:
        """Six wakes more, most of them without a connection, and no reading has been lost since the start."""
        wakes, joins = self.world.wakes, self.world.joins
        self.world.wait_for_wakes(wakes + 6)
        assert self.world.joins - joins <= 4
        self.world.check_chain()

    def close(self) -> None:
        self.owner.close()
        self.world.close()


@pytest.fixture
def sleeper(tmp_path: Path, embedded_broker: RunningBroker) -> Iterator[Sleeper]:  # noqa: F811
    made = Sleeper(tmp_path, embedded_broker)
    yield made
    made.close()


def test_a_configuration_is_tried_awake_and_kept(sleeper: Sleeper) -> None:
    new = {**sleeper.world.config, "battery": {"connect_every": 2, "awake_s": 15}}
    sleeper.owner.send(owner.set_configuration(OWNER, sleeper.kid, 1, json.dumps(new).encode()))
    assert sleeper.ended(1, "confirmed")["battery"]["connect_every"] == 2
    sleeper.sleeps_on()


def test_a_configuration_that_reaches_nobody_is_rolled_back(sleeper: Sleeper) -> None:
    broker = {**sleeper.world.config["broker"], "port": 9}
    new = {**sleeper.world.config, "broker": broker, "trial_s": 5}
    sleeper.owner.send(owner.set_configuration(OWNER, sleeper.kid, 1, json.dumps(new).encode()))
    report = sleeper.ended(1, "rolled back")
    assert "within 5 s" in report["command"]["reason"] and report["battery"]["connect_every"] == 3
    sleeper.sleeps_on()


def test_an_update_is_fetched_in_one_waking(sleeper: Sleeper) -> None:
    family = sleeper.world.gateway.health[0]["family"]
    files = application(__init__=b'__version__ = "0.2.0"\n\n\nclass ConfigError(ValueError):\n    pass\n')
    sleeper.owner.shelf = Shelf(files)
    manifest = owner.describe(files, version=7, family=family, micropython=(1, 20, 0))
    sleeper.owner.send(owner.update(OWNER, sleeper.kid, 1, manifest))
    report = sleeper.ended(1, "confirmed", 120)
    assert (report["version"], report["release"], report["slot"]) == ("0.2.0", 7, "b")
    sleeper.sleeps_on()
