"""Boards over the network: their health through the broker, and the owner's commands to them.

message -> parse()        pure
Line                      the broker, as the gateway's configuration names it
update()                  sends an update and serves its pieces until the board says what became of it
"""

from __future__ import annotations

import json
import queue
import re
import secrets
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, Self

import paho.mqtt.client as paho
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.enums import CallbackAPIVersion
from trigpoint import keyfiles
from trigpoint.config import Broker
from trigpoint.errors import OperatorError

from trigpoint_tools import owner

_MAX_HEALTH = 4096
_MOST = 1 << 20  # a command a minute for two years; a board counts to 2^32
_TOPIC = re.compile(r"trig/1/([0-9a-f]{64})/([hu])")
_CONNECT_S = 10.0
_KEEPALIVE_S = 60
_QUEUE = 10_000
_LONGEST_S = 3600.0  # a queue waits for no endless time
_ENDED = ("confirmed", "refused", "rolled back")

Health = Mapping[str, Any]


def parse(data: bytes) -> Health | None:
    """Return a board's health; None if the message is none. Texts come from the board: they are data, not ours."""
    if len(data) > _MAX_HEALTH:
        return None
    try:
        health = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return health if isinstance(health, dict) else None


@dataclass(frozen=True)
class Message:
    """What a board said: `kind` is h for health, u for a request for a piece of an update."""

    kid: bytes
    kind: str
    payload: bytes


class Line:
    """A connection to the gateway's broker under a name of its own, as a context manager.

    Args:
        broker: from the gateway's configuration. With an access list, the user there must be allowed to read health
            and, for updates, to write commands (docs/mosquitto/acl).

    Raises:
        OperatorError: when entered, if the broker cannot be reached or refuses us.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._messages: queue.Queue[Message] = queue.Queue(_QUEUE)
        self._ready: queue.Queue[str] = queue.Queue()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"trigpoint-{secrets.token_hex(4)}", clean_session=True
        )
        self._client.on_message = self._on_message
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._ready.put("")

    def __enter__(self) -> Self:
        """Connect, and subscribe to what boards say."""
        broker = self._broker
        where = f"{broker.host}:{broker.port}"
        if broker.username is not None:
            password = keyfiles.load_password(broker.password_file) if broker.password_file else None
            self._client.username_pw_set(broker.username, password)
        try:
            if broker.tls:
                self._client.tls_set_context(ssl.create_default_context(cafile=broker.ca))
            self._client.connect(broker.host, broker.port, _KEEPALIVE_S)
        except (OSError, ValueError) as error:
            raise OperatorError(
                f"cannot reach the MQTT broker at {where}: {error}; start it, or name a port to ask the board itself"
            ) from error
        self._client.loop_start()
        try:
            refusal = self._ready.get(timeout=_CONNECT_S)
        except queue.Empty:
            refusal = f"no answer in {_CONNECT_S:.0f} s"
        if refusal:
            self.__exit__()
            raise OperatorError(f"the MQTT broker at {where} does not serve us: {refusal}")
        return self

    def __exit__(self, *_: object) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def next(self, seconds: float) -> Message | None:
        """Return what comes next, None if nothing comes in that time or an hour."""
        try:
            return self._messages.get(timeout=min(seconds, _LONGEST_S))
        except queue.Empty:
            return None

    def messages(self, seconds: float) -> Iterator[Message]:
        """Yield what comes within a time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if message := self.next(left):
                yield message

    def health(self, kid: bytes, seconds: float = 3.0) -> Health | None:
        """Return the newest health of a board, as soon as it is there; None if none comes in time."""
        return self.healths({kid}, seconds).get(kid)

    def healths(self, kids: Set[bytes], seconds: float = 3.0) -> dict[bytes, Health]:
        """Return the newest health of each of these boards from which there is one, at the latest after a time."""
        found: dict[bytes, Health] = {}
        for message in self.messages(seconds):
            if message.kind == "h" and message.kid in kids and (health := parse(message.payload)) is not None:
                found[message.kid] = health
                if len(found) == len(kids):
                    break
        return found

    def awaited(self, kid: bytes, seconds: float = 3.0) -> Health:
        """Return the newest health of a board.

        Raises:
            OperatorError: the broker has none.
        """
        health = self.health(kid, seconds)
        if health is None:
            raise OperatorError(
                f"board {kid.hex()} has said nothing of itself at this broker yet: has it power, and does its Wi-Fi "
                "reach? over a cable `trigpoint board console PORT` shows what it says"
            )
        return health

    def publish(self, kid: bytes, leaf: str, payload: bytes) -> None:
        """Publish on `c` or `p` of a board with QoS 1."""
        self._client.publish(f"trig/1/{kid.hex()}/{leaf}", payload, qos=1)

    def _on_connect(self, client: paho.Client, _user: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._ready.put(str(reason))
        else:
            client.subscribe([("trig/1/+/h", 1), ("trig/1/+/u", 1)])

    def _on_message(self, _client: paho.Client, _user: Any, received: paho.MQTTMessage) -> None:
        found = _TOPIC.fullmatch(received.topic)
        if found and not self._messages.full():
            self._messages.put_nowait(Message(bytes.fromhex(found[1]), found[2], bytes(received.payload)))


def next_counter(health: Health) -> int:
    """Return the counter of the next command to a board, from its health; see `check_number`."""
    command = health.get("command")
    last = command.get("counter") if isinstance(command, dict) else 0
    return (last if isinstance(last, int) and last >= 0 else 0) + 1


def check_number(number: int, what: str) -> int:
    """Return a number that is to be signed because a board's health says so.

    Nobody signs health, and what has the highest number would be the last that the board ever takes.

    Raises:
        OperatorError: it is beyond all that a board can have come to.
    """
    if number > _MOST:
        raise OperatorError(
            f"the board's health counts {number - 1} {what}, which no board has taken: somebody else speaks in its "
            "name at the broker; bring it up to date over a cable"
        )
    return number


def verdict(health: Health, counter: int) -> tuple[str, str] | None:
    """Return what became of a command, as (state, reason), once it is over; None before."""
    command = health.get("command")
    if not isinstance(command, dict) or command.get("counter") != counter:
        return None
    state = str(command.get("state", ""))
    return (state, str(command.get("reason", ""))) if state in _ENDED else None


def obeys(health: Health) -> bool:
    """Return whether a board obeys an owner key, from its health: only then it counts bad commands."""
    return isinstance(health.get("family"), str) and isinstance(health.get("bad_commands"), int)


def stage_of(health: Health, counter: int) -> str:
    """Return what a board does about a command, in its own word; empty while it has not taken it."""
    command = health.get("command")
    if not isinstance(command, dict) or command.get("counter") != counter:
        return ""
    return str(command.get("state", ""))


Stage = Callable[[str, float], None]
"""Told what an update is about (`sent`, `pending`, `trying`) and how much of its files has been asked for, 0 to 1."""


def update(
    line: Line,
    key: ec.EllipticCurvePrivateKey,
    kid: bytes,
    health: Health,
    files: Mapping[str, bytes],
    *,
    version: int,
    micropython: tuple[int, int, int],
    wait_s: float,
    taken_s: float = 60,
    stage: Stage = lambda what, part: None,
) -> None:
    """Send an update and answer the board's requests until it has confirmed it.

    Args:
        line: the broker.
        key: the owner key.
        kid: the board.
        health: its newest.
        files: path under the slot to content.
        version: above every version that the board has confirmed.
        micropython: the lowest that the files run on.
        wait_s: how long to wait for the end.
        taken_s: how long a board that is awake may need to take the command; one on batteries has `wait_s`.
        stage: told of the progress.

    Raises:
        OperatorError: the board did not take it, refused it, rolled it back, or did not say in time.
        WireError: the files cannot be described by a manifest.
    """
    if not obeys(health):
        raise OperatorError(
            f"board {kid.hex()} obeys nobody: `trigpoint board enroll PORT --owner-key FILE` gives it an owner key"
        )
    counter = check_number(next_counter(health), "commands")
    manifest = owner.describe(files, version=version, family=str(health["family"]), micropython=micropython)
    shelf = owner.Shelf(files)
    line.publish(kid, "c", owner.update(key, kid, counter, manifest))
    stage("sent", 0.0)
    total = sum(len(content) for content in files.values()) or 1
    sent = 0
    taken = False
    patience = wait_s if "battery" in health else min(taken_s, wait_s)
    began = time.monotonic()
    while (left := (wait_s if taken else patience) - (time.monotonic() - began)) > 0:
        message = line.next(left)
        if message is None or message.kid != kid:
            continue
        if message.kind == "u" and (answer := shelf.answer(message.payload)) is not None:
            line.publish(kid, "p", answer)
            taken = True
            sent += len(answer)
            stage("pending", min(1.0, sent / total))
        elif message.kind == "h" and (said := parse(message.payload)) is not None:
            if (word := stage_of(said, counter)) not in ("", *_ENDED):
                taken = True
                stage(word, 1.0 if word == "trying" else min(1.0, sent / total))
            if not taken and _bad_commands(said) > _bad_commands(health):
                raise OperatorError(_not_taken(kid, f"it says: {said.get('bad_command')}"))
            ended = verdict(said, counter)
            if ended is None:
                continue
            state, reason = ended
            if state == "confirmed":
                return
            raise OperatorError(f"the board's update {version} is {state}: {reason or 'it gives no reason'}")
    if not taken:
        raise OperatorError(_not_taken(kid, f"nothing came of the command in {patience:.0f} s"))
    raise OperatorError(
        f"no word of update {version} in {wait_s:.0f} s; the board has taken it: see `trigpoint board status`"
    )


def _bad_commands(health: Health) -> int:
    count = health.get("bad_commands")
    return count if isinstance(count, int) else 0


def _not_taken(kid: bytes, why: str) -> str:
    return (
        f"board {kid.hex()} has not taken the update ({why}): is --owner-key the key that it was enrolled with, and "
        "does the broker let us send commands?"
    )
