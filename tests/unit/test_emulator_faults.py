"""What can be done to an emulated board from outside: its way to the network, its clock, its parts."""

from __future__ import annotations

import time
from random import Random

import pytest
from emulated import Make, make
from hypothesis import given
from hypothesis import strategies as st
from test_emulator_network import CONNECT, echo_server
from trigpoint_tools.emulator.link import Link
from trigpoint_tools.emulator.parts.fault import Fault

__all__ = ["make"]

ECHO = """
{connect}
async def main():
    while True:
        try:
            reader, writer = await asyncio.open_connection('127.0.0.1', {port})
            n = 0
            while True:
                start = time.ticks_ms()
                writer.write(b'%d\\n' % n)
                await writer.drain()
                line = await reader.readline()
                if not line:
                    raise OSError('closed')
                print('echo', int(line), time.ticks_diff(time.ticks_ms(), start))
                n += 1
                await asyncio.sleep_ms(20)
        except OSError as error:
            print('broken', error)
            break
asyncio.run(main())
"""


def test_bytes_come_late_in_order_and_whole(make: Make) -> None:
    with echo_server() as (port, _):
        board = make(main=ECHO.format(connect=CONNECT, port=port))
        board.start()
        board.wait_for("echo 3")
        board.link.delay_s = 0.15
        stood_at = len(board.console)
        board.wait_for(f"echo {stood_at + 3}")
        late = [int(line.split()[2]) for line in board.console[stood_at + 1 :] if line.startswith("echo")]
        assert min(late) >= 300, late
        assert board.link.late >= 4
        board.link.delay_s, board.link.loss = 0.0, 0.5
        board.wait_for(f"echo {stood_at + 6}")
        echoes = [int(line.split()[1]) for line in board.console if line.startswith("echo")]
        assert echoes == list(range(len(echoes)))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the server's ConnectionResetError
def test_a_reset_breaks_connections_at_once_and_both_ends_see_it(make: Make) -> None:
    with echo_server() as (port, _):
        board = make(main=ECHO.format(connect=CONNECT, port=port))
        seen: list[tuple[int, bool, bytes]] = []
        board.link.tap = lambda *passed: seen.append(passed)
        board.start()
        board.wait_for("echo 3")
        assert board.connections == board.link.connects == 1
        board.reset_connections()
        assert board.wait(20) == 0
        assert "104" in board.console[-1] or "ECONNRESET" in board.console[-1]
        assert board.link.resets == 1
        assert board.connections == 0
        sent = b"".join(data for number, from_board, data in seen if number == 1 and from_board)
        got = b"".join(data for number, from_board, data in seen if number == 1 and not from_board)
        assert sent.startswith(b"0\n1\n2\n")
        assert sent.startswith(got)


@given(loss=st.floats(0, 0.9), delay=st.floats(0, 2), seed=st.integers(0, 99))
def test_loss_is_delay_and_bounded(loss: float, delay: float, seed: int) -> None:
    link = Link(delay_s=delay, loss=loss, random=Random(seed))
    held = [link.hold() for _ in range(50)]
    assert all(delay <= one <= delay + 0.3 * (1 + 2 + 4 + 8 + 16) + 1e-9 for one in held)
    assert link.late == sum(one > 0 for one in held)
    if not loss:
        assert set(held) == {delay}


CLOCK = """
import machine, time
machine.RTC().datetime((2013, 1, 1, 0, 6, 0, 0, 0))
real, world = time.ticks_ms(), time.time()
def fired(timer):
    print('fired', time.ticks_diff(time.ticks_ms(), real))
machine.Timer(0).init(mode=machine.Timer.ONE_SHOT, period=3600000, callback=fired)
for i in range(30):
    time.sleep_ms(100)
    print('at', time.ticks_diff(time.ticks_ms(), real), time.time() - world)
"""


def moments(lines: list[str]) -> list[tuple[int, int]]:
    return [(int(line.split()[1]), int(line.split()[2])) for line in lines if line.startswith("at")]


def test_a_clock_jumps_once_and_goes_on(make: Make) -> None:
    board = make(main=CLOCK, speed=3600.0)
    board.start()
    board.wait_for("at ")
    board.skew(0, jump_s=-86_400)
    assert board.wait(20) == 0
    rows = moments(board.console)
    off = [world - 3.6 * real for real, world in rows]
    jumped = [number for number, value in enumerate(off) if value < -43_200]
    assert jumped and jumped == list(range(jumped[0], len(rows)))
    assert all(abs(value) < 360 for value in off[: jumped[0]])
    assert all(abs(value + 86_400) < 360 for value in off[jumped[0] :])
    assert board.clock_sets == 1
    (fired,) = [int(line.split()[1]) for line in board.console if line.startswith("fired")]
    assert 950 < fired < 1500  # timers count time that has passed, whatever the clock says


@pytest.mark.parametrize("ppm", [100_000, -100_000])
def test_a_clock_runs_at_another_rate_from_then_on_and_over_resets(make: Make, ppm: int) -> None:
    board = make(
        main="""
import machine, time
if machine.reset_cause() == 1:
    machine.RTC().datetime((2013, 1, 1, 0, 6, 0, 0, 0))
    print('set', time.ticks_ms(), time.time())
    time.sleep(1)
    print('half', time.time())
    machine.reset()
print('booted', time.time())
time.sleep(1)
print('end', time.time())
""",
        speed=3600.0,
    )
    board.start()
    board.wait_for("set")
    board.skew(ppm)
    assert board.wait(20) == 0
    said = {line.split()[0]: int(line.split()[-1]) for line in board.console}
    factor = 3600 * (1 + ppm / 1_000_000)
    assert said["half"] - said["set"] == pytest.approx(factor, abs=200)
    assert said["half"] <= said["booted"] < said["half"] + 3600  # not set back by the reset
    assert said["end"] - said["booted"] == pytest.approx(factor, abs=200)


def test_a_part_breaks_between_two_measurements_only(make: Make) -> None:
    """What the part has counted as fetched is what the board has got, whenever it was unplugged."""
    board = make(
        main="""
import machine, time
i2c = machine.I2C(0, scl=machine.Pin(22), sda=machine.Pin(21))
print('ready')
got = 0
for i in range(300):
    try:
        i2c.writeto_mem(118, 0xF2, b'\\x01')
        i2c.writeto_mem(118, 0xF4, b'\\x25')
        time.sleep_ms(12)
        i2c.readfrom_mem(118, 0xF7, 8)
        got += 1
    except OSError:
        pass
    if i % 10 == 9:
        time.sleep_ms(100)
print('got', got)
"""
    )
    board.start()
    board.wait_for("ready")
    for _ in range(10):
        board.break_part(0, Fault.MISSING)
        time.sleep(0.2)
        board.break_part(0, Fault.NONE)
        time.sleep(0.3)
    assert board.wait(60) == 0
    got = int(board.console[-1].split()[1])
    assert 0 < got < 300
    assert len(board.sensor.conversions) == got
