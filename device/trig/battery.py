"""Battery mode: wake up, measure, sign, keep, now and then connect, and sleep until the next sample is due.

Each wake signs its own sample and has it on flash before it does anything else, so power may go at any time and costs
at most the sample under way. To gather readings unsigned in RTC memory would save signatures and flash writes, and lose
up to a day of readings whenever a battery is changed; docs/battery.md has the numbers.

What RTC memory holds, counters under a CRC, only says when to connect and what to report: losing it loses nothing else.
"""

import asyncio
import gc
import struct
import sys
import time
from binascii import crc32

from micropython import const

from trig import health
from trig.crash import traceback
from trig.mqtt_packets import MqttError
from trig.uplink import health_topic

_MAGIC = const(b"TRB1")
_FORMAT = const("<4sHHIII")
_BYTES = const(20)
_STATE_BYTES = const(24)  # with the CRC
_MOST = const(0xFFFF)
_MOST_LONG = const(0xFFFFFFFF)
_UP_MS = const(20000)
_STALL_MS = const(10000)
_POLL_MS = const(50)
_MARGIN_S = const(60)
_SHOWN_MS = const(2000)
_END_POLLS = const(50)
_END_POLL_MS = const(10)


class State:
    """What is known from one wake to the next, since power-on.

    Attributes:
        since: wakes since the last try to connect, this one included.
        failures: tries to connect in a row that did not deliver everything.
        wakes: wakes since power-on.
        lost: readings that flash refused.
        errors: measurements that failed.
    """

    def __init__(self, data=b""):
        """Read what ``pack`` made; anything else is a board that has just got its power."""
        self.since = self.failures = self.wakes = self.lost = self.errors = 0
        if len(data) == _STATE_BYTES and crc32(data[:_BYTES]) & 0xFFFFFFFF == struct.unpack_from("<I", data, _BYTES)[0]:
            magic, since, failures, wakes, lost, errors = struct.unpack_from(_FORMAT, data)
            if magic == _MAGIC:
                self.since, self.failures, self.wakes, self.lost, self.errors = since, failures, wakes, lost, errors

    def pack(self):
        """As bytes for RTC memory."""
        data = struct.pack(
            _FORMAT,
            _MAGIC,
            min(self.since, _MOST),
            min(self.failures, _MOST),
            min(self.wakes, _MOST_LONG),
            min(self.lost, _MOST_LONG),
            min(self.errors, _MOST_LONG),
        )
        return data + struct.pack("<I", crc32(data) & 0xFFFFFFFF)


def connect_due(state, connect_every, urgent):
    """Whether this wake connects: every ``connect_every``-th does.

    An urgent one connects at once: the time is not known, or the journal is about to drop what the gateway has not
    got. If that fails, the pause doubles from try to try up to ``connect_every`` wakes: a gateway that is away for
    weeks must not empty the battery.
    """
    pause = connect_every
    if urgent:
        pause = min(pause, 1 << min(state.failures, 16))
    return state.since >= pause


def run(app, hardware, station, settings, sample_s):
    """One wake. Ends in deep sleep, whatever happens but Ctrl-C.

    Args:
        app: trig.app.App.
        hardware: the ``machine`` module.
        station: ``network.WLAN(network.STA_IF)``.
        settings: the checked ``battery`` section of config.json.
        sample_s: its ``sample_s``.
    """
    # Never fed: a wake that hangs is ended by it, and the next one goes on.
    hardware.WDT(timeout=(settings["awake_s"] + _MARGIN_S) * 1000)
    memory = hardware.RTC().memory
    state = State(memory())
    try:
        asyncio.run(_wake(app, state, settings, memory))
    except Exception as error:
        # To reset at once, as a board on mains does, would empty the battery.
        sys.print_exception(error)
        app.record(traceback(error))
        time.sleep_ms(_SHOWN_MS)
    app.stop()
    state.lost += app.batch.pack.count + app.lost
    memory(state.pack())
    try:
        station.active(False)
    except OSError:
        pass
    hardware.deepsleep(app.clock.to_next(sample_s))


async def _wake(app, state, settings, memory):
    state.since += 1
    state.wakes += 1
    await app.measure()
    state.errors += sum(app.sensor_errors.values())
    app.sign()
    urgent = not app.clock.is_set or app.journal.nearly_full
    connect = connect_due(state, settings["connect_every"], urgent)
    if connect:
        # A wake that the watchdog has to end counts as a failure too.
        state.since = 0
        state.failures += 1
    memory(state.pack())
    if connect and await _connect(app, state, settings):
        state.failures = 0


async def _connect(app, state, settings):
    """Bring all statements to the gateway and say how the board is; return whether that was done in time."""
    tasks = [asyncio.create_task(task) for task in app.link(_nothing, _nothing)]
    done = False
    try:
        done = await asyncio.wait_for(_deliver(app, state, settings), settings["awake_s"])
    except (asyncio.TimeoutError, MqttError):
        pass
    for task in tasks:
        await _end(task)
    return done


async def _end(task):
    """Cancel a task and wait for its end; raises what else it ended with.

    A cancel that meets the time-out of a ``wait_for`` in the same turn is lost (MicroPython 1.28), and a busy processor
    makes that likely: so it is looked whether it has ended, and it is told again.
    """
    while not task.done():
        task.cancel()
        for _ in range(_END_POLLS):
            await asyncio.sleep_ms(_END_POLL_MS)
            if task.done():
                break
    try:
        await task
    except asyncio.CancelledError:
        pass


async def _deliver(app, state, settings):
    await asyncio.wait_for_ms(app.client.up.wait(), _UP_MS)
    journal = app.journal
    acked, moved_at = journal.acked, time.ticks_ms()
    while journal.depth:
        await asyncio.sleep_ms(_POLL_MS)
        if journal.acked != acked:
            acked, moved_at = journal.acked, time.ticks_ms()
        elif time.ticks_diff(time.ticks_ms(), moved_at) > _STALL_MS:
            break
    delivered = journal.depth == 0
    gc.collect()
    fields = health.gather(app)
    fields["battery"] = {
        "connect_every": settings["connect_every"],
        "wakes": state.wakes,
        "failures": 0 if delivered else state.failures,
        "lost": state.lost,
        "sensor_errors": state.errors,
    }
    await app.client.publish(health_topic(app.signer.kid), health.encode(fields), retain=True)
    if "crash" in fields:
        app.crashes.reported()
    await app.client.leave()
    return delivered


def _nothing():
    pass
