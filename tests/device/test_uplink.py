"""The uplink: which statement goes out when, and which acks count (protocol, section 6)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from boardrunner import BoardError, BoardProcess, run
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from ramflash import RAM_FLASH
from trigpoint.wire import ack
from trigpoint.wire.keys import PublicKey

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess("from trig.uplink import open_ack", heap="600k") as process:
        yield process


# -- acks


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**63 - 1))
@settings(max_examples=100, deadline=None)
def test_gateways_acks_open(board: BoardProcess, seq: int, time_ms: int) -> None:
    assert board.call("open_ack", KEY, ack.seal(KEY, seq, time_ms)) == [seq, time_ms]


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_other_bytes_are_an_ack_error(board: BoardProcess, data: st.DataObject) -> None:
    good = bytearray(ack.seal(KEY, 300, 1_700_000_000_000))
    if data.draw(st.booleans()):
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(good) - 1))
            good[at] ^= data.draw(st.integers(1, 255))
    else:
        good = bytearray(data.draw(st.binary(max_size=200)))
    if bytes(good) == ack.seal(KEY, 300, 1_700_000_000_000):
        return
    with pytest.raises(BoardError) as caught:
        board.call("open_ack", KEY, bytes(good))
    assert caught.value.kind == "AckError"


def test_ack_key_is_the_gateways() -> None:
    link = ec.derive_private_key(77, ec.SECP256R1())
    board_key = ec.derive_private_key(99, ec.SECP256R1())
    numbers = link.public_key().public_numbers()
    link_key = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    printed = run(f"""
from trig.keys import KeyPair
from trig.signer import Signer
key = KeyPair((99).to_bytes(32, "big"))
print(Signer(key, None, None, b"").ack_key({link_key!r}).hex())
""")
    assert bytes.fromhex(printed) == ack.derive_key(link, PublicKey.of(board_key))


# -- the window

_WINDOW = """
from trig.uplink import Window
w = Window(30000)

def burst(oldest, acked, next_seq, now):
    out = []
    while True:
        seq = w.choose(oldest, acked, next_seq, now)
        if seq is None:
            return out
        w.sent(seq, oldest, acked, now)
        out.append(seq)
"""


def test_window_opens_with_acks_and_stays_in_order() -> None:
    run(
        _WINDOW
        + """
w.restart(0)
assert burst(0, -1, 0, 0) == []
assert burst(0, -1, 100, 0) == [0]
w.acked(10)
assert burst(0, 0, 100, 10) == [1, 2]
w.acked(20)
assert burst(0, 1, 100, 20) == [3, 4, 5]
w.acked(30)
assert burst(0, 5, 100, 30) == [6, 7, 8, 9, 10, 11, 12, 13]
w.acked(40)
assert burst(0, 50, 100, 40) == list(range(51, 59)), "the gateway held more than we knew"
"""
    )


def test_window_sends_again_after_the_time_and_not_before() -> None:
    run(
        _WINDOW
        + """
w.restart(0)
assert burst(0, -1, 3, 1000) == [0]
assert burst(0, -1, 3, 30999) == []
assert burst(0, -1, 3, 31000) == [0]
w.acked(31000)
assert burst(0, 0, 3, 31000) == [1, 2]
w.restart(32000)
assert burst(0, 0, 3, 32000) == [1]
assert burst(0, 2, 3, 90000) == [], "all acked"
"""
    )


def test_loss_is_declared_by_the_newest_statement_first() -> None:
    run(
        _WINDOW
        + """
w.restart(0)
assert burst(40, 9, 60, 0) == [59, 40]
w.acked(10)
assert burst(40, 39, 60, 10) == [41]
w.restart(20)
assert burst(60, 39, 61, 20) == [60], "the only one declares and counts at once"
assert burst(60, 39, 62, 30) == [61], "the next one declares again, for the one before it may not have"
assert burst(60, 39, 62, 30) == []
assert burst(60, 39, 63, 30) == [62]
assert burst(60, 39, 63, 30020) == [62, 60], "and again after a time"
"""
    )


@given(st.lists(st.tuples(st.sampled_from(["add", "ack", "drop", "wait", "reconnect"]), st.integers(1, 9))))
@settings(max_examples=100, deadline=None)
def test_window_never_leaves_its_bounds(board: BoardProcess, steps: list[tuple[str, int]]) -> None:
    """Whatever happens: what goes out is held, not acked, at most eight beyond the last ack, or the declaration."""
    board.exec(_WINDOW)
    oldest = next_seq = now = 0
    acked = -1
    for kind, amount in steps:
        if kind == "add":
            next_seq += amount
        elif kind == "ack" and acked + 1 < next_seq:
            acked = min(next_seq - 1, max(acked, oldest - 1) + amount)
            board.exec(f"w.acked({now})")
        elif kind == "drop":
            oldest = min(oldest + amount, next_seq)
        elif kind == "wait":
            now += amount * 10000
        elif kind == "reconnect":
            board.exec(f"w.restart({now})")
        sent = board.call("burst", oldest, acked, next_seq, now)
        assert isinstance(sent, list)
        first = max(oldest, acked + 1)
        for seq in sent:
            assert first <= seq < next_seq
            assert seq < first + 8 or (oldest > acked + 1 and seq == next_seq - 1)
        assert len(sent) <= 9


# -- the whole uplink, with a client and a flash of its own

_UPLINK = """
import asyncio, os, vfs
from trig.journal import Journal
from trig import uplink as module
from trig.uplink import Uplink

ram = RamFlash()
vfs.VfsLfs2.mkfs(ram)
vfs.mount(ram, "/flash")
KID = bytes(range(32))
journal = Journal("/flash/j", KID)
journal.create()

class Client:
    def __init__(self):
        self.up = asyncio.Event()
        self.up.set()
        self.session = 1
        self.sent = []
    async def publish(self, topic, payload):
        assert topic == "trig/1/" + KID.hex() + "/s"
        self.sent.append(bytes(payload[0:512]))

class Clock:
    now = 0
    calls = []
    def seconds(self):
        return self.now
    def adjust(self, time_ms, sent, received):
        self.calls.append((time_ms, sent, received))
        return True

client, clock = Client(), Clock()
up = Uplink(client, journal, clock, lambda: KEY, KID, 1)

def add(n):
    for _ in range(n):
        journal.make_room()
        journal.append(b"statement %d" % journal.next_seq)
    up.wake()

def state():
    return journal.acked, journal.next_seq, journal.oldest, len(clock.calls)

async def for_ms(ms):
    task = asyncio.create_task(up.send(lambda: None))
    await asyncio.sleep_ms(ms)
    while not task.done():  # a cancel in the turn of a wait_for's time-out is lost
        task.cancel()
        await asyncio.sleep_ms(1)
    try:
        await task
    except asyncio.CancelledError:
        pass

def go(ms):
    asyncio.run(for_ms(ms))
    sent, client.sent = client.sent, []
    return [int(s.split()[1]) for s in sent]
"""


def _uplink(code: str) -> None:
    acks = {f"ACK_{seq}": ack.seal(KEY, seq, 1_700_000_000_000 + seq) for seq in range(12)}
    forged = bytearray(acks["ACK_2"])
    forged[-1] ^= 1
    names = "".join(f"{name} = {data!r}\n" for name, data in {**acks, "FORGED": bytes(forged), "KEY": KEY}.items())
    run(names + RAM_FLASH + _UPLINK + code, heap="600k")


def test_only_a_genuine_newer_ack_of_something_signed_counts() -> None:
    _uplink("""
add(5)
for data in (FORGED, b"", b"x" * 300, ACK_5, ACK_11):
    before = state()
    assert not up.take(data)
    assert state() == before
assert up.bad_acks == 3 and up.old_acks == 2
up.take(ACK_2)
assert journal.acked == 2
for data in (ACK_2, ACK_1, ACK_0):
    before = state()
    assert not up.take(data)
    assert state() == before, "replayed"
again = Journal("/flash/j", KID)
assert again.recover() and again.acked == 2, "a replay stays old after a restart"
""")


def test_only_the_ack_of_something_just_published_tells_the_time() -> None:
    """Else an ack that a broker kept back, or that waited there while the board was off, would set a clock wrong."""
    _uplink("""
add(8)
assert not up.take(ACK_0) and journal.acked == 0 and not clock.calls, "published before power-on, if at all"
assert 1 in go(60)
assert up.take(ACK_1) and clock.calls == [(1_700_000_000_001, 0, 0)]
assert {2, 3} <= set(go(60))
up._sent_ticks[2] -= 30_001
assert not up.take(ACK_2) and journal.acked == 2 and len(clock.calls) == 1, "half a minute under way"
up._sent_ticks[3] += 40_000
assert not up.take(ACK_3) and len(clock.calls) == 1, "ticks have wrapped"
assert 4 in go(60)
up._sent_ticks[4] -= 29_000
assert up.take(ACK_4) and len(clock.calls) == 2
""")


def test_sends_in_order_and_again_until_acked() -> None:
    _uplink("""
add(3)
assert go(200) == [0]
assert set(go(2300)) == {0}, "resent after one second"
clock.now = 50
up.take(ACK_0)
assert clock.calls[-1] == (1_700_000_000_000, 0, 50)
assert go(200) == [1, 2]
clock.now = 60
up.take(ACK_2)
assert clock.calls[-1] == (1_700_000_000_002, 50, 60)
assert go(200) == [] and journal.depth == 0
client.session = 2
add(1)
clock.now = 70
assert go(200) == [3]
client.session = 3
assert go(200) == [3], "again after a reconnect"
""")


def test_damaged_statement_is_given_up_and_the_rest_goes_on() -> None:
    _uplink("""
add(3)
path = "/flash/j/" + os.listdir("/flash/j")[0]
with open(path, "rb") as file:
    data = bytearray(file.read())
at = data.find(b"statement 0")
data[at] ^= 1
with open(path, "wb") as file:
    file.write(data)
sent = go(200)
assert sent[0] == 2 and 1 in sent and 0 not in sent, sent
assert journal.oldest == 1 and journal.dropped == 1
""")


_GATEWAY = """
class Gateway:
    # Section 5, for statements whose signatures hold.
    next = 0
    reachable = True
    def __init__(self):
        self.taken = []
        self.lost = []
        self.acks = []
    def take(self, seq, oldest):
        if oldest > self.next:
            self.lost.append((self.next, oldest - 1))
            self.next = oldest
        if seq == self.next:
            self.next = seq + 1
            self.taken.append(seq)
        if self.next:
            self.acks.append(seal(self.next - 1, 1_700_000_000_000 + len(self.acks)))
            return self.acks[-1]

def seal(seq, time):
    payload = encode(encode({1: seq, 2: time}))
    return b"\\xd1\\x84\\x43\\xa1\\x01\\x04\\xa0" + payload + b"\\x48" + hmac_sha256(
        KEY, b"\\x84\\x64MAC0\\x43\\xa1\\x01\\x04\\x40", payload)[:8]

from trig.hkdf import hmac_sha256
from cborvalue import encode

gateway = Gateway()
signed = {}

async def publish(topic, payload):
    seq = int(bytes(payload[0:20]).split()[1])
    client.sent.append(bytes(payload[0:20]))
    answer = gateway.take(seq, signed[seq]) if gateway.reachable else None
    if answer:
        up.take(answer)

def add(n):
    for _ in range(n):
        journal.make_room()
        seq = journal.next_seq
        signed[seq] = journal.oldest
        journal.append(b"statement %d " % seq + bytes(900))
    up.wake()

def damage(seq):
    name = b"statement %d " % seq
    for file in os.listdir("/flash/j"):
        with open("/flash/j/" + file, "rb") as f:
            data = bytearray(f.read())
        at = data.find(name)
        if at >= 0:
            data[at + len(name)] ^= 1
            with open("/flash/j/" + file, "wb") as f:
                f.write(data)
            return
    raise ValueError("not on flash")

journal = up._journal = Journal("/flash/j", KID, segment_bytes=5000, segments=3)
journal.create()
client.publish = publish
up._window._resend_ms, up._idle_ms = 200, 50
"""


def test_what_outlives_a_full_journal_arrives_and_what_does_not_is_declared_once() -> None:
    _uplink(
        _GATEWAY
        + """
add(5)
go(200)
assert journal.acked == 4
gateway.reachable = False
add(40)
first = journal.oldest
assert first > 30 and journal.dropped == first - 5 and 5 <= signed[first] < first
held = list(range(first, 45))
go(300)
gateway.reachable = True
sent = go(500)
assert gateway.taken == list(range(5)) + held, gateway.taken
assert gateway.lost == [(5, first - 1)]
assert journal.depth == 0 and journal.acked == 44 and journal.dropped == first - 5
"""
    )


def test_each_new_statement_declares_a_loss_until_it_is_acked() -> None:
    """The link is up, but nobody answers, while the journal runs over again and again."""
    _uplink(
        _GATEWAY
        + """
gateway.reachable = False
add(20)
assert go(50)[0] == 19
for newest in range(20, 40):
    add(1)
    assert newest in go(50)
"""
    )


@pytest.mark.parametrize("damaged", [[5], [7], [5, 6, 8], [9], [5, 9], [5, 6, 7, 8, 9]])
def test_a_loss_found_on_reading_waits_for_the_next_statement_to_declare_it(damaged: list[int]) -> None:
    """No statement held was signed after the damage was found, so none of them declares it."""
    _uplink(
        _GATEWAY
        + f"""
damaged = {damaged}
add(5)
go(200)
add(5)
for seq in damaged:
    damage(seq)
go(500)
assert gateway.lost == [], "nothing says so yet"
assert gateway.taken == list(range(damaged[0])), gateway.taken
assert journal.acked == damaged[0] - 1
for _ in range(4):
    add(1)
    go(500)
assert gateway.taken == [seq for seq in range(14) if seq not in damaged], (gateway.taken, gateway.lost)
assert [seq for first, last in gateway.lost for seq in range(first, last + 1)] == damaged
assert journal.depth == 0 and journal.dropped == len(damaged)
"""
    )


def test_what_comes_before_a_damaged_record_is_not_given_up_with_it() -> None:
    _uplink(
        _GATEWAY
        + """
add(5)
go(200)
assert up._window._width == 8
gateway.reachable = False
add(5)
damage(7)
assert go(100) == [5, 6]
assert set(go(500)) == {5}
assert journal.oldest <= 5 and journal.dropped == 0
gateway.reachable = True
go(500)
add(1)
go(500)
assert gateway.taken == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10] and gateway.lost == [(7, 7)]
"""
    )


def test_replayed_genuine_acks_change_nothing_ever() -> None:
    """A broker keeps every ack there was and plays them all, with a loss pending and while the gateway is away."""
    _uplink(
        _GATEWAY
        + """
def everything():
    window = up._window
    files = []
    for name in sorted(os.listdir("/flash/j")):
        with open("/flash/j/" + name, "rb") as f:
            files.append((name, f.read()))
    return (files, journal.next_seq, journal.prev, journal.acked, journal.oldest, journal.dropped, journal.depth,
            window._next, window._width, window._declared, window._moved_at, len(clock.calls), up._news.is_set())

def replay():
    before = everything()
    for _ in range(10):
        for data in gateway.acks:
            assert not up.take(data)
    assert everything() == before

for _ in range(3):
    add(3)
    go(200)
assert journal.acked == 8 and len(gateway.acks) >= 5
replay()
gateway.reachable = False
add(40)
replay()
for _ in range(5):
    go(300)
    replay()
held = list(range(journal.oldest, journal.next_seq))
assert len(held) > 8
gateway.reachable = True
go(500)
assert gateway.taken[9:] == held and journal.depth == 0
replay()
assert up.bad_acks == 0
"""
    )
