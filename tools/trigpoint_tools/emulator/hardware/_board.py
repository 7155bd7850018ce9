# Switches an ESP32 on: fetches from the emulator what it is, mounts the flash and boots. The modules that are imported
# and not used are for the board's code: it finds them loaded, since this folder goes out of its reach.

import asyncio
import gc
import os
import socket  # noqa: F401
import struct
import sys
import time

import _flash
import _host
import _poller
import _wait
import esp32  # noqa: F401
import machine
import network  # noqa: F401
import onewire  # noqa: F401
import vfs


def power_on(image, start, size):
    # Returns what to run instead of main.py, or None.
    reply = _host.call(_host.BOOT, struct.pack("<Q", _wait.cpu_us()))
    rtc, real_ns, num, den, machine._cause = struct.unpack("<qqQIB", reply)
    machine._id = reply[29:35]
    _wait.begin(real_ns, num, den)
    time._rtc = rtc
    asyncio.core.IOQueue.__init__ = _queue_init
    asyncio.new_event_loop()
    flash = _flash.Flash(image, start, size)
    vfs.umount("/")
    _mount(flash)
    os.chdir("/")
    sys.path[:] = ["", ".frozen"]
    if hasattr(sys.modules.get("vfs"), "mount_rom"):
        sys.modules["vfs"].mount_rom(sys.path)
    sys.path.append("/lib")
    sys.argv[:] = [""]
    return str(reply[36:], "utf-8") if reply[35] else None


def _mount(flash):
    # As MicroPython's own start does: a partition without a file system gets an empty one.
    for formatted in (False, True):
        try:
            vfs.mount(vfs.VfsLfs2(flash, readsize=32, progsize=32, lookahead=32), "/")
            return
        except OSError:
            if formatted:
                raise
            vfs.VfsLfs2.mkfs(flash, readsize=32, progsize=32, lookahead=32)


def _queue_init(self):
    self.poller = _poller.Poller()
    self.map = {}


def run(code):
    # Returns the process's exit code.
    gc.collect()
    names = {"__name__": "__main__"}
    try:
        _file("/boot.py", names)
        if _host.held:
            _host.held = False
            raise KeyboardInterrupt
        if code is None:
            _file("/main.py", names)
        else:
            exec(code, names)
    except SystemExit as end:
        return end.value or 0
    except BaseException as error:
        sys.print_exception(error, sys.stdout)
        return 1
    return 0


def _file(path, names):
    try:
        os.stat(path)
    except OSError:
        return
    execfile(path, names)  # noqa: F821
