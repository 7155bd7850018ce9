"""Emulated boards, each a real MicroPython process."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from emulated import CONFIG, ORIGIN, WEATHER, Make, make
from trigpoint.clock import WorldClock
from trigpoint_tools import boardfiles
from trigpoint_tools.emulator import flash
from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.errors import BoardError, EmulatorError
from trigpoint_tools.emulator.interpreter import find_micropython

__all__ = ["make"]


def lines_with(board: EmulatedBoard, text: str) -> list[str]:
    return [line for line in board.console if text in line]


def test_boot_then_main_or_the_given_code(make: Make) -> None:
    board = make(boot="shared = 'booted'\nprint('boot')\n", main="print('main', shared, __name__)\n")
    board.start()
    assert board.wait(10) == 0
    assert board.console == ["boot", "main booted __main__"]
    assert board.exec("print('code', shared)") == "boot\ncode booted\n"
    assert not board.alive


def test_a_traceback_goes_to_the_console_and_ends_the_board(make: Make) -> None:
    board = make(main="import machine\n\n1 / 0\n")
    board.start()
    assert board.wait(10) == 1
    assert board.console[-1] == "ZeroDivisionError: divide by zero"
    assert '  File "/main.py", line 3, in <module>' in board.console
    with pytest.raises(BoardError, match="NameError") as failed:
        board.exec("print('before')\nnope")
    assert failed.value.output.startswith("before\n")


def test_a_broken_boot_file_keeps_main_from_running(make: Make) -> None:
    board = make(boot="syntax error\n", main="print('got here')\n")
    board.start()
    assert board.wait(10) == 1
    assert not lines_with(board, "got here")


def test_exec_has_an_end(make: Make) -> None:
    board = make()
    with pytest.raises(BoardError, match="did not end"):
        board.exec("while True: pass", timeout=0.5)
    assert not board.alive
    with pytest.raises(BoardError, match="failed"):
        board.exec("import machine; machine.reset()")
    assert not board.alive


def test_files_pass_between_host_and_board(make: Make) -> None:
    board = make()
    board.write_file("/in/note.txt", b"from the host")
    printed = board.exec("""
import os
print(os.listdir('/'), open('/in/note.txt').read(), os.statvfs('/')[:3])
os.mkdir('/out')
with open('/out/note.txt', 'w') as f: f.write('from the board' * 1000)
""")
    assert printed == "['boot.py', 'config.json', 'in', 'main.py'] from the host (4096, 4096, 512)\n"
    assert board.read_file("/out/note.txt") == b"from the board" * 1000
    assert json.loads(board.read_file("/config.json")) == CONFIG
    assert board.exec("import sys; print(sys.path, sys.argv)") == "['', '.frozen', '/lib'] ['']\n"


def test_flash_survives_a_power_cut_at_any_moment(make: Make) -> None:
    board = make(
        main="""
import os
n = 0
while True:
    with open('/new', 'w') as f: f.write('%d' % n * 300)
    os.rename('/new', '/kept')
    print(n)
    n += 1
"""
    )
    for attempt in range(8):
        before = len(board.console)
        board.start()
        board.wait_for("3")
        time.sleep(0.002 * attempt)
        board.cut()
        assert not board.alive
        printed = [int(line) for line in board.console[before:] if line.isdigit()]
        kept = board.read_file("/kept").decode()
        # At least what was printed is kept: each line came after its rename. One more may have been kept, not printed.
        assert kept in {str(n) * 300 for n in (*printed[-2:], printed[-1] + 1)}


def test_two_programs_cannot_run_one_board(make: Make) -> None:
    board = make(main="import time\ntime.sleep(100)\n")
    board.start()
    other = EmulatedBoard.open(board.directory, WorldClock(ORIGIN, time.time(), 1.0), WEATHER)
    with pytest.raises(EmulatorError, match="another program"):
        other.start()
    with pytest.raises(EmulatorError, match="is on"):
        board.start()
    with pytest.raises(EmulatorError, match="is on"):
        board.read_file("/main.py")
    board.cut()
    assert other.mac == board.mac
    assert other.exec("import machine; print(machine.unique_id().hex())").strip() == board.mac.hex()
    with pytest.raises(EmulatorError, match="already"):
        EmulatedBoard.create(board.directory, CONFIG, WorldClock(ORIGIN, time.time(), 1.0), WEATHER)


def test_a_board_without_its_flash_is_not_opened(make: Make) -> None:
    board = make()
    (board.directory / "flash.img").unlink()
    with pytest.raises(EmulatorError, match=r"flash\.img is missing"):
        EmulatedBoard.open(board.directory, WorldClock(ORIGIN, time.time(), 1.0), WEATHER)


def test_nvs_keeps_what_was_committed(make: Make) -> None:
    board = make()
    board.exec("""
from esp32 import NVS
nvs = NVS('trig')
try:
    nvs.get_blob('key', bytearray(32))
except OSError as e:
    print(e.args)
nvs.set_blob('key', b'secret')
nvs.set_i32('n', -7)
nvs.commit()
nvs.set_i32('n', 8)
assert nvs.get_i32('n') == 8
try:
    nvs.get_blob('key', bytearray(3))
    assert False
except OSError:
    pass
""")
    assert board.console == ["(-4354, 'ESP_ERR_NVS_NOT_FOUND')"]
    printed = board.exec("""
from esp32 import NVS
b = bytearray(8)
print(NVS('trig').get_blob('key', b), bytes(b), NVS('trig').get_i32('n'))
NVS('trig').erase_key('n')
""")
    assert printed == "6 b'secret\\x00\\x00' -7\n"


def test_clock_and_reset_cause_over_reset_watchdog_and_power_cut(make: Make) -> None:
    board = make(
        main="""
import esp32, machine, time
nvs = esp32.NVS('test')
try:
    boots = nvs.get_i32('boots')
except OSError:
    boots = 0
nvs.set_i32('boots', boots + 1)
nvs.commit()
print(boots, machine.reset_cause(), time.gmtime()[0], machine.RTC().memory())
if boots == 0:
    machine.RTC().datetime((2013, 6, 1, 0, 12, 0, 0, 0))
    machine.RTC().memory(b'memory')
    machine.reset()
if boots == 1:
    machine.soft_reset()
if boots == 2:
    wdt = machine.WDT(timeout=800)
    for i in range(4):
        time.sleep_ms(300)
        wdt.feed()
    print('fed')
    while True: pass
while True: time.sleep(1)
"""
    )
    board.start()
    board.wait_for("3 3 2013", 20)
    assert board.alive
    board.cut()
    board.start()
    board.wait_for("4 1 2000 b''", 20)
    assert [line for line in board.console if line[0].isdigit() or line == "fed"] == [
        "0 1 2000 b''",
        "1 2 2013 b'memory'",
        "2 5 2013 b'memory'",
        "fed",
        "3 3 2013 b'memory'",
        "4 1 2000 b''",
    ]


def test_time_is_the_worlds_and_ticks_are_real(make: Make) -> None:
    printed = make(speed=3600.0).exec("""
import machine, time
assert time.gmtime(0) == time.localtime(0) == (2000, 1, 1, 0, 0, 0, 5, 1), time.gmtime(0)
assert time.mktime((2013, 1, 1, 6, 0, 0, 0, 0)) == 1357020000 - 946684800
assert time.time() < 3600
machine.RTC().datetime((2013, 1, 1, 0, 6, 0, 0, 0))
t, ms, ns = time.time(), time.ticks_ms(), time.time_ns()
time.sleep(0.25)
ns = time.time_ns() - ns
print(time.time() - t, time.ticks_diff(time.ticks_ms(), ms), ns // 1000000000, t, machine.RTC().datetime()[:4])
""")
    world, real, world_by_ns, start, rest = printed.split(" ", 4)
    # The clocks are not read at the same instant: allow for a tenth of a second, 360 of the world's.
    assert int(real) >= 250
    assert abs(int(world) - 3.6 * int(real)) < 360
    assert abs(int(world) - int(world_by_ns)) < 360
    assert 1357020000 - 946684800 <= int(start) < 1357020000 - 946684800 + 3600
    assert rest == "(2013, 1, 1, 1)\n"


def test_timers_run_at_world_speed_and_wake_asyncio(make: Make) -> None:
    printed = (
        make(speed=3600.0)
        .exec("""
import asyncio, machine, time
from machine import Timer
async def main():
    flag = asyncio.ThreadSafeFlag()
    timer = Timer(0)
    start, real = time.time(), time.ticks_ms()
    timer.init(mode=Timer.PERIODIC, period=180_000, callback=lambda t: flag.set())
    for i in range(4):
        await flag.wait()
        print(time.time() - start)
    timer.deinit()
    print('real', time.ticks_diff(time.ticks_ms(), real))
    timer.init(mode=Timer.ONE_SHOT, period=180_000, callback=lambda t: flag.set())
    await flag.wait()
    try:
        await asyncio.wait_for(flag.wait(), 0.2)
    except asyncio.TimeoutError:
        print('once')
asyncio.run(main())
seen = []
timer = Timer(1, mode=Timer.ONE_SHOT, period=100_000, callback=seen.append)
bad = Timer(2, mode=Timer.ONE_SHOT, period=100_000, callback=lambda t: 1 / 0)
time.sleep_ms(100)
print(seen == [timer])
""")
        .splitlines()
    )
    for number, line in enumerate(printed[:4], start=1):
        assert 180 * number <= int(line) < 180 * number + 1800
    assert int(printed[4].split()[1]) >= 200
    assert printed[5] == "once"
    assert "ZeroDivisionError: divide by zero" in printed
    assert printed[-1] == "True"


def test_the_heap_is_bounded_and_the_boards_own(make: Make) -> None:
    board = make()
    with pytest.raises(BoardError, match="MemoryError"):
        board.exec("x = bytearray(170 * 1024)")


def test_the_hardwares_modules_cost_the_application_no_heap(tmp_path: Path) -> None:
    """With the application loaded as much is free as in a plain MicroPython: names share pools that grow in leaps."""
    board = EmulatedBoard.create(tmp_path / "board", CONFIG, WorldClock(ORIGIN, time.time(), 3600), WEATHER)
    code = (
        "import gc, trig.start, trig.p256, trig.app, trig.i2c, trig.sensors.bme280; gc.collect(); print(gc.mem_free())"
    )
    for name, content in boardfiles.device_files(boardfiles.device_directory(), compiled=True).items():
        file = tmp_path / "plain" / name.removeprefix("/a").removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    plain = subprocess.run(
        [find_micropython(), "-X", "heapsize=160k", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"MICROPYPATH": f"{tmp_path / 'plain'}:.frozen"},
    )
    assert abs(int(board.exec(code)) - int(plain.stdout)) < 2500


def test_the_board_reads_its_sensor(make: Make) -> None:
    board = make()
    printed = board.exec("""
import time
from machine import I2C, Pin
i2c = I2C(0, scl=Pin(22), sda=Pin(21), freq=100000)
print(i2c.scan(), i2c.readfrom_mem(0x76, 0xD0, 1))
i2c.writeto_mem(0x76, 0xF2, b'\\x05')
i2c.writeto(0x76, b'\\xF4\\xB5')
time.sleep_ms(113)
data = bytearray(8)
i2c.readfrom_mem_into(0x76, 0xF7, data)
print(bytes(data).hex())
for address, wires in ((0x77, (22, 21)), (0x76, (21, 22))):
    try:
        I2C(1, scl=wires[0], sda=wires[1]).readfrom_mem(address, 0xD0, 1)
    except OSError as e:
        print(e.errno)
""").splitlines()
    assert printed[0] == "[118] b'`'"
    pressure, temperature, humidity = struct.unpack(">3s3sH", bytes.fromhex(printed[1]))
    words = board.sensor.calibration
    t_fine = words.t_fine(int.from_bytes(temperature, "big") >> 4)
    assert words.temperature(t_fine) == 2000
    assert abs(words.pressure(int.from_bytes(pressure, "big") >> 4, t_fine) / 256 - 101_325) < 0.5
    assert abs(words.humidity(humidity, t_fine) / 1024 - 50) < 0.01
    assert printed[2:] == ["19", "19"]
    assert len(board.sensor.conversions) == 1
    assert board.readings_measured == 3


def test_stop_is_ctrl_c(make: Make) -> None:
    board = make(
        main="""
import asyncio, machine
async def main():
    print('running')
    i2c = machine.I2C(0, scl=22, sda=21)
    while True:
        i2c.scan()
        await asyncio.sleep_ms(0)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    # The interrupt may have come in the middle of a request; the next must get its own reply.
    print('stopped', machine.I2C(0, scl=22, sda=21).readfrom_mem(0x76, 0xD0, 1), machine.RTC().memory())
"""
    )
    for attempt in range(10):
        board.start()
        board.stop()
        board.start()
        board.wait_for("running")
        time.sleep(0.001 * attempt)
        board.stop()
        assert board.console[-1] == "stopped b'`' b''"
        assert not board.alive


def test_a_program_that_ignores_ctrl_c_is_cut(make: Make) -> None:
    board = make(
        main="""
import time
print('up')
while True:
    try:
        time.sleep(1)
    except KeyboardInterrupt:
        print('no')
"""
    )
    board.start()
    board.wait_for("up")
    time.sleep(0.1)
    with pytest.raises(BoardError, match="did not stop"):
        board.stop(timeout=0.3)
    assert not board.alive


def test_a_board_does_not_outlive_its_emulator(tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.mkdir()
    (device / "main.py").write_text("import asyncio\nprint('up')\nasyncio.run(asyncio.ThreadSafeFlag().wait())\n")
    script = f"""
import time
from pathlib import Path
from trigpoint.clock import WorldClock
from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.weather import Sample, Weather
board = EmulatedBoard.create(Path({str(tmp_path / "board")!r}), {{}}, WorldClock(0, 0.0, 1.0),
    Weather((0,), (Sample(0, 0, 100000),)), device=Path({str(device)!r}))
board.start()
board.wait_for("up")
print(board._process.pid, flush=True)
time.sleep(100)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as emulator:
        assert emulator.stdout is not None
        pid = int(emulator.stdout.readline())
        os.kill(pid, 0)
        emulator.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 10
        while _running(pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not _running(pid)
    assert flash.list_files(tmp_path / "board" / "flash.img") == ["/config.json", "/main.py"]


def _running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    # In a container nobody may reap the orphan: a zombie has ended.
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")
