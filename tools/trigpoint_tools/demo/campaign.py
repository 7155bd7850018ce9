"""What the attacker does in the demo, with what it knows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec
from trigpoint.errors import OperatorError
from trigpoint.wire.statement import Statement, parse

from trigpoint_tools.demo import attacker
from trigpoint_tools.demo.accounting import REPLAY, Forgery
from trigpoint_tools.demo.attacker import Attacker

_PATIENCE_S = 20.0
_AGAIN_S = 1.0
_GUESSES = 4


@dataclass(frozen=True)
class Campaign:
    """The attacker's aims.

    Attributes:
        attacker: its client at the broker.
        boards: ids of the boards whose traffic it listens to.
        stolen: the board whose key it has.
        key: that key.
        arrived: tells whether the gateway has had these messages before it.
        forgeries: what was sent to the gateway.
    """

    attacker: Attacker
    boards: Sequence[bytes]
    stolen: bytes
    key: ec.EllipticCurvePrivateKey
    arrived: Callable[[Sequence[Forgery]], bool]
    forgeries: list[Forgery] = field(default_factory=list)

    def round(self) -> int:
        """Send several forged statements of each kind to the gateway; return how many.

        A broker that has just come up has no session of the gateway's yet, and drops what it gets. A message that was
        dropped has attacked nobody, so the round is sent again until the gateway has had all of it.

        Raises:
            OperatorError: it has not, for long.
        """
        forgeries = self._forge()
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            for forgery in forgeries:
                self.attacker.send(forgery)
            again = time.monotonic() + _AGAIN_S
            while time.monotonic() < again:
                if self.arrived(forgeries):
                    self.forgeries.extend(forgeries)
                    return len(forgeries)
                time.sleep(0.05)
            if time.monotonic() > deadline:
                raise OperatorError(f"forged messages did not reach the gateway within {_PATIENCE_S:.0f} s")

    def _forge(self) -> list[Forgery]:
        """Return a round's messages. Replays stand between others of the same board, so they arrive if those do.

        A used seq is one that the gateway has acked. Under one that it has not, whoever has the key may come before the
        board: then the board's own statement is the second history, and the board is flagged for that one.
        """
        made: list[Forgery] = []
        for victim in self.boards[1:3]:
            used = self._heard(victim, self.attacker.acked)
            stranger = attacker.stranger(used[-1])
            made += [
                Forgery(attacker.BAD_SIGNATURE, victim, attacker.changed_value(used[-1])),
                Forgery(attacker.BAD_SIGNATURE, victim, attacker.invented_next(used[-1])),
                Forgery(REPLAY, victim, used[0].raw),
                Forgery(REPLAY, victim, used[-1].raw),
                Forgery(attacker.TRUNCATED, victim, attacker.truncated(used[0])),
                Forgery(attacker.TRUNCATED, victim, attacker.truncated(used[-1])),
                Forgery(attacker.UNKNOWN_BOARD, parse(stranger).kid, stranger),
            ]
        used = self._heard(self.stolen, self.attacker.acked)
        return [
            *made,
            Forgery(attacker.CLONED_KEY, self.stolen, attacker.cloned(used[0], self.key)),
            Forgery(attacker.CLONED_KEY, self.stolen, attacker.cloned(used[-1], self.key)),
        ]

    def acks(self, time_ms: int) -> int:
        """Tell every board that all it has signed is on disk, by forged acks and by replayed ones; return how many.

        Sent while the gateway is away, this is how readings would get lost if a board believed it. How much a board has
        signed since it was last heard the attacker has to guess, so it tries a few.
        """
        before = self.attacker.acks_sent
        for number, victim in enumerate(self.boards):
            newest = self._heard(victim, self.attacker.captured)[-1].seq
            for guess in range(_GUESSES):
                self.attacker.send_ack(victim, attacker.forged_ack(newest + guess, time_ms))
            others = self.attacker.captured_acks(self.boards[number - 1])
            own = self.attacker.captured_acks(victim)
            for replayed in (*others[-1:], *own[:1]):
                self.attacker.send_ack(victim, replayed)
        return self.attacker.acks_sent - before

    def _heard(self, kid: bytes, what: Callable[[bytes], list[Statement]]) -> list[Statement]:
        """Return what was heard of a board, waiting for it if need be.

        Raises:
            OperatorError: nothing was heard for long.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while not (heard := what(kid)):
            if time.monotonic() > deadline:
                raise OperatorError(f"nothing was heard of board {kid.hex()[:8]} within {_PATIENCE_S:.0f} s")
            time.sleep(0.05)
        return heard
