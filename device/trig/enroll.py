"""Enrolment from a cable: ``mpremote exec "import trig.enroll; trig.enroll.show()"``. Prints one line of JSON.

The first call on a new board makes its key.
"""

import json
import os

import esp32
import network

from trig.permit import PermitError
from trig.signer import JOURNAL, NVS, Signer, open_identity


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


def _signer():
    key, journal = open_identity(esp32.NVS(NVS), os.urandom, network.WLAN(network.STA_IF), JOURNAL)
    return Signer(key, journal, None, b"")


def _hex(name, text):
    try:
        return bytes.fromhex(text[2:] if text[:2] == "0x" else text)
    except ValueError:
        raise PermitError(name + " is not hexadecimal")
