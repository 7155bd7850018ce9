"""What is wrong with a board's way to its servers: bytes come late, or get lost and are sent again. No I/O.

TCP hides a lost segment from those who use it: it comes later, together with all that stood behind it. So loss is delay
here, by retransmission time-outs that double (RFC 6298, section 5.5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

RETRANSMIT_S = 0.3
"""The first retransmission time-out, real seconds: the least that RFC 6298 allows is a second, systems use less."""

_DOUBLINGS = 5


@dataclass
class Link:
    """One board's way. Its fields may be changed at any time.

    Attributes:
        delay_s: how late bytes come, each way, in real seconds.
        loss: share of segments that are lost, 0 to below 1.
        random: what decides which ones.
        tap: is shown all bytes that pass, as the board sends or gets them: the connection's number, whether they come
            from the board, and which. None for nobody.
        late: how many chunks were held up.
        resets: how many connections were reset.
        connects: how many connections there have been.
    """

    delay_s: float = 0.0
    loss: float = 0.0
    # Repeatable noise, not a secret.
    random: Random = field(default_factory=lambda: Random(0))  # noqa: S311
    tap: Callable[[int, bool, bytes], None] | None = None
    late: int = 0
    resets: int = 0
    connects: int = 0

    def hold(self) -> float:
        """Return for how many seconds the next chunk is held up; 0 for not at all."""
        held = self.delay_s
        timeout = RETRANSMIT_S
        for _ in range(_DOUBLINGS):
            if not self.loss or self.random.random() >= self.loss:
                break
            held += timeout
            timeout *= 2
        self.late += held > 0
        return held
