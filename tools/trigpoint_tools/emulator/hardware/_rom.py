# The ROMFS partition, and `vfs` with `rom_ioctl`, which the Unix port's lacks. On a chip the partition's bytes are in
# the processor's address space; here they are copied to the heap, which is larger by as much.

import sys

from micropython import const
from vfs import *  # noqa: F403
from vfs import VfsRom, mount

_BLOCK = const(4096)
_SEGMENTS = const(1)
_SEGMENT = const(2)
_EINVAL = const(22)


class Partition(bytearray):
    # As esp32.Partition: a block device that can also be read as memory.
    def readblocks(self, block, buffer, offset=0):
        start = block * _BLOCK + offset
        buffer[:] = memoryview(self)[start : start + len(buffer)]

    def writeblocks(self, block, buffer, offset=None):
        if offset is None:
            self.ioctl(6, block)
            offset = 0
        start = block * _BLOCK + offset
        view = memoryview(self)
        if start < 0 or start + len(buffer) > len(view):
            raise OSError(_EINVAL)
        for i in range(len(buffer)):
            view[start + i] &= buffer[i]
        _flash.seek(_start + start)
        _flash.write(view[start : start + len(buffer)])

    def ioctl(self, op, block):
        if op == 4:
            return len(memoryview(self)) // _BLOCK
        if op == 5:
            return _BLOCK
        if op == 6:
            start = block * _BLOCK
            if not 0 <= start < len(memoryview(self)):
                raise OSError(_EINVAL)
            erased = b"\xff" * _BLOCK
            memoryview(self)[start : start + _BLOCK] = erased
            _flash.seek(_start + start)
            _flash.write(erased)
            return 0


def load(image, start, size):
    # Before anything else is on the heap, so that it does not split it.
    global __name__, _partition, _flash, _start
    _flash = open(image, "r+b")
    _start = start
    _partition = Partition(size)
    _flash.seek(start)
    _flash.readinto(memoryview(_partition))
    __name__ = "vfs"
    sys.modules["vfs"] = sys.modules.pop("_rom")


def rom_ioctl(op, segment=0, *_):
    if op == _SEGMENTS:
        return 1
    return _partition if op == _SEGMENT and segment == 0 else -_EINVAL


def mount_rom(path):
    # As MicroPython does before boot.py: without a ROMFS there, nothing.
    try:
        mount(VfsRom(_partition), "/rom")
    except (OSError, ValueError):
        return
    path.append("/rom")
    path.append("/rom/lib")
