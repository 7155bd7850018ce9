"""Kills a gateway again and again, while boards send, and counts what that cost."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from trigpoint import keyfiles

from trigpoint_tools.crash.fleet import Fleet
from trigpoint_tools.crash.site import Site
from trigpoint_tools.crash.starter import Changes, Started
from trigpoint_tools.crash.witness import Witness

OFTEN: Changes = {
    "trigpoint.service._TICK_S": 0.05,
    "trigpoint.service.Pace": {"linger_s": 0.02, "log_s": 0.15, "index_s": 0.25},
}
"""What happens rarely in the field, and often here, so that many kills fall into it."""

_RUN_S = 0.4
_LONG_RUN_S = 3.0
"""Long enough for an anchor to be sent, mined and settled."""
_START_S = 0.3
_RECOVERY_S = 10.0
_ORPHANS_S = 5.0
_LAST_S = 60.0


@dataclass
class Result:
    """What the kills cost.

    Attributes:
        kills: how many, by kind.
        stored: statements on the disk in the end.
        acked: statements whose boards were told so.
        lost: acked, but not there.
        duplicated: there twice.
        faults: everything else that went wrong, one line each.
        seconds: that it took.
    """

    kills: Counter[str] = field(default_factory=Counter)
    stored: int = 0
    acked: int = 0
    lost: int = 0
    duplicated: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run(
    site: Site, kills: int, *, seed: int, changes: Changes = OFTEN, report: Callable[[str], None] = print
) -> Result:
    """Kill the gateway so many times, look at the disk after each, and let it finish in the end.

    A kill is of one of these kinds, by chance: all processes while it starts; all processes while it runs; its first
    process alone, after which the others must end by themselves; one of the others, after which it must go on by itself
    or end with a line that says why.
    """
    dice = random.Random(seed)  # noqa: S311
    result = Result()
    log_key = keyfiles.load_log_key(site.config.log.key_file).public_key().public_bytes_raw()
    witness = Witness(site.config, log_key, site.boards)
    began = time.monotonic()
    with site.fleet() as fleet:
        for number in range(1, kills + 1):
            gateway = site.start(changes=changes)
            kind = _kill(gateway, fleet, dice, result.faults)
            result.kills[kind] += 1
            witness.look()
            if number % 20 == 0 or number == kills:
                report(f"{number} kills: {witness.size} stored, {fleet.acked} acked, {witness.lost} lost")
        gateway = site.start(changes=changes)
        if not gateway.wait_ready():
            result.faults.append(f"after the last kill it did not start: {_last_line(gateway)}")
        elif not fleet.settle(_LAST_S):
            result.faults.append(f"{fleet.sent - fleet.acked} statements were not acked after the last kill")
        code = gateway.stop()
        if code != 0:
            result.faults.append(f"asked to stop, it ended with {code}: {_last_line(gateway)}")
        witness.look()
        result.acked = fleet.acked
    result.stored, result.lost, result.duplicated = witness.size, witness.lost, witness.duplicated
    result.faults += witness.faults
    result.seconds = time.monotonic() - began
    return result


def _kill(gateway: Started, fleet: Fleet, dice: random.Random, faults: list[str]) -> str:
    """Kill a gateway that has just been started, in one way of several, and return its name."""
    if dice.random() < 0.2:
        time.sleep(dice.random() * _START_S)
        gateway.kill()
        return "while it started"
    if not gateway.wait_ready():
        faults.append(f"it did not start: {_last_line(gateway)}")
        gateway.kill()
        return "not started"
    if dice.random() < 0.7:
        fleet.wait_acked(fleet.acked + 1, _RECOVERY_S)  # the workers take statements now
    time.sleep(dice.random() * (_LONG_RUN_S if dice.random() < 0.1 else _RUN_S))
    workers = gateway.workers()
    chance = dice.random()
    if workers and chance < 0.15:
        _kill_worker(gateway, dice.choice(workers), fleet, faults)
        gateway.kill()
        return "one worker"
    if workers and chance < 0.3:
        os.kill(gateway.pid, signal.SIGKILL)
        if not _group_ends(gateway.pid):
            faults.append("its first process was killed, and others live on without it")
        gateway.kill()
        return "first process"
    gateway.kill()
    return "all processes"


def _kill_worker(gateway: Started, worker: int, fleet: Fleet, faults: list[str]) -> None:
    acked = fleet.acked
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, signal.SIGKILL)
    # What was in flight before the kill may still be acked, so more than that must be.
    going_on = fleet.wait_acked(acked + 2 * sum(len(board.sent) - board.acked for board in fleet.boards), _RECOVERY_S)
    if not going_on and (gateway.code() is None or "error: " not in gateway.output):
        faults.append("one of its workers was killed; it neither goes on nor has ended with a word")


def _group_ends(group: int) -> bool:
    deadline = time.monotonic() + _ORPHANS_S
    while time.monotonic() < deadline:
        if not _living(group):
            return True
        time.sleep(0.02)
    return False


def _living(group: int) -> bool:
    """Tell whether the group has a process that is no zombie."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    with contextlib.suppress(OSError):
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError), open(f"/proc/{entry.name}/stat") as file:  # noqa: PTH123
                    state, _, in_group = file.read().rpartition(")")[2].split()[:3]
                    if int(in_group) == group and state != "Z":
                        return True
    return False


def _last_line(gateway: Started) -> str:
    return (gateway.output.strip().splitlines() or ["it printed nothing"])[-1]
