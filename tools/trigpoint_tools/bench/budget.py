"""What the firmware takes of a board: heap over 100,000 readings, bytes of compiled code, processor time per reading.

The firmware runs as it is on an emulated board with a heap of 160 KiB: sensors at register level, the board's own flash
image and littlefs, its Wi-Fi, and MQTT over TCP to the embedded broker. Not real are the gateway, which is a few lines
here that verify each statement and ack it, and the time: the world runs fast, so that samples follow each other as
quickly as the sensors can be read. Four BME280s share a sample, since each takes ten real milliseconds.

Nothing is added to the firmware. The board's boot.py gets a meter: where the application sets its timer for the next
sample, which is at the same place in each round, it collects and prints how much heap is free.
"""

from __future__ import annotations

import hashlib
import json
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.enums import CallbackAPIVersion
from trigpoint.clock import WorldClock
from trigpoint.wire import ack, statement
from trigpoint.wire.keys import PublicKey

from trigpoint_tools.checks import device
from trigpoint_tools.demo.processes import broker, free_port, wait_for_port
from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.weather import Weather

READINGS = 100_000
RECONNECTS = 9
LOOP = 100_000
SPEED = 600
_PATIENCE_S = 300
_SPACING_S = 12  # a connection that lasts for less makes the board wait longer before the next
_LOOK_EVERY = 10  # samples

SENSORS: list[dict[str, Any]] = [
    {"type": "bme280", "name": f"{bus}{side}", "i2c": bus, "scl": scl, "sda": sda, "address": address}
    for bus, (scl, sda) in enumerate(((22, 21), (18, 19)))
    for side, address in (("a", 0x76), ("b", 0x77))
]

METER = f"""
import gc, machine

def _metered(init):
    count = 0
    def metered(self, **options):
        nonlocal count
        count += 1
        if count % {_LOOK_EVERY} == 0:
            gc.collect()
            print("heap", count, gc.mem_free())
        init(self, **options)
    return metered

machine.Timer.init = _metered(machine.Timer.init)
"""

# In the board's own interpreter, so that the other figures can be given in it.
EMPTY_LOOP = f"""
import time
def loop():
    began = time.ticks_us()
    for _ in range({LOOP}):
        pass
    return time.ticks_diff(time.ticks_us(), began)
print(min(loop() for _ in range(20)))
"""


@dataclass(frozen=True)
class Run:
    """What a run of many readings showed.

    Attributes:
        readings: stored by the gateway.
        cpu_s: processor time of the board, all of it.
        loop_s: time of an empty loop of 100,000 turns on the same interpreter.
        heap_free: bytes free after a collection, at every tenth sample but for the first hundredth of all, and while
            it had a connection.
        health: the board's last report.
        seconds: how long the board ran.
    """

    readings: int
    cpu_s: float
    loop_s: float
    heap_free: tuple[int, ...]
    health: dict[str, Any]
    seconds: float


class Gateway:
    """Takes one board's statements in order, verifies and acks them, and reads its health.

    Attributes:
        readings: how many it has stored.
        health: the board's reports.
        refused: what it would not take, one line each.
    """

    def __init__(self, port: int, link: ec.EllipticCurvePrivateKey, board: PublicKey, clock: WorldClock) -> None:
        self._port = port
        self._board = board
        self._key = ack.derive_key(link, board)
        self._clock = clock
        self._next = 0
        self._prev = bytes(32)
        self._news = threading.Condition()
        self.readings = 0
        self.health: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="gateway")
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe([("trig/1/+/s", 1), ("trig/1/+/h", 1)])
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def wait_for(self, readings: int, reports: int) -> None:
        """Wait for so many readings and health reports; RuntimeError if nothing comes for long."""
        seen = -1
        while seen != self.readings + len(self.health):
            seen = self.readings + len(self.health)
            with self._news:
                if self._news.wait_for(lambda: self._has(readings, reports), _PATIENCE_S) and not self.refused:
                    return
        raise RuntimeError(f"the budget run stands still at {self.readings} readings: {self.refused[:3]}")

    def ask_health(self) -> dict[str, Any]:
        """Make the board connect again, and return what it then reports.

        Whoever connects under its client id takes its connection away (MQTT 3.1.1 section 3.1.4).
        """
        known = len(self.health)
        thief = paho.Client(CallbackAPIVersion.VERSION2, client_id=self._board.kid.hex(), clean_session=False)
        thief.connect("127.0.0.1", self._port)
        thief.loop_start()
        for _ in range(200):
            if thief.is_connected():
                break
            time.sleep(0.01)
        thief.disconnect()
        thief.loop_stop()
        self.wait_for(0, known + 1)
        return self.health[-1]

    def _has(self, readings: int, reports: int) -> bool:
        return bool(self.refused) or (self.readings >= readings and len(self.health) >= reports)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        with self._news:
            if message.topic.endswith("/h"):
                report = json.loads(message.payload)
                if report["online"]:
                    self.health.append(report)
            else:
                self._take(message.topic, bytes(message.payload))
            self._news.notify_all()

    def _take(self, topic: str, raw: bytes) -> None:
        try:
            found = statement.parse(raw)
        except ValueError as error:
            self.refused.append(str(error))
            return
        if found.seq == self._next:
            if not self._board.verify(found.signature, found.to_be_signed()) or found.prev != self._prev:
                self.refused.append(f"statement {found.seq}")
                return
            self._next += 1
            self._prev = hashlib.sha256(found.raw).digest()
            self.readings += len(found.readings)
        elif found.oldest > self._next:
            # The board was kept from its gateway for so long that its journal was full.
            self.refused.append(f"statements {self._next} to {found.oldest - 1} were dropped unacked")
            return
        sealed = ack.seal(self._key, self._next - 1, self._clock.now_ms())
        self._client.publish(topic[:-1] + "a", sealed, qos=1)


@contextmanager
def lone_board(
    directory: Path, speed: float, settings: Mapping[str, Any]
) -> Iterator[tuple[EmulatedBoard, Gateway, float]]:
    """Give a new board, switched off, its broker and its gateway, and the seconds of an empty loop on the board.

    Args:
        directory: where its files go.
        speed: of its world.
        settings: what its configuration says besides Wi-Fi, broker and link key.
    """
    weather = Weather.load(station="JFK")
    clock = WorldClock(int(weather.first) + 86400, time.time(), speed)
    link = ec.generate_private_key(ec.SECP256R1())
    ours = PublicKey.of(link)
    port = free_port()
    config = {
        "version": 1,
        "wifi": [{"ssid": "trig", "password": "password"}],
        "broker": {"host": "127.0.0.1", "port": port, "tls": False},
        "link_key": (ours.x + ours.y).hex(),
        **settings,
    }
    child = broker(port, directory / "broker.log")
    child.start()
    try:
        wait_for_port(port, child)
        board = EmulatedBoard.create(directory / "board", config, clock, weather, "160k")
        public = json.loads(board.exec("import trig.enroll; trig.enroll.show()").splitlines()[-1])
        loop_s = int(board.exec(EMPTY_LOOP)) / 1_000_000
        gateway = Gateway(port, link, PublicKey(bytes.fromhex(public["x"]), bytes.fromhex(public["y"])), clock)
        try:
            yield board, gateway, loop_s
        finally:
            board.cut()
            gateway.close()
    finally:
        child.stop()


def run_readings(directory: Path, readings: int, reconnects: int) -> Run:
    """Let a new board take so many readings.

    Args:
        directory: where board and broker live.
        readings: how many, at least.
        reconnects: how often its connection is taken away meanwhile.

    Raises:
        EmulatorError: the board could not be started.
        RuntimeError: the gateway refused something, or the board stands still.
    """
    settings = {"sensors": SENSORS, "sample_s": 1, "resend_s": 2, "batch": {"samples": 3, "age_s": 3600}}
    with lone_board(directory, SPEED, settings) as (board, gateway, loop_s):
        boot = board.read_file("/boot.py")
        board.write_file("/boot.py", boot + METER.encode())
        try:
            before = _children_s()
            board.start()
            looks: dict[int, int] = {}
            began = asked = time.monotonic()
            gateway.wait_for(readings // 100, 1)
            newest = max(_looks(board.console), default=0)
            for part in range(1, reconnects + 2):
                gateway.wait_for(readings * part // (reconnects + 1), 1)
                time.sleep(max(0.0, asked + _SPACING_S - time.monotonic()))
                asked = time.monotonic()
                looks |= {count: free for count, free in _looks(board.console).items() if count > newest}
                gateway.ask_health()
                # What was seen while it had no connection is left out.
                newest = max(_looks(board.console))
            seconds = time.monotonic() - began
            board.stop()
            free = tuple(looks[count] for count in sorted(looks))
            return Run(gateway.readings, _children_s() - before, loop_s, free, gateway.health[-1], seconds)
        except RuntimeError as error:
            raise RuntimeError(f"{error}; the board's console: {board.console[-20:]}") from None


def _looks(console: list[str]) -> dict[int, int]:
    """Return what the meter has printed: number of the sample to bytes free."""
    lines = (line.split() for line in console if line.startswith("heap "))
    return {int(words[1]): int(words[2]) for words in lines if len(words) == 3}


def growth(heap_free: tuple[int, ...]) -> int:
    """Return how much less heap is free at the end of a run than at its beginning.

    Of each tenth of the looks the most that was free counts: a packet that waits for its answer comes and goes, a leak
    only comes. How few of such things a tenth happens to catch differs by some 200 bytes. So the least of the first
    three tenths is compared with the most of the last three: without a leak that is 0, and of what leaks evenly over
    the run half is seen.
    """
    tenth = max(1, len(heap_free) // 10)
    most = [max(heap_free[start : start + tenth]) for start in range(0, len(heap_free) - tenth + 1, tenth)]
    return max(0, min(most[:3]) - max(most[-3:]))


def _children_s() -> float:
    """Return the processor time of all processes that this one has started and seen end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def app_mpy_bytes() -> int:
    """Return the bytes of the compiled application, for the instruction set for which they are more.

    Raises:
        CheckError: mpy-cross is missing.
        RuntimeError: something does not compile.
    """
    files = sorted(device.DEVICE.rglob("*.py"))
    sizes = []
    for target in device.TARGETS:
        findings, size = device.compile_findings(files, target)
        if findings:
            raise RuntimeError("\n".join(findings))
        sizes.append(size)
    return max(sizes)


def figures(report: Callable[[str], None]) -> dict[str, int | float]:
    """Run 100,000 readings and compile the application; `report` is told what goes on.

    Returns:
        heap_growth_bytes: see `growth`.
        heap_readings: how many readings that is over.
        heap_free_bytes: the least heap free at a look, of 163,840.
        app_mpy_bytes: bytes of the compiled application.
        reading_vs_loop: processor time per reading, all of its way to the ack, in empty loops of 100,000 turns.

    Raises:
        EmulatorError, CheckError, RuntimeError: the board, a tool or the firmware failed.
    """
    report(f"{READINGS:,} readings of four BME280s on an emulated board, heap 160k: some minutes")
    with tempfile.TemporaryDirectory(prefix="trigpoint-budget-") as folder:
        done = run_readings(Path(folder), READINGS, RECONNECTS)
    report(f"{done.readings:,} readings in {done.health['next_seq']:,} statements took {done.seconds:.0f} s")
    report(f"heap free at {len(done.heap_free)} looks: {min(done.heap_free):,} to {max(done.heap_free):,} bytes")
    if any(done.health[name] for name in TROUBLES):
        raise RuntimeError(f"the budget run lost something: {done.health}")
    return {
        "heap_growth_bytes": growth(done.heap_free),
        "heap_readings": done.readings,
        "heap_free_bytes": min(done.heap_free),
        "app_mpy_bytes": app_mpy_bytes(),
        "reading_vs_loop": round(done.cpu_s / done.readings / done.loop_s, 3),
    }


TROUBLES = ("faults", "lost", "dropped", "damaged", "sensor_errors", "crashes")
"""What a health report counts that must be nothing."""
