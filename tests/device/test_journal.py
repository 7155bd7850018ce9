"""The journal under the real MicroPython, on littlefs over a RAM block device that can lose power at any operation."""

import pytest
from boardrunner import run
from trigpoint_tools.powercut import FLASH, WHOLE, cut_everywhere


def test_power_cut_at_programs_and_erases() -> None:
    """No stored statement lost, no seq used with two bodies, prev, acked and oldest right, wherever the power goes.

    A third of the operations are cut, another third inside; `make bench` and the soak test cut each of them.
    """
    outcome = cut_everywhere(every=3)
    assert outcome.points >= 500
    assert outcome.failures == ()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("steps", "torn", "again"),
    [(30, (WHOLE, 16), ()), (30, (0, 1, 31, 100), (2, 5, 17, 60)), (120, (WHOLE, 8), ())],
    ids=["once", "twice", "long"],
)
def test_power_cut_at_every_program_and_erase(steps: int, torn: tuple[int, ...], again: tuple[int, ...]) -> None:
    outcome = cut_everywhere(steps, torn, again, timeout=3600)
    assert outcome.points == len(torn) * (1 + len(again)) * outcome.operations >= 1000
    assert outcome.failures == ()


def _board(code: str, heap: str = "600k", timeout: float = 60) -> str:
    return run(FLASH + code, heap=heap, timeout=timeout)


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
    j.stored(j.oldest - 1)
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


_FLIPS = """
flash = fresh(64)
j, _ = open_journal()
j.create()
for seq in range(3):
    j.make_room()
    j.append(body(seq, 0, 60))
    if seq == 1:
        j.ack(0)
prev = j.prev
name = "/flash/journal/" + os.listdir("/flash/journal")[0]
with open(name, "rb") as file:
    good = file.read()
assert len(good) == 160 + 3 * (88 + 60) + 44
tails = [160 + 148 * n + 104 for n in range(2)] + [160 + 148 * 3]
for at in range(len(good)):
    for bit in range(8):
        bad = bytearray(good)
        bad[at] ^= 1 << bit
        write(name, bad)
        j, ok = open_journal()
        assert ok and j.next_seq == 3 and j.prev == prev, at
        lost = 0
        for seq in range(3):
            try:
                assert held(j, seq) == body(seq, 0, 60)
            except JournalError:
                lost += 1
        # Header and tail are second copies; a mark costs an ack; all else one statement, and each is noticed.
        spare = at < 160 or any(tail <= at < tail + 44 for tail in tails)
        mark = 160 + 2 * 148 <= at < 160 + 2 * 148 + 44
        assert lost == 0 if spare or mark else lost == 1 and j.damaged, (at, lost, j.damaged)
        assert j.acked == (-1 if mark else 0), at
    if at % 16 == 0:
        j.make_room()
        j.append(b"more")
        j, ok = open_journal()
        assert held(j, 3) == b"more"
        for extra in os.listdir("/flash/journal"):
            if "/flash/journal/" + extra != name:
                os.remove("/flash/journal/" + extra)
"""


def test_flipped_bits_are_found_and_cost_one_statement_and_never_its_seq() -> None:
    """Every bit of the file is flipped in turn."""
    _board(_FLIPS)


def test_damage_in_many_places_leaves_what_is_whole() -> None:
    """Random damage to a wrapped journal: what is readable is right, and the board goes on with the next seq."""
    _board("""
import random
random.seed(5)
LIMITS = dict(segment_bytes=6000, segments=3)
for turn in range(30):
    fresh(48)
    j, _ = open_journal(**LIMITS)
    j.create()
    for seq in range(25):
        j.make_room()
        j.append(body(seq, 0, 700))
    for name in os.listdir("/flash/journal"):
        path = "/flash/journal/" + name
        with open(path, "rb") as file:
            data = bytearray(file.read())
        for _ in range(random.randint(0, 6)):
            # Not in the chain's end: what the newest head and tail both say cannot be known if both are gone.
            data[random.randint(0, len(data) - 800)] ^= 1 << random.randint(0, 7)
        write(path, data)
    j, ok = open_journal(**LIMITS)
    assert ok and j.next_seq == 25 and j.prev == sha256(body(24, 0, 700)).digest()
    for seq in range(j.oldest, 25):
        try:
            assert held(j, seq) == body(seq, 0, 700)
        except JournalError:
            j.abandon(seq)
    for seq in range(25, 40):
        j.make_room()
        j.append(body(seq, 0, 700))
        assert held(j, seq) == body(seq, 0, 700)
    vfs.umount("/flash")
""")


def test_wear_is_spread() -> None:
    """A statement and its ack erase about two blocks, and no block is erased far more often than the others."""
    _board(
        """
flash = fresh(256)
j, _ = open_journal()
j.create()
flash.erases = [0] * 256
for seq in range(1500):
    j.make_room()
    j.append(body(seq, 0, 600))
    j.ack(seq)
erases = [count for count in flash.erases if count]
assert len(erases) > 240
assert sum(erases) * 4096 < 1500 * 9500
assert max(erases) < 6 * sum(erases) // len(erases)
""",
        heap="3m",
    )


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
    j.append(body(seq, 0, 876))
assert len(os.listdir("/flash/journal")) == 1 and j._size + 44 > 5000
j.ack(4)
assert len(os.listdir("/flash/journal")) == 1 and j._size == 160
j, ok = open_journal(segment_bytes=5000, segments=4)
assert ok and (j.next_seq, j.acked, j.oldest) == (5, 4, 5) and j.prev == sha256(body(4, 0, 876)).digest()
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
