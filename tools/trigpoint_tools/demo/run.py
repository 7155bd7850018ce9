"""The story of the demo, in order."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from rich.console import Console
from trigpoint.errors import OperatorError
from trigpoint.store.chain import latest_final_anchor
from trigpoint.store.database import open_database
from trigpoint.wire.trust import Trust
from trigpoint.words import counted

from trigpoint_tools.demo import evidence, receipts, report
from trigpoint_tools.demo.accounting import Account, Cut, audit, in_ram_at_cut, time_audit
from trigpoint_tools.demo.attacker import Attacker
from trigpoint_tools.demo.campaign import Campaign
from trigpoint_tools.demo.onchain import AnchoredHead, anchored_heads
from trigpoint_tools.demo.plan import Act, Plan
from trigpoint_tools.demo.progress import Progress
from trigpoint_tools.demo.report import Gas, Outcome
from trigpoint_tools.demo.world import DemoBoard, World
from trigpoint_tools.emulator.errors import EmulatorError
from trigpoint_tools.rundirectory import fresh, stopped_by_signal

_STEPS = (
    "a local chain, and the two contracts on it",
    "a broker and a gateway",
    "boards: flashed, keys made on them, enrolled on the chain",
    "real weather, measured, signed, sent, stored; and attacked",
    "sensors silent: what is still on the boards comes in",
    "the log's last head goes on the chain",
    "one receipt of each board, verified offline and on the chain",
    "the audit",
)
_DRAIN_TIMEOUT_S = 40.0
_ANCHOR_TIMEOUT_S = 30.0
_LEFT_BEHIND = ("summary.json", "receipt.cose", "trust.json")


def run(
    directory: Path, plan: Plan | None = None, console: Console | None = None, *, program: str = "trigpoint"
) -> int:
    """Run the demo in `directory`, print what came out, leave summary.json, and return the exit code.

    Args:
        directory: where its files go.
        plan: what happens in it.
        console: where its progress and its table go.
        program: how to call `trigpoint` from here, for what it says to do next.

    Raises:
        OperatorError: it could not be run to its end; what was started has ended.
    """
    console = console or Console(highlight=False)
    outcome = play(directory, plan or Plan(), console)
    report.write_summary(directory / "summary.json", outcome)
    report.show(console, outcome, directory, program)
    return 1 if outcome.faults else 0


def play(directory: Path, plan: Plan, console: Console) -> Outcome:
    """Run the demo in `directory`, showing its progress, and return what came out.

    Raises:
        OperatorError: it could not be run to its end; what was started has ended.
    """
    with fresh(directory, "demo", _LEFT_BEHIND) as (run_directory, logs), stopped_by_signal():
        try:
            with Progress(console, _STEPS) as progress, World(run_directory, logs, plan) as world:
                return _Demo(world, plan, progress, directory).play()
        except KeyboardInterrupt:
            console.print("Stopped. All that the demo had started has ended.")
            raise
        except (OperatorError, EmulatorError) as error:
            raise OperatorError(f"the demo broke off: {error}; the logs of its parts are in {logs}") from error


class _Demo:
    """One run, step by step; each method leaves behind what later ones need."""

    def __init__(self, world: World, plan: Plan, progress: Progress, directory: Path) -> None:
        self._world = world
        self._plan = plan
        self._progress = progress
        self._directory = directory
        self._folder = world.gateway_directory.parent / "receipts"
        self._cuts: list[Cut] = []
        self._faults: list[str] = []
        self._worst_time_s = 0.0

    def play(self) -> Outcome:
        """Play all steps and return what came of it."""
        world, step = self._world, self._progress.step
        with step(0):
            world.start_chain()
        with step(1):
            world.start_gateway()
        with step(2):
            registered = world.make_boards()
        with step(3):
            self._measure()
        with step(4):
            self._drain()
        with step(5):
            heads = self._wait_for_last_anchor()
        with step(6):
            verified = self._receipts()
            tried, refused = self._flips()
        with step(7):
            account = self._audit(heads)
        if verified < len(world.boards):
            self._faults.append(f"only {verified} of {len(world.boards)} receipts were verified")
        if refused < tried:
            self._faults.append(f"{tried - refused} receipts with a changed byte were not refused")
        return Outcome(
            boards=len(world.boards),
            account=account,
            acks_forged=self._attacker.acks_sent,
            anchors=len(heads),
            anchored_size=heads[-1].size if heads else 0,
            gas=Gas(
                deploy=world.deployment.gas_used,
                register_each=registered.gas_used // max(1, len(registered.kids)),
                anchor_mean=sum(head.gas_used for head in heads) // max(1, len(heads)),
            ),
            receipts_verified=verified,
            flips_tried=tried,
            flips_refused=refused,
            worst_time_ms=round(1000 * self._worst_time_s / self._plan.speed),
            seconds=self._progress.seconds,
            faults=(*account.faults, *self._faults),
        )

    def _measure(self) -> None:
        world = self._world
        self._attacker = Attacker("127.0.0.1", world.broker_port)
        world.on_exit(self._attacker.close)
        stolen = world.boards[0]
        self._campaign = Campaign(
            self._attacker,
            [board.kid for board in world.boards],
            stolen.kid,
            stolen.stolen_key(),
            lambda forgeries: evidence.arrived(world.config.database, forgeries),
        )
        world.start_boards()
        began = world.clock.now()
        acts = list(self._plan.acts)
        while True:
            hours = (world.clock.now() - began) / 3600
            while acts and acts[0][0] <= hours:
                self._act(acts.pop(0)[1])
            self._show(hours)
            if not acts and self._enough(hours):
                return
            time.sleep(0.1)

    def _enough(self, hours: float) -> bool:
        """On a machine with too little time for its boards they measure less often, and go on for longer."""
        plan = self._plan
        measured = self._world.readings_measured()
        return hours >= plan.hours and (measured >= plan.least_readings or hours >= 2 * plan.hours)

    def _act(self, act: Act) -> None:
        world, event = self._world, self._progress.event
        victim = world.boards[1]
        doing: dict[Act, Callable[[], str]] = {
            "attack": lambda: f"attacker: {self._campaign.round()} forged statements",
            "forge acks": lambda: f"attacker: {self._campaign.acks(world.clock.now_ms())} forged and replayed acks",
            "cut power": lambda: self._cut(victim),
            "restore power": lambda: _said(victim.emulated.start, f"{victim.label} has power again"),
            "broker down": lambda: _said(world.broker.stop, "the broker is down"),
            "broker up": lambda: _said(world.start_broker, "the broker is up again and remembers nothing"),
            "kill gateway": lambda: _said(world.gateway.kill, "the gateway is killed (SIGKILL)"),
            "restart gateway": lambda: _said(world.gateway.start, "the gateway is started again"),
        }
        event(doing[act]())

    def _cut(self, board: DemoBoard) -> str:
        """Cut a board's power, and find out at once what was in its RAM alone."""
        board.emulated.cut()
        cut = in_ram_at_cut(
            board.kid,
            [timed.value for timed in board.measured()],
            evidence.journaled(board.journal_segments()),
            evidence.stored_statements(self._world.config.database, board.kid),
        )
        self._cuts.append(cut)
        return f"power of {board.label} cut: {counted(len(cut.lost_in_ram), 'reading')} in RAM alone"

    def _drain(self) -> None:
        """Wait until everything measured is stored, but for what power cuts took; what is not will be found missing."""
        world = self._world
        world.silence_sensors()
        deadline = time.monotonic() + _DRAIN_TIMEOUT_S
        began, missing = -1, 1
        while missing > 0 and time.monotonic() < deadline:
            world.gateway.check()
            in_ram = sum(len(cut.lost_in_ram) for cut in self._cuts)
            missing = world.readings_measured() - in_ram - evidence.counts(world.config.database).readings
            began = max(began, missing)
            self._progress.counts(1 - missing / max(1, began), {"to come": missing})
            time.sleep(0.1)
        self._progress.event("all are in" if missing == 0 else f"not come: {counted(missing, 'reading')}")

    def _wait_for_last_anchor(self) -> list[AnchoredHead]:
        """Wait until the newest head is on the chain and the gateway knows it; return all heads on the chain."""
        world = self._world
        trust = self._trust()
        deadline = time.monotonic() + _ANCHOR_TIMEOUT_S
        with closing(open_database(world.config.database, read_only=True)) as connection:
            while time.monotonic() < deadline:
                world.gateway.check()
                anchor = latest_final_anchor(connection)
                if anchor is not None and anchor.size == evidence.counts(world.config.database).statements:
                    break
                time.sleep(0.1)
        return anchored_heads(world.chain.web3, world.deployment.transparency_log, trust.log_id)

    def _receipts(self) -> int:
        """Fetch and verify one receipt of each board, offline and on the chain; return how many hold.

        All go through the functions of which the commands are made; that of the first board through the commands.
        """
        world = self._world
        trust = self._directory / "trust.json"
        self._folder.mkdir()
        held = 0
        for board in world.boards:
            file = self._folder / f"board-{board.number}.cose"
            wrong = receipts.fetch_and_verify(world.config, board.kid, file, trust, world.chain.url)
            held += not wrong
            self._faults += [f"the receipt of {board.label} does not hold: {problem}" for problem in wrong]
        first = world.boards[0].kid.hex()
        file = self._directory / "receipt.cose"
        self._command(0, "receipt", "get", str(world.gateway_directory), "--board", first, "--output", str(file))
        self._command(0, "verify", str(file), "--trust", str(trust), "--rpc", world.chain.url)
        return held

    def _flips(self) -> tuple[int, int]:
        """Change every byte of a receipt in turn; return how many changes were tried and how many refused."""
        data = bytearray((self._directory / "receipt.cose").read_bytes())
        tried, refused = receipts.refused_flips(bytes(data), self._trust())
        data[len(data) // 2] ^= 1
        broken = self._folder / "broken.cose"
        broken.write_bytes(data)
        self._command(1, "verify", str(broken), "--trust", str(self._directory / "trust.json"))
        return tried, refused

    def _command(self, wanted: int, *arguments: str) -> None:
        """Run `trigpoint`; another exit code than the one wanted is a fault."""
        code, said = receipts.command(*arguments)
        if code != wanted:
            last = (said.strip().splitlines() or [""])[-1]
            self._faults.append(f"`trigpoint {' '.join(arguments)}` left with {code}, not {wanted}: {last}")

    def _audit(self, heads: list[AnchoredHead]) -> Account:
        world = self._world
        account = audit(
            {board.kid: [timed.value for timed in board.measured()] for board in world.boards},
            evidence.stored(world.config.database),
            cuts=self._cuts,
            forgeries=self._campaign.forgeries,
            cloned=frozenset({self._campaign.stolen}),
            batch_values=self._plan.batch_values,
        )
        for board in world.boards:
            worst, faults = time_audit(
                board.measured(),
                evidence.stored_times(world.config.database, board.kid),
                [cut for cut in self._cuts if cut.kid == board.kid],
                self._plan.clock_tolerance_s,
            )
            self._faults += [f"{board.label}: {fault}" for fault in faults]
            self._worst_time_s = max(self._worst_time_s, worst)
        newest = heads[-1] if heads else None
        if newest is None or (newest.size, newest.root) != (account.statements, account.root):
            self._faults.append("the head on the chain is not that of the stored statements")
        return account

    def _trust(self) -> Trust:
        """Return the gateway's trust file, of which a copy is left behind."""
        copy = self._directory / "trust.json"
        if not copy.exists():
            shutil.copyfile(self._world.config.public / "trust.json", copy)
        return Trust.from_json(copy.read_text())

    def _show(self, hours: float) -> None:
        now = evidence.counts(self._world.config.database)
        self._progress.counts(
            hours / self._plan.hours,
            {
                "": self._world.date(),
                "measured": self._world.readings_measured(),
                "stored": now.readings,
                "refused": now.refused,
            },
        )


def _said(act: Callable[[], None], text: str) -> str:
    act()
    return text
