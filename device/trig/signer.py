"""The one place where the board's key is used: statements, permits, and the key that acks are checked with.

It signs what it has built itself and nothing else; no function here takes a hash.

Which key that is, and how it is found at start, is in identity.py.
"""

from micropython import const

from trig import statement
from trig.hkdf import hkdf
from trig.keys import thumbprint

_ACK_INFO = const(b"trig/1/ack")


class Signer:
    """Builds and signs.

    Attributes:
        x, y, kid: the public key and the board id, 32 bytes each.
    """

    def __init__(self, key, journal, clock, buffer):
        """Take the key pair, the journal, the clock, and a buffer of at least 4,096 bytes to build statements in."""
        self.x = key.x
        self.y = key.y
        self.kid = key.kid
        self._key = key
        self._journal = journal
        self._clock = clock
        self._buffer = buffer

    def statement(self, pack):
        """Sign the pack's readings as the next statement and keep it in the journal; it is then safe to clear the pack.

        Raises:
            OSError, trig.journal.JournalError: flash refused; a second try finds out from flash which seq is next.
        """
        journal = self._journal
        journal.make_room()
        clock = self._clock
        journal.append(
            statement.build(
                self._buffer,
                kid=self.kid,
                seq=journal.next_seq,
                prev=journal.prev,
                oldest=journal.oldest,
                pack=pack,
                base_time=clock.unix(pack.first_time),
                now=clock.seconds(),
                sign=self._key.sign,
            )
        )

    def permit(self, chain_id, registry, owner, metadata_hash, deadline):
        """Agree to be registered for ``owner`` (protocol, section 8); return r || s, 64 bytes.

        Raises:
            trig.permit.PermitError: names the argument that is out of range.
        """
        from trig import permit

        return self._key.sign(permit.digest(chain_id, registry, owner, self.x, self.y, metadata_hash, deadline))

    def ack_key(self, link_key):
        """Return the 32-byte key shared with the gateway whose link key, x || y, this is (protocol, section 6).

        Raises:
            trig.p256.P256Error: the link key is not a point on the curve.
        """
        x, y = link_key[:32], link_key[32:]
        return hkdf(b"", self._key.secret(x, y), _ACK_INFO + self.kid + thumbprint(x, y), 32)
