"""People who want false readings in a log, or true ones out of it: they forge, and they clone keys.

What they know and how they make their messages is demo/attacker.py. Here is when: they try again until what they send
has reached the gateway, because a message that a broken network has swallowed has attacked nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec
from trigpoint.errors import OperatorError
from trigpoint.wire.statement import Statement, parse

from trigpoint_tools.demo import attacker
from trigpoint_tools.demo.accounting import REPLAY, Forgery
from trigpoint_tools.demo.attacker import Attacker
from trigpoint_tools.fleet.scenario import FaultKind
from trigpoint_tools.fleet.schedule import FaultEvent

_AHEAD = 4  # how many seqs a forger of acks guesses beyond what it has heard
_AGAIN_S = 1.0


@dataclass
class Attack:
    """One event of the schedule, under way.

    Attributes:
        event: the event.
        waiting: boards of which too little has been heard to attack them.
        sent: what was sent so far, board by board.
        arrived: whether the gateway has had all of it.
        again_at: when to try again, in seconds.
    """

    event: FaultEvent
    waiting: list[int]
    sent: list[Forgery] = field(default_factory=list)
    arrived: bool = False
    again_at: float = 0.0


class Strangers:
    """All attacks of a run.

    Args:
        client: their client at the broker.
        kids: the boards' ids, by number.
        steal: returns a board's private key.
        has_all: tells whether the gateway has had all of some messages.
        now: seconds, of which only differences count.
        world_ms: the world's milliseconds since 1970.

    Attributes:
        attacks: the ones begun, in their order.
        cloned: ids of the boards whose key was used.
    """

    def __init__(
        self,
        client: Attacker,
        *,
        kids: Mapping[int, bytes],
        steal: Callable[[int], ec.EllipticCurvePrivateKey],
        has_all: Callable[[frozenset[bytes]], bool],
        now: Callable[[], float],
        world_ms: Callable[[], int],
    ) -> None:
        self._client = client
        self._kids = kids
        self._steal = steal
        self._has_all = has_all
        self._now = now
        self._world_ms = world_ms
        self.attacks: list[Attack] = []
        self.cloned: set[bytes] = set()

    @property
    def forgeries(self) -> list[Forgery]:
        """Everything that was sent to the gateway."""
        return [forgery for attack in self.attacks for forgery in attack.sent]

    @property
    def acks_sent(self) -> int:
        """How many forged acks were sent to boards."""
        return self._client.acks_sent

    @property
    def busy(self) -> bool:
        """Whether an attack has not arrived yet."""
        return any(not attack.arrived for attack in self.attacks)

    def begin(self, event: FaultEvent) -> None:
        """Begin an attack; `go_on` carries it out."""
        self.attacks.append(Attack(event, list(event.boards)))

    def go_on(self) -> None:
        """Send what has to be sent, as far as it can be now. To be called while the broker and the gateway are up."""
        for attack in self.attacks:
            if not attack.arrived and self._now() >= attack.again_at:
                attack.again_at = self._now() + _AGAIN_S
                try:
                    self._go_on(attack)
                except OperatorError:
                    continue  # the broker did not take it: next time

    def _go_on(self, attack: Attack) -> None:
        new = [number for number in attack.waiting if self._client.acked(self._kids[number])]
        for number in new:
            attack.waiting.remove(number)
            made = self._forge(attack.event.kind, number)
            attack.sent += made
        for forgery in attack.sent:
            self._client.send(forgery)
        for number in new:
            if attack.event.kind == FaultKind.FORGERIES:
                self._forge_acks(self._kids[number])
        raws = frozenset(forgery.raw for forgery in attack.sent if forgery.kind != REPLAY)
        attack.arrived = not attack.waiting and self._has_all(raws)

    def _forge(self, kind: FaultKind, number: int) -> list[Forgery]:
        """Return messages in one board's name. A used seq is one that the gateway has acked (see demo/campaign.py)."""
        kid = self._kids[number]
        used = self._client.acked(kid)
        if kind == FaultKind.CLONED_KEY:
            self.cloned.add(kid)
            return [Forgery(attacker.CLONED_KEY, kid, attacker.cloned(used[-1], self._steal(number)))]
        unknown = attacker.stranger(used[-1])
        return [
            Forgery(attacker.BAD_SIGNATURE, kid, attacker.changed_value(used[-1])),
            Forgery(attacker.BAD_SIGNATURE, kid, attacker.invented_next(used[-1])),
            Forgery(REPLAY, kid, used[0].raw),
            Forgery(attacker.TRUNCATED, kid, attacker.truncated(used[-1])),
            Forgery(attacker.UNKNOWN_BOARD, parse(unknown).kid, unknown),
        ]

    def _forge_acks(self, kid: bytes) -> None:
        """Tell a board that more than the gateway has is on disk: readings would get lost if it believed that."""
        newest: Statement = self._client.captured(kid)[-1]
        for guess in range(_AHEAD):
            self._client.send_ack(kid, attacker.forged_ack(newest.seq + guess, self._world_ms()))
        for replayed in self._client.captured_acks(kid)[:1]:
            self._client.send_ack(kid, replayed)
