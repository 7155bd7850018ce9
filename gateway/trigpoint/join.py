"""The join file: what a board must be told to send to this gateway, for the page that sets boards up from a browser.

It tells where broker, registry and API are, and it may hold a token of the API: keep it like a password.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from trigpoint.config import Config
from trigpoint.errors import OperatorError

FORMAT: Final = "trigpoint-join/1"
MOST_BYTES: Final = 16_384
"""What a reader takes at most."""


@dataclass(frozen=True)
class Terms:
    """What the operator decides besides the gateway's configuration.

    Attributes:
        name: what makers see of this gateway, at most 64 characters.
        host, port: the broker, as a board reaches it.
        authority: who signed the broker's certificate, DER; empty without TLS.
        link_key: x and y of the gateway's link key, 128 hexadecimal digits.
        board: more fields of the boards' config.json.
        sensors: types that are chosen on the page from the start.
        api_url: where the API is, empty for where the page comes from.
        token: of the API, with the scope readings; empty for none.
    """

    name: str
    host: str
    port: int
    authority: bytes
    link_key: str
    board: Mapping[str, Any]
    sensors: Sequence[str] = ()
    api_url: str = ""
    token: str = ""


def build(config: Config, terms: Terms) -> bytes:
    """Return the content of a join file.

    Raises:
        OperatorError: there are no contracts yet, or it would be too large.
    """
    if not config.chain.device_registry:
        raise OperatorError("this gateway names no contracts yet; run `trigpoint chain deploy` first")
    broker = config.broker
    told = {
        **terms.board,
        "version": 1,
        "broker": {
            "host": terms.host,
            "port": terms.port,
            "tls": broker.tls,
            "ca": "/ca.der" if broker.tls else "",
        },
        "link_key": terms.link_key,
    }
    content = json.dumps(
        {
            "format": FORMAT,
            "name": terms.name[:64],
            "chain": {"chain_id": config.chain.chain_id, "registry": config.chain.device_registry},
            "board": told,
            "authority": base64.b64encode(terms.authority).decode(),
            "broker_passwords": broker.username is not None,
            "sensors": list(terms.sensors),
            "api": {"url": terms.api_url, "token": terms.token},
        },
        indent=1,
    ).encode()
    if len(content) > MOST_BYTES:
        raise OperatorError(f"the join file would have {len(content)} bytes, and a page takes {MOST_BYTES}")
    return content


def save(path: Path, content: bytes) -> None:
    """Write a join file, mode 0600, in place of an older one.

    Raises:
        OperatorError: it cannot be written.
    """
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise OperatorError(f"cannot write {path}: {error.strerror}; choose another place") from error


def with_token(terms: Terms, token: str) -> Terms:
    """Return the same terms with a token of the API."""
    return replace(terms, token=token)
