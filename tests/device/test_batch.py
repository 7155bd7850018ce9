"""The app's rules without its tasks: when a batch is signed, and that it is signed once whatever breaks off."""

from __future__ import annotations

import pytest
from boardrunner import run
from ramflash import RAM_FLASH

_APP = """
import asyncio, os, vfs
from trig.app import App, Batch
from trig.keys import KeyPair
from trig.journal import Journal
from trig.sensors import SensorError
from trig import journal as journal_module, sensors

ram = RamFlash(96)
vfs.VfsLfs2.mkfs(ram)
vfs.mount(ram, "/flash")

class Hardware:
    class RTC:
        pass
    class Pin:
        def __init__(self, n):
            pass
    class I2C:
        def __init__(self, *a, **k):
            pass
    class Timer:
        def __init__(self, n):
            pass
        def deinit(self):
            pass
    @staticmethod
    def reset_cause():
        return 1

class Network:
    STA_IF = 0
    @staticmethod
    def WLAN(n):
        return None

class Guard:
    moves = []
    def moved(self, name):
        self.moves.append(name)

class Sensor:
    part = "thing"
    channels = (("a", "Cel", -2), ("b", "%RH", -2))
    limit_ms = 1000
    fail = None
    n = 0
    def close(self):
        pass
    async def measure(self, out):
        if self.fail:
            raise self.fail
        self.n += 1
        out[0] = out[1] = self.n

class Clock:
    now = 0
    is_set = True
    corrections = 0
    def seconds(self):
        return self.now
    def unix(self, s):
        return 1_700_000_000 + s if self.is_set else None

KEY = KeyPair((99).to_bytes(32, "big"))
journal = Journal("/flash/j", KEY.kid)
journal.create()
config = {
    "wifi": [], "broker": {"host": "h", "port": 1, "tls": False, "password": "", "keepalive_s": 60},
    "ntp": {"host": "", "port": 123}, "link_key": KEY.x + KEY.y, "sample_s": 60,
    "sensors": [{"type": "bme280", "name": "", "i2c": 0, "scl": 1, "sda": 2, "address": 0x76}],
    "batch": {"samples": SAMPLES, "age_s": 600}, "resend_s": 30, "battery": None,
}
class Nobody:
    topics = ()
    receive_bytes = 1024
    trying = False

app = App(config, KEY, journal, Hardware, Network, None, Nobody())
app._guard = Guard()
sensor = Sensor()
app._sensors = [sensor]
app._values = [[0] * len(sensor.channels)]
clock = app.clock = app.signer._clock = Clock()
app._signed_any = True  # as of a board that has run for a while

def tick(seconds=60):
    clock.now += seconds
    asyncio.run(app.measure())
    app.sign_if_due()

def values():
    # Every mantissa of reading "a" in the journal, in order: map of three or four, name a, unit Cel, value 4([-2, m]).
    found = []
    for seq in range(journal.oldest, journal.next_seq):
        stored = journal.stored(seq)
        data = b"".join([bytes(stored[at : at + 512]) for at in range(0, len(stored), 512)])
        at = 0
        while True:
            at = data.find(b"\\x00aa\\x01cCel\\x02\\xc4\\x82\\x21", at)
            if at < 0:
                break
            at += 12
            m = data[at]
            found.append(m if m < 24 else data[at + 1])
    return found
"""


def _app(code: str, samples: int = 3) -> None:
    run(RAM_FLASH + _APP.replace("SAMPLES", str(samples)) + code, heap="1m")


def test_batch_is_signed_by_count_and_by_age() -> None:
    _app("""
tick(); tick()
assert journal.next_seq == 0
tick()
assert journal.next_seq == 1 and values() == [1, 2, 3]
tick()
tick(599)
assert journal.next_seq == 1
sensor.fail = SensorError("thing: no answer")
tick(1)
assert journal.next_seq == 2, "by age, though this tick's measurement failed"
assert app.sensor_errors == {"thing": 1} and "no answer" in app.last_error
tick(10000)
assert journal.next_seq == 2, "nothing to sign"
assert app._guard.moves.count("signer") == 7
""")


def test_first_sample_goes_out_at_once_while_the_time_is_unset() -> None:
    _app("""
app._signed_any = False
clock.is_set = False
tick()
assert journal.next_seq == 1
tick()
assert journal.next_seq == 1, "only the first"
clock.is_set = True
tick(); tick()
assert journal.next_seq == 2 and values() == [1, 2, 3, 4]
""")


def test_a_keys_first_sample_goes_out_at_once() -> None:
    """Whoever enrols a board waits for it, and its clock may have been set under an earlier key."""
    _app("""
app._signed_any = False
tick()
assert journal.next_seq == 1
app._signed_any = False  # as after a reset
tick(); tick()
assert journal.next_seq == 1, "the clock is set, and it is not the first"
tick()
assert journal.next_seq == 2
""")


def test_full_pack_is_signed_and_nothing_is_left_out() -> None:
    _app(
        """
for _ in range(200):
    tick(1)
app.stop()
assert values() == list(range(1, 201)) and app.lost == 0
for seq in range(journal.next_seq):
    assert len(journal.stored(seq)) <= 4096
""",
        samples=255,
    )


@pytest.mark.parametrize("error", ["OSError(5)", "KeyboardInterrupt()"])
@pytest.mark.parametrize("point", ["before", "after"])
def test_signing_broken_off_is_neither_lost_nor_done_twice(error: str, point: str) -> None:
    """The write fails, or Ctrl-C comes, just before or just after the statement is on flash."""
    _app(f"""
real = journal._write
def broken(seq, entry, data):
    journal._doubtful = True
    if {point!r} == "after":
        real(seq, entry, data)
        journal._doubtful = True
    journal._write = real
    raise {error}
tick(); tick()
journal._write = broken
try:
    tick()
except KeyboardInterrupt:
    pass
tick()
app.stop()
assert values() == [1, 2, 3, 4], values()
assert app.lost == 0
again = Journal("/flash/j", KEY.kid)
assert again.recover() and again.next_seq == journal.next_seq and again.prev == journal.prev
""")


def test_flash_that_refuses_for_ever_stops_the_signers_mark_and_nothing_else() -> None:
    _app("""
def refuse(*a):
    raise OSError(5)
journal.append = refuse
for _ in range(6):
    tick()
assert app._guard.moves.count("signer") == 2, "the watchdog will see to it"
assert app.faults == 4 and sensor.n == 6
del journal.append
tick()
assert values() == [1, 2, 3, 4, 5, 6, 7]
""")


def test_a_value_that_comes_in_the_same_turn_as_its_time_out_counts() -> None:
    """A TLS handshake holds up everything for seconds: then both are due, and the driver's turn comes first."""
    _app(
        """
import time

class Held(Sensor):
    limit_ms = 30
    hold_ms = 50
    async def measure(self, out):
        await asyncio.sleep_ms(5)
        time.sleep_ms(self.hold_ms)  # the loop stands still
        self.n += 1
        out[0] = out[1] = self.n
        if self.hold_ms < 0:
            await asyncio.sleep_ms(60)

sensor = Held()
app._sensors = [sensor]
tick()
assert sensor.n == 1 and app.batch.pack.count == 2 and app.batch.samples == 1
assert not app.sensor_errors
sensor.hold_ms = -1
tick()
assert app.batch.pack.count == 2 and app.sensor_errors == {"thing": 1}, app.sensor_errors
sensor.hold_ms = 0
tick()
assert app.batch.pack.count == 4
""",
        samples=6,
    )
