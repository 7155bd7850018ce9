"""Boards with the application on a cable, enrolled and looked after as a user does it: over the cable and from afar."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from enrolsite import WIFI, WIFI_PASSWORD, Site, error_of, site, told, trigpoint
from trigpoint.errors import OperatorError
from trigpoint.keyfiles import create_owner_key, load_owner_key
from trigpoint_tools.serial import remote
from trigpoint_tools.serial.install import application

AT_ONCE = {"batch": {"samples": 1, "age_s": 60}, "resend_s": 1}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIGPOINT_WIFI_PASSWORD", WIFI_PASSWORD)


@pytest.fixture
def enrolling(here: Site, tmp_path: Path) -> list[object]:
    """The options of an enrolment in which everything is right."""
    more = tmp_path / "more.json"
    more.write_text(json.dumps(AT_ONCE))
    return ["--gateway", here.gateway, "--wifi", WIFI, "--sensor", "bme280", "--sample-every", 1, "--config", more]


def test_from_the_cable_to_the_first_statement_and_back(here: Site, enrolling: list[object], tmp_path: Path) -> None:
    gw = ("--gateway", here.gateway)
    key, label = tmp_path / "owner.pem", tmp_path / "label.svg"
    with here.boards.plugged("whole") as ports:
        port = ports.pty
        said = trigpoint("board", "enroll", port, *enrolling, "--owner-key", key, "--label", label, "--wait", 60)
        assert f"Made the owner key {key}" in said.stderr
        assert "Its first statement has come" in said.stdout
        board = told("board", "ls", *gw)["gateway"][0]
        kid = board["board"]
        assert (board["active"], board["online"], kid[:32] in label.read_text()) == (True, True, True)

        again = trigpoint("board", "enroll", port, *enrolling, "--owner-key", key, "--wait", 60)
        assert "It was registered already" in again.stdout

        _by_its_gateway(here, kid, key)
        _over_the_cable(str(port), kid)

        await_online(here, kid)
        other = tmp_path / "other.pem"
        create_owner_key(other)
        with (
            remote.Line(here.config.broker) as line,
            pytest.raises(OperatorError, match="nothing came of the command in 4 s"),
        ):
            files = {path[3:]: content for path, content in application().items() if path.startswith("/a/")}
            health = line.awaited(bytes.fromhex(kid))
            remote.update(
                line,
                load_owner_key(other),
                bytes.fromhex(kid),
                health,
                files,
                version=9,
                micropython=(1, 0, 0),
                wait_s=60,
                taken_s=4,
            )

        removed = told("board", "rm", kid[:8], *gw, "--yes")
        assert (removed["board"], bool(removed["transaction"])) == (kid, True)
        assert "was revoked" in error_of("board", "enroll", port, *enrolling)
        assert told("board", "rm", port, *gw, "--yes")["transaction"] is None
        assert "has no key" in error_of("board", "rm", port, *gw, "--yes")
        anew = told("board", "enroll", port, *enrolling, "--wait", 60)
        assert anew["board"] != kid
        assert anew["statements"] >= 1


def await_online(here: Site, kid: str) -> None:
    with remote.Line(here.config.broker) as line:
        for message in line.messages(30):
            if message.kid.hex() == kid and (remote.parse(message.payload) or {}).get("online"):
                return
    raise AssertionError(f"board {kid} does not come online")


def _by_its_gateway(here: Site, kid: str, key: Path) -> None:
    gw = ("--gateway", here.gateway)
    await_online(here, kid)
    status = told("board", "status", kid[:8], *gw)
    assert (status["board"], status["active"], status["health"]["sensor_errors"]) == (kid, True, {})
    assert "● online" in trigpoint("board", "status", *gw).stdout
    newest = {row["name"]: row["value"] for row in told("board", "sensors", *gw)}
    assert (set(newest), newest["temperature"]) == ({"temperature", "humidity", "pressure"}, "20.00")
    assert "20.00  Cel" in trigpoint("board", "sensors", *gw).stdout
    trigpoint("board", "logs", *gw)
    assert json.loads(trigpoint("board", "console", *gw, "--seconds", 1, "--json").stdout)["online"] is True
    assert "takes updates from its owner alone: --owner-key" in error_of("board", "update", *gw)
    assert told("board", "update", *gw, "--owner-key", key, "--wait", 120)["state"] == "confirmed"
    assert told("board", "status", *gw)["health"]["release"] == 1


def _over_the_cable(port: str, kid: str) -> None:
    status = told("board", "status", port)
    assert (status["board"], status["sensors"], status["slot"], status["release"]) == (kid, ["bme280"], "b", 1)
    assert WIFI_PASSWORD not in json.dumps(status)
    measured = told("board", "sensors", port)
    assert next(row[:3] for row in measured[0]["readings"]) == ["temperature", "Cel", 2000]
    assert told("board", "logs", port) == {"crashes": ""}
    assert f"board {kid}" in trigpoint("board", "console", port, "--seconds", 3).stdout
    done = told("board", "update", port)
    assert (done["files_written"], done["files_removed"]) == (0, 0)
