"""The owner's commands: what is accepted as one (protocol section 14). What follows from it is in change.py.

Loaded for as long as it takes to look into one.
"""

from micropython import const

from trig.cbor import CborError, Reader
from trig.cose import SIGN1_TAG, sign1_digest
from trig.keys import thumbprint
from trig.p256 import P256Error

MAX_SIZE = const(4096)

_ES256 = const(-7)
_BOARD = const(-65542)
_COUNTER = const(-65543)


class CommandError(ValueError):
    """Not a new command of our owner's to us; the message says why."""


def checked(data, owner, kid, last):
    """Return (counter, kind, body) of a command as ``open_command`` does, or why it is none of ours."""
    try:
        return open_command(data, owner, thumbprint(owner[:32], owner[32:]), kid, last)
    except CommandError as error:
        return str(error)


def open_command(data, owner, owner_kid, kid, last):
    """Return (counter, kind, body as a memoryview into ``data``) of a command; the signature is looked at last.

    Args:
        data: what came, of any length.
        owner: the owner key, x || y.
        owner_kid: its thumbprint.
        kid: our board id.
        last: the counter of the newest command taken.

    Raises:
        CommandError: it is malformed, for another board, of another owner, old, or its signature is bad.
    """
    try:
        reader = Reader(data, MAX_SIZE)
        if reader.tag() != SIGN1_TAG or reader.array() != 4:
            raise CommandError("not a COSE_Sign1")
        start = reader.at
        protected = reader.byte_string()
        end = reader.at
        if reader.map() != 0:
            raise CommandError("unprotected header is not empty")
        payload_start = reader.at
        payload = reader.byte_string()
        payload_end = reader.at
        signature = reader.byte_string()
        reader.end()
        counter = _header(Reader(protected, MAX_SIZE), owner_kid, kid)
        kind, body = _payload(Reader(payload, MAX_SIZE))
    except CborError as error:
        raise CommandError(str(error))
    if counter <= last:
        raise CommandError("counter {} is not above {}".format(counter, last))
    view = memoryview(data)
    # Only now: what is not for us, or old, is to be told from the rest even where there is no room for it.
    from trig import p256_points

    digest = sign1_digest(view[start:end], view[payload_start:payload_end])
    try:
        if not p256_points.verify(owner[:32], owner[32:], digest, signature):
            raise CommandError("signature is bad")
    except P256Error as error:
        raise CommandError("owner_key: " + str(error))
    return counter, kind, body


def _header(reader, owner_kid, kid):
    if reader.map() != 4 or reader.integer() != 1 or reader.integer() != _ES256:
        raise CommandError("protected header: not ES256 and three entries more")
    if reader.integer() != 4 or reader.byte_string() != owner_kid:
        raise CommandError("kid: not our owner's key")
    if reader.integer() != _BOARD or reader.byte_string() != kid:
        raise CommandError("board: not this one")
    if reader.integer() != _COUNTER:
        raise CommandError("counter: missing")
    counter = reader.unsigned()
    reader.end()
    if counter >> 32:
        raise CommandError("counter: beyond 32 bits")
    return counter


def _payload(reader):
    if reader.map() != 2 or reader.integer() != 1:
        raise CommandError("payload: no kind")
    kind = reader.unsigned()
    if not 1 <= kind <= 2:
        raise CommandError("kind: neither configuration nor update")
    if reader.integer() != 2:
        raise CommandError("payload: no body")
    body = reader.byte_string()
    reader.end()
    return kind, body
