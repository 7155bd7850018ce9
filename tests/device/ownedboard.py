"""An emulated board with an owner: the broker, a gateway of a few lines, and whoever sends commands and files."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt.enums import CallbackAPIVersion
from test_app import World
from trigpoint_tools import boardfiles, owner
from trigpoint_tools.owner import Shelf

OWNER = ec.derive_private_key(99, ec.SECP256R1())


class OwnerClient:
    """The owner's connection to the broker: sends commands, and answers a board's requests for pieces.

    Attributes:
        shelf: what it answers from; None answers nothing.
        requests: how many came.
    """

    def __init__(self, port: int, kid: bytes) -> None:
        self.shelf: Shelf | None = None
        self.requests = 0
        self._topic = f"trig/1/{kid.hex()}"
        self._ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="owner")
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_connect = lambda client, *_: client.subscribe([(self._topic + "/u", 1)])
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(10)

    def _on_message(self, client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        self.requests += 1
        answer = self.shelf.answer(message.payload) if self.shelf else None
        if answer is not None:
            client.publish(self._topic + "/p", answer, qos=1)

    def send(self, command: bytes) -> None:
        """Publish on the board's command topic."""
        self._client.publish(self._topic + "/c", command, qos=1).wait_for_publish(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Owned:
    """A World whose board obeys OWNER."""

    def __init__(self, directory: Path, port: int, **changes: Any) -> None:
        self.world = World(directory, port, owner_key=owner.owner_key_hex(OWNER), trial_s=8, **changes)
        self.board, self.gateway = self.world.board, self.world.gateway
        self.kid = self.world.key.kid
        self.config: dict[str, Any] = json.loads(self.board.read_file("/config.json"))
        self.client = OwnerClient(port, self.kid)
        self.send = self.client.send

    @property
    def requests(self) -> int:
        """How many requests for pieces have come."""
        return self.client.requests

    def close(self) -> None:
        self.client.close()
        self.world.close()

    def configure(self, counter: int, config: dict[str, Any]) -> None:
        """Send a configuration."""
        self.send(owner.set_configuration(OWNER, self.kid, counter, json.dumps(config).encode()))

    def update(self, counter: int, files: dict[str, bytes], version: int, **changes: Any) -> None:
        """Send the manifest of an application, and have its files ready."""
        family = self.board_family()
        fields = {"family": family, "micropython": (1, 20, 0), **changes}
        manifest = owner.describe(files, version=version, **fields)
        self.client.shelf = Shelf(files)
        self.send(owner.update(OWNER, self.kid, counter, manifest))

    def board_family(self) -> str:
        """Return what the board's last health says of its family."""
        return str(self.health(lambda report: True)["family"])

    def health(self, condition: Callable[[dict[str, Any]], bool], timeout: float = 40) -> dict[str, Any]:
        """Wait until the newest health fits the condition, and return it."""

        def fits(gateway: Any) -> bool:
            online = [report for report in gateway.health if report["online"]]
            return bool(online) and condition(online[-1])

        self.gateway.wait_for(fits, timeout)
        return [report for report in self.gateway.health if report["online"]][-1]

    def ended(self, counter: int, state: str, timeout: float = 40) -> dict[str, Any]:
        """Wait until health says that this command is in this state; return the health."""
        return self.health(
            lambda report: (report["command"]["counter"], report["command"]["state"]) == (counter, state), timeout
        )

    def readings_go_on(self) -> None:
        """Wait for three more statements."""
        before = len(self.gateway.stored)
        self.gateway.wait_for(lambda g: len(g.stored) >= before + 3)


def application(**changes: bytes) -> dict[str, bytes]:
    """Return the files of this firmware's application, by path under the slot, with some changed or added.

    A change is named by the module's name: `app=b"..."` is `trig/app.py`.
    """
    files = {
        path.removeprefix("/a/"): content
        for path, content in boardfiles.device_files(boardfiles.device_directory(), compiled=True).items()
        if path.startswith("/a/")
    }
    for name, content in changes.items():
        files.pop(f"trig/{name}.mpy", None)
        files[f"trig/{name}.py"] = content
    return files
