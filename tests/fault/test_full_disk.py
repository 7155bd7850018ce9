"""A full disk, really full: acks stop, the operator is told, and once there is space again all goes on by itself."""

import re
import resource
import time
from contextlib import closing

import pytest
from trigpoint import keyfiles
from trigpoint.fsck.check import Scope, check
from trigpoint.store.database import open_database
from trigpoint_tools.crash.campaign import OFTEN
from trigpoint_tools.crash.witness import Witness

pytestmark = pytest.mark.xdist_group("crash")  # they share a chain and a broker

QUICK = {**OFTEN, "trigpoint.ingest.pipeline._RETRY_MIN_S": 0.05, "trigpoint.ingest.pipeline._RETRY_MAX_S": 0.2}
REFUSED = re.compile(r"database refuses, no acks until .*(database or disk is full|disk I/O error)")


def wait_until_acks_stop(fleet):
    """Return how many statements are acked, once that has not changed for a while."""
    deadline = time.monotonic() + 30
    while True:
        acked = fleet.acked
        if not fleet.wait_acked(acked + 1, 1.0):
            return acked
        assert time.monotonic() < deadline


def clean(made, witness):
    """Nothing acked is lost, nothing is there twice, and every invariant holds."""
    witness.look()
    assert (witness.lost, witness.duplicated, witness.faults) == (0, 0, [])
    with closing(open_database(made.config.database, read_only=True)) as connection:
        report = check(connection, Scope(public=made.config.public, signatures=True))
    assert report.clean, report.broken
    return witness.size


def witness_of(made):
    log_key = keyfiles.load_log_key(made.config.log.key_file).public_key().public_bytes_raw()
    return Witness(made.config, log_key, made.boards)


def test_a_full_disk_stops_acks_and_freed_space_brings_them_back(tmp_path, ground, small_disk):
    made = ground.site(tmp_path / "gateway", boards=4)
    small_disk(8_192, made.config.data)
    gateway, filler = made.start(changes=QUICK), made.config.data / "filler"
    with made.fleet() as fleet:
        assert gateway.wait_ready() and fleet.wait_acked(100)
        with closing(open_database(made.config.database, read_only=True)) as connection:
            report = check(connection, Scope(public=made.config.public))  # while statements come
        assert report.clean and report.statements >= 100, report.broken
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(bytes(65_536))
        acked = wait_until_acks_stop(fleet)
        assert gateway.code() is None
        assert REFUSED.search(gateway.output), gateway.output
        assert "acks resume" not in gateway.output
        filler.unlink()
        assert fleet.wait_acked(acked + 100), gateway.output
        assert "database writes again, acks resume" in gateway.output
        assert fleet.settle()
    assert gateway.stop() == 0
    assert clean(made, witness_of(made)) == fleet.sent


def test_a_start_on_a_full_disk_is_told_in_one_line(tmp_path, ground, small_disk):
    made = ground.site(tmp_path / "gateway", boards=1)
    disk = small_disk(256, made.config.data)
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4_096))
    gateway = made.start()
    assert gateway.wait_end() == 1
    assert re.match(r"error: .*(full|No space left on device)", gateway.output.strip().splitlines()[-1])
    filler.unlink()
    disk_again = small_disk(8_192, made.config.data)  # 256 KiB are not enough to go on with
    assert disk_again == disk
    gateway = made.start()
    assert gateway.wait_ready(), gateway.output
    assert gateway.stop() == 0


def test_writes_that_end_short_lose_nothing(tmp_path, ground):
    """A limit on the size of files cuts the write that crosses it short, and refuses the next one."""
    made = ground.site(tmp_path / "gateway", boards=4)
    with made.fleet() as fleet:
        witness = witness_of(made)
        gateway = made.start(changes=QUICK)
        assert gateway.wait_ready() and fleet.wait_acked(50)
        _, hard = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
        for odd in (1, 100, 2_049, 4_095):
            journal = made.config.database.with_name("trigpoint.db-wal")
            limit = max(journal.stat().st_size, made.config.database.stat().st_size) + odd
            resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (limit, hard))
            acked = wait_until_acks_stop(fleet)
            assert gateway.code() is None, gateway.output
            assert REFUSED.search(gateway.output), gateway.output
            resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (hard, hard))
            assert fleet.wait_acked(acked + 100), gateway.output
        gateway.kill()
        witness.look()
        gateway = made.start(changes=QUICK)
        assert gateway.wait_ready() and fleet.settle()
        assert gateway.stop() == 0
        assert clean(made, witness) == fleet.sent
