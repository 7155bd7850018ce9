"""The doctor: what it makes of the facts, and the facts that it gathers from real brokers, disks and files."""

import os
import socket
import sqlite3
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from brokers import HOST, MOSQUITTO, RunningBroker, free_port, make_mosquitto
from hypothesis import given
from hypothesis import strategies as st
from statements import TestBoard, enrol
from trigpoint import init, keyfiles
from trigpoint.broker import folder, passwords
from trigpoint.config import Broker, parse
from trigpoint.doctor import boards, broker, chain, clock, database, disk, keys, service
from trigpoint.doctor.broker import Answers
from trigpoint.doctor.examine import _real_rate
from trigpoint.doctor.finding import Level
from trigpoint.lock import only_one
from trigpoint.running import is_running
from trigpoint.store.writer import Writer

NOW = datetime.now(UTC)
GB = 10**9


def levels(findings):
    return {finding.what: finding.level.value for finding in findings}


def a_disk(**changes):
    fields = {"total": 32 * GB, "free": 20 * GB, "kind": "ext4", "device": "mmcblk0", "sync_ms": 4.0, "life_used": None}
    return disk.Disk(**{**fields, **changes})


class TestDisk:
    @pytest.mark.parametrize(
        ("facts", "written", "what", "level"),
        [
            ({}, None, "room", "ok"),
            ({"free": 1 * GB}, None, "room", "warn"),
            ({"free": 10**6}, None, "room", "fail"),
            ({}, 1 * GB, "room", "warn"),
            ({}, 1 * GB, "wear", "ok"),
            ({}, 50 * GB, "wear", "warn"),
            ({"life_used": 3}, None, "wear", "ok"),
            ({"life_used": 11}, None, "wear", "warn"),
            ({"kind": "nfs4"}, None, "file system", "fail"),
            ({"kind": "tmpfs"}, None, "file system", "warn"),
            ({"kind": "vfat"}, None, "file system", "warn"),
            ({"kind": ""}, None, "file system", "unknown"),
            ({"sync_ms": 900.0}, None, "durable write", "warn"),
            ({"sync_ms": 0.001}, None, "durable write", "warn"),
            ({"sync_ms": None}, None, "durable write", "fail"),
        ],
    )
    def test_judged(self, facts, written, what, level):
        found = disk.judge(a_disk(**facts), written)
        assert levels(found)[what] == level
        assert all(finding.remedy for finding in found if finding.level in (Level.WARN, Level.FAIL))

    def test_a_full_disk_is_no_question_of_its_owner(self):
        (found,) = (one for one in disk.judge(a_disk(free=0, sync_ms=None), None) if one.what == "durable write")
        assert "room" in found.remedy

    def test_this_machines(self, tmp_path):
        found = disk.look(tmp_path)
        assert 0 < found.free <= found.total
        assert found.kind
        assert found.sync_ms > 0
        assert list(tmp_path.iterdir()) == []

    def test_the_mount_that_holds_the_directory_counts(self, tmp_path):
        table = tmp_path / "mountinfo"
        table.write_text(
            "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /var/lib rw shared:1 - xfs /dev/sda2 rw\n"
            "3 1 0:9 / /var/library rw - tmpfs none rw\n4 1 8:4 / /var/lib/a\\040b rw - vfat x rw\nnonsense\n"
        )
        for path, kind in {
            "/var/lib/trigpoint": "xfs",
            "/var/lib": "xfs",
            "/home": "ext4",
            "/var/lib/a b/c": "vfat",
        }.items():
            assert disk._mount(type(tmp_path)(path), table, tmp_path)[0] == kind

    @given(st.floats(0, 1e16))
    def test_sizes_are_for_people(self, number):
        assert len(disk.size(number)) <= 12


class TestClock:
    @pytest.mark.parametrize(("now", "level"), [(0, "ok"), (-29, "ok"), (-31, "fail"), (599, "ok"), (601, "warn")])
    def test_against_the_chain(self, now, level):
        assert clock.judge_skew(10_000 + now, 10_000, 2).level == level

    def test_the_kernel_is_asked(self):
        assert clock.is_synchronised() in (True, False, None)
        assert clock.judge_synchronised(True).level is Level.OK
        assert clock.judge_synchronised(False).level is Level.WARN
        assert clock.judge_synchronised(None).level is Level.UNKNOWN


class TestFunds:
    @pytest.mark.parametrize(
        ("balance", "level"),
        [(0, "fail"), (9, "fail"), (10 * 24 * 2, "fail"), (10 * 24 * 20, "warn"), (10 * 24 * 40, "ok")],
    )
    def test_judged(self, balance, level):
        assert chain.judge_funds(balance, 10, 24, "ETH").level == level

    def test_so_many_days_that_nobody_can_know_are_not_counted(self):
        text = chain.judge_funds(10**12, 1, 24, "ETH").text
        assert text.startswith("more than ten years with 0.000001 ETH, at 24.0 anchors a day")
        assert chain.judge_funds(24 * 3_000, 1, 24, "ETH").text.startswith("3,000 with")

    @pytest.mark.parametrize(
        ("world", "every_s", "poll_s", "seen", "expected"),
        [
            (None, 3600, 2, None, 24),
            (None, 3600, 2, 5.0, 5),
            (None, 3600, 2, 500.0, 24),
            ((0, 0.0, 60.0), 3600, 2, None, 1440),
            ((0, 0.0, 60.0), 3600, 2, 5.0, 300),
            ((0, 0.0, 1e6), 3600, 2, None, 43_200),
        ],
    )
    def test_anchors_in_a_world_that_runs_faster_cost_more_a_day(self, world, every_s, poll_s, seen, expected):
        answers = init.Answers(anchor_every_s=every_s, poll_s=poll_s, world=world)
        config = parse(init.configuration(answers), Path("/gw/gateway.toml"))
        assert chain.anchors_per_day(config, seen) == pytest.approx(expected)
        assert _real_rate(config, 10.0) == (10.0 if world is None else 10.0 * world[2])
        assert _real_rate(config, None) is None

    def test_amounts_are_short_and_not_rounded_up(self):
        assert chain._short(1_234_567_890_123_456_789) == "1.234"
        assert chain._short(999_999_999_999_999) == "0.0009999"
        assert chain._short(0) == "0"

    @pytest.mark.parametrize(("behind", "level"), [(-1, "warn"), (0, "ok"), (110, "ok"), (120, "warn")])
    def test_the_registrys_mirror(self, behind, level):
        assert chain.judge_lag(behind, 12).level == level


class TestBoards:
    @pytest.mark.parametrize(
        ("owners", "local", "level", "said"),
        [
            ((), False, "warn", "stranger"),
            ((), True, "ok", "everybody"),
            ((b"\x01" * 20,), False, "ok", "1 address: 1 of 2 active boards"),
            ((b"\xee" * 20, b"\xef" * 20), False, "warn", "2 addresses: 0 of 2 active boards"),
        ],
    )
    def test_whose_are_served(self, tmp_path, owners, local, level, said):
        with Writer(tmp_path / "db") as writer:
            writer.submit(lambda connection: enrol(connection, *map(TestBoard, range(1, 4))))
            change = "UPDATE boards SET owner = ?, active_until = ? WHERE number = ?"
            for values in ((b"\x01" * 20, None, 1), (b"\x02" * 20, None, 2), (b"\x01" * 20, 7, 3)):
                writer.submit(lambda connection, values=values: connection.execute(change, values))
        connection = sqlite3.connect(tmp_path / "db")
        found = boards.judge(owners, boards.look(connection, owners), local=local)
        connection.close()
        assert (found.level.value, said in found.text) == (level, True), found

    def test_before_the_first_run(self):
        assert boards.judge((), None, local=False).level is Level.WARN
        assert boards.judge((bytes(20),), None, local=False).level is Level.OK


WELL = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "NRestarts": "0"}


class TestService:
    @pytest.mark.parametrize(
        ("properties", "level"),
        [
            (None, "unknown"),
            (WELL, "ok"),
            ({**WELL, "LoadState": "not-found"}, "warn"),
            ({**WELL, "UnitFileState": "disabled"}, "warn"),
            ({**WELL, "ActiveState": "failed", "Result": "watchdog"}, "fail"),
            ({}, "warn"),
        ],
    )
    def test_judged(self, properties, level):
        assert service.judge(properties, None).level == level


class TestKeys:
    def load(self, path):
        return keys.examine("log key", path, lambda: keyfiles.load_log_key(path))

    def test_a_key_that_is_well(self, tmp_path):
        keyfiles.create_log_key(tmp_path / "log.pem")
        assert self.load(tmp_path / "log.pem").level is Level.OK

    def test_a_key_that_others_can_read(self, tmp_path):
        keyfiles.create_log_key(tmp_path / "log.pem")
        (tmp_path / "log.pem").chmod(0o644)
        found = self.load(tmp_path / "log.pem")
        assert (found.level, "chmod 600" in found.remedy) == (Level.FAIL, True)

    def test_a_folder_in_which_others_can_write(self, tmp_path):
        keyfiles.create_log_key(tmp_path / "log.pem")
        tmp_path.chmod(0o777)
        assert self.load(tmp_path / "log.pem").level is Level.WARN
        assert self.load(tmp_path / "none.pem").level is Level.FAIL


class TestDatabase:
    def test_a_sound_one(self, tmp_path):
        board = TestBoard(1)
        with Writer(tmp_path / "db") as writer:
            writer.submit(lambda connection: enrol(connection, board))
            rows = [(leaf, 1, leaf, leaf * 60_000, board.next()) for leaf in range(200)]
            writer.submit(
                lambda connection: connection.executemany("INSERT INTO statements VALUES (?, ?, ?, ?, ?)", rows)
            )
        found = database.look(tmp_path / "db")
        assert levels(database.judge(found)) == {"schema": "ok", "pages": "ok"}
        connection = sqlite3.connect(tmp_path / "db")
        per_day = database.written_per_day(connection)
        connection.close()
        assert per_day == pytest.approx(4 * 1440 * len(rows[-1][4]), rel=0.05)

    def test_a_damaged_one(self, tmp_path):
        Writer(tmp_path / "db").close()
        raw = bytearray((tmp_path / "db").read_bytes())
        raw[4096 * 3 : 4096 * 3 + 200] = bytes(200)
        (tmp_path / "db").write_bytes(raw)
        assert levels(database.judge(database.look(tmp_path / "db")))["pages"] == "fail"

    def test_one_of_a_newer_trigpoint(self):
        found = database.judge(database.Database(9, 4, "", finished=False, bytes=1))
        assert levels(found) == {"schema": "fail", "pages": "warn"}


def test_whether_a_gateway_runs_is_told_without_touching_its_lock(tmp_path):
    assert is_running(tmp_path) is False
    with only_one(tmp_path):
        assert is_running(tmp_path) is True
        assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600, "who can open it can hold it"
    assert is_running(tmp_path) is False
    assert is_running(tmp_path, tmp_path / "no such file") is None


# The broker


@pytest.mark.parametrize(("days", "level"), [(-1, "fail"), (29, "warn"), (31, "ok")])
def test_a_certificate_that_ends(days, level):
    assert broker.judge_certificate("TLS certificate", NOW + timedelta(days=days, hours=1), NOW).level == level


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (Answers(), {"login": "fail"}),
        (Answers(login=135, login_text="Not authorized"), {"login": "fail"}),
        (
            Answers(login=0, subscribe=1, publish=16, explains=True),
            {"login": "ok", "right to read": "ok", "right to write": "ok"},
        ),
        (
            Answers(login=0, subscribe=135, publish=135, explains=True),
            {"login": "ok", "right to read": "fail", "right to write": "fail"},
        ),
        (Answers(login=0, subscribe=0), {"login": "ok", "right to read": "fail", "right to write": "unknown"}),
    ],
)
def test_what_a_broker_answers(answers, expected):
    assert levels(broker.judge_rights(answers, "gateway")) == expected


@pytest.fixture
def set_up(tmp_path):
    """A Mosquitto with the set-up that `gateway init` makes, and the gateway's settings for it."""
    if MOSQUITTO is None:
        pytest.skip("Mosquitto is not installed (apt-get install mosquitto)")
    place, port, gateway_port = tmp_path / "broker", free_port(), free_port()
    gateway = f"localhost:{gateway_port}"
    folder.make(place, ["localhost", HOST], port, NOW, gateway=gateway)
    password = folder.add_user(place, "gateway")
    owner = folder.add_user(place, "owner")
    text = (place / "mosquitto.conf").read_text().replace("/etc/mosquitto/trigpoint/", f"{place}/")
    text = text.replace("persistence true", "persistence false") + f"\nuser {os.environ.get('USER', 'root')}\n"
    (tmp_path / "mosquitto.conf").write_text(text)
    command = [MOSQUITTO, "-c", str(tmp_path / "mosquitto.conf")]
    running = RunningBroker("mosquitto", port, command, tmp_path / "mosquitto.log", (gateway_port,))
    running.start()
    settings = Broker(
        host="localhost",
        port=port,
        gateway_address=gateway,
        ca=place / "ca.pem",
        username="gateway",
        password_file=password,
    )
    yield settings, owner
    running.stop()


def test_a_broker_that_is_set_up_well(set_up):
    assert levels(broker.examine(set_up[0])) == {
        "connection": "ok",
        "TLS certificate": "ok",
        "authority": "ok",
        "login": "ok",
        "right to read": "ok",
        "right to write": "ok",
        "for boards": "ok",
        "client ids": "ok",
    }


def test_a_broker_that_does_not_let_the_gateway_do_its_work(set_up, tmp_path):
    settings, owner = set_up
    changed = {
        "login": {"password_file": owner},
        "right to write": {"username": "owner", "password_file": owner},
        "TLS": {"ca": None},
        "connection": {"gateway_address": f"localhost:{free_port()}"},
        "for boards": {"port": free_port()},
    }
    for what, change in changed.items():
        found = list(broker.examine(settings.model_copy(update=change)))
        assert levels(found)[what] == "fail", (what, found)
        assert owner.read_text().strip() not in str(found)


def test_a_broker_at_which_a_board_can_throw_others_off(tmp_path):
    """Mosquitto as `gateway init` set it up before there were two listeners."""
    password = tmp_path / "password"
    keyfiles.write_private(password, b"a password")
    users = tmp_path / "passwd"
    users.write_text(passwords.render({"gateway": passwords.seal("a password")}))
    users.chmod(0o644)
    running = make_mosquitto(tmp_path, f"password_file {users}\n")
    settings = Broker(host=HOST, port=running.port, tls=False, username="gateway", password_file=password)
    written = (tmp_path / "mosquitto.conf").read_text()
    for more, level in (("", "warn"), ("use_username_as_clientid true\n", "ok")):
        (tmp_path / "mosquitto.conf").write_text(written.replace("allow_anonymous", f"{more}allow_anonymous"))
        running.start()
        try:
            (found,) = (one for one in broker.examine(settings) if one.what == "client ids")
        finally:
            running.stop()
        assert (found.level.value, "broker renew" in found.remedy) == (level, level == "warn")


def test_a_broker_that_asks_nobody_for_a_password():
    assert broker.judge_client_ids(None).level is Level.WARN


def test_what_is_no_broker(monkeypatch):
    monkeypatch.setattr("trigpoint.doctor.broker._PATIENCE_S", 0.2)
    with socket.create_server((HOST, 0)) as silent:
        settings = Broker(host=HOST, port=silent.getsockname()[1], tls=False)
        assert levels(broker.examine(settings))["login"] == "fail"
