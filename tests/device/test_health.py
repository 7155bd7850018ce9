"""Health and the crash ring: what a board tells of itself, bounded whatever happened, and once."""

from __future__ import annotations

import json
import re

import boardrunner

_PARTS = """
import asyncio, json, os, vfs
from trig import health
from trig.crash import Crashes, show, traceback

class Ram:
    def __init__(self):
        self.data = bytearray(32 * 4096)
    def readblocks(self, n, buf, off=0):
        buf[:] = memoryview(self.data)[n * 4096 + off : n * 4096 + off + len(buf)]
    def writeblocks(self, n, buf, off=0):
        self.data[n * 4096 + off : n * 4096 + off + len(buf)] = buf
    def ioctl(self, op, arg):
        return 32 if op == 4 else 4096 if op == 5 else 0

ram = Ram()
vfs.VfsLfs2.mkfs(ram)
vfs.mount(ram, "/flash")
RING = "/flash/crash"
"""


def run(code: str) -> str:
    return boardrunner.run(code, heap="600k")  # the test's flash is in RAM


def test_ring_keeps_the_newest_through_restarts_and_tells_each_once() -> None:
    run(
        _PARTS
        + """
assert Crashes(RING).news() is None and Crashes(RING).count == 0
for n in range(1, 8):
    Crashes(RING).record("crash %d" % n, n, None if n % 2 else 1_700_000_000 + n)
ring = Crashes(RING)
assert [e["text"] for e in ring.entries()] == ["crash 4", "crash 5", "crash 6", "crash 7"]
assert ring.count == 7 and len(os.listdir(RING)) == 4
assert ring.news() == {"number": 7, "uptime_s": 7, "time": None, "text": "crash 7"}
ring.reported()
assert ring.news() is None and Crashes(RING).news() is None
ring.record("again", 1, None)
assert Crashes(RING).news()["text"] == "again" and Crashes(RING).count == 8
"""
    )


def test_ring_bears_damaged_files_and_flash_that_refuses() -> None:
    run(
        _PARTS
        + """
ring = Crashes(RING)
ring.record("first", 1)
ring.record("second", 2)
for junk in (b"", b"[]", b"{", b"17", b'{"text": 1}'):
    with open(RING + "/2", "wb") as file:
        file.write(junk)
    with open(RING + "/reported", "wb") as file:
        file.write(b"x" + junk)
    again = Crashes(RING)
    assert again.count == 2 and again.news()["text"] == "first", junk
nowhere = Crashes("/flash/no/such/place")
nowhere.record("lost", 1)
nowhere.reported()
assert nowhere.count == 1 and nowhere.news() is None
"""
    )


def test_traceback_is_bounded_and_keeps_its_end() -> None:
    run(
        _PARTS
        + """
def deep(n):
    if n:
        deep(n - 1)
    raise ValueError("the cause \\xe9\\x00" + "x" * 20)
try:
    deep(30)
except ValueError as error:
    text = traceback(error)
assert len(text) <= 480 and text.endswith("x" * 20) and "ValueError: the cause ???" in text, text
assert "in deep" in text
"""
    )


def test_crashes_can_be_read_at_the_prompt() -> None:
    printed = run(
        _PARTS
        + """
Crashes(RING).record("Traceback:\\nOSError: 5", 77, 1_700_000_000)
show(RING)
"""
    )
    assert "crash 1, 77 s after the start, at 1700000000 s since 1970:\nTraceback:\nOSError: 5\n" in printed


def test_report_is_bounded_whatever_it_has_to_say() -> None:
    printed = run(
        _PARTS
        + """
from trig.app import App
class Of:
    def __init__(self, **fields):
        for name, value in fields.items():
            setattr(self, name, value)
nasty = '"\\\\\\n\\x00\\xe9' * 100
big = 2**31
ring = Crashes(RING)
ring.record(nasty, big, big)
app = Of(
    clock=Of(seconds=lambda: big, is_set=True, corrections=big, refused=big, error_s=-big, source="ack"),
    ntp=Of(error=nasty),
    journal=Of(next_seq=big, depth=big, dropped=big, damaged=big),
    client=Of(session=big, error=nasty, refused=big),
    wifi=Of(signal=lambda: -100, ssid=nasty, error=nasty),
    uplink=Of(bad_acks=big),
    reset_cause=77,
    owner=Of(report=lambda: {"bad_command": "x" * 64, "bad_end": "x" * 80}),
    sensor_errors={str(n) + nasty: big for n in range(12)},
    last_error=nasty, faults=big, lost=big, heap_low=big, heap=lambda: big, crashes=ring,
)
data = health.encode(health.gather(app))
print(data.decode())
fields = health.gather(app)
fields["huge"] = "x" * 600
assert len(health.encode(fields)) <= health.MAX_SIZE
assert fields["cut"] and "crash" not in fields and fields["link_error"]
"""
    )
    report = json.loads(printed)
    assert len(printed.strip()) <= 2560
    assert report["crash"]["text"] and len(report["sensor_errors"]) == 8 and report["reset_cause"] == "unknown"
    assert "cut" not in report and report["refused"] == 2**31
    table = (boardrunner.DEVICE / "README.md").read_text().partition("## Health\n")[2].partition("\n## ")[0]
    named = {
        name
        for line in table.splitlines()
        for name in re.findall(r"`(\w+)`", line.split("|")[1] if "|" in line else "")
    }
    assert report.keys() <= named


def test_crash_is_told_until_the_broker_has_taken_it() -> None:
    run(
        _PARTS
        + """
from trig.mqtt_packets import MqttError

class Client:
    def __init__(self):
        self.up = asyncio.Event()
        self.up.set()
        self.session = 1
        self.told = []
    async def publish(self, topic, payload, retain):
        assert topic == "h" and retain
        self.told.append(json.loads(payload))
        if len(self.told) == 1:
            raise MqttError("gone")

ring = Crashes(RING)
ring.record("why", 1)
client = Client()

def gather():
    crash = ring.news()
    return {"crash": crash["text"]} if crash else {}

async def main():
    task = asyncio.create_task(health.report(client, "h", gather, ring, lambda: False))
    await asyncio.sleep_ms(50)
    assert client.told == [{"crash": "why"}, {"crash": "why"}], client.told
    client.session = 2
    await asyncio.sleep_ms(1100)
    assert client.told[2:] == [{}], client.told
    task.cancel()
asyncio.run(main())
"""
    )
