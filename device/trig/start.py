"""What the loader calls. Brings the modules in one by one, clears up after each, and runs the board.

To compile a module takes a multiple of what it leaves, and what it leaves lies wherever there was room: brought in by
each other's import statements, they leave a heap with much room and no large piece of it. What is needed only to start,
the checks of the configuration and of the signer, goes before the rest comes.
"""

import gc
import sys
import time

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
    from trig.config import ConfigError

    try:
        config = _config()
        key, journal = _identity(config["secure_element"])
        from trig.sensors import drivers

        _load(drivers("/config.json"))
        if config["ntp"]["host"]:
            _load(("ntp",))
        _load(_MODULES if config["battery"] is None else _MODULES[:-1] + ("battery", "app"))
        gc.threshold(-1)
        app = _app(config, key, journal, buffers)
    except ConfigError as error:
        print("config.json:", error)
        return
    gc.collect()
    print("board", key.kid.hex(), "next seq", journal.next_seq, "free heap", gc.mem_free())
    _run(app, config)


def _load(names):
    for name in names:
        __import__("trig." + name)
        gc.collect()


def _config():
    from trig import sensors
    from trig.config import load

    try:
        return load("/config.json")
    finally:
        # The sensors' schemas are large, and have served.
        del sys.modules["trig.sensors.entries"], sensors.entries
        gc.collect()


def _identity(settings):
    from trig import signer

    if settings is not None:
        _load(_CHIP)
    return signer.start(settings)


def _app(config, key, journal, buffers):
    import machine
    import network

    from trig.app import App
    from trig.crash import Crashes

    return App(config, key, journal, machine, network, Crashes(), buffers)


def _run(app, config):
    import asyncio

    try:
        if config["battery"] is None:
            asyncio.run(app.run())
        else:
            import machine
            import network

            from trig import battery

            battery.run(app, machine, network.WLAN(network.STA_IF), config["battery"], config["sample_s"])
    except KeyboardInterrupt:
        app.stop()
        print("stopped, next seq", app.journal.next_seq)
    except Exception as error:
        # Nobody is there to read it on a roof: keep the readings, give a person at the cable time for Ctrl-C, restart.
        import machine

        from trig.crash import traceback

        sys.print_exception(error)
        try:
            app.stop()
            app.record(traceback(error))
        finally:
            time.sleep_ms(_RESTART_MS)
            machine.reset()
