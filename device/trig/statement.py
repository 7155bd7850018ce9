"""The statement: a COSE_Sign1 over a SenML pack, built in one buffer (protocol section 3)."""

from micropython import const

from trig.cbor import Writer
from trig.cose import SIGN1_TAG, sign1_digest

MAX_SIZE = const(4096)
ENVELOPE = const(196)  # more than all that is round the pack: 175, and the lengths are set last

_ES256 = const(-7)
_SENML_CBOR = const(112)
_SEQ = const(-65537)
_PREV = const(-65538)
_OLDEST = const(-65539)


class StatementError(ValueError):
    """A header field outside the protocol's bounds. Names the field."""


def build(buffer, *, kid, seq, prev, oldest, pack, base_time, now, sign):
    """Build and sign a statement in `buffer`; returns the part of it that is used, as a memoryview.

    kid and prev are 32 bytes; seq and oldest are integers; pack, base_time and now are as in senml.Pack.encode.
    `sign` takes the SHA-256 digest of the Sig_structure and returns the 64 bytes r || s.
    Raises StatementError, SenmlError, or CborError if it is more than the buffer or 4,096 bytes.
    """
    if len(kid) != 32:
        raise StatementError("kid is not 32 bytes")
    if not 0 <= seq <= 0xFFFFFFFF:
        raise StatementError("seq does not fit 32 bits")
    if len(prev) != 32 or (seq == 0 and prev != bytes(32)):
        raise StatementError("prev is not 32 bytes, or not zero at seq 0")
    if not 0 <= oldest <= seq:
        raise StatementError("oldest is not 0 to seq")
    writer = Writer(memoryview(buffer)[:MAX_SIZE])
    writer.tag(SIGN1_TAG)
    writer.array(4)
    protected = writer.open_bytes()
    writer.map(6)
    writer.integer(1)
    writer.integer(_ES256)
    writer.integer(3)
    writer.integer(_SENML_CBOR)
    writer.integer(4)
    writer.byte_string(kid)
    writer.integer(_SEQ)
    writer.integer(seq)
    writer.integer(_PREV)
    writer.byte_string(prev)
    writer.integer(_OLDEST)
    writer.integer(oldest)
    writer.close_bytes(protected)
    unprotected = writer.length
    writer.map(0)
    payload = writer.open_bytes()
    pack.encode(writer, base_time, now)
    writer.close_bytes(payload)
    used = writer.buffer
    digest = sign1_digest(used[protected:unprotected], used[payload : writer.length])
    writer.byte_string(sign(digest))
    return used[: writer.length]
