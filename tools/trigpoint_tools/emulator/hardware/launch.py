# Makes an ESP32 of this MicroPython process: launch.py <file descriptor of the wire> <flash image>

import sys

import micropython

micropython.opt_level(3)  # no line numbers: these modules live in the board's heap
import _board  # noqa: E402

code = _board.power_on(sys.argv[2])
micropython.opt_level(0)
sys.exit(_board.run(code))
