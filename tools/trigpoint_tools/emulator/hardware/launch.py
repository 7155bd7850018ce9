# Makes an ESP32 of this MicroPython process, then boots it: launch.py <file descriptor of the wire> <flash image>

import micropython

micropython.opt_level(3)  # no line numbers for these modules: they live in the board's heap

import _flash
import _host
import _wait
import asyncio
import esp32
import gc
import machine
import network
import os
import socket
import struct
import sys
import time
import vfs


def _power_on():
    reply = _host.call(_host.BOOT)
    rtc, real, num, den, machine._cause = struct.unpack("<qqQIB", reply)
    machine._id = reply[29:35]
    _wait.begin(real, num, den)
    time._rtc = rtc
    queue = asyncio.core.IOQueue
    start = queue.__init__

    def init(self):
        start(self)
        self.poller = _wait.Poller()

    queue.__init__ = init
    asyncio.new_event_loop()
    flash = _flash.Flash(sys.argv[2])
    vfs.umount("/")
    vfs.mount(vfs.VfsLfs2(flash, readsize=32, progsize=32, lookahead=32), "/")
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    sys.argv[:] = [""]
    micropython.opt_level(0)
    gc.collect()
    return str(reply[36:], "utf-8") if reply[35] else None


def _run(code):
    names = {"__name__": "__main__"}
    try:
        if _exists("/boot.py"):
            execfile("/boot.py", names)
        if code is not None:
            exec(code, names)
        elif _exists("/main.py"):
            execfile("/main.py", names)
    except SystemExit as end:
        return end.value or 0
    except BaseException as error:
        sys.print_exception(error, sys.stdout)
        return 1
    return 0


def _exists(path):
    try:
        os.stat(path)
        return True
    except OSError:
        return False


sys.exit(_run(_power_on()))
