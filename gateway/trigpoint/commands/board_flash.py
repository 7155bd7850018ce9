"""`trigpoint board flash`: MicroPython and Trigpoint on boards, one or a box of them, and straight on to enrolment."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trigpoint.commands import boardoptions as options
from trigpoint.commands.board_enroll import enroll_port, show_enrolled

if TYPE_CHECKING:
    from rich.progress import Progress
    from trigpoint_tools.serial.firmware import Firmware
    from trigpoint_tools.serial.flashing import Flashed
    from trigpoint_tools.serial.ports import Port


@dataclass
class _Job:
    """One board's row: `answer` is what --json prints of it."""

    port: Port
    answer: dict[str, Any] = field(default_factory=dict)
    error: str = ""


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
    key, journal and configuration stay, unless you --erase.

    Example: trigpoint board flash --gateway gw --wifi "my network" --sensor bme280

    A box of boards: trigpoint board flash --all --no-enroll
    """
    from trigpoint_tools.serial import ports

    from trigpoint.errors import OperatorError

    if gateway is None and not no_enroll:
        raise typer.BadParameter("name the gateway to enrol with, or add --no-enroll", param_hint="--gateway")
    if all_boards and port:
        raise typer.BadParameter("either one port or --all", param_hint="--all")
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
    _flash_all(jobs, _Firmware(firmware, sha256), erase=erase, quiet=as_json)
    if not no_enroll:
        for job in jobs:
            if not job.error:
                _enroll(job, answers, secrets, quiet=as_json)
    failed = [job for job in jobs if job.error]
    if as_json:
        listed = [{"port": job.port.device, **job.answer, "error": job.error or None} for job in jobs]
        typer.echo(json.dumps(listed if all_boards else listed[0], indent=2))
        raise typer.Exit(1 if failed else 0)
    if len(jobs) == 1 and failed:
        raise OperatorError(failed[0].error)
    for job in failed:
        typer.echo(f"error: {job.port.device}: {job.error}", err=True)
    if failed:
        raise OperatorError(f"{len(failed)} of {len(jobs)} boards are not ready: mend that, and run this again")


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


def _flash_all(jobs: Sequence[_Job], choose: _Firmware, *, erase: bool, quiet: bool) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from trigpoint_tools.serial import install

    files = install.application()
    with (
        Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.fields[port]}"),
            TextColumn("{task.fields[chip]}", style="dim"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            console=Console(stderr=True, quiet=quiet),
        ) as progress,
        ThreadPoolExecutor(len(jobs), "flash") as workers,
    ):
        list(workers.map(lambda job: _flash_one(job, choose, files, progress, erase), jobs))


_WORDS = {
    "look": "who is there",
    "erase": "erases",
    "write": "writes MicroPython",
    "start": "starts it",
    "install": "installs Trigpoint",
    "ready": "ready",
}


def _flash_one(job: _Job, choose: _Firmware, files: dict[str, bytes], progress: Progress, erase: bool) -> None:
    from trigpoint_tools.serial import flashing

    from trigpoint.errors import OperatorError

    task = progress.add_task(_WORDS["look"], total=1.0, port=job.port.device, chip=job.port.bridge)
    try:
        done: Flashed = flashing.flash(
            job.port,
            choose,
            files,
            lambda what, part: progress.update(task, description=_WORDS[what], completed=part),
            erase=erase,
        )
    except OperatorError as error:
        job.error = str(error)
        progress.update(task, description="[red]failed")
        return
    chip = done.chip
    job.answer = {
        "chip": chip.name,
        "mac": chip.mac,
        "flash_bytes": chip.flash,
        "micropython": done.version,
        "files_written": done.files,
    }
    size = f", {chip.flash >> 20} MB" if chip.flash else ""
    progress.update(task, chip=f"{chip.name.upper()} {chip.mac}{size}")


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
