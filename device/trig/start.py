"""What the loader calls. Brings the modules in one by one, clears up after each, and runs the board.

To compile a module takes a multiple of what it leaves, and what it leaves lies wherever there was room: brought in by
each other's import statements, they leave a heap with much room and no large piece of it. What is needed only to start,
the checks of the configuration and of the signer, goes before the rest comes.
"""

import gc
import sys
import time

import slots
from micropython import const

_FIRST = ("p256", "journal", "sensors.entries", "config")
_CHIP = ("atecc608", "chip_keys")
_MODULES = ("mqtt", "wifi", "crash", "app")

_THRESHOLD = const(4096)  # bytes between two collections while a module is compiled
_BUFFER = const(4096)
_RESTART_MS = const(10000)


def start():
    """Run the board until Ctrl-C; then sign what is in the batch and end. Most other errors end in a restart.

    Raises:
        trig.keys.SignerError: the board's key cannot be used; the loader keeps the reason, pauses and tries again.
        OSError: flash or NVS cannot be read; likewise.
    """
    gc.threshold(_THRESHOLD)
    # The application's buffers, taken while there are pieces of that size.
    buffers = bytearray(_BUFFER), bytearray(_BUFFER)
    _load(_FIRST)
    from trig import ConfigError
    from trig.change import opened
    from trig.keys import SignerError

    change = opened()
    try:
        config = _config(change.config_path)
        path = change.config_path
        key, journal = _identity(config["secure_element"])
        from trig.quiet import begin
        from trig.sensors import drivers

        owner = begin(change, config, key.kid)
        if not owner.trying:
            change = None
        gc.collect()
        _load(drivers(path))
        if config["ntp"]["host"]:
            _load(("ntp",))
        _load(_MODULES if config["battery"] is None else _MODULES[:-1] + ("battery", "app"))
        gc.threshold(-1)
        app = _app(config, key, journal, owner, buffers)
    except ConfigError as error:
        print("config.json:", error)
        if change and change.trying:
            change.reject(str(error))
            _reset()
        return
    except SignerError as error:
        if change and change.trying:
            change.reject(str(error))
            _reset()
        raise
    gc.collect()
    print("board", key.kid.hex(), "next seq", journal.next_seq, "free heap", gc.mem_free())
    _run(app, config)


def _load(names):
    for name in names:
        __import__("trig." + name)
        gc.collect()


def _config(path):
    import trig.config
    from trig import sensors
    from trig.config import load

    try:
        return load(path)
    finally:
        # The schemas are large, and have served.
        del sys.modules["trig.sensors.entries"], sensors.entries, sys.modules["trig.config"], trig.config
        gc.collect()


def _identity(settings):
    from trig import signer

    if settings is not None:
        _load(_CHIP)
    return signer.start(settings)


def _app(config, key, journal, owner, buffers):
    import machine
    import network

    from trig.app import App
    from trig.crash import Crashes

    return App(config, key, journal, machine, network, Crashes(), owner, buffers)


def _run(app, config):
    import asyncio

    from trig.quiet import Restart

    try:
        if config["battery"] is None or app.owner.busy:
            asyncio.run(app.run())
        else:
            import machine
            import network

            from trig import battery

            battery.run(app, machine, network.WLAN(network.STA_IF), config["battery"], config["sample_s"])
    except Restart:
        print("restart: a trial begins or is over")
        try:
            app.stop()
            slots.good()
        finally:
            _reset()
    except KeyboardInterrupt:
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
