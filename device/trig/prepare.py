"""Brings the modules in and puts the board together; then it goes, as does all that is needed only to start.

The checks of the configuration and of the key go before the rest comes. What each module costs is in device/README.md.
"""

import gc

import slots
from micropython import const

from trig.modules import forget, load

_RUNNING = const(8192)  # bytes between two collections, see trig.start


def prepared():
    """Return the App, None if the configuration cannot be used."""
    import machine

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
                machine.reset()
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
        app = _app(config, key, journal, owner, machine)
        forget("p256_points")
        gc.threshold(_RUNNING)
        return app
    except (ConfigError, SignerError) as error:
        if change.trying:
            change.reject(str(error))
            machine.reset()
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


def _app(config, key, journal, owner, machine):
    import network

    from trig.app import App
    from trig.crash import Crashes

    return App(config, key, journal, machine, network, Crashes(), owner)
