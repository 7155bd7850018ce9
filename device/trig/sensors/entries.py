"""The entries of config.json's ``sensors``: the fields of each type and their bounds, and what two must not share.

Tables are those of ``trig.config``: field to (type, lowest, highest, default) for an integer or a text's length;
without a default the field must be there.
"""

from micropython import const

_MAX_PIN = const(48)
_PINS = const(("scl", "sda", "pin", "rx", "tx"))
_CHARACTERS = const("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-:._")
# The primary units of the SenML registry (RFC 8428 section 12.1, RFC 8798 section 2) that a probe or a meter may have.
_UNITS = (
    " m kg s A K cd mol Hz rad sr N Pa J W C V F Ohm S Wb T H Cel lm lx Bq Gy Sv kat m2 m3 m/s m/s2 m3/s W/m2 cd/m2 bit"
    " bit/s pH dB dBW count / %RH %EL EL 1/s S/m B VA VAs var vars J/m kg/m3 "
)

_NAME = (str, 0, 40, "")
_TYPE = (str, 1, 16)
_PIN = (int, 0, _MAX_PIN)


def _i2c(**fields):
    return dict(type=_TYPE, name=_NAME, i2c=(int, 0, 1, 0), scl=_PIN, sda=_PIN, **fields)


_TYPES = {
    "bme280": _i2c(address=(int, 0x76, 0x77, 0x76)),
    "sht4x": _i2c(address=(int, 0x44, 0x46, 0x44)),
    "scd4x": _i2c(address=(int, 0x62, 0x62, 0x62), low_power=(bool, 0, 1, True), altitude_m=(int, 0, 3000, 0)),
    "pms5003": dict(
        type=_TYPE,
        name=_NAME,
        uart=(int, 1, 2, 1),
        rx=_PIN,
        tx=(int, -1, _MAX_PIN, -1),
        warm_up_s=(int, 0, 45, 30),
    ),
    "ds18b20": dict(type=_TYPE, name=_NAME, pin=_PIN, rom=(str, 0, 16, "")),
    "analog": dict(
        type=_TYPE,
        name=_NAME,
        pin=_PIN,
        quantity=(str, 1, 20),
        unit=(str, 1, 16),
        exponent=(int, -9, 0, 0),
        low_mv=(int, 0, 3300),
        low=(int, -1000000, 1000000),
        high_mv=(int, 0, 3300),
        high=(int, -1000000, 1000000),
        min_mv=(int, 0, 3300, 0),
        max_mv=(int, 0, 3300, 3300),
    ),
    "pulse": dict(
        type=_TYPE,
        name=_NAME,
        pin=_PIN,
        debounce_ms=(int, 0, 5000, 0),
        quantity=(str, 0, 20, ""),
        unit=(str, 0, 16, ""),
        per_pulse=(int, 1, 1000000, 1),
        exponent=(int, -9, 0, 0),
    ),
}


def check(items, section, error):
    """Return the entries checked, with their defaults filled in.

    Args:
        items: the list in config.json.
        section: checks an object against a table, as ``trig.config`` does.
        error: the exception to raise, with a message that names the field.
    """
    entries = [_entry(item, "sensors[{}].".format(i), section, error) for i, item in enumerate(items)]
    for i, entry in enumerate(entries):
        for other in entries[:i]:
            fault = _clash(entry, other)
            if fault:
                raise error("sensors[{}].{}".format(i, fault))
    return entries


def _entry(item, where, section, error):
    if not isinstance(item, dict):
        raise error(where[:-1] + ": want an object")
    kind = item.get("type")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise error(where + "type: want one of " + ", ".join(sorted(_TYPES)))
    entry = section(item, _TYPES[kind], where)
    fault = _fault(entry)
    if fault:
        raise error(where + fault)
    return entry


def _fault(entry):
    """What is wrong with an entry beyond its fields' bounds: "field: why", or None."""
    for field in ("name", "quantity"):
        text = entry.get(field, "")
        for i in range(len(text)):
            if text[i] not in _CHARACTERS or (i == 0 and text[i] in "-:._"):
                return field + ": want letters, digits and - : . _, a letter or digit first"
    kind = entry["type"]
    if kind == "pulse" and entry["quantity"] == "count":
        return "quantity: count is there already"
    if kind in ("analog", "pulse") and (entry["quantity"] or entry["unit"]):
        if not entry["quantity"]:
            return "quantity: want a name, because unit is there"
        if " " in entry["unit"] or " {} ".format(entry["unit"]) not in _UNITS:
            return "unit: want a primary SenML unit, such as m, J, m3, V or count"
    if kind == "analog":
        if entry["high_mv"] <= entry["low_mv"]:
            return "high_mv: want more than low_mv"
        if entry["max_mv"] <= entry["min_mv"]:
            return "max_mv: want more than min_mv"
    if kind == "ds18b20" and entry["rom"]:
        try:
            if len(bytes.fromhex(entry["rom"])) == 8:
                return None
        except ValueError:
            pass
        return "rom: want 16 hex digits, or none if the part is alone on its pin"
    return None


def _clash(entry, other):
    """Why two entries cannot both be: "field: why", or None."""
    if entry["name"] == other["name"]:
        return "name: used twice"
    if "i2c" in entry and entry["i2c"] == other.get("i2c"):
        if (entry["scl"], entry["sda"]) != (other["scl"], other["sda"]):
            return "i2c: used with other pins before"
        return "address: used twice on this bus" if entry["address"] == other["address"] else None
    if "uart" in entry and entry["uart"] == other.get("uart"):
        return "uart: used twice"
    if entry["type"] == other["type"] == "ds18b20" and entry["pin"] == other["pin"]:
        if not entry["rom"] or not other["rom"] or entry["rom"].lower() == other["rom"].lower():
            return "rom: want another for each part on this pin"
        return None
    taken = [other[field] for field in _PINS if other.get(field, -1) >= 0]
    for field in _PINS:
        if entry.get(field, -1) in taken:
            return field + ": this pin is used by another sensor"
    return None
