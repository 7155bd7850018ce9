"""A real board whose journal is far too small and the real intake, with a hostile broker between them.

Whatever the broker loses, holds back or plays again: what the board still holds arrives, what it dropped is declared,
and nobody who has done no wrong is flagged.
"""

import sqlite3
from collections.abc import Iterator

import pytest
from boardrunner import BoardProcess
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ramflash import RAM_FLASH
from trigpoint.ingest.batch import store
from trigpoint.ingest.decision import Reason
from trigpoint.ingest.message import Message
from trigpoint.store import queries
from trigpoint.store.database import migrate
from trigpoint.wire import ack, statement
from trigpoint.wire.keys import PublicKey

ARRIVAL_MS = 1_700_000_000_000
LINK = ec.derive_private_key(77, ec.SECP256R1())

SETUP = """
import asyncio, os, vfs
from trig.journal import Journal
from trig.keys import KeyPair
from trig.senml import Pack
from trig.signer import Signer
from trig.uplink import Uplink

class Client:
    def __init__(self):
        self.up = asyncio.Event()
        self.up.set()
        self.session = 1
        self.sent = []
    async def publish(self, topic, payload):
        self.sent.append(bytes(payload[0:512]))

class Clock:
    def seconds(self):
        return 0
    def unix(self, seconds):
        return None
    def adjust(self, time_ms, sent, received):
        return False

flash = RamFlash()
vfs.VfsLfs2.mkfs(flash)
vfs.mount(flash, "/flash")
key, clock, client, pack = KeyPair((99).to_bytes(32, "big")), Clock(), Client(), Pack()
dropped = 0

def boot():
    global journal, signer, up
    journal = Journal("/flash/j", key.kid, segment_bytes=4700, segments=3)
    if not journal.recover():
        journal.create()
    signer = Signer(key, journal, clock, bytearray(4096))
    up = Uplink(client, journal, clock, lambda: ACK_KEY, key.kid, 1)
    up._window._resend_ms = up._idle_ms = 0

def begin():
    journal.create()
    boot()

def sign(n):
    pack.clear()
    pack.add("temperature", "Cel", 2150, -2, 0)
    for _ in range(n):
        signer.statement(pack)
    up.wake()

def damage(place):
    seqs = [seq for seq in range(max(journal.oldest, journal.acked + 1), journal.next_seq)]
    if not seqs:
        return -1
    seq = seqs[place % len(seqs)]
    try:
        body = bytes(journal.stored(seq)[0:512])
    except Exception:
        return -1
    for name in os.listdir("/flash/j"):
        with open("/flash/j/" + name, "rb") as file:
            data = bytearray(file.read())
        at = data.find(body)
        if at >= 0:
            data[at + 130] ^= 1
            with open("/flash/j/" + name, "wb") as file:
                file.write(data)
    return seq

def talk():
    # What one session sends until it waits for an ack.
    async def run():
        task = asyncio.create_task(up.send(lambda: None))
        for _ in range(12):
            await asyncio.sleep_ms(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
    client.session += 1
    asyncio.run(run())
    sent, client.sent = client.sent, []
    return sent

def take(data):
    up.take(data)

def state():
    return journal.acked, journal.oldest, journal.next_seq, journal.depth
"""

STEP = st.one_of(
    st.tuples(st.just("sign"), st.integers(1, 12)),
    st.tuples(st.just("talk"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["replay acks", "reboot", "damage", "lose"]), st.integers(0, 9)),
)


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    public = PublicKey.of(ec.derive_private_key(99, ec.SECP256R1()))
    with BoardProcess(
        f"ACK_KEY = {ack.derive_key(LINK, public)!r}\n{RAM_FLASH}{SETUP}\nboot()", heap="600k"
    ) as process:
        yield process


class Gateway:
    """The intake over a database of its own, and the acks that it has made."""

    def __init__(self) -> None:
        self.public = PublicKey.of(ec.derive_private_key(99, ec.SECP256R1()))
        self.ack_key = ack.derive_key(LINK, self.public)
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.connection)
        self.connection.execute(
            "INSERT INTO boards (kid, x, y, owner, active_from) VALUES (?, ?, ?, ?, 1)",
            (self.public.kid, self.public.x, self.public.y, bytes(20)),
        )
        self.acks: list[bytes] = []

    def take(self, payload: bytes) -> bytes | None:
        message = Message.of(f"trig/1/{self.public.kid.hex()}/s", payload, ARRIVAL_MS)
        self.connection.execute("BEGIN IMMEDIATE")
        (outcome,) = store(self.connection, [message])
        self.connection.execute("COMMIT")
        assert outcome.reason in (Reason.ACCEPTED, Reason.DUPLICATE, Reason.GAP)
        if outcome.ack_seq is None:
            return None
        self.acks.append(ack.seal(self.ack_key, outcome.ack_seq, ARRIVAL_MS))
        return self.acks[-1]


def _pushed_out(before: object, after: object) -> set[int]:
    """Return what a full journal has dropped, unacked, between two states."""
    acked, oldest, *_ = before  # type: ignore[misc]
    return set(range(max(oldest, acked + 1), after[1]))  # type: ignore[index]


def _talk(board: BoardProcess, gateway: Gateway, lost: str = "") -> None:
    for payload in board.call("talk"):  # type: ignore[attr-defined]
        answer = None if lost == "statements" else gateway.take(payload)
        if answer is not None and lost != "acks":
            board.call("take", answer)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(STEP, max_size=14))
def test_all_that_is_held_arrives_and_all_else_is_declared(board: BoardProcess, steps: list[tuple[str, int]]) -> None:
    board.call("begin")
    gateway = Gateway()
    given_up: set[object] = set()
    for step, amount in [*steps, ("sign", 1)]:
        before = board.call("state")
        if step == "sign":
            board.call("sign", amount)
            given_up |= _pushed_out(before, board.call("state"))
        elif step == "talk":
            for _ in range(1 + amount):
                _talk(board, gateway)
        elif step == "lose":
            _talk(board, gateway, lost="acks" if amount % 2 else "statements")
        elif step == "reboot":
            board.call("boot")
        elif step == "damage":
            given_up.add(board.call("damage", amount))
        else:
            for old in gateway.acks:
                if ack.open_ack(gateway.ack_key, old).seq <= before[0]:  # type: ignore[index]
                    board.call("take", old)
            assert board.call("state") == before

    # In the end the broker lets all through. A statement more, as a living board signs, declares what reading found.
    for _ in range(6):
        for _ in range(12):
            _talk(board, gateway)
        before = board.call("state")
        board.call("sign", 1)
        given_up |= _pushed_out(before, board.call("state"))
    for _ in range(12):
        _talk(board, gateway)
    acked, _, next_seq, depth = board.call("state")  # type: ignore[misc]
    assert (acked, depth) == (next_seq - 1, 0)
    summary = queries.boards(gateway.connection)[0]
    assert summary.next_seq == next_seq and not summary.flagged
    assert summary.statements + summary.lost == next_seq
    stored = {seq for (seq,) in gateway.connection.execute("SELECT seq FROM statements")}
    for first, last, raw in gateway.connection.execute("SELECT from_seq, to_seq, raw FROM lost"):
        assert stored.isdisjoint(range(first, last + 1)) and given_up.issuperset(range(first, last + 1))
        assert statement.parse(raw).oldest == last + 1
