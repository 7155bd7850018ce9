# The flash chip's file system partition: a block device over the image file, in the ESP32's geometry.

from micropython import const

_BLOCK = const(4096)


class Flash:
    def __init__(self, path, start, size):
        self._file = open(path, "r+b")
        self._start = start
        self._blocks = size // _BLOCK
        self._erased = b"\xff" * _BLOCK

    def readblocks(self, block, buffer, offset=0):
        self._file.seek(self._start + block * _BLOCK + offset)
        self._file.readinto(buffer)

    def writeblocks(self, block, buffer, offset=0):
        # VfsPosix files have no buffer: this is one write of the operating system.
        self._file.seek(self._start + block * _BLOCK + offset)
        self._file.write(buffer)

    def ioctl(self, op, block):
        if op == 4:
            return self._blocks
        if op == 5:
            return _BLOCK
        if op == 6:
            self.writeblocks(block, self._erased)
            return 0
