"""Which key is this board's, found or made at start and tested. Loaded at start only.

The ladder: a secure element if config.json names one, else software. Which one it is is a matter of configuration and
never of what happens to answer: a board whose chip is silent does not sign.
"""

from trig.journal import Journal

NVS = "trig"  # the namespace of the key
JOURNAL = "/journal"


def start(settings):
    """Open the signer that the configuration names on this board's hardware, find or make its key, and test it.

    A wake from deep sleep is not tested: that would take more of a battery than all the rest of the wake.

    Args:
        settings: the checked ``secure_element`` of config.json, None for software.

    Returns:
        The key pair and its journal.

    Raises:
        trig.keys.SignerError: names the signer and says what is wrong; the board must not sign.
        OSError: flash or NVS cannot be read; nothing was replaced.
    """
    import esp32
    import machine

    store = _store(settings, esp32.NVS(NVS))
    key, journal = open_identity(store, JOURNAL)
    if machine.reset_cause() != machine.DEEPSLEEP_RESET:
        from trig.self_test import run

        run(key)
    return key, journal


def _store(settings, nvs):
    if settings is None:
        import os

        import network

        from trig.key_store import NvsKeys

        return NvsKeys(nvs, os.urandom, network.WLAN(network.STA_IF))
    import machine

    from trig.atecc608 import Atecc608
    from trig.chip_keys import ChipKeys

    bus = machine.I2C(settings["i2c"], scl=machine.Pin(settings["scl"]), sda=machine.Pin(settings["sda"]), freq=100_000)
    return ChipKeys(nvs, Atecc608(bus, settings["address"]), settings["slot"])


def open_identity(store, directory):
    """Return (key pair, journal): the board's own, or new ones at first boot.

    A key and its journal belong together: without the journal the next seq is unknown, and a key that might sign a seq
    twice must not sign again (protocol, section 3). So a key without a journal is replaced. At first boot the key is
    stored before the journal appears: a power cut in between leaves a key that has signed nothing, and the next
    boot makes another.

    Args:
        store: trig.key_store.NvsKeys or trig.chip_keys.ChipKeys.
        directory: the journal's folder.

    Raises:
        trig.keys.SignerError: the stored key is damaged, or the chip is missing or not this board's.
        OSError: flash or NVS cannot be read; nothing was replaced.
    """
    key = store.load()
    if key is not None:
        journal = Journal(directory, key.kid)
        if journal.recover():
            store.confirm(key)
            return key, journal
    key = store.create()
    journal = Journal(directory, key.kid)
    journal.create()
    return key, journal
