"""The board's configuration: one JSON file, checked whole before anything starts.

Every value has a type and bounds; an error names the field the way one would point at it, ``broker.port``.
"""

import json
import os

from micropython import const

from trig import ConfigError

VERSION = const(1)
_MAX_FILE = const(8192)
_MAX_WIFI = const(8)
_MAX_SENSORS = const(16)

# Field: (lowest, highest, default) for an integer or the length of a text; no default: the field must be there.
_WIFI = {"ssid": (str, 1, 32), "password": (str, 0, 64, "")}
_BROKER = {
    "host": (str, 1, 255),
    "port": (int, 1, 65535, 8883),
    "tls": (bool, 0, 1, True),
    "ca": (str, 0, 64, ""),
    "password": (str, 0, 128, ""),
    "keepalive_s": (int, 5, 3600, 60),
}
_NTP = {"host": (str, 0, 255, ""), "port": (int, 1, 65535, 123)}
_BATCH = {"samples": (int, 1, 255, 6), "age_s": (int, 1, 604800, 21600)}
_BATTERY = {"connect_every": (int, 1, 1000, 6), "awake_s": (int, 10, 600, 60)}
_BATTERY_SAMPLE_S = const(10)
_SECURE_ELEMENT = {
    "i2c": (int, 0, 1, 0),
    "scl": (int, 0, 48),
    "sda": (int, 0, 48),
    "address": (int, 0x08, 0x77, 0x60),
    "slot": (int, 0, 15, 0),
}
_ROOT = {
    "version": (int, 1, VERSION),
    "wifi": (list, 1, _MAX_WIFI),
    "broker": (dict, 0, 16),
    "ntp": (dict, 0, 8, {}),
    "link_key": (str, 128, 128),
    "owner_key": (str, 0, 128, ""),
    "trial_s": (int, 5, 86400, 600),
    "sensors": (list, 1, _MAX_SENSORS),
    "sample_s": (int, 1, 86400, 3600),
    "batch": (dict, 0, 8, {}),
    "resend_s": (int, 1, 86400, 30),
    "battery": (dict, 0, 4, None),
    "secure_element": (dict, 0, 8, None),
}


def load(path):
    """Read and check a configuration file. Raises ConfigError; the file is at most 8,192 bytes."""
    try:
        if os.stat(path)[6] > _MAX_FILE:
            raise ConfigError("{}: more than {} bytes".format(path, _MAX_FILE))
        with open(path) as file:
            return check(json.load(file))
    except OSError:
        raise ConfigError("{}: cannot be read".format(path))
    except ConfigError:
        raise
    except ValueError:
        raise ConfigError("{}: not JSON".format(path))


def check(data):
    """Check a decoded configuration and return it with its defaults filled in, keys as 64 bytes x || y.

    Raises:
        ConfigError: a field is missing, unknown, of the wrong type or out of bounds.
    """
    root = _section(data, _ROOT, "")
    root["wifi"] = [_section(item, _WIFI, "wifi[{}].".format(i)) for i, item in enumerate(root["wifi"])]
    root["broker"] = broker = _section(root["broker"], _BROKER, "broker.")
    root["ntp"] = _section(root["ntp"], _NTP, "ntp.")
    root["batch"] = _section(root["batch"], _BATCH, "batch.")
    # Here and not above, so that who has read the configuration can forget the sensors' schemas: they are large.
    from trig.sensors import entries

    root["sensors"] = entries.check(root["sensors"], _section, ConfigError)
    if root["battery"] is not None:
        for i, sensor in enumerate(root["sensors"]):
            if sensor["type"] == "pulse":
                raise ConfigError("sensors[{}].type: no pulse with battery, nobody counts while it sleeps".format(i))
        root["battery"] = _section(root["battery"], _BATTERY, "battery.")
        if "batch" in data:
            raise ConfigError("batch: not with battery, where each sample is signed when it is taken")
        if root["sample_s"] < _BATTERY_SAMPLE_S:
            raise ConfigError("sample_s: want at least {} with battery".format(_BATTERY_SAMPLE_S))
    for i, network in enumerate(root["wifi"]):
        if 0 < len(network["password"]) < 8:
            raise ConfigError("wifi[{}].password: want 8 to 64 characters, or none for an open network".format(i))
    if broker["tls"] and not broker["ca"]:
        raise ConfigError("broker.ca: want the file of the CA certificate (DER), because broker.tls is true")
    if root["secure_element"] is not None:
        root["secure_element"] = chip = secure_element(root)
        for sensor in root["sensors"]:
            _check_bus(chip, sensor)
    for name in ("link_key", "owner_key"):
        try:
            root[name] = bytes.fromhex(root[name])
        except ValueError:
            raise ConfigError(name + ": want 128 hex digits")
    if len(root["owner_key"]) not in (0, 64):
        raise ConfigError("owner_key: want 128 hex digits, or none for a board that obeys nobody")
    from trig.p256_points import on_curve

    for name in ("link_key", "owner_key"):
        if root[name] and not on_curve(root[name]):
            raise ConfigError(name + ": not a P-256 public key")
    return root


def secure_element(data):
    """Check the ``secure_element`` of a decoded configuration alone; None if there is none. Raises ConfigError."""
    if not isinstance(data, dict) or data.get("secure_element") is None:
        return None
    return _section(data["secure_element"], _SECURE_ELEMENT, "secure_element.")


def _check_bus(chip, sensor):
    if sensor.get("i2c") == chip["i2c"]:
        if (sensor["scl"], sensor["sda"]) != (chip["scl"], chip["sda"]):
            raise ConfigError("secure_element.i2c: a sensor uses it with other pins")
        if sensor.get("address") == chip["address"]:
            raise ConfigError("secure_element.address: a sensor has it on this bus")


def _section(data, schema, where):
    if not isinstance(data, dict):
        raise ConfigError((where[:-1] or "configuration") + ": want an object")
    for key in data:
        if key not in schema:
            raise ConfigError(where + str(key) + ": no such field")
    return {key: _field(data, key, rule, where + key) for key, rule in schema.items()}


def _field(data, key, rule, where):
    kind, low, high = rule[:3]
    if key not in data:
        if len(rule) > 3:
            return rule[3]
        raise ConfigError(where + ": missing")
    value = data[key]
    if kind is bool:
        if not isinstance(value, bool):
            raise ConfigError(where + ": want true or false")
        return value
    if kind is int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ConfigError("{}: want a whole number, {} to {}".format(where, low, high))
        return value
    if not isinstance(value, kind):
        raise ConfigError(where + ": want " + {str: "text", list: "a list", dict: "an object"}[kind])
    if not low <= len(value) <= high:
        raise ConfigError("{}: want {} to {} {}".format(where, low, high, "characters" if kind is str else "entries"))
    return value
