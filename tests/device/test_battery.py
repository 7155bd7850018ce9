"""Battery mode: the whole firmware through deep sleeps, with a real broker and a gateway of a few lines."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from boardrunner import run
from brokers import RunningBroker, embedded_broker  # noqa: F401
from test_app import LINK, Gateway
from trigpoint.clock import WorldClock
from trigpoint.wire import statement
from trigpoint.wire.keys import PublicKey
from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.weather import Weather

SAMPLE_S = 600


class World:
    """One board on batteries, its broker and its gateway. At `speed` 3,600 a period lasts a sixth of a second."""

    def __init__(
        self,
        directory: Path,
        broker: RunningBroker,
        speed: float = 3600,
        changes: dict[str, Any] | None = None,
        heap: str = "160k",
        **battery: int,
    ) -> None:
        weather = Weather.load(station="JFK")
        self.cuts = 0
        self.clock = WorldClock(int(weather.first) + 86400, time.time(), speed)
        numbers = LINK.public_key().public_numbers()
        config: dict[str, Any] = {
            "version": 1,
            "wifi": [{"ssid": "trig", "password": "password"}],
            "broker": {"host": "127.0.0.1", "port": broker.port, "tls": False},
            "link_key": (numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")).hex(),
            "sensors": [{"type": "bme280", "scl": 22, "sda": 21}],
            "sample_s": SAMPLE_S,
            "battery": battery,
            **(changes or {}),
        }
        self.config = config
        self.board = EmulatedBoard.create(directory / "board", config, self.clock, weather, heap)
        public = json.loads(self.board.exec("import trig.enroll; trig.enroll.show()"))
        self.gateway = Gateway(broker.port, self.clock, PublicKey(*(bytes.fromhex(public[name]) for name in "xy")))
        self.before = self.board.power

    @property
    def wakes(self) -> int:
        return self.board.power.minus(self.before).boots

    @property
    def joins(self) -> int:
        return self.board.power.minus(self.before).joins

    def wait_for_wakes(self, number: int, timeout: float = 200) -> None:
        deadline = time.monotonic() + timeout
        while self.wakes < number or not self.board.asleep:
            assert time.monotonic() < deadline, (self.wakes, self.board.console[-10:])
            assert self.board.alive, self.board.console[-10:]
            time.sleep(0.005)

    def held(self) -> list[bytes]:
        """Switch the board off and return the statements in its journal, in order."""
        self.board.cut()
        printed = self.board.exec(_DUMP)
        return [bytes.fromhex(line) for line in printed.split()]

    def check_chain(self) -> list[statement.Statement]:
        """Every sample is in one statement, stored or in the journal, and each follows the one before: return them."""
        held = self.held()
        stored = [found.raw for found in self.gateway.stored]
        overlap = next((n for n in range(len(held), -1, -1) if stored[len(stored) - n :] == held[:n]), 0)
        chain = stored + held[overlap:]
        assert self.gateway.failures == []
        parsed = [statement.parse(raw) for raw in chain]
        assert [found.seq for found in parsed] == list(range(len(parsed)))
        for before, after in pairwise(parsed):
            assert after.prev == hashlib.sha256(before.raw).digest()
        samples, rest = divmod(sum(len(found.readings) for found in parsed), 3)
        # A wake that was cut after measuring and before signing has lost its sample.
        assert rest == 0 and 0 <= len(self.board.sensor.conversions) - samples <= self.cuts
        return parsed

    def cut(self) -> None:
        self.cuts += 1
        self.board.cut()

    def close(self) -> None:
        self.board.cut()
        self.gateway.close()


# Prints each statement that the journal holds.
_DUMP = """
import esp32, os
from trig.journal import Journal
from trig import enroll
journal = enroll._signer()._journal
for seq in range(journal.oldest, journal.next_seq):
    stored = journal.stored(seq)
    print(b"".join([bytes(stored[at : at + 512]) for at in range(0, len(stored), 512)]).hex())
"""


@pytest.fixture
def world(tmp_path: Path, embedded_broker: RunningBroker) -> Iterator[World]:  # noqa: F811
    made = World(tmp_path, embedded_broker, connect_every=4, awake_s=20)
    yield made
    made.close()


def _through_sleeps(world: World, wakes: int) -> None:
    """Sleep and wake with cuts in between, both asleep and awake."""
    board, gateway = world.board, world.gateway
    board.start()
    world.wait_for_wakes(wakes // 3)
    assert board.asleep
    world.cut()  # asleep: a battery is changed
    board.start()
    world.wait_for_wakes(2 * wakes // 3)
    deadline = time.monotonic() + 20
    while board.asleep:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(0.2)
    world.cut()  # awake, wherever it is
    board.start()
    world.wait_for_wakes(wakes)
    assert len(gateway.stored) >= wakes - 5
    # Each power-on connects at once, then every fourth wake does, and no other.
    assert wakes // 4 <= world.joins <= wakes // 4 + 2 * (world.cuts + 1)
    relative = [found.seq for found in gateway.stored if found.base_time is None]
    assert relative[0] == 0 and len(relative) <= world.cuts + 1, "only the first after each power-on has no time"
    report = [report for report in gateway.health if report["online"]][-1]
    assert report["reset_cause"] == "deep_sleep" and report["clock_set"] and report["battery"]["connect_every"] == 4
    assert report["battery"]["lost"] == report["battery"]["failures"] == 0
    assert {"online": False} not in gateway.health[-1:], "a board that goes to sleep says goodbye"
    assert all(len(found.readings) == 3 for found in world.check_chain())


def test_chain_holds_through_sleeps_and_cuts(world: World) -> None:
    _through_sleeps(world, 24)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_chain_holds_through_hundreds_of_sleeps(world: World) -> None:
    _through_sleeps(world, 400)


def test_gateway_away_for_long_costs_no_reading_and_little_power(
    tmp_path: Path,
    embedded_broker: RunningBroker,  # noqa: F811
) -> None:
    world = World(tmp_path, embedded_broker, connect_every=4, awake_s=10)
    board, gateway = world.board, world.gateway
    board.start()
    gateway.wait_for(lambda g: len(g.stored) >= 1)
    world.wait_for_wakes(1)
    board.wifi(False)
    joins, wakes = world.joins, world.wakes
    world.wait_for_wakes(wakes + 8, 250)
    assert world.joins - joins <= 3, "it tries every fourth wake, and gives up soon"
    stored = len(gateway.stored)
    board.wifi(True)
    gateway.wait_for(lambda g: len(g.stored) >= stored + 8, 60)
    world.check_chain()
    world.close()


def test_time_is_kept_across_sleeps(tmp_path: Path, embedded_broker: RunningBroker) -> None:  # noqa: F811
    """The statements of wakes that did not connect carry the time of the measurement, as the part noted it."""
    made = World(tmp_path, embedded_broker, speed=600, connect_every=5, awake_s=20)
    made.board.start()
    made.gateway.wait_for(lambda g: len(g.stored) >= 6, 60)
    measured = [conversion.time for conversion in made.board.sensor.conversions]
    for found in made.gateway.stored[1:6]:
        assert found.base_time is not None
        # One real second is ten minutes here: this allows three tenths of one.
        assert abs(found.base_time - measured[found.seq]) < 180, (found.seq, found.base_time, measured[found.seq])
        assert found.base_time % SAMPLE_S < 400, "wakes are aligned to whole periods"
    made.close()


_FAKES = """
import asyncio
from trig import battery
from trig.battery import State, connect_due

class Hardware:
    slept = None
    memory = b""
    dogs = []
    class WDT:
        def __init__(self, timeout):
            Hardware.dogs.append(timeout)
    class RTC:
        def memory(self, data=None):
            if data is None:
                return Hardware.memory
            Hardware.memory = data
    @staticmethod
    def deepsleep(ms):
        Hardware.slept = ms

class Station:
    on = True
    def active(self, on):
        self.on = on

class Thing:
    pass

class App:
    def __init__(self):
        self.clock = Thing()
        self.clock.is_set = True
        self.clock.to_next = lambda s: s * 1000 - 1
        self.journal = Thing()
        self.journal.nearly_full = False
        self.batch = Thing()
        self.batch.pack = Thing()
        self.batch.pack.count = 3
        self.sensor_errors = {}
        self.lost = 0
        self.signs = True
        self.error = None
        self.crashes = []
        self.linked = self.stops = 0
        self.client = Thing()
        self.client.up = self
    async def wait(self):
        await asyncio.sleep_ms(1)
        raise asyncio.TimeoutError
    async def measure(self):
        if self.error:
            raise self.error
    def sign(self):
        if self.signs:
            self.batch.pack.count = 0
        return self.signs
    def stop(self):
        self.stops += 1
    def record(self, text):
        self.crashes.append(text)
    def link(self, moved, clock_moved):
        self.linked += 1
        return (self.task(),)
    async def task(self):
        raise ValueError("a task's fault")

class NoTime:
    # The time that a person at the cable gets to read an error.
    @staticmethod
    def sleep_ms(ms):
        pass
battery.time = NoTime
station = Station()
def wake(app, connect_every=3):
    Hardware.slept = None
    battery.run(app, Hardware, station, {"connect_every": connect_every, "awake_s": 10}, 600)
    assert Hardware.slept == 599999 and station.on is False
    return State(Hardware.memory)
"""


def test_rtc_memory_that_is_not_ours_is_a_fresh_start() -> None:
    run(
        _FAKES
        + """
state = State()
state.since, state.failures, state.wakes, state.lost, state.errors = 3, 2, 70000, 5, 1 << 40
data = state.pack()
again = State(data)
assert (again.since, again.failures, again.wakes, again.lost, again.errors) == (3, 2, 70000, 5, 0xFFFFFFFF)
for at in range(len(data)):
    for bit in range(8):
        bad = bytearray(data)
        bad[at] ^= 1 << bit
        assert State(bytes(bad)).wakes == 0
for other in (b"", data[:-1], data + b"x", bytes(24), bytes(2048)):
    assert State(other).wakes == 0
"""
    )


def test_when_to_connect() -> None:
    run(
        _FAKES
        + """
def tries(connect_every, urgent, wakes):
    # The wakes at which a board connects whose every try fails.
    state, found = State(), []
    for wake in range(wakes):
        state.since += 1
        if connect_due(state, connect_every, urgent):
            state.since = 0
            state.failures += 1
            found.append(wake)
    return found
assert tries(1, False, 4) == tries(1, True, 4) == [0, 1, 2, 3]
assert tries(6, False, 20) == [5, 11, 17]
assert tries(100, True, 300) == [0, 2, 6, 14, 30, 62, 126, 226]
assert tries(6, True, 20) == [0, 2, 6, 12, 18]
"""
    )


def test_a_cancel_that_is_lost_is_repeated() -> None:
    """Else a wake hangs until the watchdog ends it: MicroPython's wait_for loses a cancel in its time-out's turn."""
    run(
        _FAKES
        + """
import time
async def stubborn():
    while True:
        try:
            await asyncio.wait_for_ms(asyncio.Event().wait(), 5)
        except asyncio.TimeoutError:
            pass

async def main():
    lost = 0
    for n in range(10):
        for end in (False, True):
            task = asyncio.create_task(stubborn())
            await asyncio.sleep_ms(1)
            time.sleep_ms(6)  # the processor is busy, and then two timers are overdue at once
            await asyncio.sleep_ms(0)
            if not end:
                task.cancel()
                await asyncio.sleep_ms(3)
                lost += not task.done()
            await battery._end(task)
            assert task.done()
    assert lost, "MicroPython has mended it"

async def faulty():
    raise ValueError("a task's fault")

async def raised():
    task = asyncio.create_task(faulty())
    await asyncio.sleep_ms(1)
    try:
        await battery._end(task)
    except ValueError:
        return True

asyncio.run(main())
assert asyncio.run(raised())
"""
    )


def test_a_wake_ends_in_sleep_whatever_happens() -> None:
    run(
        _FAKES
        + """
app = App()
state = wake(app)
assert (state.wakes, state.since, state.lost, app.linked) == (1, 1, 0, 0)
assert Hardware.dogs == [70000], "the watchdog ends a wake that hangs"
app.signs = False
app.batch.pack.count = 3
app.sensor_errors = {"BME280": 1}
state = wake(app)
assert (state.wakes, state.lost, state.errors) == (2, 3, 1), "what flash refused is counted"
app.signs = True
state = wake(app)
assert app.linked == 1 and (state.since, state.failures) == (0, 1), "the third connects, in vain"
assert app.stops == 3 and len(app.crashes) == 1 and "a task's fault" in app.crashes[0]
app.error = MemoryError("too much")
state = wake(app)
assert "too much" in app.crashes[1] and state.wakes == 4
app.error = None
app.journal.nearly_full = True
wake(app, 100)
wake(app, 100)
assert app.linked == 2, "a full journal is urgent"
"""
    )
