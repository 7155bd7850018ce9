"""Boards with the application on a cable, enrolled and looked after as a user does it: over the cable and from afar."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import serial
from anvil import SoftwareBoard
from enrolsite import AROUND, WIFI, WIFI_PASSWORD, Boards, Site, error_of, site, told, trigpoint
from trigpoint.chain import permitfile
from trigpoint.errors import OperatorError
from trigpoint.keyfiles import create_owner_key, load_owner_key
from trigpoint.wire import keys
from trigpoint.wire.permit import Permit, message
from trigpoint_tools.serial import remote, session
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


@pytest.mark.parametrize(
    "case",
    [
        (["--wifi", "elsewhere"], WIFI_PASSWORD, "cannot join its Wi-Fi (elsewhere: not found)"),
        ([], "wrong horse battery", "cannot join its Wi-Fi (home: wrong password)"),
        (["--config", "unwired"], WIFI_PASSWORD, "no sensor answers (BME280 0x76: "),
        (
            ["--config", "refused"],
            WIFI_PASSWORD,
            "the board refuses this configuration: sensors[0].scl",
        ),
        (["--broker", "127.0.0.1:9"], WIFI_PASSWORD, "does not reach its broker ("),
        (["--broker", "127.0.0.1"], WIFI_PASSWORD, "127.0.0.1"),
        (["--owner", "0x12"], WIFI_PASSWORD, "'0x12' is not an address"),
        (["--owner-key", "."], WIFI_PASSWORD, "cannot read the key file .: "),
        (["--verify-link", "ftp://x"], WIFI_PASSWORD, "no link for a label"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_paid(
    here: Site, enrolling: list[object], case: tuple[list[str], str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, password, said = case
    monkeypatch.setenv("TRIGPOINT_WIFI_PASSWORD", password)
    tmp_path = Path(str(enrolling[-1])).parent
    monkeypatch.chdir(tmp_path)
    for name, scl in (("unwired", 19), ("refused", 99)):
        (tmp_path / name).write_text(json.dumps({"sensors": [{"type": "bme280", "scl": scl, "sda": 21}]}))
    words = list(enrolling)
    if "--config" in wrong:
        del words[words.index("--sensor") : words.index("--sensor") + 2]
    paid = here.paid
    with here.boards.plugged("wrong") as ports:
        error = error_of("board", "enroll", ports.pty, *words, *wrong, "--wait", 20)
    assert said in error
    assert WIFI_PASSWORD not in error and "wrong horse" not in error
    assert here.paid == paid


def test_a_port_that_cannot_be_used(here: Site, enrolling: list[object], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    commands = [("enroll", *enrolling), ("status",), ("logs",), ("console",), ("sensors",), ("update",)]
    commands.append(("rm", "--gateway", here.gateway, "--yes"))
    master, slave = os.openpty()  # nobody answers there
    try:
        name = os.ttyname(slave)
        with serial.Serial(name, exclusive=True):
            for command, *words in commands:
                assert f"{name} is busy: close the program" in error_of("board", command, name, *words)
        for command, *words in commands:
            assert "there is no port /dev/nothing" in error_of("board", command, "/dev/nothing", *words)
            assert "nobody answers at rfc2217://127.0.0.1:9" in error_of(
                "board", command, "rfc2217://127.0.0.1:9", *words
            )
    finally:
        os.close(master)
        os.close(slave)


def test_a_port_behind_which_nobody_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_ENTER_S", 0.5)
    master, slave = os.openpty()
    try:
        assert "no MicroPython answers at" in error_of("board", "status", os.ttyname(slave))
    finally:
        os.close(master)
        os.close(slave)


def test_a_board_that_is_not_reached_over_the_network(here: Site, enrolling: list[object], tmp_path: Path) -> None:
    gw = ("--gateway", here.gateway)
    key = tmp_path / "owner.pem"
    with here.boards.plugged("far") as ports:
        kid = told("board", "enroll", ports.pty, *enrolling, "--wait", 0)["board"]
    # It was registered, and has never been heard of: what the gateway knows is shown, and the rest says so.
    wait_until(lambda: kid in {board["board"] for board in told("board", "ls", *gw)["gateway"]})
    assert "it has said nothing of itself" in trigpoint("board", "status", kid, *gw).stdout
    for command in (("logs",), ("update", "--owner-key", key)):
        create_owner_key(key) if not key.exists() else None
        assert "has said nothing of itself at this broker yet" in error_of("board", command[0], kid, *gw, *command[1:])
    assert trigpoint("board", "sensors", kid, *gw).stdout == "No reading of this board is stored yet.\n"
    assert "knows no such board" in error_of("board", "status", "ffffffff", *gw)
    assert "to reach a board by its id name its gateway" in error_of("board", "status", kid)
    # With the broker away the gateway's own knowledge is left.
    away = tmp_path / "away"
    shutil.copytree(here.gateway, away)
    toml = (away / "gateway.toml").read_text()
    (away / "gateway.toml").write_text(toml.replace(f"port = {here.config.broker.port}", "port = 9"))
    assert "cannot reach the MQTT broker at 127.0.0.1:9" in trigpoint("board", "status", kid, "--gateway", away).stdout
    assert "cannot reach the MQTT broker at 127.0.0.1:9" in trigpoint("board", "ls", "--gateway", away).stderr
    assert "cannot reach the MQTT broker at 127.0.0.1:9" in error_of("board", "logs", kid, "--gateway", away)
    with here.boards.plugged("far") as ports:
        await_online(here, kid)
        assert "obeys nobody" in error_of("board", "update", kid, *gw, "--owner-key", key)
    stranger = tmp_path / "stranger.key"
    stranger.write_text("01" * 32)
    stranger.chmod(0o600)
    assert "does not belong to the account" in error_of("board", "rm", kid, *gw, "--yes", "--key-file", stranger)


def test_a_printed_permit_is_submitted_by_another(here: Site, enrolling: list[object], tmp_path: Path) -> None:
    owner = "0x" + "42" * 20
    paid = here.paid
    with here.boards.plugged("printed") as ports:
        printed = trigpoint("board", "enroll", ports.pty, *enrolling, "--owner", owner, "--print-permit")
        assert "trigpoint chain register FILE" in printed.stderr
        assert here.paid == paid
        permit = tmp_path / "permit.json"
        permit.write_text(printed.stdout)
        payer = tmp_path / "payer.key"
        payer.write_text(here.chain.account().key.hex())
        payer.chmod(0o600)
        by = ("--rpc", here.chain.url, "--key-file", payer)
        done = told("chain", "register", permit, permit, *by)
        assert [board["owner"] for board in done["registered"]] == [owner]
        assert (here.paid, done["already"]) == (paid + 1, [])
        again = told("chain", "register", permit, *by)
        assert (again["registered"], again["already"]) == ([], [json.loads(printed.stdout)["kid"]])
        ended = told("board", "enroll", ports.pty, *enrolling, "--wait", 60)
    assert (ended["owner"], ended["transaction"], ended["statements"] >= 1) == (owner, None, True)


def test_many_permits_in_one_go(here: Site, tmp_path: Path) -> None:
    boards = [SoftwareBoard(1000 + number) for number in range(3)]
    chain_id, registry = here.config.chain.chain_id, here.registry

    def signed(board: SoftwareBoard, deadline: int) -> dict[str, str | int]:
        unsigned = Permit(b"o" * 20, board.public.x, board.public.y, bytes(32), deadline, bytes(32), bytes(32))
        signature = keys.sign(board.private, message(chain_id, registry, unsigned))
        return permitfile.plain(replace(unsigned, r=signature[:32], s=signature[32:]), chain_id, registry)

    one, two = tmp_path / "one.json", tmp_path / "two.json"
    one.write_text(json.dumps([signed(board, 2**40) for board in boards[:2]]))
    two.write_text(json.dumps(signed(boards[2], 1)))
    paid = here.paid
    void = error_of("chain", "register", one, two, "--gateway", here.gateway)
    assert f"{two}: the permit of board {boards[2].kid.hex()} was good until 1970-01-01 00:00:01 UTC" in void
    assert here.paid == paid
    two.write_text(json.dumps(signed(boards[2], 2**40)))
    said = trigpoint("chain", "register", one, two, "--gateway", here.gateway).stdout
    assert "Registered 3 boards for " in said
    elsewhere = {**json.loads(two.read_text()), "chain_id": 1}
    two.write_text(json.dumps(elsewhere))
    assert "did not sign this permit" in error_of("chain", "register", two, "--gateway", here.gateway)
    assert "say by which node and who pays" in error_of("chain", "register", one)
    assert "cannot read" in error_of("chain", "register", tmp_path / "none.json", "--gateway", here.gateway)


def test_the_key_is_in_the_secure_element(here: Site, tmp_path: Path) -> None:
    chip = {"scl": 22, "sda": 21}
    boards = Boards(tmp_path, {**AROUND, "secure_element": chip})
    more = tmp_path / "chip.json"
    more.write_text(json.dumps({**AT_ONCE, "secure_element": chip}))
    words = ["--gateway", here.gateway, "--wifi", WIFI, "--sensor", "bme280", "--config", more, "--wait", 60]
    with boards.plugged() as ports:
        done = told("board", "enroll", ports.pty, *words)
        assert done["statements"] >= 1
        assert told("board", "status", ports.pty)["board"] == done["board"]
        with session.Session(str(ports.pty)) as prompt:
            # The chip's record is there, and no private key.
            kept = prompt.run(
                "import esp32\nfrom trig.key_store import *\nn = esp32.NVS('trig')\n"
                "print(read_blob(n, BLOB, 32), read_blob(n, RECORD, 64)[-32:].hex())"
            )
    assert kept.split() == ["None", done["board"]]


def test_a_box_of_boards_is_finished_after_a_kill(here: Site, enrolling: list[object], tmp_path: Path) -> None:
    paid = here.paid
    names = [f"box{number}" for number in range(3)]
    with ExitStack() as stack:
        ports = [str(stack.enter_context(here.boards.plugged(name)).pty) for name in names]
        boxes, results = tmp_path / "box.csv", tmp_path / "box.results.csv"
        boxes.write_text("port,label\n" + "".join(f"{port},{tmp_path}/{at}.png\n" for at, port in enumerate(ports)))
        words = ["board", "enroll", "--csv", boxes, *enrolling, "--wait", 60]
        command = [sys.executable, "-m", "trigpoint", *map(str, words)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as cut:
            # The second board is on its way when it happens.
            wait_until(lambda: results.exists() and here.paid >= paid + 2)
            cut.kill()
        done = told(*words)
        assert [board["status"] for board in done] == ["enrolled"] * 3
        assert len({board["kid"] for board in done}) == 3
        assert here.paid == paid + 3, "each was paid for once"
        assert [row["board"] for row in csv.DictReader(results.open())] == ports
        assert all((tmp_path / f"{at}.png").read_bytes().startswith(b"\x89PNG") for at in range(3))
        again = trigpoint(*words)
        assert "Done before: 3 of 3" in again.stderr
        assert here.paid == paid + 3
        boxes.write_text("port\n" + "".join(f"{port}\n" for port in (ports[0], "/dev/=nothing")))
        assert "not enrolled: 1 of 2" in error_of(*words)
        assert "there is no port" in results.read_text().splitlines()[-1]


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
