"""`trigpoint board flash`: MicroPython and Trigpoint on boards, one or a box of them, and straight on to enrolment."""

from __future__ import annotations

import contextlib
import json
import shlex
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trigpoint.commands import boardoptions as options
from trigpoint.commands.board_enroll import enroll_port, show_enrolled

if TYPE_CHECKING:
    from trigpoint_tools.serial.esptool import Chip
    from trigpoint_tools.serial.firmware import Firmware
    from trigpoint_tools.serial.ports import Port

_AT_ONCE = 16
"""So many boards are flashed at a time: more make a hub, and a small machine, slower than they are quick."""


@dataclass
class _Job:
    """One board: `answer` is what --json prints of it, `fault` an error that is nobody's but ours."""

    port: Port
    answer: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    fault: Exception | None = None


def flash(
    port: Annotated[
        str | None,
        typer.Argument(metavar="[PORT]", help="A serial port, or rfc2217://HOST:PORT; default: the board on USB."),
    ] = None,
    *,
    firmware: Annotated[
        str | None,
        typer.Option(
            "--firmware",
            metavar="FILE|VERSION",
            help="A file, or a release of micropython.org, which is kept for use without a network.",
        ),
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", metavar="HEX", help="Its SHA-256; a release's is remembered once it was right."),
    ] = None,
    all_boards: Annotated[bool, typer.Option("--all", help="All boards on USB at once.")] = False,
    erase: Annotated[
        bool, typer.Option("--erase", help="Erase the whole flash before: key, journal and configuration are gone.")
    ] = False,
    no_enroll: Annotated[bool, typer.Option("--no-enroll", help="Stop when the application is installed.")] = False,
    gateway: Annotated[
        Path | None,
        typer.Option("--gateway", metavar="DIR", help="The directory of the gateway it belongs to; for enrolment."),
    ] = None,
    wifi: options.Wifi = None,
    wifi_password_file: options.WifiPasswordFile = None,
    broker: options.Broker = None,
    broker_password_file: options.BrokerPasswordFile = None,
    config: options.BaseConfig = None,
    sensor: options.Sensors = None,
    sample_every: options.SampleEvery = None,
    ntp: options.Ntp = None,
    owner_key: options.OwnerKey = None,
    owner: options.Owner = None,
    metadata: options.Metadata = None,
    key_file: options.KeyFile = None,
    wait: options.Wait = 900,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Put MicroPython and Trigpoint on a board, then enrol it.

    A second run finishes what a pulled cable has left: what is in the flash already is not written again. The board's
    key, journal and configuration stay, unless you --erase. Passwords are never arguments: they come from a file, from
    TRIGPOINT_WIFI_PASSWORD and TRIGPOINT_BROKER_PASSWORD in the environment, or from a question.

    Example: trigpoint board flash --gateway gw --wifi "my network" --sensor bme280

    A box of boards: trigpoint board flash --all --no-enroll
    """
    from trigpoint_tools.serial import ports
    from trigpoint_tools.serial.firmware import LATEST, is_version

    from trigpoint.commands.gateway import load_config
    from trigpoint.errors import OperatorError

    if gateway is None and not no_enroll:
        raise typer.BadParameter("name the gateway to enrol with, or add --no-enroll", param_hint="--gateway")
    if all_boards and port:
        raise typer.BadParameter("either one port or --all", param_hint="--all")
    if gateway is not None:
        load_config(gateway)  # what is wrong with it is said before a minute has gone into the board
    if firmware and not is_version(firmware) and not Path(firmware).is_file():
        raise OperatorError(f"there is no file {firmware}: give a .bin, or a version such as {LATEST}")
    found = ports.find()
    if all_boards and not found:
        ports.choose(None, found)
    jobs = [_Job(chosen) for chosen in (found if all_boards else [ports.choose(port, found)])]
    answers = options.Answers(
        gateway=gateway or Path(),
        wifi=wifi,
        wifi_password_file=wifi_password_file,
        broker=broker,
        broker_password_file=broker_password_file,
        config=config,
        sensors=tuple(sensor or ()),
        sample_every=sample_every,
        ntp=ntp,
        owner_key=owner_key,
        owner=owner,
        metadata=metadata,
        key_file=key_file,
        wait=wait,
    )
    secrets = options.Secrets()
    if wifi and not no_enroll:
        secrets.wifi(answers)  # ask now, not when the progress is on the screen
    _flash_all(jobs, _Firmware(firmware, sha256), erase=erase, restart=no_enroll, quiet=as_json)
    if not no_enroll:
        for job in jobs:
            if not job.error:
                _enroll(job, answers, secrets, quiet=as_json)
    failed = [job for job in jobs if job.error]
    for job in failed:
        if job.fault and not all_boards:
            raise job.fault
    if as_json:
        listed = [{"port": job.port.device, **job.answer, "error": job.error or None} for job in jobs]
        typer.echo(json.dumps(listed if all_boards else listed[0], indent=2))
        raise typer.Exit(1 if failed else 0)
    if failed and not all_boards:
        raise OperatorError(failed[0].error)
    for job in failed:
        typer.echo(
            f"error: {job.error if job.port.device in job.error else f'{job.port.device}: {job.error}'}", err=True
        )
    if failed:
        raise OperatorError(f"not ready: {len(failed)} of {len(jobs)}; mend that, and run this again")
    if no_enroll:
        _show_flashed(jobs)


def _show_flashed(jobs: Sequence[_Job]) -> None:
    """Print what is on the boards now, and what comes next."""
    from trigpoint.words import counted

    if len(jobs) > 1:
        typer.echo(f"MicroPython and Trigpoint are on {counted(len(jobs), 'board')}.")
        typer.echo("Next: trigpoint board enroll --csv FILE --gateway DIR")
        return
    answer = jobs[0].answer
    place = "its ROMFS" if answer["application"] == "/rom" else f"slot {answer['application'][1:]}"
    typer.echo(f"MicroPython {answer['micropython']} is on the board, and Trigpoint in {place}.")
    typer.echo(f"Next: trigpoint board enroll {shlex.quote(jobs[0].port.device)} --gateway DIR")


class _Firmware:
    """Finds the firmware for a chip, each once."""

    def __init__(self, wanted: str | None, sha256: str | None) -> None:
        self._wanted = wanted
        self._sha256 = sha256
        self._lock = threading.Lock()
        self._known: dict[str, Firmware] = {}

    def __call__(self, chip: str) -> Firmware:
        from trigpoint_tools.serial import firmware

        with self._lock:
            if chip not in self._known:
                wanted = self._wanted or firmware.LATEST
                if firmware.is_version(wanted) and not Path(wanted).exists():
                    cache = firmware.Cache(firmware.cache_directory())
                    self._known[chip] = cache.release(wanted, chip, self._sha256)
                else:
                    self._known[chip] = self._file(Path(wanted), chip)
            return self._known[chip]

    def _file(self, path: Path, chip: str) -> Firmware:
        from trigpoint_tools.serial import firmware

        from trigpoint.errors import OperatorError

        found = firmware.load(path, chip)
        if self._sha256 is not None and self._sha256.lower() != found.sha256:
            raise OperatorError(f"{path} has the SHA-256 {found.sha256}, not the one you gave: do not use it")
        return found


# What a row says at each stage, and how far the whole job is when the stage begins and when it ends: shares of the time
# that it takes over USB.
_STAGES = {
    "look": ("asks who is there", 0.0, 0.05),
    "firmware": ("looks for MicroPython", 0.05, 0.1),
    "erase": ("erases the flash", 0.1, 0.1),
    "write": ("writes MicroPython", 0.1, 0.6),
    "start": ("waits for its prompt", 0.6, 0.65),
    "install": ("installs Trigpoint", 0.65, 1.0),
    "ready": ("ready", 1.0, 1.0),
}


class _Rows:
    """One progress row for each board, on the screen while the block runs."""

    def __init__(self, jobs: Sequence[_Job], *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
        from rich.text import Text

        class Mark(ProgressColumn):
            """A spinner that ends as a tick or a cross."""

            def __init__(self) -> None:
                self._spinner = SpinnerColumn()
                super().__init__()

            def render(self, task: Task) -> Any:
                mark = task.fields["mark"]
                return Text.from_markup(mark) if mark else self._spinner.render(task)

        class Took(ProgressColumn):
            """Seconds since the board's turn came."""

            def render(self, task: Task) -> Text:
                seconds = task.finished_time if task.finished else task.elapsed
                return Text(f"{seconds or 0:3.0f} s", style="dim")

        self._progress = Progress(
            Mark(),
            TextColumn("{task.fields[port]}", style="bold", markup=False),
            TextColumn("{task.fields[chip]}", markup=False),
            TextColumn("{task.description}", style="dim"),
            BarColumn(bar_width=12),
            Took(),
            console=Console(stderr=True, quiet=quiet),
        )
        self._tasks = {
            id(job): self._progress.add_task(
                "waits for its turn", total=1.0, start=False, port=job.port.device, chip=job.port.bridge, mark=""
            )
            for job in jobs
        }

    def __enter__(self) -> _Rows:
        self._progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._progress.__exit__(*error)

    def begin(self, job: _Job) -> None:
        self._progress.start_task(self._tasks[id(job)])

    def chip(self, job: _Job, chip: Chip) -> None:
        self._progress.update(self._tasks[id(job)], chip=_described(chip))

    def stage(self, job: _Job, what: str, part: float) -> None:
        said, begins, ends = _STAGES[what]
        task = self._tasks[id(job)]
        self._progress.update(task, description=said, completed=begins + (ends - begins) * part)

    def end(self, job: _Job) -> None:
        task = self._tasks[id(job)]
        if job.error:
            self._progress.update(task, description="[red]failed[/]", mark="[red]✗[/]")
            self._progress.stop_task(task)
        else:
            self._progress.update(task, description="[green]ready[/]", mark="[green]✓[/]", completed=1.0)


def _described(chip: Chip) -> str:
    from trigpoint_tools.serial.image import title

    size = f"  {chip.flash >> 20} MB" if chip.flash else ""
    return f"{title(chip.name)}  {chip.mac}{size}"


def _flash_all(jobs: Sequence[_Job], choose: _Firmware, *, erase: bool, restart: bool, quiet: bool) -> None:
    """Flash the boards, many at once. The threads are daemons, so that Ctrl-C need not wait for them."""
    from trigpoint_tools.serial import install

    files = install.application()
    waiting: SimpleQueue[_Job] = SimpleQueue()
    for job in jobs:
        waiting.put(job)
    with _Rows(jobs, quiet=quiet) as rows:

        def work() -> None:
            with contextlib.suppress(Empty):
                while True:
                    _flash_one(waiting.get_nowait(), choose, files, rows, erase=erase, restart=restart)

        workers = [threading.Thread(target=work, daemon=True) for _ in range(min(len(jobs), _AT_ONCE))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()


def _flash_one(
    job: _Job, choose: _Firmware, files: dict[str, bytes], rows: _Rows, *, erase: bool, restart: bool
) -> None:
    from trigpoint_tools.serial import flashing

    from trigpoint.errors import OperatorError

    def found(chip: Chip) -> None:
        rows.chip(job, chip)
        job.answer |= {"chip": chip.name, "mac": chip.mac, "flash_bytes": chip.flash}

    rows.begin(job)
    try:
        done = flashing.flash(
            job.port,
            choose,
            files,
            lambda what, part: rows.stage(job, what, part),
            found=found,
            erase=erase,
            restart=restart,
        )
    except OperatorError as error:
        job.error = str(error)
    except Exception as error:
        job.error = f"{type(error).__name__}: {error}; run this board alone with --debug, and report what it prints"
        job.fault = error
    else:
        job.port = done.port
        job.answer |= {"micropython": done.version, "application": done.place, "files_written": done.files}
    rows.end(job)


def _enroll(job: _Job, answers: options.Answers, secrets: options.Secrets, *, quiet: bool) -> None:
    from trigpoint.errors import OperatorError

    try:
        done = enroll_port(job.port, answers, secrets, quiet=quiet)
    except OperatorError as error:
        job.error = str(error)
        return
    job.answer |= done
    if not quiet:
        show_enrolled(done)
