"""The whole firmware with all types of sensors on one board: what they measure is what the gateway stores."""

from __future__ import annotations

import time
from pathlib import Path

from brokers import RunningBroker, embedded_broker
from test_app import World
from test_batch import _app
from trigpoint_tools.emulator.parts.ds18b20 import Ds18b20
from trigpoint_tools.emulator.parts.fault import Fault
from trigpoint_tools.emulator.parts.probe import Probe
from trigpoint_tools.emulator.parts.scd4x import Scd4x

__all__ = ["embedded_broker"]

SENSORS = [
    {"type": "bme280", "name": "bme", "scl": 22, "sda": 21},
    {"type": "sht4x", "name": "sht", "scl": 22, "sda": 21},
    {"type": "scd4x", "name": "air", "scl": 22, "sda": 21, "low_power": False},
    {"type": "pms5003", "name": "dust", "rx": 16},
    {"type": "ds18b20", "name": "soil", "pin": 4},
    {
        "type": "analog",
        "name": "tank",
        "pin": 34,
        "quantity": "level",
        "unit": "m",
        "exponent": -3,
        "low_mv": 500,
        "low": 0,
        "high_mv": 2500,
        "high": 4000,
        "min_mv": 400,
    },
    {"type": "pulse", "name": "meter", "pin": 27, "quantity": "energy", "unit": "J", "per_pulse": 3600},
]


def test_every_type_reaches_the_gateway_and_a_broken_one_is_named(
    tmp_path: Path,
    embedded_broker: RunningBroker,
) -> None:
    # Seven drivers beside all else: some 35 KB more here than one, half of that on a chip with its 32-bit objects.
    world = World(tmp_path, embedded_broker.port, heap="208k", sensors=SENSORS, sample_s=14400, batch={"samples": 1})
    board, gateway = world.board, world.gateway
    _, sht, air, _, soil, tank = board.parts
    assert isinstance(air, Scd4x) and isinstance(soil, Ds18b20) and isinstance(tank, Probe)
    air.pace, air.co2, soil.raw, tank.millivolts = 0.02, 432, -1, 1500
    board.start()
    gateway.wait_for(lambda g: len(g.stored) >= 2)
    board.pulse(27, 10)
    gateway.wait_for(lambda g: len(g.stored) >= 4)
    # The newest of each, the energy of all.
    newest = {r.name: (r.exponent, r.mantissa, r.unit) for stored in gateway.stored[:4] for r in stored.readings}
    assert newest["air/co2"] == (-6, 432, "/")
    assert newest["soil/temperature"] == (-4, -625, "Cel")
    assert newest["tank/level"] == (-3, 2000, "m")
    assert newest["dust/pm2.5"] == (-9, 9, "kg/m3")
    assert newest["meter/count"] == (0, 10, "count")
    assert sum(r.mantissa for s in gateway.stored for r in s.readings if r.name == "meter/energy") == 36000
    assert abs(newest["sht/temperature"][1] - newest["bme/temperature"][1]) < 1000
    sht.fault = Fault.STUCK
    before = len(gateway.stored)
    gateway.wait_for(lambda g: len(g.stored) >= before + 3)
    names = {r.name for r in gateway.stored[-1].readings}
    assert names == {name for name in newest if not name.startswith("sht/")}
    embedded_broker.stop(kill=True)  # health goes out at each connect
    time.sleep(1)
    embedded_broker.start()
    gateway.wait_for(lambda g: any(list(report.get("sensor_errors", {})) == ["SHT4x sht"] for report in g.health))
    board.stop()
    world.close()


def test_a_driver_that_hangs_or_fails_unforeseen_stops_no_other() -> None:
    """All are read at once: the round ends when the slowest has, or when its time is up."""
    _app("""
import time

class Slow(Sensor):
    part = "slow"
    channels = (("b", "Cel", -2),)
    limit_ms = 100
    async def measure(self, out):
        await asyncio.sleep_ms(100000)

class Broken(Slow):
    part = "broken"
    async def measure(self, out):
        raise IndexError("bug")

class Wild(Slow):
    part = "wild"
    async def measure(self, out):
        out[0] = 1 << 40

class Stays(Slow):
    part = "stays"
    def close(self):
        raise OSError(5)

app._sensors = [Slow(), Broken(), Wild(), sensor, Stays()]
app._values = [[0] * len(each.channels) for each in app._sensors]
began = time.ticks_ms()
tick(); tick(); tick()
assert time.ticks_diff(time.ticks_ms(), began) < 1000
assert journal.next_seq == 1 and values() == [1, 2, 3]
assert app.sensor_errors == {"slow": 3, "broken": 3, "wild": 3, "stays": 3}, app.sensor_errors
tick()
app._timer.deinit = lambda: None
app.stop()
assert journal.next_seq == 2 and app.sensor_errors["stays"] == 5
""")
