"""What the attacker does in the demo, with what it knows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from trigpoint.wire.statement import Statement, parse

from trigpoint_tools.demo import attacker
from trigpoint_tools.demo.accounting import REPLAY
from trigpoint_tools.demo.attacker import Attacker

_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Campaign:
    """The attacker's aims.

    Attributes:
        attacker: its client at the broker.
        boards: ids of the boards whose traffic it listens to.
        stolen: the board whose key it has.
        key: that key.
    """

    attacker: Attacker
    boards: Sequence[bytes]
    stolen: bytes
    key: ec.EllipticCurvePrivateKey

    def round(self) -> int:
        """Send several forged statements of each kind to the gateway; return how many."""
        before = len(self.attacker.forgeries)
        send = self.attacker.send
        for victim in self.boards[1:3]:
            captured = self._captured(victim)
            send(attacker.BAD_SIGNATURE, victim, attacker.changed_value(captured[-1]))
            send(attacker.BAD_SIGNATURE, victim, attacker.invented_next(captured[-1]))
            stranger = attacker.stranger(captured[-1])
            send(attacker.UNKNOWN_BOARD, parse(stranger).kid, stranger)
            send(REPLAY, victim, captured[0].raw)
            send(REPLAY, victim, captured[-1].raw)
            send(attacker.TRUNCATED, victim, attacker.truncated(captured[0], len(captured[0].raw) - 1))
            send(attacker.TRUNCATED, victim, attacker.truncated(captured[-1], len(captured[-1].raw) // 2))
        captured = self._captured(self.stolen)
        send(attacker.CLONED_KEY, self.stolen, attacker.cloned(captured[0], self.key))
        send(attacker.CLONED_KEY, self.stolen, attacker.cloned(captured[-1], self.key))
        return len(self.attacker.forgeries) - before

    def acks(self, time_ms: int) -> int:
        """Tell every board that all it ever sent is on disk, by forged acks and by replayed ones; return how many.

        Sent while the gateway is dead, this is how readings would get lost if a board believed it.
        """
        before = self.attacker.acks_sent
        for number, victim in enumerate(self.boards):
            newest = self._captured(victim)[-1].seq
            self.attacker.send_ack(victim, attacker.forged_ack(newest, time_ms))
            self.attacker.send_ack(victim, attacker.forged_ack(newest + 1, time_ms + 10**9))
            others = self.attacker.captured_acks(self.boards[number - 1])
            own = self.attacker.captured_acks(victim)
            for replayed in (*others[-1:], *own[:1]):
                self.attacker.send_ack(victim, replayed)
        return self.attacker.acks_sent - before

    def _captured(self, kid: bytes) -> list[Statement]:
        """Return what a board was heard to say, waiting for it to say something.

        Raises:
            RuntimeError: it said nothing for long.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while not (captured := self.attacker.captured(kid)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"board {kid.hex()[:8]} said nothing within {_PATIENCE_S:.0f} s")
            time.sleep(0.05)
        return captured
