"""A new configuration by command, on the emulated board: in force once a reading has gone all the way under it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import RunningBroker, embedded_broker  # noqa: F401
from cryptography.hazmat.primitives.asymmetric import ec
from ownedboard import OWNER, Owned
from trigpoint_tools import owner


@pytest.fixture
def owned(tmp_path: Path, embedded_broker: RunningBroker) -> Iterator[Owned]:  # noqa: F811
    made = Owned(tmp_path, embedded_broker.port)
    made.board.start()
    made.health(lambda report: True)
    yield made
    made.close()


def on_flash(owned: Owned) -> dict[str, object]:
    owned.board.stop()
    config: dict[str, object] = json.loads(owned.board.read_file("/config.json"))
    assert not [name for name in owned.board.exec("import os; print(os.listdir('/'))").split("'") if "command" in name]
    return config


def test_a_good_configuration_is_confirmed_by_the_ack_of_a_new_statement(owned: Owned) -> None:
    new = {**owned.config, "sample_s": 900, "batch": {"samples": 2, "age_s": 21600}}
    owned.configure(1, new)
    report = owned.ended(1, "confirmed")
    assert report["command"] == {"counter": 1, "kind": "configuration", "state": "confirmed", "reason": ""}
    assert owned.gateway.failures == []
    owned.readings_go_on()
    assert len(owned.gateway.stored[-1].readings) == 6
    assert on_flash(owned) == new


def test_a_configuration_that_loses_the_gateway_is_rolled_back(owned: Owned) -> None:
    new = {**owned.config, "broker": {**owned.config["broker"], "port": 9}}
    owned.configure(1, new)
    report = owned.ended(1, "rolled back", 60)
    assert "within 8 s" in report["command"]["reason"]
    owned.readings_go_on()
    assert on_flash(owned) == owned.config


def test_a_configuration_whose_statements_nobody_acks_is_rolled_back(owned: Owned) -> None:
    owned.gateway.wait_for(lambda g: len(g.stored) >= 1)
    owned.gateway.deaf = True
    owned.configure(1, {**owned.config, "sample_s": 900})
    owned.ended(1, "rolled back", 60)
    owned.gateway.deaf = False
    owned.readings_go_on()
    assert on_flash(owned) == owned.config


def test_a_configuration_with_a_bad_field_is_refused_by_its_name(owned: Owned) -> None:
    owned.configure(1, {**owned.config, "sample_s": 0})
    report = owned.ended(1, "refused")
    assert report["command"]["reason"].startswith("sample_s: want a whole number")
    owned.configure(2, {**owned.config, "link_key": "00" * 64})
    assert owned.ended(2, "refused")["command"]["reason"].startswith("link_key: ")
    owned.readings_go_on()
    assert on_flash(owned) == owned.config


def test_what_is_not_the_owners_or_not_new_changes_nothing(owned: Owned) -> None:
    new = {**owned.config, "resend_s": 3}
    owned.configure(5, new)
    owned.ended(5, "confirmed")
    stranger = ec.derive_private_key(98, ec.SECP256R1())
    body = json.dumps(owned.config).encode()
    for command in (
        owner.set_configuration(OWNER, owned.kid, 5, body),
        owner.set_configuration(OWNER, owned.kid, 4, body),
        owner.set_configuration(OWNER, bytes(32), 6, body),
        owner.set_configuration(stranger, owned.kid, 6, body),
        b"",
        bytes(4000),
        bytes(9000),
    ):
        owned.send(command)
    time.sleep(2)
    owned.readings_go_on()
    assert on_flash(owned) == new


def test_power_cuts_during_a_trial_end_in_one_of_the_two(owned: Owned) -> None:
    new = {**owned.config, "sample_s": 900}
    owned.configure(1, new)
    owned.board.wait_for("restart")
    for delay in (0.2, 0.6):
        time.sleep(delay)
        owned.board.cut()
        owned.board.start()
    report = owned.health(lambda found: found["command"]["state"] in {"confirmed", "rolled back"}, 60)
    assert on_flash(owned) == (new if report["command"]["state"] == "confirmed" else owned.config)
