"""The board's key in a secure element; the same interface as ``trig.keys.KeyPair``."""

from trig import p256_points
from trig.keys import SignerError, thumbprint
from trig.p256 import P256Error


class SecureKey:
    """The key pair in a slot of a chip.

    Attributes:
        name: which signer it is.
        x, y, kid: the public key and the board id, 32 bytes each.
    """

    def __init__(self, chip, slot, x, y):
        """Take a ``trig.atecc608.Atecc608``, the slot, and its public key. Raises SignerError if that is no point."""
        self.name = "{} slot {}".format(chip.name, slot)
        try:
            p256_points.point(x, y)
        except P256Error as error:
            raise SignerError("{}: {}".format(self.name, error))
        self.x = x
        self.y = y
        self.kid = thumbprint(x, y)
        self._chip = chip
        self._slot = slot

    def sign(self, digest):
        """Sign a SHA-256 digest: r || s with the lower s, verified here before anybody uses it.

        A wrong signature in the journal would stop the board for good, because the next statement is built on it; so a
        chip or a wire that fails once in a while must not put one there.

        Raises:
            trig.keys.SignerError: the chip failed, or gave wrong signatures twice.
        """
        for _ in range(2):
            try:
                signature = p256_points.low_s(self._chip.sign(self._slot, digest))
            except P256Error:
                continue
            if p256_points.verify(self.x, self.y, digest, signature):
                return signature
        raise SignerError(self.name + ": its signatures do not verify")

    def secret(self, x, y):
        """ECDH: the x coordinate of the private key times a point, 32 bytes.

        Raises:
            trig.p256.P256Error: the point is not on the curve.
            trig.keys.SignerError: the chip failed.
        """
        p256_points.point(x, y)
        return self._chip.ecdh(self._slot, x, y)

    def __repr__(self):
        return "<SecureKey %s in %s>" % (self.kid.hex(), self.name)
