"""Runs the board. The modules come in by size, the largest first: to compile one takes a multiple of what it leaves."""

import gc

for name in ("p256", "journal", "mqtt", "cbor", "sensors.bme280", "app"):
    __import__("trig." + name)
    gc.collect()

from trig.app import main  # noqa: E402

main()
