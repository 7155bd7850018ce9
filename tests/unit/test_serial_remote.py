"""What the owner signs because a board's health, which anybody at the broker may write, says so."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from trigpoint.errors import OperatorError
from trigpoint_tools.serial.remote import check_number, update

KEY = ec.derive_private_key(7, ec.SECP256R1())


class Silence:
    """A broker at which nothing comes; what is published is kept."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes]] = []

    def publish(self, _kid: bytes, leaf: str, payload: bytes) -> None:
        self.published.append((leaf, payload))

    def next(self, _seconds: float) -> None:
        return None


def send(counter: int) -> Silence:
    """What is sent for an update to a board whose health gives this counter."""
    line: Any = Silence()
    health = {"family": "esp32-xtensawin", "bad_commands": 0, "command": {"counter": counter}}
    said = "nothing came of the command" if counter < 1 << 20 else "commands, which no board has taken"
    with pytest.raises(OperatorError, match=said):
        update(
            line,
            KEY,
            bytes(32),
            health,
            {"trig/start.mpy": b"M"},
            version=1,
            micropython=(1, 29, 0),
            wait_s=1,
            taken_s=0,
        )
    return line


def test_forged_health_does_not_use_up_a_boards_counters() -> None:
    """A command with counter 2^32 - 1 would leave the board deaf to its owner for ever."""
    assert [leaf for leaf, _ in send(1_000_000).published] == ["c"]
    for counter in (1 << 20, 2**32 - 2, 2**64):
        assert send(counter).published == []


def test_nor_its_releases() -> None:
    assert check_number(1_000_000, "releases") == 1_000_000
    with pytest.raises(OperatorError, match="counts 4294967294 releases"):
        check_number(2**32 - 1, "releases")
