"""A command that finds no room is kept for the next start: looked into once, taken once at most, and never a loop."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from brokers import RunningBroker, embedded_broker, make_mosquitto  # noqa: F401
from cryptography.hazmat.primitives.asymmetric import ec
from cutpower import BOARD, PATH
from ownedboard import OWNER, Owned
from paho.mqtt.enums import CallbackAPIVersion
from trigpoint.wire import command
from trigpoint.wire.command import Command, Kind
from trigpoint.wire.keys import PublicKey
from trigpoint_tools import owner
from trigpoint_tools.powercut import FLASH, WHOLE, micropython

PUBLIC = PublicKey.of(OWNER)
KID = bytes(range(32))


def sealed(counter: int, private: ec.EllipticCurvePrivateKey = OWNER, kid: bytes = KID) -> bytes:
    return command.seal(private, Command(kid, counter, Kind.CONFIGURATION, b"the new one" * 40))


_SEALED = sealed(6)
FORGED = _SEALED[:-1] + bytes([_SEALED[-1] ^ 1])

# BOARD takes the host's files away: what a board loads when it is needed must be there before, and stay.
_LOADED = """
import json, time
from trig import command, listener, p256_points
from trig.listener import Commands, HEARD, heard
listener.forget = lambda *names: None
"""

# A start of the board as trig.start makes it, and a heap without room for the check wherever `crowded` says so.
_LIVES = f"""

OWNER = bytes.fromhex({(PUBLIC.x + PUBLIC.y).hex()!r})
KID = bytes(range(32))
SEALED = bytes.fromhex({_SEALED.hex()!r})
FORGED = bytes.fromhex({FORGED.hex()!r})
FREE = listener._checked

def crowded(data, key, kid, last):
    raise MemoryError

def begin(trying=False):
    listener._checked = FREE
    change = Change(NVS("owner"))
    last = change.record.counter
    return heard(OWNER, KID, last, trying), last

def send(data, dropped, last, room=False):
    commands = Commands(OWNER, KID, dropped)
    listener._checked = FREE if room else crowded
    restart = commands.take(data, False, last)
    return restart, commands.bad_reason

def there(path):
    try:
        os.stat(path)
        return True
    except OSError:
        return False
"""


def lives(code: str) -> Any:
    return json.loads(micropython(FLASH + PATH + _LOADED + BOARD + _LIVES + code, heap="6m", timeout=200))


def test_it_is_kept_and_taken_at_the_next_start() -> None:
    assert lives("""
fresh()
first = begin(), there(HEARD)
kept = send(SEALED, None, 0), there(HEARD)
power_on(-1, -1)
second = begin(), there(HEARD)
power_on(-1, -1)
third = begin()
print(json.dumps([first, kept, second, third]))
""") == [[[None, 0], False], [[True, ""], True], [["", 0], False], [None, 6]]


def test_what_is_no_new_command_is_dropped_with_the_reason() -> None:
    stranger = ec.derive_private_key(98, ec.SECP256R1())
    found = {
        "empty": b"",
        "torn": _SEALED[:200],
        "long": _SEALED + bytes(4097),
        "forged": FORGED,
        "stranger's": sealed(6, stranger),
        "another board's": sealed(6, kid=bytes(32)),
        "old": sealed(5),
        "huge": bytes(9000),
    }
    kept = {name: data.hex() for name, data in found.items()}
    reasons = lives(f"""
fresh()
write(HEARD, bytes.fromhex({sealed(5).hex()!r}))
assert begin() == ("", 0)
reasons = {{}}
for name, data in {kept!r}.items():
    write(HEARD, bytes.fromhex(data))
    before = dict(STORE)
    reasons[name] = heard(OWNER, KID, 5, False)
    assert not there(HEARD) and STORE == before and not there("/command-6"), name
    assert heard(OWNER, KID, 5, False) is None
write(HEARD, SEALED)
reasons["in a trial"] = heard(OWNER, KID, 5, True)
assert not there(HEARD)
write(HEARD, SEALED)
listener._checked = crowded
reasons["no room"] = heard(OWNER, KID, 5, False)
assert not there(HEARD) and STORE == before
print(json.dumps(reasons))
""")
    wanted = {
        "empty": "ends early",
        "torn": "ends early",
        "long": "longer than 4096",
        "forged": "signature is bad",
        "stranger's": "kid",
        "another board's": "board: not this one",
        "old": "counter 5 is not above 5",
        "huge": "longer than 4096",
        "in a trial": "one is under way",
        "no room": "no room",
    }
    assert reasons.keys() == wanted.keys()
    assert [name for name, why in wanted.items() if why not in reasons[name]] == []


def test_a_file_that_cannot_be_read_is_gone_at_the_next_start() -> None:
    lives("""
fresh()
for error in (MemoryError(), OSError(5)):
    write(HEARD, SEALED)
    class Broken:
        def __enter__(self):
            return self
        def __exit__(self, *_):
            pass
        def read(self, size):
            raise error
    listener.open = lambda path, mode: Broken()
    assert begin()[0] in ("no room to look into it", "flash: [Errno 5] EIO"), error
    assert not there(HEARD)
print("null")
""")


def test_after_one_that_was_none_nothing_is_kept_for_an_hour() -> None:
    lives("""
fresh()
class Time:
    now = 0
    ticks_ms = lambda: Time.now
    ticks_diff = time.ticks_diff
listener.time = Time
listener._checked = crowded
commands = Commands(OWNER, KID, "signature is bad")
assert (commands.bad, commands.bad_reason) == (1, "signature is bad")
for Time.now in (0, 3599999):
    assert commands.take(FORGED, False, 0) is False and not there(HEARD)
    assert commands.bad_reason == "no room to look into it"
Time.now = 3600000
assert commands.take(FORGED, False, 0) and there(HEARD)
os.remove(HEARD)
commands = Commands(OWNER, KID, None)
assert commands.bad == 0 and commands.take(bytes(4097), False, 0) is False and not there(HEARD)
assert commands.take(FORGED, True, 0) is False and not there(HEARD)
print("null")
""")


_CUTS = """
def scenario(data, cut, torn):
    # The message is sent until a life has taken it in, as the broker does; then never again. Returns what became of it.
    fresh()
    before = flash.count
    power_on(cut, torn)
    count = 0
    sent = False
    takes = []
    for life in range(6):
        try:
            dropped, last = begin()
            if dropped == "":
                takes.append(life)
            elif not sent:
                sent = send(data, dropped, last)[0]
            elif last == 6 or (dropped is None and not there(HEARD)):
                break
        except (Cut, OSError):
            if not flash.dead:
                raise
        # A flash that dies in the board's own try is a reset as well.
        count += flash.count
        power_on(-1 if flash.dead else flash.budget, torn)
    else:
        raise AssertionError("a loop")
    assert not there(HEARD)
    assert len(takes) <= 1, takes
    assert last in (0, 6) and (last or not takes)
    # Sent again, with room: taken if it had been lost, else old.
    again = send(data, None, last, True)
    assert again[0] == (data == SEALED and last == 0), (again, last)
    return last, count

def every(data):
    want, operations = scenario(data, -1, -1)
    ends = []
    failed = []
    for torn in TORN:
        for cut in range(operations):
            vfs.umount("/")
            gc.collect()
            try:
                ends.append(scenario(data, cut, torn)[0])
            except Exception as error:
                failed.append("cut at %d, torn %d: %r" % (cut, torn, error))
    return [want, operations, ends.count(6), len(ends), failed[:5]]

print(json.dumps(every(DATA)))
"""


@pytest.mark.parametrize("genuine", [True, False], ids=["genuine", "forged"])
def test_power_cut_at_every_write(genuine: bool) -> None:
    torn = (WHOLE, 0, 16)
    data = "SEALED" if genuine else "FORGED"
    want, operations, taken, runs, failed = lives(f"TORN, DATA = {torn}, {data}\n" + _CUTS)
    assert failed == []
    assert want == (6 if genuine else 0)
    assert operations >= 5 and runs == len(torn) * operations
    # Lost only if power goes between the removal and the record.
    assert taken >= runs // 3 if genuine else taken == 0


@pytest.fixture
def owned(tmp_path: Path, embedded_broker: RunningBroker) -> Iterator[Owned]:  # noqa: F811
    made = Owned(tmp_path, embedded_broker.port)
    yield made
    made.close()


def test_a_board_starts_with_a_forged_one_and_takes_a_genuine_one(owned: Owned) -> None:
    new = json.dumps({**owned.config, "sample_s": 900}).encode()
    genuine = owner.set_configuration(OWNER, owned.kid, 1, new)
    owned.board.write_file("/heard", genuine[:-1] + bytes([genuine[-1] ^ 1]))
    owned.board.start()
    report = owned.health(lambda report: True)
    assert (report["bad_commands"], report["bad_command"]) == (1, "signature is bad")
    assert report["command"]["counter"] == 0 and report["refused"] == 0
    owned.board.stop()
    owned.board.write_file("/heard", genuine)
    # One bad end more and the loader would go into safe mode: the restart for the command is none.
    owned.board.exec("import slots; state = slots.load(); state.bad = 4; slots.save(state)")
    owned.board.start()
    assert owned.ended(1, "confirmed")["bad_commands"] == 0
    owned.board.stop()
    assert "/heard" not in owned.board.exec("import os; print(['/' + name for name in os.listdir('/')])")
    assert owned.board.read_file("/config.json") == new


def test_a_retained_message_that_never_finds_room_is_no_loop(tmp_path: Path) -> None:
    # Mosquitto, because it gives a retained message at every subscription, also of a session that it has kept.
    broker = make_mosquitto(tmp_path)
    broker.start()
    try:
        owned = Owned(tmp_path, broker.port)
        owned.board.write_file("/a/trig/command.py", b"raise MemoryError('no room')\n")
        owned.board.exec("import os; os.remove('/a/trig/command.mpy')")
        careless = paho.Client(CallbackAPIVersion.VERSION2, client_id="careless")
        careless.connect("127.0.0.1", broker.port)
        careless.loop_start()
        topic = f"trig/1/{owned.kid.hex()}/c"
        careless.publish(topic, sealed(1, kid=owned.kid), qos=1, retain=True).wait_for_publish(10)
        careless.disconnect()
        careless.loop_stop()
        owned.board.start()
        report = owned.health(lambda report: report["bad_commands"] >= 1)
        time.sleep(3)  # long enough for two starts more
        owned.readings_go_on()
        assert report["safe_modes"] == 0 and report["crashes"] == 0
        assert sum("next seq" in line for line in owned.board.console) == 2
        owned.close()
    finally:
        broker.stop()
