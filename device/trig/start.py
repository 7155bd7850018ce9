"""What the loader calls: has the board put together (trig.prepare) and runs it."""

import gc
import sys
import time

import slots
from micropython import const

from trig.modules import forget

# Bytes between two collections. Left to itself MicroPython collects when the heap is full: what stays then lies all
# over it, and there is no piece of 4 KB for a command in 24 KB of free heap.
_THRESHOLD = const(4096)
_RESTART_MS = const(10000)


def start():
    """Run the board until Ctrl-C; then sign what is in the batch and end. Most other errors end in a restart.

    Without a configuration that can be used, and at the beginning of an Improv frame, wait for Wi-Fi settings.

    Raises:
        trig.keys.SignerError: the board's key cannot be used; the loader keeps the reason, pauses and tries again.
        OSError: flash or NVS cannot be read; likewise.
        MemoryError: the configuration wants more heap than there is; likewise.
    """
    gc.threshold(_THRESHOLD)
    app = None
    try:
        if not slots.called:
            from trig.prepare import prepared

            app = prepared()
            prepared = None  # its module is in the way of what follows
            forget("prepare")
    except MemoryError:
        print("no room for this configuration: fewer types of sensors, or a board with more memory (README, Heap)")
        raise
    except KeyboardInterrupt:
        if not slots.improv():
            raise
    if app:
        gc.collect()
        print("board", app.signer.kid.hex(), "next seq", app.journal.next_seq, "free heap", gc.mem_free())
        _run(app)
        if not slots.called:
            return
        app = None
    from trig.calling import listen

    if listen(slots.called):
        _reset()


def _run(app):
    """Run until Ctrl-C, or what looked like it."""
    import asyncio

    from trig.quiet import Restart

    battery = app.config["battery"]
    try:
        if battery is None or app.owner.busy:
            asyncio.run(app.run())
        else:
            import machine
            import network

            from trig.battery import run

            run(app, machine, network.WLAN(network.STA_IF), battery, app.config["sample_s"])
    except Restart:
        print("restart: a trial begins or is over")
        try:
            app.stop()
            slots.good()
        finally:
            _reset()
    except KeyboardInterrupt:
        slots.improv()
        app.stop()
        print("stopped, next seq", app.journal.next_seq)
    except Exception as error:
        # Nobody is there to read it on a roof: keep the readings, give a person at the cable time for Ctrl-C, restart.
        from trig.crash import traceback

        sys.print_exception(error)
        slots.failed(error)
        try:
            app.stop()
            app.record(traceback(error))
        finally:
            time.sleep_ms(_RESTART_MS)
            _reset()


def _reset():
    import machine

    machine.reset()
