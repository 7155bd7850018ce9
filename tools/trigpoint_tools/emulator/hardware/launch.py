# Makes an ESP32 of this MicroPython process:
# launch.py <file descriptor of the wire> <flash image> <first byte and size of the file system in it> <exit | prompt>
# With `prompt` the interpreter must have been started with -i: it goes on to its prompt, as a board does.

import sys

import micropython

micropython.opt_level(3)  # no line numbers: these modules live in the board's heap
import _board  # noqa: E402

prompt = sys.argv[5] == "prompt"
code = _board.power_on(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
micropython.opt_level(0)
status = _board.run(code)
if not prompt:
    sys.exit(status)
del sys, micropython, _board, code, prompt, status
