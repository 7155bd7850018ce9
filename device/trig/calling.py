"""A browser calls over the console (Improv Serial): is it one, and where it is answered.

In a module of its own, which a board that runs does not keep: it comes when something has interrupted the board.
"""

import asyncio
import select
import sys

import micropython
import slots
from micropython import const

from trig.modules import load

_FRAME_MS = const(100)


def begun():
    """Whether what interrupted the board was no Ctrl-C, but the byte 3 in the head of a frame.

    Then the bytes before it wait at the console; they are taken from there, and from here on Ctrl-C is a byte like
    others. The first byte that does not fit is lost to who reads next: nobody misses the "\\r" that mpremote sends.
    """
    poll = select.poll()
    poll.register(sys.stdin, select.POLLIN)
    one = bytearray(1)
    for byte in b"IMPROV\x01":
        if not poll.poll(_FRAME_MS) or not sys.stdin.buffer.readinto(one) or one[0] != byte:
            return False
    micropython.kbd_intr(-1)
    return True


def listen(called):
    """Answer until Ctrl-C, which is a byte like others meanwhile; return whether the board is to run again.

    Args:
        called: whether ``begun`` has found the beginning of a frame; else there is nothing that the board could run.
    """
    micropython.kbd_intr(-1)
    try:
        slots.good()
        asyncio.new_event_loop()  # the tasks of a board that ran would keep all of it in memory
        load("wifi", "improv", "provision")
        from trig.provision import serve

        print("listening for Wi-Fi settings (Improv Serial); Ctrl-C for the prompt")
        return serve(called)
    finally:
        micropython.kbd_intr(3)
