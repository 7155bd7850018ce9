# What the board is called: `sys.platform`, `sys.implementation` and `os.uname` as on an ESP32, where the Unix port
# names the PC. All else in both modules is the Unix port's own.

import sys
from collections import namedtuple
from os import *  # noqa: F403

_PLATFORM = "esp32"


class _Sys:
    # No module, since sys.path, sys.ps1 and others can be assigned to, and have to reach the interpreter.
    platform = _PLATFORM

    def __getattr__(self, name):
        return getattr(_sys, name)

    def __setattr__(self, name, value):
        setattr(_sys, name, value)


def uname():
    return _names


def take(machine):
    global __name__, _sys, _names
    _sys = sys
    old = sys.implementation
    kind = namedtuple("", ("name", "version", "_machine", "_mpy", "_build"))
    _Sys.implementation = kind(old.name, old.version, machine, old._mpy, "EMULATED")
    kind = namedtuple("", ("sysname", "nodename", "release", "version", "machine"))
    release = "%d.%d.%d" % old.version[:3]
    _names = kind(_PLATFORM, _PLATFORM, release, sys.version.split("; ")[-1], machine)
    __name__ = "os"
    modules = sys.modules
    modules["os"] = modules.pop("_identity")
    modules["sys"] = _Sys()
