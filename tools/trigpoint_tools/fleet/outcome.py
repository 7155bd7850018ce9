"""Makes a run's result of all that was seen of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trigpoint.wire.statement import reading_time
from trigpoint.wire.trust import Trust

from trigpoint_tools.demo.accounting import name, tree_root
from trigpoint_tools.demo.onchain import AnchoredHead, anchored_heads
from trigpoint_tools.fleet import words
from trigpoint_tools.fleet.accounting import BoardAccount, account, forged_stored
from trigpoint_tools.fleet.acts import Acts
from trigpoint_tools.fleet.kept import Kept
from trigpoint_tools.fleet.result import BoardResult, FaultResult, GasUsed, Head, Latency, Point, Result
from trigpoint_tools.fleet.scenario import Scenario
from trigpoint_tools.fleet.schedule import FaultEvent
from trigpoint_tools.fleet.site import Site
from trigpoint_tools.fleet.strangers import Strangers
from trigpoint_tools.fleet.witness import Witness


@dataclass(frozen=True)
class Ending:
    """What the runner knows at the end.

    Attributes:
        zero: the world's moment at which RUN began, seconds since 1970.
        points: for plots.
        memory: KiB of each board's process at the end of RUN, by number; 0 if it was off.
        emulator_kb: by how many KiB this program has grown since it had no boards.
        wrong: what was found wrong on the way.
    """

    zero: float
    points: tuple[Point, ...]
    memory: Mapping[int, int]
    emulator_kb: int
    wrong: tuple[str, ...]


def said(scenario: Scenario, event: FaultEvent, *, over: bool) -> str:
    """Return one line for people: what happens to whom, or that it is over."""
    fault = _fault(event, 0, "")
    what = words.KINDS[event.kind]
    if over:
        return f"over: {what}, {words.whom(scenario, fault)}"
    amount = words.amount(fault)
    lasts = f" for {words.compact(event.lasts_s)}" if event.lasts_s else ""
    return f"{what}{f' ({amount})' if amount else ''}{lasts}: {words.whom(scenario, fault)}"


def outcome(
    scenario: Scenario,
    site: Site,
    kept: Kept,
    *,
    witnesses: Sequence[Witness],
    acts: Acts,
    strangers: Strangers,
    ending: Ending,
) -> Result:
    """Return the result, but for the time that all of it took."""
    wrong = list(ending.wrong)
    accounts = [account(witness.books(kept)) for witness in witnesses]
    wrong += [line for one in accounts for line in one.wrong]
    heads = anchored_heads(site.chain.web3, site.deployment.transparency_log, _log_id(site))
    log = [one.statement for one in kept.log]
    root = tree_root([statement.entry for statement in log])
    if not heads or (heads[-1].size, heads[-1].root) != (len(log), root):
        wrong.append("the newest head on the chain is not that of the stored statements")
    got_in = forged_stored(log, strangers.forgeries)
    if got_in:
        wrong.append(f"{got_in} forged messages are in the log")
    kids = {witness.board.kid for witness in witnesses}
    unknown = sum(statement.kid not in kids for statement in log)
    if unknown:
        wrong.append(f"{unknown} statements in the log are of no board of this fleet")
    for which, what in ((kept.flagged - strangers.cloned, "is"), (strangers.cloned - kept.flagged, "is not")):
        was = "was not" if what == "is" else "was"
        wrong += [f"board {name(kid)} {what} flagged though its key {was} cloned" for kid in which]
    anchor_gas = sum(head.gas_used for head in heads)
    refused = kept.evidence().union(*kept.refused_messages().values())
    running = [kb for kb in ending.memory.values() if kb]
    return Result(
        scenario=scenario.name,
        about=scenario.about,
        seed=scenario.seed,
        duration_s=scenario.duration_s,
        speed=scenario.speed,
        started=int(ending.zero),
        seconds=0.0,
        cpu_s=0.0,
        step_seconds={},
        boards=len(witnesses),
        expected=sum(scenario.duration_s // one.board.group.sample_s * one.board.group.readings for one in witnesses),
        measured=sum(one.measured for one in accounts),
        stored=sum(one.stored for one in accounts),
        lost=sum(one.lost for one in accounts),
        duplicated=sum(one.duplicated for one in accounts),
        declared_lost=sum(one.declared_lost for one in accounts),
        declared_lost_statements=sum(one.declared_statements for one in accounts),
        in_ram=sum(one.in_ram for one in accounts),
        lied=sum(witness.lied for witness in witnesses),
        statements=len(log),
        resent=sum(witness.traffic.resent for witness in witnesses),
        refused=kept.refused_counts(),
        forged_sent=dict(Counter(forgery.kind for forgery in strangers.forgeries)),  # asdict() breaks a Counter
        forged_stored=got_in,
        acks_forged=strangers.acks_sent,
        clones=len(strangers.cloned),
        clones_flagged=len(strangers.cloned & kept.flagged),
        wrongly_flagged=len(kept.flagged - strangers.cloned),
        ack_ms=Latency.of([ms for witness in witnesses for ms in witness.traffic.ack_ms]),
        stored_after_s=Latency.of(_ages(kept)),
        anchors=len(heads),
        anchored_size=heads[-1].size if heads else 0,
        gas=GasUsed(
            deploy=site.deployment.gas_used,
            register=site.register_gas,
            register_each=site.register_gas // max(1, len(witnesses)),
            anchor=anchor_gas,
            anchor_each=anchor_gas // max(1, len(heads)),
        ),
        board_rss_kb=round(sum(running) / len(running) + ending.emulator_kb / len(witnesses)) if running else 0,
        board_results=tuple(
            _board(witness, one, kept, strangers, ending.memory.get(witness.board.number, 0))
            for witness, one in zip(witnesses, accounts, strict=True)
        ),
        faults=tuple(
            _fault(deed.event, acts.seen(deed, refused.__contains__), acts.effect(deed.event.kind))
            for deed in acts.deeds
        ),
        points=ending.points,
        wrong=tuple(wrong),
        heads=tuple(_head(site, ending.zero, head) for head in heads),
    )


def _log_id(site: Site) -> bytes:
    return Trust.from_json((site.config.public / "trust.json").read_text()).log_id


def _fault(event: FaultEvent, seen: int, effect: str) -> FaultResult:
    return FaultResult(
        number=event.number,
        kind=event.kind,
        at_s=event.at_s,
        lasts_s=event.lasts_s,
        boards=event.boards,
        amount=event.amount,
        seen=seen,
        effect=effect,
    )


def _board(witness: Witness, one: BoardAccount, kept: Kept, strangers: Strangers, rss_kb: int) -> BoardResult:
    board = witness.board
    return BoardResult(
        number=board.number,
        group=board.group.name,
        kid=board.kid.hex(),
        measured=one.measured,
        stored=one.stored,
        lost=one.lost,
        duplicated=one.duplicated,
        in_ram=one.in_ram,
        declared_lost=one.declared_lost,
        lied=witness.lied,
        statements=len(kept.by_board.get(board.kid, ())),
        boots=board.emulated.boots - 1,  # one was for the permit
        resent=witness.traffic.resent,
        flagged=board.kid in kept.flagged,
        cloned=board.kid in strangers.cloned,
        clock_error_s=one.clock_error_s,
        rss_kb=rss_kb,
    )


def _head(site: Site, zero: float, head: AnchoredHead) -> Head:
    clock = site.clock
    moment = clock.origin + (head.mined_at - clock.real_origin) * clock.speed
    return Head(world_s=moment - zero, size=head.size, gas=head.gas_used)


def _ages(kept: Kept) -> list[float]:
    """Return how old the newest reading of each statement was when it came, where the board knew the time."""
    ages = []
    for statement, arrival_ms in kept.log:
        moment, source = reading_time(statement.base_time, statement.readings[-1].t, arrival_ms)
        if source == "board":
            ages.append(max(0.0, arrival_ms / 1000 - moment))
    return ages
