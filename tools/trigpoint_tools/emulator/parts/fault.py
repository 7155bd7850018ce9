"""What can be wrong with a part: chosen from the host, seen on its wires."""

from __future__ import annotations

from enum import Enum
from random import Random


class Fault(Enum):
    """How a part fails.

    Attributes:
        NONE: it works.
        MISSING: it is unplugged.
        STUCK: it hangs in the middle of an answer. On I2C it holds SDA low from when it is next addressed until it has
            seen nine clocks and a STOP; on 1-Wire it holds the wire low; on a UART it says nothing more.
        STRETCHED: on I2C it holds the clock low from when it is next addressed; nothing but power or repair ends that.
        GARBAGE: it answers with random bytes.
        CORRUPT: one bit of each answer is turned over on its way.
    """

    NONE = "none"
    MISSING = "missing"
    STUCK = "stuck"
    STRETCHED = "stretched"
    GARBAGE = "garbage"
    CORRUPT = "corrupt"


class Distortion:
    """Bends what a part says as its fault wants it; the same for each run."""

    def __init__(self) -> None:
        # Repeatable noise, not a secret.
        self._random = Random(0)  # noqa: S311

    def of(self, fault: Fault, data: bytes) -> bytes:
        """Return `data` as it arrives under a fault."""
        if not data or fault not in (Fault.GARBAGE, Fault.CORRUPT):
            return data
        if fault == Fault.GARBAGE:
            return self._random.randbytes(len(data))
        bent = bytearray(data)
        bit = self._random.randrange(8 * len(data))
        bent[bit // 8] ^= 1 << bit % 8
        return bytes(bent)
