"""Modules that come when they are needed and go when they have served: the board's heap does not hold all at once.

To load a module takes a multiple of what it leaves, and what it leaves lies wherever there was room: brought in by each
other's import statements, modules leave a heap with much room and no large piece of it. So each is loaded by itself,
those that stay as early as can be.
"""

import gc
import sys


def load(*names):
    """Bring in modules of this package one after the other, and clear up after each."""
    for name in names:
        gc.collect()
        __import__("trig." + name)
    gc.collect()


def forget(*names):
    """Let modules of this package go; those that are not there are passed over. To import one brings it back."""
    for name in names:
        full = "trig." + name
        if full in sys.modules:
            package, _, leaf = full.rpartition(".")
            del sys.modules[full]
            delattr(sys.modules[package], leaf)
    gc.collect()
