"""Enrolment from a cable: ``mpremote exec "import trig.enroll; trig.enroll.show()"``. Prints one line of JSON.

The first call on a new board makes its key.
"""

import json
import os

import esp32

from trig import config
from trig.identity import JOURNAL, NVS, start
from trig.key_store import BLOB, RECORD, NvsKeys, read_blob
from trig.keys import SignerError
from trig.permit import PermitError
from trig.signer import Signer


def show():
    """Print {"kid", "x", "y"}, hexadecimal: what an owner needs to write a permit's terms."""
    signer = _signer()
    print(json.dumps({"kid": signer.kid.hex(), "x": signer.x.hex(), "y": signer.y.hex()}))


def permit(chain_id, registry, owner, metadata_hash, deadline):
    """Print {"kid", "x", "y", "r", "s"}: this board's consent to be registered for one owner (protocol, section 8).

    Args:
        chain_id: EIP-155 chain id.
        registry, owner: addresses, 40 hex digits, with or without 0x.
        metadata_hash: 64 hex digits; zeros for none.
        deadline: seconds since 1970.

    Raises:
        trig.permit.PermitError: names the argument that cannot be used.
    """
    signer = _signer()
    signature = signer.permit(
        chain_id, _hex("registry", registry), _hex("owner", owner), _hex("metadata_hash", metadata_hash), deadline
    )
    print(
        json.dumps(
            {
                "kid": signer.kid.hex(),
                "x": signer.x.hex(),
                "y": signer.y.hex(),
                "r": signature[:32].hex(),
                "s": signature[32:].hex(),
            }
        )
    )


def forget(kid):
    """Give up this board's key and journal for good; the next start makes a new key, which must be enrolled.

    This is how a board goes from a key in software to a secure element, back, or to another chip. A chip keeps its key
    until it makes the next one.

    Args:
        kid: the board id that is given up, 64 hex digits, so that it is never another than the one meant.

    Raises:
        trig.keys.SignerError: the board has no key, or another one.
    """
    nvs = esp32.NVS(NVS)
    record = read_blob(nvs, RECORD, 64)
    if record is not None:
        mine = record[-32:].hex()
    else:
        key = NvsKeys(nvs, None, None).load()
        mine = None if key is None else key.kid.hex()
    if mine is None or mine != kid.lower():
        raise SignerError("this board's id is {}".format(mine))
    # The journal first: a key without one is replaced, a journal without its key is not missed.
    for name in os.listdir(JOURNAL):
        os.remove(JOURNAL + "/" + name)
    nvs.erase_key(BLOB if record is None else RECORD)
    nvs.commit()
    print("forgotten:", mine)


def _signer():
    key, journal = start(_secure_element())
    return Signer(key, journal, None, b"")


def _secure_element():
    # Of the configuration this needs no more, so that a board whose Wi-Fi or broker is wrong can still be enrolled.
    try:
        with open("/config.json") as file:
            return config.secure_element(json.load(file))
    except OSError:
        return None
    except config.ConfigError:
        raise
    except ValueError:
        raise config.ConfigError("/config.json: not JSON")


def _hex(name, text):
    try:
        return bytes.fromhex(text[2:] if text[:2] == "0x" else text)
    except ValueError:
        raise PermitError(name + " is not hexadecimal")
