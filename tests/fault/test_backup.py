"""A backup of a running gateway, and what comes of putting an old one back: never two histories under one key."""

import json
import shutil
import sqlite3
import stat
import threading
import time
import types
from contextlib import closing
from pathlib import Path

import pytest
from brokers import free_port
from trigpoint import backup, keyfiles, receipts
from trigpoint.backup import back_up
from trigpoint.cli import app
from trigpoint.config import load
from trigpoint.errors import OperatorError
from trigpoint.store import database as store
from trigpoint.store import queries, registry
from trigpoint.store.database import open_database
from trigpoint.store.writer import Writer
from trigpoint.verify import verify_offline
from trigpoint.wire.trust import Trust
from trigpoint_tools.crash.campaign import OFTEN
from typer.testing import CliRunner

pytestmark = pytest.mark.xdist_group("crash")  # they share a chain and a broker


@pytest.fixture(scope="module")
def _site(tmp_path_factory, ground):
    return ground.site(tmp_path_factory.mktemp("backup") / "gateway", boards=3, anchor_every_s=1)


class Drill:
    """A gateway that has sent an anchor, its old backup, and boards that went on after it."""

    def __init__(self, made, directory):
        self.site, self.directory, self.old = made, directory, directory / "old.db"
        self.fleet = made.fleet(flowing=False)

    def run(self, each, *then):
        """Let the gateway run until every board's statements are acked and anchored; give it a command, and stop it."""
        gateway = self.site.start(changes=OFTEN)
        assert gateway.wait_ready(), gateway.output
        self.fleet.sign_each(each)
        assert self.fleet.settle(30), gateway.output
        self.wait_anchored()
        answer = command(*then) if then else None
        assert gateway.stop() == 0
        return answer

    def wait_anchored(self):
        deadline = time.monotonic() + 30
        with closing(open_database(self.site.config.database, read_only=True)) as connection:
            while True:
                stored, final = connection.execute(
                    "SELECT (SELECT count(*) FROM statements), max(size) FROM transactions WHERE state = 'final'"
                ).fetchone()
                if final == stored:
                    return
                assert time.monotonic() < deadline, (stored, final)
                time.sleep(0.05)


def command(*arguments):
    """Run the command in this process. Returns its code and what it said, or the error that it would print."""
    result = CliRunner().invoke(app, ["gateway", *map(str, arguments)])
    if isinstance(result.exception, OperatorError):
        assert "\n" not in str(result.exception)
        return 1, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def remove_database(config):
    for path in config.data.glob("trigpoint.db*"):
        path.unlink()


def write_meanwhile(writer, size):
    """Give the database something new, as a gateway under load would."""
    writer.submit(
        lambda connection: connection.execute(
            "INSERT INTO rejected VALUES (NULL, 'size', '', '', zeroblob(?), 1, 1)", (size,)
        )
    )


def test_a_backup_that_is_too_slow_ends_before_the_disk_is_full_and_the_log_shrinks_again(tmp_path, monkeypatch):
    database, log = tmp_path / "trigpoint.db", tmp_path / "trigpoint.db-wal"
    monkeypatch.setattr(store, "_LOG_KEPT", 1 << 20)
    monkeypatch.setattr(backup, "_LOG_UNNOTICED", 4 << 20)
    monkeypatch.setattr(backup, "_PAGES_AT_ONCE", 8)
    free = 6 << 20
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=free))
    with Writer(database) as writer:
        for _ in range(10):
            write_meanwhile(writer, 100_000)
        with pytest.raises(OperatorError, match=r"trigpoint.db-wal has grown to \d MiB .* it was ended"):
            back_up(database, tmp_path / "copy.db", lambda *_: write_meanwhile(writer, 500_000))
        assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == []
        grown = log.stat().st_size
        assert free < grown < 2 * free
        for _ in range(20):
            write_meanwhile(writer, 10_000)
        assert log.stat().st_size <= 2 << 20, "it is cut back once nobody reads the old moment any more"
        free = 1 << 40
        back_up(database, tmp_path / "copy.db", lambda *_: write_meanwhile(writer, 500_000))


def test_an_old_backup_never_forks_the_log_and_a_new_log_goes_on_from_it(_site, tmp_path):
    config, drill = _site.config, Drill(_site, tmp_path)
    with drill.fleet:
        code, said = drill.run(40, "backup", _site.directory, drill.old, "--json")
        assert (code, json.loads(said)["statements"]) == (0, 120)
        assert {Path(path).name for path in json.loads(said)["not_in_it"]} == {
            "gateway.toml",
            "log.pem",
            "link.pem",
            "chain.key",
        }
        assert command("fsck", _site.directory, "--backup", drill.old, "--chain", "--signatures")[0] == 0
        drill.run(30)

        # The database in place is newer, and stays.
        code, said = command("restore", _site.directory, drill.old)
        assert code == 1 and "the database in place is newer: 210 statements, and 120" in said
        newest = tmp_path / "newest.db"
        assert command("backup", _site.directory, newest)[0] == 0

        # The disk is lost. The public files, or else the chain, still tell that the log had gone further.
        remove_database(config)
        code, said = command("restore", _site.directory, drill.old)
        assert code == 1 and "others have seen a head of this log with 210" in said and "--new-log" in said
        assert not config.database.exists()
        shutil.move(config.public, tmp_path / "public")
        code, said = command("restore", _site.directory, drill.old)
        assert code == 1 and "with 210 (on chain 31337)" in said
        assert not list(config.data.glob("trigpoint.db*"))

        # With no node to ask either, it goes in place; but the gateway does not start before it has asked one.
        settings = _site.directory / "gateway.toml"
        online = settings.read_text()
        settings.write_text(online.replace(_site.chain.url, f"http://127.0.0.1:{free_port()}"))
        code, said = command("restore", _site.directory, drill.old)
        assert code == 0 and "will not start before it has compared itself with the chain" in said
        gateway = _site.start(changes=OFTEN)
        assert gateway.wait_end() == 1 and "ready: broker" not in gateway.output
        settings.write_text(online)
        gateway = _site.start(changes=OFTEN)
        assert gateway.wait_end() == 1 and "error: the log on the chain (210 leaves)" in gateway.output
        remove_database(config)

        # Whoever copies the file by hand is stopped by the gateway itself.
        shutil.copy(drill.old, config.database)
        gateway = _site.start(changes=OFTEN)
        assert gateway.wait_end() == 1
        last = gateway.output.strip().splitlines()[-1]
        assert last.startswith("error: the log on the chain (210 leaves) is longer than this database's (120 leaves)")
        remove_database(config)

        # The newest one goes back, and all goes on.
        shutil.move(tmp_path / "public", config.public)
        code, said = command("restore", _site.directory, newest)
        assert code == 0 and "210 statements of 3 boards" in said
        assert stat.S_IMODE(config.database.stat().st_mode) == 0o600
        assert drill.run(5, "fsck", _site.directory, "--chain", "--signatures")[0] == 0

        # There is none but the old one: a new log begins with it, and the boards tell what is lost.
        old_trust = Trust.from_json((config.public / "trust.json").read_text())
        with closing(open_database(config.database, read_only=True)) as connection:
            proof = receipts.get(connection, keyfiles.load_log_key(config.log.key_file), index=150)
        remove_database(config)
        code, said = command("restore", _site.directory, drill.old, "--new-log", "--json")
        assert code == 0
        kept = {Path(path).name.split("-")[0]: Path(path) for path in json.loads(said)["kept"]}
        assert set(kept) == {"public", "log"}
        with closing(open_database(config.database, read_only=True)) as connection:
            assert registry.cursor(connection) is None, "it does not start before it has asked the chain"
        drill.run(6)
        assert command("fsck", _site.directory, "--chain", "--signatures")[0] == 0
        new_trust = Trust.from_json((config.public / "trust.json").read_text())
        assert new_trust.log_id != old_trust.log_id
        assert Trust.from_json((kept["public"] / "trust.json").read_text()) == old_trust
        assert verify_offline(proof, old_trust).verified, "a receipt of a lost statement goes on to be true"
        log_key = keyfiles.load_log_key(config.log.key_file)
        with closing(open_database(config.database, read_only=True)) as connection:
            assert [(board.statements, board.lost) for board in queries.boards(connection)] == [(46, 35)] * 3
            for index in (0, 119, 137):
                assert verify_offline(receipts.get(connection, log_key, index=index), new_trust).verified


def test_a_backup_is_of_one_moment_however_much_is_written_meanwhile(tmp_path):
    database, done = tmp_path / "gateway.db", threading.Event()
    connection = open_database(database)
    from trigpoint.store.database import migrate

    migrate(connection)
    connection.execute("CREATE TABLE pairs (id INTEGER PRIMARY KEY, half TEXT, filler BLOB)")

    def write(pairs):
        connection.execute("BEGIN IMMEDIATE")
        rows = [(half,) for half in ("first", "second")] * pairs
        connection.executemany("INSERT INTO pairs (half, filler) VALUES (?, zeroblob(3000))", rows)
        connection.execute("COMMIT")

    write(2_000)
    connection.close()

    def go_on():
        nonlocal connection
        connection = open_database(database)
        while not done.is_set():
            write(1)
        connection.close()

    writer = threading.Thread(target=go_on)
    writer.start()
    steps = []
    try:
        back_up(database, tmp_path / "copy.db", lambda what, at, total: steps.append((at, total)))
    finally:
        done.set()
        writer.join()
    assert len(steps) > 5 and steps == sorted(steps) and steps[-1][0] == steps[-1][1]
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db"]
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        ((first,), (second,)) = copy.execute("SELECT count(*) FROM pairs GROUP BY half").fetchall()
        assert first == second >= 2_000


def test_what_backup_and_restore_refuse(_site, tmp_path):
    config = _site.config
    if not config.database.exists():
        gateway = _site.start()
        assert gateway.wait_ready() and gateway.stop() == 0
    good = tmp_path / "good.db"
    assert command("backup", _site.directory, good)[0] == 0
    assert command("backup", _site.directory, good) == (1, f"{good} is there already: name a new file")
    assert command("fsck", _site.directory, "--backup", good, "--mend")[0] == 1
    assert "No such file or directory" in command("backup", _site.directory, tmp_path / "nowhere" / "file")[1]
    before = config.database.read_bytes()

    torn = tmp_path / "torn.db"
    torn.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    spoilt = tmp_path / "spoilt.db"
    shutil.copy(good, spoilt)
    with closing(sqlite3.connect(spoilt)) as connection, connection:
        connection.execute("UPDATE boards SET x = zeroblob(32) WHERE number = 1")
    text = tmp_path / "text.db"
    text.write_text("not a database " * 1_000)
    for file, message in (
        (torn, "broken"),
        (spoilt, "is broken, at boards, number 1"),
        (text, "file is not a database"),
    ):
        code, said = command("restore", _site.directory, file)
        assert code == 1 and message in said, said
    assert "No such file" in command("restore", _site.directory, tmp_path / "missing.db")[1]
    assert config.database.read_bytes() == before
    assert not list(config.data.glob("*.restoring*"))

    gateway = _site.start()
    assert gateway.wait_ready()
    assert "stop it first" in command("restore", _site.directory, good)[1]
    gateway.stop()


def test_cut_at_any_step_a_restore_leaves_the_old_database_or_the_new_one(_site, tmp_path, monkeypatch):
    class Cut(BaseException):
        pass

    def size_of(database):
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return connection.execute("SELECT count(*) FROM rejected").fetchone()[0]

    good = tmp_path / "good.db"
    assert command("backup", _site.directory, good)[0] == 0
    with closing(sqlite3.connect(good)) as connection, connection:
        connection.execute("INSERT INTO rejected VALUES (77, 'size', '', '', x'00', 1, 0)")
    old, new = size_of(_site.config.database), size_of(good)
    left = steps = 0

    def cutting(real):
        def step(*arguments, **named):
            nonlocal left
            left -= 1
            if left < 0:
                raise Cut
            return real(*arguments, **named)

        return step

    for owner, name in ((backup.os, "fsync"), (Path, "replace"), (Path, "rename"), (Path, "hardlink_to")):
        monkeypatch.setattr(owner, name, cutting(getattr(owner, name)))
    found = set()
    while True:
        directory = tmp_path / f"cut-{steps}"
        shutil.copytree(_site.directory, directory)
        settings = load(directory / "gateway.toml")
        left = steps
        work = backup.Restore(settings, good)
        try:
            work.prepare()
            work.compare(lambda log_id: None)
            work.replace()
        except Cut:
            found.add(size_of(settings.database))
        else:
            break
        left = 100
        again = backup.Restore(settings, good)
        again.prepare()
        again.replace()
        assert size_of(settings.database) == new
        steps += 1
    assert size_of(settings.database) == new and steps >= 4
    assert found == {old, new}


def test_a_backup_that_finds_the_disk_full_leaves_nothing(_site, tmp_path, small_disk):
    with pytest.raises(OperatorError, match="check the path and its space"):
        back_up(_site.config.database, small_disk(64) / "backup.db")
