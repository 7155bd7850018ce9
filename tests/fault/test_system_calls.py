"""Each file-system call of a gateway fails in turn, or is its last: it keeps its word, and goes on."""

import random
import re
from collections import Counter
from contextlib import closing

import pytest
from trigpoint import keyfiles
from trigpoint.fsck.check import Scope, check
from trigpoint.store.database import open_database
from trigpoint_tools.crash import faults
from trigpoint_tools.crash.campaign import OFTEN
from trigpoint_tools.crash.faults import GROWING, WRITING, Fault
from trigpoint_tools.crash.witness import Witness

pytestmark = pytest.mark.xdist_group("crash")  # they share a chain and a broker

CHANGES = {**OFTEN, "trigpoint.ingest.pipeline._RETRY_MIN_S": 0.05, "trigpoint.ingest.pipeline._RETRY_MAX_S": 0.5}


@pytest.fixture
def made(tmp_path, ground):
    why = faults.missing()
    if why:
        pytest.skip(why)
    return ground.site(tmp_path / "gateway", boards=2)


def every_fault(last):
    """All faults worth trying: an error at each call, a full disk where one can be found, a kill where one matters."""
    for call, number in last.items():
        for how, calls in (("EIO", last), ("ENOSPC", GROWING), ("KILL", WRITING)):
            if call in calls:
                yield from (Fault(call, at, how) for at in range(1, number + 1))


def sample(last, number):
    """Some of them, none of the kinds left out."""
    dice, kinds = random.Random(number), {}
    for fault in every_fault(last):
        kinds.setdefault((fault.call, fault.how), []).append(fault)
    chosen = [dice.choice(some) for some in kinds.values()]
    return dice.sample(chosen, min(number, len(chosen)))


@pytest.mark.parametrize("number", [12, pytest.param(None, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])])
def test_any_call_may_fail_or_be_the_last(made, number):
    log_key = keyfiles.load_log_key(made.config.log.key_file).public_key().public_bytes_raw()
    witness, endings, wrong = Witness(made.config, log_key, made.boards), Counter(), []
    with made.fleet(flowing=False) as fleet:
        last = faults.calls(made, fleet, CHANGES)
        assert {"openat", "pwrite64", "fdatasync", "fsync"} <= set(last), last
        for fault in sample(last, number) if number else every_fault(last):
            ending = faults.run(made, fleet, fault, CHANGES)
            witness.look()
            endings[judge(fault, ending)] += 1
            if judge(fault, ending) == "wrong":
                wrong.append(f"{fault}: {ending}")
            gateway = made.start(changes=CHANGES)
            if not (gateway.wait_ready() and fleet.settle(30) and gateway.stop() == 0):
                wrong.append(f"after {fault}, in the next run: {gateway.output}")
                gateway.kill()
            witness.look()
            assert (witness.lost, witness.duplicated, witness.faults) == (0, 0, []), fault
    assert not wrong, "\n".join(wrong)
    assert endings["came over it"] and endings["killed"], endings
    with closing(open_database(made.config.database, read_only=True)) as connection:
        report = check(connection, Scope(made.config.public, log_key, signatures=True))
    assert report.clean, report.broken
    assert report.statements == fleet.acked == fleet.sent


def judge(fault, ending):
    if fault.how == "KILL" and ending.code == -9:
        return "killed"
    if ending.kept_going:
        return "came over it"
    if ending.gave_up_clearly:
        return "ended with one line"
    # What is not about our files, such as a library that Python cannot read, is only held to the promises.
    return "wrong" if ending.on_data else "elsewhere"


def test_an_ack_leaves_only_after_the_journal_is_on_the_disk(made):
    """The one promise that no kill can test: a power cut takes what was written and not synced."""
    with made.fleet(flowing=False) as fleet:
        text = faults.trace(made, fleet, {}, ("pwrite64", "fdatasync", "sendto"))
    acks, unsynced, syncing = 0, False, set()
    for line in text.splitlines():
        thread = line.split()[0]
        if "pwrite64(" in line and "trigpoint.db-wal" in line:
            unsynced = True
        elif "fdatasync(" in line and "trigpoint.db-wal" in line:
            syncing.add(thread)
        if "fdatasync" in line and line.endswith("= 0") and thread in syncing:
            syncing.remove(thread)
            unsynced = False
        if "sendto(" in line and re.search(r"trig/1/[0-9a-f]{64}/a", line):
            assert not unsynced, line
            acks += 1
    assert acks >= 4, text
