"""Cutting the power of the board's journal at every operation of its flash, on the real MicroPython and littlefs.

The flash is a RAM block device that counts each program and each erase and dies at a chosen one. A run appends, acks,
trims, wraps round and restarts; after a cut it mounts again, checks what must hold, and goes on to its end. This is
code for MicroPython, kept as text: `python -m trigpoint_tools.bench` runs it for figures, tests/device/ as tests.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from trigpoint_tools.boardfiles import device_directory
from trigpoint_tools.emulator.interpreter import find_micropython

FLASH = '''
import os, vfs, gc
from hashlib import sha256
from trig import journal
from trig.journal import Journal, JournalError

class Cut(Exception):
    pass

class Flash:
    """Blocks of 4 KiB that die at the operation number `budget` (below 0: never).

    torn < 0: that operation is done whole, and nothing after it. Else it stops in the middle: a program after
    `torn` bytes, the next one half programmed; an erase with the block in disorder. The dead chip takes nothing any
    more: files that the dead run left open are closed by the collector later on.
    """
    SIZE = 4096
    def __init__(self, data):
        self.data = data
        self.budget = -1
        self.torn = -1
        self.count = 0
        self.dead = False
        self.erases = [0] * len(data)
    def _spend(self):
        self.count += 1
        if self.budget >= 0:
            self.budget -= 1
            self.dead = self.budget < 0
        return self.dead
    def readblocks(self, block, buf, offset=0):
        if not self.dead:
            buf[:] = memoryview(self.data[block])[offset : offset + len(buf)]
    def writeblocks(self, block, buf, offset=0):
        if self.dead:
            return
        cut = self._spend()
        n = len(buf)
        if cut and self.torn >= 0:
            n = min(self.torn, n - 1)
            self.data[block][offset + n] &= buf[n] | 0x55
        self.data[block][offset : offset + n] = memoryview(buf)[:n]
        if cut:
            raise Cut
    def ioctl(self, op, arg):
        if op == 4:
            return len(self.data)
        if op == 5:
            return self.SIZE
        if op == 6 and not self.dead:
            cut = self._spend()
            self.erases[arg] += 1
            if not cut or self.torn < 0:
                self.data[arg][:] = b"\\xff" * self.SIZE
            else:
                self.data[arg][self.torn :] = b"\\x5a" * (self.SIZE - self.torn)
            if cut:
                raise Cut
        return 0

KID = bytes(range(32))

def fresh(blocks=32):
    flash = Flash([bytearray(b"\\xff" * 4096) for _ in range(blocks)])
    vfs.VfsLfs2.mkfs(flash)
    vfs.mount(flash, "/flash")
    return flash

def power_on(flash):
    vfs.umount("/flash")
    flash = Flash([bytearray(block) for block in flash.data])
    vfs.mount(flash, "/flash")
    return flash

def write(name, data):
    with open(name, "wb") as file:
        file.write(data)

def open_journal(**limits):
    j = Journal("/flash/journal", KID, **limits)
    return j, j.recover()

def body(seq, attempt, size):
    return (b"%d/%d/" % (seq, attempt) * (size // 4 + 1))[:size]

def held(j, seq):
    stored = j.stored(seq)
    return b"".join([bytes(stored[at : at + 512]) for at in range(0, len(stored), 512)])
'''

# `Truth` is what the world may have seen: a statement goes out once append has returned. `check` compares a journal
# that has just been recovered with it, and with what the operation under way may have changed.
RUN = """
LIMITS = dict(segment_bytes=6000, segments=3)

class Truth:
    def __init__(self):
        self.stored = {}  # seq: bytes
        self.signed = None  # (seq, bytes) on its way to flash
        self.acked = -1  # an ack that the journal has taken
        self.acking = -1  # the same, or one on its way to flash
        self.oldest = 0  # the lowest seq that must be held, had the operation under way been finished
        self.born = False

def check(j, truth):
    stored = truth.stored
    if truth.signed and j.next_seq == truth.signed[0] + 1:
        # The cut came after the record was whole and before append returned: then it is that very statement.
        stored[truth.signed[0]] = truth.signed[1]
    truth.signed = None
    assert j.next_seq == len(stored), ("next", j.next_seq, len(stored))
    assert j.prev == (sha256(stored[j.next_seq - 1]).digest() if stored else bytes(32)), "prev"
    assert truth.acked <= j.acked <= truth.acking, ("acked", truth.acked, j.acked, truth.acking)
    truth.acked = truth.acking = j.acked
    assert j.oldest <= truth.oldest, ("lost", j.oldest, truth.oldest)
    truth.oldest = j.oldest
    assert j.damaged == 0
    for seq in range(j.oldest, j.next_seq):
        assert held(j, seq) == stored[seq], ("body", seq)

def start(truth):
    j, ok = open_journal(**LIMITS)
    if not ok:
        assert not truth.born, "journal gone"
        j.create()
        truth.born = True
    check(j, truth)
    return j

def append(j, truth, data):
    full = j._sealed or j._size + 88 + 4096 > 6000
    truth.oldest = j._firsts[1] if full and len(j._firsts) == 3 else j.oldest
    j.make_room()
    assert j.oldest == truth.oldest
    seq = j.next_seq
    assert seq == len(truth.stored), "a seq for the second time"
    data = body(seq, data[0], data[1])
    truth.signed = (seq, data)
    j.append(data)
    assert j.oldest == truth.oldest, "oldest changed after signing"
    truth.stored[seq] = data
    truth.signed = None

def ack(flash, j, truth, seq):
    truth.acking = max(truth.acking, seq)
    truth.oldest = max(j.oldest, min(seq + 1, j.next_seq))
    j.ack(seq)
    if flash.dead:
        raise Cut  # to ack, a flash that refuses is no fault; here it is the end
    truth.acked = truth.acking
    truth.oldest = j.oldest

def scenario(flash, cuts, torn, steps):
    # Return how many cuts came. cuts: the operation at which each life ends; the last life has no end.
    truth = Truth()
    came = 0
    flash.torn = torn
    flash.budget = cuts[0]
    step = 0
    attempt = 0
    j = None
    while True:
        try:
            if j is None:
                j = start(truth)
            if step == steps:
                return came
            if step % 11 == 10:
                vfs.umount("/flash")
                vfs.mount(flash, "/flash")
                j = None
            else:
                attempt += 1
                append(j, truth, (attempt, 150 + step * 397 % 1900))
                if step % 4 == 3 and step % 26 < 16:
                    ack(flash, j, truth, j.next_seq - 2)
            step += 1
        except (Cut, OSError, JournalError) as error:
            # Closing or reading a file on the dead flash raises in its turn.
            if not flash.dead:
                raise AssertionError(repr(error))
            came += 1
            flash = power_on(flash)
            flash.torn = torn
            flash.budget = cuts[came] if came < len(cuts) else -1
            j = None

def operations(steps):
    flash = fresh()
    before = flash.count
    assert scenario(flash, [-1], -1, steps) == 0
    vfs.umount("/flash")
    return flash.count - before

def tried(cuts, torn, steps):
    # Return None, or what went wrong.
    flash = fresh()
    try:
        assert scenario(flash, cuts, torn, steps) >= 1, "no cut"
    except Exception as error:
        return repr(error)
    finally:
        vfs.umount("/flash")
        flash = None
        gc.collect()
"""

_EVERY = """
import json
count = operations(STEPS)
points = 0
failed = []
for cut in range(FIRST, count, EVERY):
    points += 1
    cuts = [cut, cut % AGAIN] if AGAIN else [cut]
    why = tried(cuts, TORN, STEPS)
    if why:
        failed.append((cuts, TORN, why))
print(json.dumps([count, points, failed]))
"""

WHOLE = -1
"""The operation at which power goes is done whole."""


@dataclass(frozen=True)
class Outcome:
    """What came of cutting the power.

    Attributes:
        operations: programs and erases in the run when nothing is cut.
        points: how many runs were cut.
        failures: what went wrong, one line for each run that did.
    """

    operations: int
    points: int
    failures: tuple[str, ...]


def cut_everywhere(
    steps: int = 30,
    torn: Sequence[int] = (WHOLE, 16),
    again: Sequence[int] = (),
    every: int = 1,
    timeout: float = 250,
) -> Outcome:
    """Cut the power of a run at each of its programs and erases, or at a part of them.

    Args:
        steps: length of the run; 30 steps wrap the journal round and restart it twice.
        torn: where in the operation: after so many bytes, or WHOLE.
        again: for each n, repeat it all with a second cut less than n operations after the first.
        every: at each n-th operation only; another one of each n for each kind of cut.
        timeout: seconds for each kind.

    Raises:
        EmulatorError: MicroPython or the board's files are missing.
        RuntimeError: the code itself failed.
    """
    operations = points = 0
    failures: list[str] = []
    for kind, (second, bytes_done) in enumerate(product((0, *again), torn)):
        parameters = f"STEPS, TORN, AGAIN, FIRST, EVERY = {steps}, {bytes_done}, {second}, {kind % every}, {every}\n"
        operations, cut, found = json.loads(micropython(FLASH + RUN + parameters + _EVERY, timeout=timeout))
        points += cut
        failures += [f"cut at {cuts}, torn {torn_}: {why}" for cuts, torn_, why in found]
    return Outcome(operations, points, tuple(failures))


def micropython(code: str, *, heap: str = "1m", timeout: float = 120) -> bytes:
    """Run code with the board's modules in reach; return the last line that it printed.

    Raises:
        EmulatorError: MicroPython or the board's files are missing.
        RuntimeError: the code failed; the message is what it said last.
    """
    done = subprocess.run(
        [find_micropython(), "-X", f"heapsize={heap}", "-c", code],
        capture_output=True,
        check=False,
        timeout=timeout,
        env={**os.environ, "MICROPYPATH": f"{device_directory()}:.frozen"},
    )
    if done.returncode:
        raise RuntimeError(f"MicroPython: {done.stderr.decode(errors='replace')[-2000:]}")
    return done.stdout.splitlines()[-1]
