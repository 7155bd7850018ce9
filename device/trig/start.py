"""What the loader calls. Brings the modules in one by one, the largest first, and clears up after each.

To compile a module takes a multiple of what it leaves, and what it leaves lies wherever there was room: brought in by
each other's import statements, they leave a heap with much room and no large piece of it.
"""

import gc

_MODULES = (
    "p256",
    "journal",
    "mqtt",
    "cbor",
    "sensors.entries",
    "mqtt_packets",
    "uplink",
    "config",
    "senml",
    "signer",
    "wifi",
    "app",
)
_THRESHOLD = 4096


def start():
    """Run the board until it is stopped."""
    gc.threshold(_THRESHOLD)
    from trig.sensors import drivers

    for name in drivers("/config.json") + list(_MODULES):
        __import__("trig." + name)
        gc.collect()
    gc.threshold(-1)
    from trig.app import main

    main()
