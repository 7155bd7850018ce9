"""`trigpoint board enroll`: a board gets a key, its settings and an owner on the chain, and is waited for."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trigpoint.commands import boardoptions as options

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status
    from trigpoint_tools.serial import enrol
    from trigpoint_tools.serial.batch import Outcome, Row
    from trigpoint_tools.serial.ports import Port

    from trigpoint.chain.registration import Registered


def enroll(
    board: Annotated[
        str | None,
        typer.Argument(
            metavar="[PORT|DIR]",
            help="A serial port, rfc2217://HOST:PORT, or an emulated board's directory; default: the board on USB.",
            show_default=False,
        ),
    ] = None,
    *,
    gateway: Annotated[
        Path,
        typer.Option(
            "--gateway", metavar="DIR", help="The directory of the gateway it belongs to.", show_default=False
        ),
    ],
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
    print_permit: Annotated[
        bool, typer.Option("--print-permit", help="Print the permit as JSON for someone else to submit.")
    ] = False,
    label: options.LabelFile = None,
    fleet: options.Fleet = "",
    verify_link: options.VerifyLink = "",
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="A list of boards, one line each; see device/README.md."),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option("--results", metavar="FILE", help="Where the list's results go; default: beside it."),
    ] = None,
    station: Annotated[
        str, typer.Option("--station", help="Emulated boards: whose weather they measure: EWR, JFK or LGA.")
    ] = "JFK",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Enrol a board: settings, key, permit, registration, and its first verified statement.

    The board makes its key itself and never gives it away; it signs a permit that binds owner, contract, chain,
    document and a deadline of one hour, and an account of yours pays to submit it. Run it again after an error: it
    goes on where it was. Passwords are never arguments: they come
    from a file, from TRIGPOINT_WIFI_PASSWORD and TRIGPOINT_BROKER_PASSWORD in the environment, or from a question.

    Example: trigpoint board enroll --gateway gw --wifi "my network" --sensor bme280

    An emulated board: trigpoint board enroll board1 --gateway gw
    """
    if verify_link:
        from trigpoint_tools.serial.label import check_link

        check_link(verify_link)
    answers = options.Answers(
        gateway=gateway,
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
        label=label,
        fleet=fleet,
        verify_link=verify_link,
    )
    if csv is not None:
        if board is not None or print_permit:
            raise typer.BadParameter("a list names its boards itself, and registers them", param_hint="--csv")
        _enroll_list(csv, results or csv.with_suffix(".results.csv"), answers, as_json=as_json)
        return
    if board is not None and not options.is_port(board):
        done = _enroll_emulated(Path(board), answers, station, submit=not print_permit)
    else:
        from trigpoint_tools.serial import ports

        port = ports.choose(board, ports.find())
        done = enroll_port(port, answers, options.Secrets(), submit=not print_permit, quiet=as_json or print_permit)
    if print_permit:
        typer.echo(json.dumps(done["permit"]))
        typer.echo(
            "Next, for whoever pays: trigpoint chain register FILE, with this in FILE; then enrol it again.", err=True
        )
    elif as_json:
        typer.echo(json.dumps(done, indent=2))
    else:
        show_enrolled(done)


def enroll_port(
    port: Port,
    answers: options.Answers,
    secrets: options.Secrets,
    *,
    submit: bool = True,
    quiet: bool = False,
    patient: bool = True,
) -> dict[str, Any]:
    """Enrol the board at a serial port and return what --json prints of it.

    Args:
        port: where it is.
        answers: what the command was told.
        secrets: gives the passwords.
        submit: whether to register it, or only to have it sign its permit.
        quiet: whether to say nothing on the way.
        patient: whether to wait for a broker that has to be told of the board's password.

    Raises:
        OperatorError: a step failed; the same call goes on from there.
    """
    from rich.console import Console
    from trigpoint_tools.serial import enrol, ports
    from trigpoint_tools.serial.session import Session

    from trigpoint.chain import permitfile
    from trigpoint.commands.gateway import load_config

    config = load_config(answers.gateway)
    ports.check(port)
    console = Console(stderr=True, quiet=quiet, highlight=False)
    if answers.owner_key and options.make_owner_key(answers.owner_key):
        console.print(
            f"Made the owner key {answers.owner_key}: keep a copy, the board will obey no other.", soft_wrap=True
        )
    with console.status(f"{port.device}  asks the board who it is") as status, Session(port.device) as session:
        chip = chip_of(session)
        status.stop()
        told = options.told_by(answers, config, chip, secrets)
        status.start()
        world = options.world_for(answers, config, told, submit=submit)
        steps = Steps(console, status, port.device, options.broker_folder(answers.gateway, config))
        result = enrol.enrol(
            session,
            told,
            world,
            steps.report,
            submit=submit,
            wait_s=answers.wait,
            admit_s=answers.wait if patient else 0,
            notice=steps.notice,
        )
        steps.end()
    owner = world.owner_of(result.kid) if submit else world.owner
    done: dict[str, Any] = {
        "board": result.kid.hex(),
        "owner": "0x" + (owner or world.owner).hex(),
        "statements": result.stored,
        **_transaction(world.done),
    }
    if not submit and result.permit:
        done["permit"] = permitfile.plain(result.permit, config.chain.chain_id, world.registry)
    make_label(answers, result.kid, config.chain.chain_id, world.registry)
    return done


class Steps:
    """Shows on a terminal what an enrolment is doing: a line with its time for each step that is done.

    Args:
        console: where to.
        status: its spinner.
        device: the board's port.
        folder: the broker's set-up, if there is one here.
    """

    def __init__(self, console: Console, status: Status, device: str, folder: Path | None) -> None:
        self._console = console
        self._status = status
        self._device = device
        self._folder = folder
        self._step: enrol.Step | None = None
        self._began = time.monotonic()

    def report(self, step: enrol.Step) -> None:
        """A step begins, so the one before it is done."""
        self.end()
        self._step, self._began = step, time.monotonic()
        self._status.update(f"{self._device}  {step.value}")

    def end(self) -> None:
        """The step under way is done."""
        if self._step is not None and self._step is not self._step.DONE:
            seconds = time.monotonic() - self._began
            self._console.print(
                f"[green]✓[/] {self._device}  {self._step.value:<44} [dim]{seconds:5.1f} s[/]", soft_wrap=True
            )
        self._step = None

    def notice(self, why: str) -> None:
        """The broker does not take the board yet: say what to do in another terminal."""
        self._console.print(f"[yellow]•[/] The broker does not take the board yet ({why}).", soft_wrap=True)
        if self._folder is not None:
            self._console.print("  Its password is made. On the broker's machine, in another terminal:")
            for line in options.install_passwords(self._folder):
                self._console.print(f"    {line}", style="bold", soft_wrap=True)
            self._console.print("  This goes on as soon as the broker knows it.")


def _transaction(done: Registered | None) -> dict[str, Any]:
    """Return what --json says of the transaction that registered a board; nothing but None if there was none."""
    if done is None or done.transaction is None:
        return {"transaction": None, "block": None, "gas_used": None}
    return {"transaction": "0x" + done.transaction.hex(), "block": done.block, "gas_used": done.gas_used}


def chip_of(session: Any) -> str:
    """Return the chip that a board's MicroPython says it runs on, as esptool names it."""
    machine = str(session.run("import sys\nprint(sys.implementation._machine)")).strip().lower()
    name = machine.rpartition(" with ")[2].replace("-", "").split(" ")[0]
    # Some builds name a module with PSRAM, such as ESP32-S3-N8R8; the chip is what it begins with.
    return next((chip for chip in ("esp32s2", "esp32s3", "esp32c3", "esp32c6") if name.startswith(chip)), "esp32")


def show_enrolled(done: dict[str, Any]) -> None:
    """Print how an enrolment ended."""
    typer.echo(f"Enrolled board {done['board']}")
    if done.get("transaction"):
        typer.echo(f"in block {done['block']} for {done['gas_used']:,} gas; its owner is {done['owner']}.")
    else:
        typer.echo(f"It was registered already; its owner is {done['owner']}.")
    if done.get("statements") == 1:
        typer.echo("Its first statement has come: the gateway has verified and stored it.")
    elif done.get("statements"):
        typer.echo(f"The gateway has verified and stored {done['statements']:,} of its statements.")
    if done.get("next"):
        typer.echo(f"Next: {done['next']}")


def make_label(answers: options.Answers, kid: bytes, chain_id: int, registry: bytes) -> None:
    """Make the label that was asked for, if one was."""
    if answers.label is None:
        return
    from trigpoint_tools.serial import label

    made = label.Label(kid, chain_id, registry, answers.fleet, answers.verify_link)
    if answers.label == "-":
        typer.echo(label.terminal(made), err=True)
    else:
        label.save(made, Path(answers.label))


def _enroll_emulated(directory: Path, answers: options.Answers, station: str, *, submit: bool) -> dict[str, Any]:
    from trigpoint.broker.folder import FOLDER
    from trigpoint.chain import permitfile
    from trigpoint.commands.board import explained, open_board, sign_permit
    from trigpoint.commands.gateway import load_config
    from trigpoint.wire.keys import PublicKey

    config = load_config(answers.gateway)
    world = options.world_for(answers, config, submit=submit)
    terms = world.terms()
    with explained():
        permit = sign_permit(
            open_board(directory, config, station),
            chain_id=terms.chain_id,
            registry=terms.registry,
            owner=terms.owner,
            metadata_hash=terms.metadata_hash,
            deadline=terms.deadline,
        )
    kid = PublicKey(permit.x, permit.y).kid
    done: dict[str, Any] = {"board": kid.hex(), "owner": "0x" + permit.owner.hex()}
    if submit:
        world.register(permit)
        done |= _transaction(world.done)
    else:
        done["permit"] = permitfile.plain(permit, terms.chain_id, terms.registry)
    make_label(answers, kid, terms.chain_id, terms.registry)
    next_words = ["trigpoint", "board", "emulate", str(directory), "--gateway", str(answers.gateway)]
    next_words += ["--station", station]
    if config.broker.username:
        password = answers.gateway / FOLDER / "passwords" / kid.hex()
        add = shlex.join(["trigpoint", "gateway", "broker", "add-board", str(answers.gateway), kid.hex()])
        done["next"] = f"{add}\nand then: {shlex.join([*next_words, '--password-file', str(password)])}"
    else:
        done["next"] = shlex.join(next_words)
    return done


def _enroll_list(path: Path, results_path: Path, answers: options.Answers, *, as_json: bool) -> None:
    from trigpoint_tools.serial import batch

    from trigpoint.errors import OperatorError

    rows = batch.read(path)
    results = batch.Results(results_path)
    left = results.left(rows)
    if len(left) < len(rows):
        typer.echo(f"Done before: {len(rows) - len(left)} of {len(rows)}, see {results_path}", err=True)
    secrets = options.Secrets()
    for number, row in enumerate(left, len(rows) - len(left) + 1):
        outcome = _one_of_list(row, answers, secrets, quiet=as_json)
        results.add(outcome)
        if not as_json:
            said = outcome.error or f"{outcome.status} {outcome.kid}"
            typer.echo(f"{number}/{len(rows)}  {row.name}  {said}", err=bool(outcome.error))
    ended = [result for row in rows if (result := results.of(row))]
    failed = sum(not result.done for result in ended)
    if as_json:
        typer.echo(json.dumps([vars(result) for result in ended], indent=2))
    if failed:
        raise OperatorError(f"not enrolled: {failed} of {len(rows)}, see {results_path}; run this again")


def _one_of_list(row: Row, answers: options.Answers, secrets: options.Secrets, *, quiet: bool) -> Outcome:
    from trigpoint_tools.serial import batch, ports

    from trigpoint.errors import OperatorError

    try:
        port = ports.choose(row.port, ports.find()) if row.port else _port_with(row.mac)
        done = enroll_port(port, answers.for_row(row), secrets, quiet=quiet, patient=False)
    except OperatorError as error:
        return batch.Outcome(row.name, "failed", error=" ".join(str(error).split()))
    return batch.Outcome(row.name, "enrolled", done["board"], done["owner"], done["transaction"] or "")


def _port_with(mac: str) -> Port:
    """Return the port of the board with this MAC address; where USB does not tell it, MicroPython is asked."""
    from trigpoint_tools.serial import ports
    from trigpoint_tools.serial.session import Session

    from trigpoint.errors import OperatorError

    found = ports.find()
    for port in found:
        if ports.has_mac(port, mac):
            return port
    for port in found:
        try:
            with Session(port.device) as session:
                said = session.run(
                    "import machine, binascii\nprint(binascii.hexlify(machine.unique_id(), ':').decode())"
                )
        except OperatorError:
            continue  # it is another row's, or no board that is flashed
        if said.strip() == mac:
            return port
    raise OperatorError(
        f"no board on USB has the MAC address {mac}: plug it in; `trigpoint board ls` shows what is there"
    )
