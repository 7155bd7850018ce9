# Makes an ESP32 of this MicroPython process:
# launch.py <file descriptor of the wire> <flash image> <first byte and size of the file system in it> <exit | prompt>
#           <the board's name or nothing> [<first byte and size of the ROMFS partition>]
# With `prompt` the interpreter must have been started with -i: it goes on to its prompt, as a board does.

import sys

import micropython

micropython.opt_level(3)  # no line numbers: these modules live in the board's heap
import _board  # noqa: E402

prompt = sys.argv[5] == "prompt"
if len(sys.argv) > 7:
    import _rom

    _rom.load(sys.argv[2], int(sys.argv[7]), int(sys.argv[8]))
    del _rom
if sys.argv[6]:
    import _identity

    _identity.take(sys.argv[6])
    del _identity
code = _board.power_on(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
del _board.power_on, _board._mount  # they have served, and would lie in the board's heap
micropython.opt_level(0)
status = _board.run(code)
if not prompt:
    sys.exit(status)
del sys, micropython, _board, code, prompt, status
