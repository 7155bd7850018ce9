"""Mosquitto's password file: one line a user, `name:$7$iterations$salt$hash`, PBKDF2 with SHA-512 (Mosquitto 2.0).

Written here rather than by mosquitto_passwd, which need not be installed where the gateway's directory is made, and
which takes the password as an argument that every user of the machine can see.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping

from trigpoint.errors import OperatorError

SERVICES = ("gateway", "owner", "homeassistant")
"""The users besides boards that the access list knows."""

_ITERATIONS = 101
"""Mosquitto's own number. A guesser has 192 random bits before him, so more would only slow down each connection."""

_SALT_BYTES = 12
_HASH_BYTES = 64
_PASSWORD_BYTES = 24
_BOARD = re.compile(r"[0-9a-f]{64}")
_LINE = re.compile(r"([^:\s]+):(\$7\$[0-9]{1,9}\$[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+)")


def make_password() -> str:
    """Return a new password: 192 random bits as 32 letters, digits, `-` and `_`."""
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def check_user(name: str) -> str:
    """Return `name` if it is a board id (64 hexadecimal digits) or one of `SERVICES`, as the access list knows it.

    Raises:
        OperatorError: it is neither.
    """
    if _BOARD.fullmatch(name.lower()):
        return name.lower()
    if name in SERVICES:
        return name
    raise OperatorError(
        f"{name!r} is no user of the broker: a board's name is its id of 64 hexadecimal digits, "
        f"the others are {', '.join(SERVICES)}"
    )


def seal(password: str, random: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Return the hash of `password` as Mosquitto stores it, with a new salt."""
    salt = random(_SALT_BYTES)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS, _HASH_BYTES)
    return f"$7${_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def fits(password: str, sealed: str) -> bool:
    """Tell whether `sealed` is a hash of `password`."""
    _, _, iterations, salt, digest = sealed.split("$")
    expected = base64.b64decode(digest)
    made = hashlib.pbkdf2_hmac("sha512", password.encode(), base64.b64decode(salt), int(iterations), len(expected))
    return hmac.compare_digest(made, expected)


def parse(text: str) -> dict[str, str]:
    """Return the users in a password file's text and their hashes.

    Raises:
        OperatorError: a line is not of that form.
    """
    users: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise OperatorError(f"line {number} of the broker's password file is not `name:$7$...`; remove it")
        users[match[1]] = match[2]
    return users


def render(users: Mapping[str, str]) -> str:
    """Return the text of a password file, sorted by name."""
    return "".join(f"{name}:{sealed}\n" for name, sealed in sorted(users.items()))
