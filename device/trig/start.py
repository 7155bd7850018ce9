"""What the loader calls: brings the modules in, puts the board together and runs it.

What is needed only to start, the checks of the configuration and of the key, goes before the rest comes. What each
module costs is in device/README.md.
"""

import gc
import sys
import time

import slots
from micropython import const

from trig.modules import forget, load

# Bytes between two collections. Left to itself MicroPython collects when the heap is full: what stays then lies all
# over it, and there is no piece of 4 KB for a command in 24 KB of free heap.
_THRESHOLD = const(4096)
_RUNNING = const(8192)
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
            app = _prepared()
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


def _prepared():
    """Return the App, None if the configuration cannot be used."""
    load("p256", "journal", "p256_points", "change")
    from trig import ConfigError
    from trig.change import opened
    from trig.keys import SignerError

    change = opened(starting=True)
    try:
        path = change.config_path
        config = _config(path)
        key, journal = _identity(config["secure_element"])
        load("quiet")
        dropped = None
        if config["owner_key"]:
            from trig.listener import heard

            dropped = heard(config["owner_key"], key.kid, change.record.counter, change.trying)
            if dropped == "":
                slots.good()  # this reset is no bad end
                _reset()
        from trig.quiet import begin
        from trig.sensors import drivers

        owner = begin(change, config, key.kid, dropped)
        load(*drivers(path))
        if config["ntp"]["host"]:
            load("ntp")
        load("mqtt", "wifi", "crash", "cose", "senml", "health")
        if config["battery"] is not None and not owner.busy:
            load("battery")
        load("app")
        app = _app(config, key, journal, owner)
        forget("p256_points")
        gc.threshold(_RUNNING)
        return app
    except (ConfigError, SignerError) as error:
        if change.trying:
            change.reject(str(error))
            _reset()
        if isinstance(error, SignerError):
            raise
        print("config.json:", error)


def _config(path):
    load("sensors.entries", "config")
    from trig.config import load as read

    try:
        return read(path)
    finally:
        forget("sensors.entries", "config")


def _identity(settings):
    load(*(("key_store",) if settings is None else ("atecc608", "chip_keys")))
    load("identity")
    from trig.identity import start as identify

    try:
        return identify(settings)
    finally:
        forget("identity", "self_test", "chip_keys", "key_store")


def _app(config, key, journal, owner):
    import machine
    import network

    from trig.app import App
    from trig.crash import Crashes

    return App(config, key, journal, machine, network, Crashes(), owner)


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
