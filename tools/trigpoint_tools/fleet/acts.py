"""What each kind of fault does, how it is undone, and what is seen of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from trigpoint_tools.emulator.host import shared_host
from trigpoint_tools.emulator.parts.fault import Fault as PartFault
from trigpoint_tools.fleet.flashrot import Rot, rot, standing_still, statements
from trigpoint_tools.fleet.kept import Kept
from trigpoint_tools.fleet.scenario import INSTANT_KINDS, FaultKind
from trigpoint_tools.fleet.schedule import Draw, FaultEvent
from trigpoint_tools.fleet.site import Site
from trigpoint_tools.fleet.strangers import Strangers
from trigpoint_tools.fleet.witness import Witness

ROT_WITHIN_S = 86_400
"""Flash that is to rot does so when it holds what the gateway has not, within so many of the world's seconds."""

_ROT_EVERY_S = 2.0
_SWITCH_S = 120.0
_EFFECTS: Mapping[FaultKind, str] = {
    FaultKind.WIFI_LOSS: "boards that looked for their network again",
    FaultKind.LATENCY: "chunks of bytes that were late",
    FaultKind.PACKET_LOSS: "chunks of bytes that were late",
    FaultKind.TCP_RESET: "connections made anew",
    FaultKind.BROKER_RESTART: "connections made anew",
    FaultKind.GATEWAY_RESTART: "statements stored since",
    FaultKind.CLOCK_SKEW: "corrections of clocks",
    FaultKind.CLOCK_JUMP: "corrections of clocks",
    FaultKind.POWER_CUT: "boards that started again",
    FaultKind.FLASH_ROT: "statements destroyed and declared lost",
    FaultKind.SENSOR_STUCK: "samples that were not taken",
    FaultKind.SENSOR_LIES: "readings that are wrong",
    FaultKind.CLONED_KEY: "boards flagged",
    FaultKind.FORGERIES: "forged messages refused",
}


@dataclass
class Deed:
    """One event that has begun.

    Attributes:
        event: the event.
        until_s: when it is over, in the world's seconds of the run; for what happens at once, when it began.
        over: whether it is.
        before: what is counted for its effect, as it stood when it began, by board; -1 stands for the site.
        after: the same when the effect was read, None while it can still grow.
        rots: what has rotted, by board.
        to_rot: boards whose flash is still to rot.
    """

    event: FaultEvent
    until_s: int
    over: bool
    before: Mapping[int, int]
    after: Mapping[int, int] | None = None
    rots: dict[int, Rot] = field(default_factory=dict)
    to_rot: list[int] = field(default_factory=list)


class Acts:
    """Carries events out, and remembers them.

    Args:
        site: broker and gateway.
        witnesses: the boards, by number.
        kept: what the gateway has stored.
        strangers: who forges and clones.

    Attributes:
        deeds: the events that have begun, in their order.
        broker_up, gateway_up: whether they are meant to run.
        off: numbers of the boards without power.
    """

    def __init__(self, site: Site, witnesses: Sequence[Witness], kept: Kept, strangers: Strangers) -> None:
        self._site = site
        self._witnesses = witnesses
        self._kept = kept
        self._strangers = strangers
        self._ppm = {number: witness.board.ppm for number, witness in enumerate(witnesses)}
        self._rot_again_at = 0.0
        self.deeds: list[Deed] = []
        self.broker_up = True
        self.gateway_up = True
        self.off: set[int] = set()

    @property
    def active(self) -> dict[FaultKind, int]:
        """The kinds that go on now, and how many boards each has hit (1 for those of the site)."""
        going_on: Counter[FaultKind] = Counter()
        for deed in self.deeds:
            if not deed.over:
                going_on[deed.event.kind] += len(deed.event.boards) or 1
        return dict(going_on)

    def begin(self, event: FaultEvent) -> Deed:
        """Do what an event says."""
        targets = event.boards or (-1,)
        over = event.kind in INSTANT_KINDS and event.kind != FaultKind.FLASH_ROT
        lasts = ROT_WITHIN_S if event.kind == FaultKind.FLASH_ROT else event.lasts_s
        deed = Deed(event, event.at_s + lasts, over, {target: self._count(event.kind, target) for target in targets})
        self.deeds.append(deed)
        match event.kind:
            case FaultKind.BROKER_RESTART:
                self.broker_up = False
                self._site.broker.kill()
            case FaultKind.GATEWAY_RESTART:
                self.gateway_up = False
                self._site.gateway.kill()
            case FaultKind.CLONED_KEY | FaultKind.FORGERIES:
                self._strangers.begin(event)
            case FaultKind.FLASH_ROT:
                deed.to_rot = list(event.boards)
            case FaultKind.POWER_CUT:
                self._cut_power(event.boards)
            case _:
                for number in event.boards:
                    self._hit(event, self._witnesses[number])
        return deed

    def end(self, deed: Deed) -> None:
        """Undo it."""
        event = deed.event
        deed.over = True
        match event.kind:
            case FaultKind.BROKER_RESTART:
                self._site.start_broker()
                self.broker_up = True
            case FaultKind.GATEWAY_RESTART:
                deed.before = {-1: len(self._kept.log)}
                self._site.gateway.start()
                self.gateway_up = True
            case FaultKind.FLASH_ROT:
                for number in list(deed.to_rot):
                    self._rot(deed, number, patient=False)
            case FaultKind.POWER_CUT:
                self._restore_power(event.boards)
            case _:
                for number in event.boards:
                    self._relieve(event, self._witnesses[number])
        if event.kind in (FaultKind.SENSOR_STUCK, FaultKind.SENSOR_LIES):
            deed.after = {number: self._count(event.kind, number) for number in event.boards}
            if event.kind == FaultKind.SENSOR_LIES:
                for number, count in deed.after.items():
                    self._witnesses[number].lied += count - deed.before[number]

    def next_end(self) -> Deed | None:
        """Return the deed that is over first, of those that go on."""
        return min((deed for deed in self.deeds if not deed.over), key=lambda deed: deed.until_s, default=None)

    def go_on(self) -> None:
        """Do what has to wait for its occasion."""
        if self.broker_up and self.gateway_up and self._strangers.busy:
            self._strangers.go_on()
        if time.monotonic() >= self._rot_again_at:
            self._rot_again_at = time.monotonic() + _ROT_EVERY_S
            for deed in self.deeds:
                for number in list(deed.to_rot):
                    if self._cut_off(number):
                        self._rot(deed, number, patient=True)

    def seen(self, deed: Deed, refused: Callable[[bytes], bool]) -> int:
        """Return what was seen of a deed, at the end of the run. `refused`: whether the gateway refused a message."""
        event = deed.event
        match event.kind:
            case FaultKind.FLASH_ROT:
                return sum(seq in self._declared(number) for number, rot in deed.rots.items() for seq in rot.destroyed)
            case FaultKind.CLONED_KEY:
                return sum(self._witnesses[number].board.kid in self._kept.flagged for number in event.boards)
            case FaultKind.FORGERIES:
                sent = next((attack.sent for attack in self._strangers.attacks if attack.event == event), [])
                return sum(refused(forgery.raw) for forgery in sent)
            case FaultKind.SENSOR_STUCK:
                assert deed.after is not None
                return sum(self._missed(deed, number) for number in event.boards)
        after = deed.after or {target: self._count(event.kind, target) for target in deed.before}
        grown = [after[target] - before for target, before in deed.before.items()]
        if event.kind in (FaultKind.WIFI_LOSS, FaultKind.POWER_CUT):
            return sum(growth > 0 for growth in grown)
        return sum(grown)

    def effect(self, kind: FaultKind) -> str:
        """Return what `seen` counts for a kind."""
        return _EFFECTS[kind]

    def _hit(self, event: FaultEvent, witness: Witness) -> None:
        board, emulated = witness.board, witness.board.emulated
        match event.kind:
            case FaultKind.WIFI_LOSS:
                emulated.wifi(False)
            case FaultKind.LATENCY:
                emulated.link.delay_s = event.amount / 1000
            case FaultKind.PACKET_LOSS:
                emulated.link.loss = event.amount
            case FaultKind.TCP_RESET:
                emulated.reset_connections()
            case FaultKind.CLOCK_SKEW:
                self._ppm[board.number] = board.ppm + event.amount
                emulated.skew(self._ppm[board.number])
            case FaultKind.CLOCK_JUMP:
                emulated.skew(self._ppm[board.number], round(event.amount))
            case FaultKind.SENSOR_STUCK:
                self._break(witness, PartFault.STUCK)
            case FaultKind.SENSOR_LIES:
                board.senses.lie(event.amount)

    def _relieve(self, event: FaultEvent, witness: Witness) -> None:
        board, emulated = witness.board, witness.board.emulated
        match event.kind:
            case FaultKind.WIFI_LOSS:
                emulated.wifi(True)
            case FaultKind.LATENCY:
                emulated.link.delay_s = 0.0
            case FaultKind.PACKET_LOSS:
                emulated.link.loss = 0.0
            case FaultKind.CLOCK_SKEW:
                self._ppm[board.number] = board.ppm
                emulated.skew(board.ppm)
            case FaultKind.SENSOR_STUCK:
                self._break(witness, PartFault.NONE)
            case FaultKind.SENSOR_LIES:
                board.senses.honest()

    def _cut_power(self, numbers: Sequence[int]) -> None:
        """All at once: one after the other, each would wait for its turn in a busy emulator."""

        async def cut() -> None:
            await asyncio.gather(*(self._witnesses[number].board.emulated.switch_off() for number in numbers))

        shared_host().run(cut(), _SWITCH_S)
        self.off.update(numbers)
        self._kept.update()
        for number in numbers:
            self._witnesses[number].power_is_cut(self._kept)

    def _restore_power(self, numbers: Sequence[int]) -> None:
        async def restore() -> None:
            for number in numbers:
                await self._witnesses[number].board.emulated.switch_on()

        shared_host().run(restore(), _SWITCH_S)
        self.off.difference_update(numbers)

    @staticmethod
    def _break(witness: Witness, fault: PartFault) -> None:
        for number in range(len(witness.board.emulated.parts)):
            witness.board.emulated.break_part(number, fault)

    def _count(self, kind: FaultKind, target: int) -> int:
        """Return what the effect of a kind is seen by, for one board or (-1) for all that the site serves."""
        if kind == FaultKind.GATEWAY_RESTART:
            return len(self._kept.log)
        if target < 0:
            return sum(witness.board.emulated.link.connects for witness in self._witnesses)
        emulated = self._witnesses[target].board.emulated
        match kind:
            case FaultKind.WIFI_LOSS:
                return emulated.station.attempts
            case FaultKind.LATENCY | FaultKind.PACKET_LOSS:
                return emulated.link.late
            case FaultKind.TCP_RESET:
                return emulated.link.connects
            case FaultKind.CLOCK_SKEW | FaultKind.CLOCK_JUMP:
                return emulated.clock_sets
            case FaultKind.POWER_CUT:
                return emulated.boots
            case FaultKind.SENSOR_STUCK | FaultKind.SENSOR_LIES:
                return emulated.readings_measured
        return 0

    def _missed(self, deed: Deed, number: int) -> int:
        assert deed.after is not None
        group = self._witnesses[number].board.group
        taken = (deed.after[number] - deed.before[number]) // group.readings
        return max(0, deed.event.lasts_s // group.sample_s - taken)

    def _cut_off(self, number: int) -> bool:
        """Whether something that goes on keeps a board from sending, so that statements wait on its flash."""
        if not (self.broker_up and self.gateway_up):
            return True
        return number in self.off or any(
            not deed.over and deed.event.kind == FaultKind.WIFI_LOSS and number in deed.event.boards
            for deed in self.deeds
        )

    def _rot(self, deed: Deed, number: int, *, patient: bool) -> None:
        """Let a board's flash rot; if `patient`, only if it holds a statement that the gateway has not."""
        witness = self._witnesses[number]
        with standing_still(witness.board.emulated.pid):
            self._kept.update()
            waiting = range(self._kept.next_seq(witness.board.kid), 1 << 32)
            if patient and not any(statement.seq in waiting for statement in statements(witness.board.image)):
                return
            draw = Draw(deed.event.seed, number)
            rotten = rot(witness.board.image, max(1, round(deed.event.amount)), waiting, draw)
        witness.saw(rotten.before)
        deed.rots[number] = rotten
        deed.to_rot.remove(number)

    def _declared(self, number: int) -> set[int]:
        ranges = self._kept.lost.get(self._witnesses[number].board.kid, ())
        return {seq for first, last in ranges for seq in range(first, last + 1)}
