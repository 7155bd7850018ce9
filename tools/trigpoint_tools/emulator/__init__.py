"""Boards without hardware: `device/` runs unchanged on the real MicroPython, over emulated parts."""
