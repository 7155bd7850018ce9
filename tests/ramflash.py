"""Flash in RAM for board code under test: put RAM_FLASH before the code, and mount a RamFlash."""

RAM_FLASH = """
class RamFlash:
    def __init__(self, blocks=64):
        self.blocks = blocks
        self.data = bytearray(blocks * 4096)
    def readblocks(self, n, buf, off=0):
        buf[:] = memoryview(self.data)[n * 4096 + off : n * 4096 + off + len(buf)]
    def writeblocks(self, n, buf, off=0):
        self.data[n * 4096 + off : n * 4096 + off + len(buf)] = buf
    def ioctl(self, op, arg):
        return self.blocks if op == 4 else 4096 if op == 5 else 0
"""
