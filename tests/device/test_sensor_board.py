"""The whole firmware with all types of sensors on one board: what they measure is what the gateway stores."""

from __future__ import annotations

from pathlib import Path

from brokers import RunningBroker, embedded_broker
from test_app import World
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
    board.stop()
    world.close()


def test_three_types_fit_the_smallest_heap(tmp_path: Path, embedded_broker: RunningBroker) -> None:
    three = [entry for entry in SENSORS if entry["type"] in ("sht4x", "ds18b20", "analog")]
    world = World(tmp_path, embedded_broker.port, sensors=three, sample_s=14400, batch={"samples": 1})
    tank = world.board.parts[2]
    assert isinstance(tank, Probe)
    tank.millivolts = 1500
    world.board.start()
    world.gateway.wait_for(lambda g: len(g.stored) >= 4)
    assert {r.name for r in world.gateway.stored[-1].readings} == {
        "sht/temperature",
        "sht/humidity",
        "soil/temperature",
        "tank/level",
    }
    world.board.stop()
    world.close()
