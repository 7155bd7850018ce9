"""Plays a scenario on real parts, from an empty folder to the audit."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import statistics
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from trigpoint import keyfiles
from trigpoint.errors import OperatorError
from trigpoint.wire import ack

from trigpoint_tools.demo.attacker import Attacker
from trigpoint_tools.emulator.errors import EmulatorError
from trigpoint_tools.emulator.parts.fault import Fault as PartFault
from trigpoint_tools.fleet import boards as making
from trigpoint_tools.fleet.acts import Acts
from trigpoint_tools.fleet.boards import FleetBoard
from trigpoint_tools.fleet.events import TITLES, Observer, Silent, Snapshot, Step
from trigpoint_tools.fleet.kept import Kept
from trigpoint_tools.fleet.memory import cpu_s, rss_kb
from trigpoint_tools.fleet.outcome import Ending, outcome, said
from trigpoint_tools.fleet.result import Point, Result
from trigpoint_tools.fleet.scenario import Scenario
from trigpoint_tools.fleet.schedule import FaultEvent, schedule
from trigpoint_tools.fleet.site import Site
from trigpoint_tools.fleet.strangers import Strangers
from trigpoint_tools.fleet.traffic import Traffic
from trigpoint_tools.fleet.witness import Witness
from trigpoint_tools.rundirectory import fresh, stopped_by_signal

REPORTS = ("report.json", "report.html")
"""Files that an earlier run may have left beside its folder."""

_TICK_S = 0.05
_LOOK_S = 0.5
_POINTS = 400
_KNOWN_S = 60.0
_STARTING = 8  # boards that boot at once
_CONNECT_S = 30.0
_STORE_S = 90.0
_ARRIVE_S = 60.0
_SILENT_S = 0.3  # until parts are unplugged for certain
_ANCHOR_S = 60.0
_NEWEST_ACKS = 200


def run(scenario: Scenario, directory: Path, observer: Observer | None = None) -> Result:
    """Play a scenario and return what came out.

    The gateway's folder, the programs' logs and what boards have printed stay in `directory`; the boards' own folders,
    2 MB each, go unless something is wrong.

    Args:
        scenario: what to play.
        directory: where its files go; one run at a time.
        observer: told how it goes.

    Raises:
        OperatorError: it could not be played to its end. What was started has ended, as after KeyboardInterrupt.
    """
    began, cpu = time.monotonic(), cpu_s()
    with fresh(directory, "fleet", REPORTS) as (folder, logs), stopped_by_signal():
        try:
            with ExitStack() as stack:
                result = _Run(scenario, folder, logs, observer or Silent(), stack).play()
        except (OperatorError, EmulatorError, TimeoutError) as error:
            raise OperatorError(f"the fleet broke off: {error}; the logs of its parts are in {logs}") from error
        except KeyboardInterrupt:
            shutil.rmtree(folder / "boards", ignore_errors=True)
            raise
        if result.ok:
            shutil.rmtree(folder / "boards", ignore_errors=True)
    return dataclasses.replace(result, seconds=time.monotonic() - began, cpu_s=cpu_s() - cpu)


class _Run:
    """One run, step by step; each step leaves behind what later ones need."""

    def __init__(self, scenario: Scenario, folder: Path, logs: Path, observer: Observer, stack: ExitStack) -> None:
        self._scenario = scenario
        self._folder = folder
        self._logs = logs
        self._observer = observer
        self._stack = stack
        self._began = time.monotonic()
        self._witnesses: list[Witness] = []
        self._acts: Acts
        self._kept: Kept
        self._step = Step.SITE
        self._step_began = self._began
        self._steps: dict[str, float] = {}
        self._made = 0
        self._zero: float | None = None  # the world's moment at which RUN began, seconds since 1970
        self._looked_at = 0.0
        self._shown_acks: dict[int, int] = {}
        self._newest_acks: deque[float] = deque(maxlen=_NEWEST_ACKS)
        self._acks_of_point: list[float] = []
        self._points: list[Point] = []
        self._next_point = 0.0
        self._wrong: list[str] = []

    def play(self) -> Result:
        """Play all steps."""
        scenario = self._scenario
        self._enter(Step.SITE)
        self._site = self._stack.enter_context(
            Site(
                self._folder / "gateway",
                self._logs,
                origin=scenario.start_s,
                speed=scenario.speed,
                anchor_every_s=scenario.anchor_every_s,
            )
        )
        self._kept = Kept(self._site.config.database)
        self._enter(Step.BOARDS)
        self._make_boards()
        self._enter(Step.START)
        self._start_boards()
        self._enter(Step.RUN)
        self._zero = self._site.clock.now()
        self._play_faults()
        memory = {witness.board.number: rss_kb(witness.board.emulated.pid) for witness in self._witnesses}
        grown = rss_kb(os.getpid()) - self._own_kb
        self._enter(Step.DRAIN)
        self._drain()
        self._enter(Step.ANCHOR)
        self._anchor()
        self._enter(Step.AUDIT)
        self._kept.update()
        result = outcome(
            scenario,
            self._site,
            self._kept,
            witnesses=self._witnesses,
            acts=self._acts,
            strangers=self._strangers,
            ending=Ending(
                zero=self._zero,
                points=tuple(self._points),
                memory=memory,
                emulator_kb=max(0, grown),
                wrong=tuple(self._wrong),
            ),
        )
        self._close_step()
        return dataclasses.replace(result, step_seconds=dict(self._steps))

    # -- steps

    def _make_boards(self) -> None:
        site, weather = self._site, making.weather_of(self._scenario)
        self._own_kb = rss_kb(os.getpid())
        made = making.make(self._scenario, site, weather, self._folder / "boards", self._board_made)
        self._stack.callback(_keep_consoles, made, self._logs)
        self._stack.callback(making.cut_all, made)
        link_key = keyfiles.load_link_key(site.config.link.key_file)
        self._witnesses = [
            Witness(board, Traffic(ack.derive_key(link_key, board.public), time.monotonic)) for board in made
        ]
        for witness in self._witnesses:
            witness.board.emulated.link.tap = witness.traffic.pass_by
        client = Attacker("127.0.0.1", site.broker_port)
        self._stack.callback(client.close)
        self._strangers = Strangers(
            client,
            kids={board.number: board.kid for board in made},
            steal=lambda number: made[number].stolen_key(),
            has_all=self._kept.has_all,
            now=time.monotonic,
            world_ms=site.clock.now_ms,
        )
        self._acts = Acts(site, self._witnesses, self._kept, self._strangers)

    def _board_made(self, count: int) -> None:
        self._made = count
        self._look(count / self._scenario.count)

    def _start_boards(self) -> None:
        """Switch boards on, a few at a time: all at once they would take longer, and some would be thought to hang."""
        deadline = time.monotonic() + _KNOWN_S
        while self._kept.known_boards() < len(self._witnesses):
            if time.monotonic() > deadline:
                raise OperatorError(f"the gateway has not found all boards on the chain within {_KNOWN_S:.0f} s")
            self._pause(None)
        waiting = deque(self._witnesses)
        booting: dict[int, float] = {}
        silent = 0
        while waiting or booting:
            while waiting and len(booting) < _STARTING:
                witness = waiting.popleft()
                witness.board.emulated.start()
                booting[witness.board.number] = time.monotonic() + _CONNECT_S
            for number, deadline in list(booting.items()):
                late = time.monotonic() > deadline
                if late or self._witnesses[number].board.emulated.link.connects:
                    silent += late
                    del booting[number]
            self._pause((len(self._witnesses) - len(waiting) - len(booting)) / len(self._witnesses))
        if silent:
            self._observer.note(f"{silent} boards have not found the broker within {_CONNECT_S:.0f} s")

    def _play_faults(self) -> None:
        scenario = self._scenario
        events = deque(schedule(scenario))
        duration = scenario.duration_s
        while (now := self._world_s()) < duration:
            while self._do_next(events, now):
                pass
            self._acts.go_on()
            self._pause(now / duration)
        for deed in [deed for deed in self._acts.deeds if not deed.over]:
            self._acts.end(deed)
            self._observer.fault(deed.event, said(scenario, deed.event, over=True), over=True)

    def _do_next(self, events: deque[FaultEvent], now: float) -> bool:
        """Begin or end what is due first, if anything is. However late it gets, each end comes before a later begin."""
        deed, acts, scenario = self._acts.next_end(), self._acts, self._scenario
        begins = events[0].at_s if events else math.inf
        if deed is not None and deed.until_s <= min(now, begins):
            acts.end(deed)
            self._observer.fault(deed.event, said(scenario, deed.event, over=True), over=True)
        elif begins <= now:
            event = events.popleft()
            acts.begin(event)
            self._observer.fault(event, said(scenario, event, over=False), over=False)
        else:
            return False
        return True

    def _drain(self) -> None:
        """Let boards measure on until all that is older than the last fault is settled, then let sensors fall silent.

        They must measure on: a board declares a loss in the next statement that it signs.
        """
        longest = max(group.sample_s * group.batch for group in self._scenario.boards) / self._scenario.speed
        calm = {witness.board.number: witness.board.emulated.readings_measured for witness in self._witnesses}
        self._settle(calm, _STORE_S + 3 * longest)
        if self._strangers.busy:
            self._wrong.append("strangers' messages have not all reached the gateway")
        for witness in self._witnesses:
            for number in range(len(witness.board.emulated.parts)):
                witness.board.emulated.break_part(number, PartFault.MISSING)
        self._pause(None, _SILENT_S)
        measured = {witness.board.number: witness.board.emulated.readings_measured for witness in self._witnesses}
        self._settle(measured, _ARRIVE_S + 2 * longest)

    def _settle(self, wanted: dict[int, int], limit_s: float) -> None:
        """Wait until so many readings of each board have come to where they stay; who is late is noted."""
        deadline = time.monotonic() + limit_s
        left = dict(wanted)
        while left or self._strangers.busy:
            self._kept.update()
            for number in list(left):
                if self._witnesses[number].settled(self._kept, left[number]):
                    del left[number]
            if time.monotonic() > deadline:
                break
            self._acts.go_on()
            self._pause(1 - len(left) / len(wanted), _LOOK_S)
        for number in left:
            self._observer.note(f"not all readings of board {number} have come within {limit_s:.0f} s")

    def _anchor(self) -> None:
        every = self._scenario.anchor_every_s / self._scenario.speed
        deadline = time.monotonic() + _ANCHOR_S + 2 * every
        while self._kept.anchored_size != len(self._kept.log):
            if time.monotonic() > deadline:
                self._wrong.append("the newest head is not on the chain")
                return
            self._pause(None, _LOOK_S)

    # -- what goes on meanwhile

    def _enter(self, step: Step) -> None:
        self._close_step()
        self._step, self._step_began = step, time.monotonic()
        self._observer.begun(step, TITLES[step])

    def _close_step(self) -> None:
        self._steps[self._step] = time.monotonic() - self._step_began

    def _world_s(self) -> float:
        return -1.0 if self._zero is None else self._site.clock.now() - self._zero

    def _pause(self, done: float | None, seconds: float = _TICK_S) -> None:
        """Let time pass; look after the parts, and tell how it stands, now and then."""
        time.sleep(seconds)
        if time.monotonic() - self._looked_at >= _LOOK_S:
            self._looked_at = time.monotonic()
            self._site.check(broker=self._acts.broker_up, gateway=self._acts.gateway_up)
            self._kept.update()
            self._look(done)

    def _look(self, done: float | None) -> None:
        emulated = [witness.board.emulated for witness in self._witnesses]
        new = [ms for witness in self._witnesses for ms in self._new_acks(witness)]
        self._newest_acks.extend(new)
        self._acks_of_point.extend(new)
        kept, acts = self._kept, self._acts if self._witnesses else None
        snapshot = Snapshot(
            step=self._step,
            done=done if done is None else min(done, 1.0),
            real_s=time.monotonic() - self._began,
            world_s=self._world_s(),
            date=int(self._site.clock.now()),
            boards_made=self._made,
            boards_on=sum(board.alive for board in emulated),
            boards_connected=sum(board.connections > 0 for board in emulated),
            measured=sum(board.readings_measured for board in emulated),
            stored=kept.readings,
            statements=len(kept.log),
            declared_lost=kept.declared_statements,
            in_ram_lost=sum(witness.in_ram for witness in self._witnesses),
            refused=kept.refused,
            flagged=len(kept.flagged),
            anchors=kept.anchors,
            gas=kept.anchor_gas,
            active=acts.active if acts else {},
            faults_done=len(acts.deeds) if acts else 0,
            ack_ms=statistics.median(self._newest_acks) if self._newest_acks else None,
        )
        self._observer.snapshot(snapshot)
        if snapshot.world_s >= self._next_point and self._zero is not None:
            self._next_point = snapshot.world_s + self._scenario.duration_s / _POINTS
            self._points.append(self._point(snapshot))
            self._acks_of_point.clear()

    def _new_acks(self, witness: Witness) -> list[float]:
        shown = self._shown_acks.get(witness.board.number, 0)
        new = witness.traffic.ack_ms[shown:]
        self._shown_acks[witness.board.number] = shown + len(new)
        return new

    def _point(self, now: Snapshot) -> Point:
        return Point(
            world_s=now.world_s,
            measured=now.measured,
            stored=now.stored,
            declared_lost=now.declared_lost,
            in_ram_lost=now.in_ram_lost,
            boards_on=now.boards_on,
            boards_connected=now.boards_connected,
            ack_ms=statistics.median(self._acks_of_point) if self._acks_of_point else None,
        )


def _keep_consoles(boards: Sequence[FleetBoard], logs: Path) -> None:
    """Leave what each board has printed, for whoever looks into a fault."""
    folder = logs / "boards"
    folder.mkdir(exist_ok=True)
    for board in boards:
        (folder / f"board-{board.number}.log").write_text("".join(f"{line}\n" for line in board.emulated.console))
