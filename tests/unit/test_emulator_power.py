"""Deep sleep of emulated boards, and what they count of their power."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from emulated import Make, make  # noqa: F401
from hypothesis import given
from hypothesis import strategies as st
from trigpoint_tools.emulator.power import Model, PowerMeter, Usage


def test_deep_sleep_keeps_clock_and_rtc_memory_and_nothing_else(make: Make) -> None:  # noqa: F811
    board = make(
        main="""
import machine, network, time
rtc = machine.RTC()
cause = machine.reset_cause()
if cause == machine.PWRON_RESET:
    rtc.datetime((2013, 6, 1, 0, 12, 0, 0, 0))
seen = rtc.memory()
print('boot', cause, len(seen), time.time(), network.WLAN().active())
rtc.memory(seen + b'x')
machine.WDT(timeout=150)
network.WLAN().active(True)
machine.deepsleep(3600_000)
print('not reached')
""",
        speed=7200,
    )
    board.start()
    board.wait_for("boot 4 4", 30)
    lines = [line.split() for line in board.console]
    assert [(line[1], line[2]) for line in lines[:4]] == [("1", "0"), ("4", "1"), ("4", "2"), ("4", "3")]
    assert all(line[4] == "False" for line in lines), "the radio is off after a boot"
    times = [int(line[3]) for line in lines]
    for before, after in pairwise(times):
        # What the boot itself takes on this machine is in it, and runs at the world's speed.
        assert 3600 <= after - before < 3600 + 7200 * 2
    assert board.power.boots >= 4 and board.power.joins >= 3
    assert board.power.sleep_s == pytest.approx(3600 * board.power.joins)


def test_sleeping_board_can_be_stopped_cut_and_started(make: Make) -> None:  # noqa: F811
    board = make(
        main="import machine\nprint('boot', machine.reset_cause(), machine.RTC().memory())\n"
        "machine.RTC().memory(b'kept')\nmachine.deepsleep()"
    )
    for end in (board.stop, board.cut):
        board.start()
        board.wait_for("boot 1 b''", 10)
        deadline = time.monotonic() + 10
        while not board.asleep:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.3)
        assert board.alive and board.asleep, "no length: it sleeps for ever"
        end()
        assert not board.alive and not board.asleep
    assert board.console == ["boot 1 b''"] * 2


def test_stop_between_two_sleeps_ends_the_board(make: Make) -> None:  # noqa: F811
    board = make(main="import machine\nmachine.deepsleep(1)")
    board.start()
    time.sleep(0.5)
    began = time.monotonic()
    board.stop()
    assert not board.alive and time.monotonic() - began < 5


def test_meter_counts_each_state_apart() -> None:
    meter = PowerMeter()
    meter.booted(10.0, 0.0)
    meter.radio(True, 11.0, 0.25)
    meter.radio(True, 11.5, 0.25)
    meter.radio(False, 13.0, 0.75)
    meter.slept(600.0, 14.0, 1.25)
    assert meter.usage == Usage(
        boots=1, joins=1, cpu_s=0.75, wait_s=1.25, radio_cpu_s=0.5, radio_wait_s=1.5, sleep_s=600.0
    )
    meter.booted(20.0, 0.0)
    meter.ended(23.0)
    meter.ended(99.0)
    assert meter.usage.minus(Usage(boots=1)).wait_s == 4.25 and meter.usage.boots == 2


def test_charge_is_current_times_time() -> None:
    model = Model(cpu_ma=50, radio_ma=100, sleep_ma=0.01, slowdown=100, boot_s=0.5, join_s=2)
    # Two wakes, one with the radio: 2 x 0.5 + 0.03 x 100 + 0 s at 50 mA, 2 + 0.02 x 100 + 1 s at 100 mA.
    used = Usage(boots=2, joins=1, cpu_s=0.03, wait_s=0.0, radio_cpu_s=0.02, radio_wait_s=1.0, sleep_s=7200)
    assert used.awake_s(model) == pytest.approx((4.0, 5.0))
    day = 24 / 2 * (4.0 * 50 + 5.0 * 100)
    asleep = (86400 - 12 * 9.0) * 0.01
    assert used.mah_per_day(model, 3600) == pytest.approx((day + asleep) / 3600)
    with pytest.raises(ValueError, match="not started"):
        Usage().mah_per_day(model, 3600)


@given(
    st.lists(
        st.tuples(st.sampled_from(["boot", "on", "off", "sleep", "end"]), st.floats(0, 100), st.floats(0, 200)),
        max_size=30,
    )
)
def test_all_time_awake_is_counted_once(events: list[tuple[str, float, float]]) -> None:
    meter, now, awake, running = PowerMeter(), 0.0, 0.0, False
    for what, seconds, cpu in events:
        now += seconds
        awake += seconds if running else 0.0
        match what:
            case "boot":
                if not running:
                    meter.booted(now, cpu)
                    running = True
                else:
                    meter.radio(True, now, cpu)
            case "on" | "off":
                meter.radio(what == "on", now, cpu)
            case "sleep" if running:
                meter.slept(60.0, now, cpu)
                running = False
            case _:
                meter.ended(now)
                running = False
    meter.ended(now)
    used = meter.usage
    assert used.cpu_s + used.wait_s + used.radio_cpu_s + used.radio_wait_s == pytest.approx(awake)
    assert min(vars(used).values()) >= 0
