"""Enrolment: from a board that is flashed to the first statement that its gateway has verified.

What is done is read from the board, the chain and the gateway, never from notes of this machine; so the next step is a
function of what was seen, and a run that was cut short is finished by the next one:

    CONFIGURE -> KEY -> ADMIT -> CHECK -> REGISTER -> START -> DONE

The configuration comes before the key, for it says whether the key is to be made in a secure element; and once more
after it where the broker has a password for each board, for a board's name is made of its key. Broker, sensors and
Wi-Fi are tried before the registration, which costs gas.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from trigpoint.errors import OperatorError
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.permit import Permit, verify

from trigpoint_tools.serial import questions
from trigpoint_tools.serial.session import BoardCodeError, Session
from trigpoint_tools.serial.settings import AUTHORITY, Settings

CONFIG = "/config.json"
_CANDIDATE = "/config.candidate"
_KEY_S = 60
_POLL_S = 0.5
_ADMIT_POLL_S = 2.0
_CONSOLE = 4096
_TELLING = ("broker:", "config.json:", "no room", "loader:", "safe mode:", "MemoryError", "OSError")


class Step(Enum):
    """What is to be done next; the value is what a person reads."""

    CONFIGURE = "write the configuration"
    KEY = "make the key"
    ADMIT = "ask the broker whether it knows the board"
    CHECK = "try sensors, Wi-Fi and broker"
    REGISTER = "register on the chain"
    START = "wait for the first verified statement"
    DONE = "enrolled"


@dataclass(frozen=True)
class Seen:
    """How far a board is.

    Attributes:
        configured: whether it has the configuration that is meant for it.
        key: its public key, None while it is not known.
        admitted: whether the broker knows it, or is not to be asked.
        checked: whether sensors, Wi-Fi and broker have been tried, or are not to be.
        registered: whether the registry has it, active.
        stored: statements of it that the gateway has verified and stored.
    """

    configured: bool = False
    key: PublicKey | None = None
    admitted: bool = False
    checked: bool = False
    registered: bool = False
    stored: int = 0


def next_step(seen: Seen) -> Step:
    """Return what is to be done next."""
    if not seen.configured:
        return Step.CONFIGURE
    if seen.key is None:
        return Step.KEY
    if seen.registered and seen.stored:
        return Step.DONE
    if not seen.admitted:
        return Step.ADMIT
    if not seen.checked:
        return Step.CHECK
    return Step.START if seen.registered else Step.REGISTER


@dataclass(frozen=True)
class Terms:
    """What a permit is to say: EIP-155 chain id, registry and owner (20 bytes), SHA-256 of a document, deadline."""

    chain_id: int
    registry: bytes
    owner: bytes
    metadata_hash: bytes
    deadline: int


class World(Protocol):
    """What enrolment needs besides the board."""

    def terms(self) -> Terms:
        """Return the terms of a permit that is signed now."""

    def registered(self, kid: bytes) -> bool:
        """Return whether the registry has the board, active."""

    def register(self, permit: Permit) -> None:
        """Submit a permit and wait for its block."""

    def refusal(self, kid: bytes) -> str:
        """Return in a few words why the broker would not have the board; empty if nothing is known against it."""

    def stored(self, kid: bytes) -> int:
        """Return how many of its statements the gateway has stored."""


@dataclass(frozen=True)
class Result:
    """How an enrolment ended.

    Attributes:
        kid: board id, 32 bytes.
        permit: the permit, if one was signed in this run.
        stored: statements that the gateway has verified.
    """

    kid: bytes
    permit: Permit | None
    stored: int


Report = Callable[[Step], None]

Told = Callable[[bytes | None], Settings]
"""From a board's id, None while it has proved none, to what it is to be told."""


def enrol(
    session: Session,
    told: Told,
    world: World,
    report: Report = lambda step: None,
    *,
    submit: bool = True,
    wait_s: float = 900,
    admit_s: float = 0,
    notice: Callable[[str], None] = lambda why: None,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Do what is left of an enrolment.

    Args:
        session: the board; its application is installed and not running.
        told: what it is to be told.
        world: chain, gateway and broker.
        report: called before each step.
        submit: whether to register it; else the permit is signed and returned, and nothing more is done.
        wait_s: how long to wait for the first statement; 0 not at all, for a board that is enrolled far from its
            Wi-Fi and sensors: then these and the broker are not tried either.
        admit_s: how long to wait for a broker that does not know the board yet.
        notice: called with the broker's reason before such a wait.
        now, sleep: the clock.

    Raises:
        OperatorError: a step failed; it says which and what to do. The same call goes on from there.
    """
    kid = _proved(session, world, questions.identity(session))
    seen = Seen(configured=is_configured(session, told(kid)), admitted=not wait_s, checked=not wait_s)
    permit = None
    while (step := next_step(seen)) not in (Step.START, Step.DONE):
        report(step)
        if step is Step.CONFIGURE:
            configure(session, told(kid))
            seen = replace(seen, configured=True)
        elif step is Step.KEY:
            key = public_key(session)
            if kid != key.kid:
                _own_permit(session, world, key.kid)
                kid = key.kid
            seen = replace(seen, key=key, registered=world.registered(kid), stored=world.stored(kid))
            seen = replace(seen, configured=is_configured(session, told(kid)))
        elif step is Step.ADMIT:
            assert kid is not None
            _admit(world, kid, admit_s, notice, now=now, sleep=sleep)
            seen = replace(seen, admitted=True)
        elif step is Step.CHECK:
            check(session)
            seen = replace(seen, checked=True)
        else:
            permit = _own_permit(session, world, kid)
            if not submit:
                break
            world.register(permit)
            seen = replace(seen, registered=True)
    assert kid is not None
    if not submit and permit is None:
        permit = _own_permit(session, world, kid)
    session.restart()
    stored = seen.stored
    if submit and step is Step.START and wait_s:
        report(Step.START)
        stored = _await(session, world, kid, wait_s, now=now, sleep=sleep)
    if submit:
        report(Step.DONE)
    return Result(kid, permit, stored)


def _proved(session: Session, world: World, claimed: bytes | None) -> bytes | None:
    """Return the id that a board claims, once it has signed as that board; None if it cannot sign yet.

    What a board is told by its id may be its password at the broker, and any board can claim the id of another.
    """
    if claimed is None:
        return None
    try:
        _own_permit(session, world, claimed)
    except BoardCodeError:
        return None  # its configuration cannot be read, and says where the key is: it gets another one first
    return claimed


def _own_permit(session: Session, world: World, kid: bytes | None) -> Permit:
    permit = sign_permit(session, world.terms())
    if PublicKey(permit.x, permit.y).kid != kid:
        raise OperatorError("the board signed its permit with another key than the one it showed: do not trust it")
    return permit


def _admit(
    world: World,
    kid: bytes,
    admit_s: float,
    notice: Callable[[str], None],
    *,
    now: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    deadline = now() + admit_s
    noticed = False
    while why := world.refusal(kid):
        if now() >= deadline:
            raise OperatorError(
                f"the broker does not take board {kid.hex()} ({why}): tell it the board's password, then run this again"
            )
        if not noticed:
            notice(why)
            noticed = True
        sleep(_ADMIT_POLL_S)


def _await(
    session: Session,
    world: World,
    kid: bytes,
    wait_s: float,
    *,
    now: Callable[[], float],
    sleep: Callable[[float], None],
) -> int:
    """Return how many statements have come, once there is one. The board's console is listened to meanwhile."""
    deadline = now() + wait_s
    said = ""
    while not (stored := world.stored(kid)):
        said = (said + session.overheard())[-_CONSOLE:]
        if now() >= deadline:
            raise OperatorError(silence(kid, wait_s, said))
        sleep(_POLL_S)
    return stored


def silence(kid: bytes, wait_s: float, console: str) -> str:
    """Return what to say of a board that was registered and from which nothing came; `console` is what it printed."""
    told = [line for line in plain(console).splitlines() if line.startswith(_TELLING)]
    cause = f"; it says: {told[-1]}" if told else ""
    return (
        f"board {kid.hex()} is registered and runs, but no statement of it came in {wait_s:.0f} s{cause}; is the "
        "gateway running? `trigpoint board status` shows more"
    )


def plain(text: str) -> str:
    """Return what a board printed without what would move a terminal's cursor or colour it."""
    return "".join(char for char in text if char == "\n" or char.isprintable())


def is_configured(session: Session, settings: Settings) -> bool:
    """Return whether the board has exactly these settings."""
    present = session.hashes(("/",))
    wanted = {CONFIG: settings.config}
    if settings.authority is not None:
        wanted[AUTHORITY] = settings.authority
    return all(present.get(path) == hashlib.sha256(content).hexdigest() for path, content in wanted.items())


def configure(session: Session, settings: Settings) -> None:
    """Write the settings once the board's own check has passed; else it keeps what it had.

    Raises:
        OperatorError: the board refuses a field, which it names.
    """
    if settings.authority is not None:
        session.write(AUTHORITY, settings.authority)
    session.write(_CANDIDATE, settings.config)
    try:
        session.run(f"from trig import config\nconfig.load({_CANDIDATE!r})", timeout=60)
    except BoardCodeError as error:
        session.remove(_CANDIDATE)
        kind, _, words = error.last.partition(": ")
        if kind.endswith("ConfigError"):
            raise OperatorError(f"the board refuses this configuration: {words}") from error
        raise
    session.run(f"import os\nos.rename({_CANDIDATE!r},{CONFIG!r})")
    session.start_over()


def check(session: Session) -> None:
    """Have the board measure once, join its Wi-Fi and reach for its broker.

    Raises:
        OperatorError: no sensor answers, or it finds no Wi-Fi or no broker.
    """
    parts = questions.sensors(session)
    if all(part["error"] for part in parts):
        said = "; ".join(f"{part['part']}: {part['error']}" for part in parts)
        raise OperatorError(f"no sensor answers ({said}): check the wires (docs/hardware.md), or add --wait 0")
    way = questions.way(session)
    if way["wifi"] is None:
        raise OperatorError(
            f"the board cannot join its Wi-Fi ({way['wifi_error']}): check name and password, or, where it is out of "
            "reach, add --wait 0"
        )
    if way["broker_error"]:
        raise OperatorError(
            f"the board is on {way['wifi']} and does not reach its broker ({way['broker_error']}): name it with "
            "--broker as the board can reach it"
        )


def public_key(session: Session) -> PublicKey:
    """Have the board make its key, if it has none yet, and return the public half.

    Raises:
        OperatorError: it cannot, or what it gives is no key.
    """
    answer = session.ask("import trig.enroll\ntrig.enroll.show()", timeout=_KEY_S)
    try:
        key = PublicKey(bytes.fromhex(answer["x"]), bytes.fromhex(answer["y"]))
        if key.kid.hex() != answer["kid"]:
            raise ValueError("kid")
    except (KeyError, TypeError, ValueError, WireError) as error:
        raise OperatorError("the board gave no public key; is its firmware of this version?") from error
    return key


def sign_permit(session: Session, terms: Terms) -> Permit:
    """Have the board sign its permit, and check what it gave.

    Raises:
        OperatorError: it did not sign this permit.
    """
    arguments = (
        f"{terms.chain_id}, {terms.registry.hex()!r}, {terms.owner.hex()!r}, {terms.metadata_hash.hex()!r}, "
        f"{terms.deadline}"
    )
    answer = session.ask(f"import trig.enroll\ntrig.enroll.permit({arguments})", timeout=_KEY_S)
    return checked_permit(answer, terms)


def checked_permit(answer: object, terms: Terms) -> Permit:
    """Return the permit that a board's answer is.

    Raises:
        OperatorError: it is none, or its signature is another's.
    """
    try:
        if not isinstance(answer, dict):
            raise TypeError
        x, y, r, s = (bytes.fromhex(answer[name]) for name in ("x", "y", "r", "s"))
        permit = Permit(terms.owner, x, y, terms.metadata_hash, terms.deadline, r, s)
    except (ValueError, KeyError, TypeError) as error:
        raise OperatorError("the board gave no permit; is its firmware of this version?") from error
    if not verify(terms.chain_id, terms.registry, permit):
        raise OperatorError("the board's signature does not fit its permit; is its firmware of this version?")
    return permit
