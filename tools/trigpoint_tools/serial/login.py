"""Logs in at a broker as a board will: what it would be refused for is to be known before its registration is paid."""

from __future__ import annotations

import secrets
import ssl
import time

import paho.mqtt.client as paho
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from paho.mqtt.enums import CallbackAPIVersion

_TIMEOUT_S = 10.0
_LOOP_S = 0.1


def refusal(host: str, port: int, authority: bytes | None, kid: bytes, password: str) -> str:
    """Return in a few words why a broker would not have the board; empty if it would, or is out of reach from here.

    A board may be on another network than this machine, so that no connection says nothing of the board's.

    Args:
        host, port: the broker, as the board reaches it.
        authority: of its certificate, DER; None without TLS.
        kid: board id: its user name.
        password: the board's; empty for none.
    """
    # Not the board's client id: the broker would end the connection of a board that runs.
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"trigpoint-{secrets.token_hex(4)}", clean_session=True)
    client.username_pw_set(kid.hex(), password)  # as trig/mqtt.py does, also without a password
    answers: list[str] = []
    client.on_connect = lambda _client, _user, _flags, reason, _properties: answers.append(
        str(reason) if reason.is_failure else ""
    )
    if authority is not None:
        client.tls_set_context(_context(authority))
    try:
        client.connect(host, port)
        deadline = time.monotonic() + _TIMEOUT_S
        while not answers and time.monotonic() < deadline:
            client.loop(_LOOP_S)
    except ssl.SSLCertVerificationError as error:
        return f"its certificate: {error.verify_message}"
    except (OSError, ValueError):
        return ""
    finally:
        client.disconnect()
    return answers[0] if answers else ""


def _context(authority: bytes) -> ssl.SSLContext:
    """Return a context that trusts this authority alone, as the board does."""
    pem = x509.load_der_x509_certificate(authority).public_bytes(Encoding.PEM).decode()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem)
    return context
