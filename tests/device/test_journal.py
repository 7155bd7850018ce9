"""The journal under the real MicroPython, on littlefs over a RAM block device that can lose power at any write."""

import json

import pytest
from boardrunner import run

# A flash of 4 KiB blocks. `budget` counts down with every program or erase; at zero the power goes: that operation is
# done in part (the first half of a program, or an erase that leaves garbage), and nothing reaches this object's data
# any more. What survives is a copy: files that the dead run left open are closed by the collector later on.
FLASH = """
import os, vfs, gc
from hashlib import sha256
from trig import journal
from trig.journal import Journal, JournalError

class Cut(Exception):
    pass

class Flash:
    SIZE = 4096
    def __init__(self, data):
        self.data = data
        self.budget = -1
        self.count = 0
        self.dead = False
    def _spend(self):
        self.count += 1
        if self.budget >= 0:
            self.budget -= 1
            if self.budget < 0:
                self.dead = True
        return self.dead
    def readblocks(self, block, buf, offset=0):
        if self.dead:
            return
        buf[:] = memoryview(self.data[block])[offset : offset + len(buf)]
    def writeblocks(self, block, buf, offset=0):
        if self.dead:
            return
        cut = self._spend()
        n = len(buf) // 2 if cut else len(buf)
        self.data[block][offset : offset + n] = memoryview(buf)[:n]
        if cut:
            raise Cut
    def ioctl(self, op, arg):
        if self.dead:
            return 0
        if op == 4:
            return len(self.data)
        if op == 5:
            return self.SIZE
        if op == 6:
            cut = self._spend()
            self.data[arg][:] = (b"\\x5a" if cut else b"\\xff") * self.SIZE
            if cut:
                raise Cut
            return 0
        return 0

KID = bytes(range(32))
buffer = bytearray(4096)

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
    return bytes(buffer[: j.read(seq, buffer)])
"""

# The run that is cut: it appends statements of changing sizes, acks now and then, wraps round, and restarts; after a
# cut it mounts, recovers, checks what must hold, and goes on to the end. `truth` is what a gateway may have seen.
POWER_CUT = """
LIMITS = dict(segment_bytes=6000, segments=3)

def scenario(flash, cut_at):
    truth = {}
    state = {"attempt": 0, "signed": None, "acked": -1, "cuts": 0, "born": False}
    flash.budget = cut_at
    step = 0
    j = None
    while step < 30:
        try:
            if j is None:
                j, ok = open_journal(**LIMITS)
                if not ok:
                    assert not state["born"], "journal gone"
                    j.create()
                    state["born"] = True
                check(j, truth, state)
            if step % 11 == 10:
                j = None
            else:
                state["attempt"] += 1
                j.make_room()
                seq, oldest = j.next_seq, j.oldest
                assert oldest <= seq
                data = body(seq, state["attempt"], 150 + (step * 397) % 1900)
                state["signed"] = (seq, data)
                j.append(data)
                assert j.oldest == oldest, "oldest changed after signing"
                assert seq not in truth, "seq used twice"
                truth[seq] = data
                state["signed"] = None
                if step % 4 == 3 and step < 16:
                    acked = j.next_seq - 2
                    j.ack(acked)
                    state["acked"] = max(state["acked"], acked)
            step += 1
        except (Cut, OSError, JournalError):
            # Closing or reading a file on the dead flash raises in its turn.
            assert flash.dead
            state["cuts"] += 1
            flash = power_on(flash)
            j = None
    j, ok = open_journal(**LIMITS)
    assert ok
    check(j, truth, state)
    return state["cuts"]

def check(j, truth, state):
    top = max(truth) if truth else -1
    if j.next_seq == top + 2:
        # The cut came after the record was whole and before append returned: then it must be that very statement.
        seq, data = state["signed"]
        assert seq == top + 1
        truth[seq] = data
        top += 1
    state["signed"] = None
    assert j.next_seq == top + 1, ("next", j.next_seq, top)
    if truth:
        assert j.prev == sha256(truth[top]).digest(), "prev"
    assert j.acked <= top
    assert j.acked >= state["acked"] or state["cuts"], ("acked", j.acked, state["acked"])
    state["acked"] = j.acked
    assert j.oldest == 0 or j.oldest - 1 <= j.acked or j.dropped or wrapped(j)
    for seq in range(j.oldest, j.next_seq):
        assert held(j, seq) == truth[seq], ("body", seq)

def wrapped(j):
    return len(os.listdir("/flash/journal")) >= 2
"""


def test_power_cut_at_every_block_write() -> None:
    """No stored statement lost, no seq used with two bodies, prev and oldest right, wherever the power goes."""
    output = run(
        FLASH
        + POWER_CUT
        + """
flash = fresh()
start = flash.count
assert scenario(flash, -1) == 0
points = flash.count - start
vfs.umount("/flash")
failed = []
for cut_at in range(points):
    flash = fresh()
    try:
        assert scenario(flash, cut_at) == 1
    except AssertionError as error:
        failed.append((cut_at, repr(error)))
    vfs.umount("/flash")
    flash = None
    gc.collect()
import json
print(json.dumps({"points": points, "failed": failed}))
""",
        heap="1m",
        timeout=200,
    )
    result = json.loads(output.splitlines()[-1])
    assert result["points"] >= 200
    assert result["failed"] == []


def _board(code: str) -> str:
    return run(FLASH + code, heap="600k")


def test_nothing_of_this_key_is_no_journal() -> None:
    _board("""
fresh()
j, ok = open_journal()
assert not ok
j.create()
j.append(b"one")
other = Journal("/flash/journal", bytes(32))
assert not other.recover()
assert other.next_seq == 0
j, ok = open_journal()
assert ok and j.next_seq == 1 and held(j, 0) == b"one"
for name in os.listdir("/flash/journal"):
    os.remove("/flash/journal/" + name)
j, ok = open_journal()
assert not ok
""")


def test_full_journal_drops_the_oldest_and_says_so_before_signing() -> None:
    _board("""
fresh(64)
j, _ = open_journal(segment_bytes=5000, segments=3)
j.create()
for seq in range(40):
    j.make_room()
    oldest = j.oldest
    j.append(body(seq, 0, 900))
    assert j.oldest == oldest
    total = sum(os.stat("/flash/journal/" + n)[6] for n in os.listdir("/flash/journal"))
    assert total <= 3 * 5000
assert j.oldest > 20 and j.dropped == j.oldest
for seq in range(j.oldest, 40):
    assert held(j, seq) == body(seq, 0, 900)
try:
    j.read(j.oldest - 1, buffer)
    raise SystemExit("read what is gone")
except JournalError as error:
    assert str(j.oldest - 1) in str(error)
again, ok = open_journal(segment_bytes=5000, segments=3)
assert ok and (again.oldest, again.next_seq, again.prev) == (j.oldest, 40, j.prev)
""")


def test_ack_is_remembered_and_trims_whole_segments() -> None:
    _board("""
fresh(64)
j, _ = open_journal(segment_bytes=5000, segments=8)
j.create()
for seq in range(20):
    j.make_room()
    j.append(body(seq, 0, 900))
files = len(os.listdir("/flash/journal"))
j.ack(7)
j.ack(3)
j.ack(20)
assert j.acked == 7 and j.depth == 12
assert 0 < j.oldest <= 8 and len(os.listdir("/flash/journal")) < files
j, ok = open_journal(segment_bytes=5000, segments=8)
assert ok and j.acked == 7 and j.dropped == 0
j.ack(19)
j, ok = open_journal(segment_bytes=5000, segments=8)
assert j.acked == 19 and j.depth == 0 and j.next_seq == 20
assert j.prev == sha256(body(19, 0, 900)).digest()
assert len(os.listdir("/flash/journal")) == 1
""")


def test_flipped_bits_cost_one_statement_and_never_its_seq() -> None:
    """Every byte of the file is flipped in turn; at most one of three statements may become unreadable."""
    _board("""
flash = fresh(64)
j, _ = open_journal()
j.create()
for seq in range(3):
    j.make_room()
    j.append(body(seq, 0, 60))
prev = j.prev
name = "/flash/journal/" + os.listdir("/flash/journal")[0]
with open(name, "rb") as file:
    good = file.read()
for at in range(80, len(good)):
    bad = bytearray(good)
    bad[at] ^= 1 << at % 8
    write(name, bad)
    j, ok = open_journal()
    assert ok and j.next_seq == 3 and j.prev == prev, at
    readable = 0
    for seq in range(j.oldest, 3):
        try:
            assert held(j, seq) == body(seq, 0, 60)
            readable += 1
        except JournalError:
            pass
    assert readable >= 2, at
    if at % 16 == 0:
        j.make_room()
        j.append(b"more")
        j, ok = open_journal()
        assert held(j, 3) == b"more"
        for extra in os.listdir("/flash/journal"):
            if "/flash/journal/" + extra != name:
                os.remove("/flash/journal/" + extra)
""")


def test_damaged_statement_can_be_given_up() -> None:
    _board("""
fresh()
j, _ = open_journal()
j.create()
for seq in range(5):
    j.make_room()
    j.append(body(seq, 0, 60))
j.abandon(2)
assert j.oldest == 3 and j.dropped == 3 and j.depth == 2
j.abandon(1)
assert j.oldest == 3 and held(j, 3)
""")


def test_trim_stops_at_the_last_acked_statement() -> None:
    """For every ack: what comes after it can still be read, and no whole segment of acked ones is kept."""
    _board("""
flash = fresh(64)
for acked in range(20):
    j, _ = open_journal(segment_bytes=5000, segments=8)
    j.create()
    for seq in range(20):
        j.make_room()
        j.append(body(seq, 0, 900))
    j.ack(acked)
    for seq in range(acked + 1, 20):
        assert held(j, seq) == body(seq, 0, 900)
    assert len(j._firsts) == 1 or j._firsts[1] > acked + 1
""")


def test_segment_without_a_statement_still_tells_where_the_chain_stands() -> None:
    """The note of an ack that no longer fits opens a segment, and all the others go."""
    _board("""
fresh(64)
j, _ = open_journal(segment_bytes=5000, segments=4)
j.create()
for seq in range(5):
    j.make_room()
    j.append(body(seq, 0, 892))
assert len(os.listdir("/flash/journal")) == 1 and j._size + 44 > 5000
j.ack(4)
assert len(os.listdir("/flash/journal")) == 1 and j._size == 80
j, ok = open_journal(segment_bytes=5000, segments=4)
assert ok and (j.next_seq, j.acked, j.oldest) == (5, 4, 5) and j.prev == sha256(body(4, 0, 892)).digest()
""")


def test_damaged_newest_segment_of_a_full_journal() -> None:
    """Room is made before signing, also where the reason for a new segment is damage."""
    _board("""
fresh(64)
j, _ = open_journal(segment_bytes=12000, segments=2)
j.create()
for seq in range(14):
    j.make_room()
    j.append(body(seq, 0, 900))
names = sorted(os.listdir("/flash/journal"))
assert len(names) == 2
with open("/flash/journal/" + names[1], "ab") as file:
    file.write(b"noise")
j, ok = open_journal(segment_bytes=12000, segments=2)
assert ok and j.next_seq == 14
j.make_room()
oldest = j.oldest
j.append(b"more")
assert j.oldest == oldest > 0 and held(j, 14) == b"more"
""")


@pytest.mark.parametrize("size", [0, 4097])
def test_length_out_of_bounds_is_refused(size: int) -> None:
    _board(f"""
fresh()
j, _ = open_journal()
j.create()
try:
    j.append(bytes({size}))
    raise SystemExit("taken in")
except JournalError:
    pass
assert j.next_seq == 0
""")


def test_flash_full_is_an_error_that_passes() -> None:
    """When the file system refuses a write, the record does not count, and later ones go in once there is room."""
    _board("""
flash = fresh(16)
j, _ = open_journal()
j.create()
j.append(b"first")
fillers = 0
try:
    while True:
        fillers += 1
        write("/flash/filler%d" % fillers, bytes(4096))
except OSError:
    pass
refused = 0
for n in range(8):
    j.make_room()
    try:
        j.append(bytes(4000))
    except OSError:
        refused += 1
assert refused
top = j.next_seq
for n in range(1, fillers):
    os.remove("/flash/filler%d" % n)
j.make_room()
j.append(b"after")
j, ok = open_journal()
assert ok and j.next_seq == top + 1 and held(j, top) == b"after"
""")
