"""The signer ladder on emulated boards: board and chip stay together; nothing makes an identity by accident."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from boardrunner import run
from brokers import RunningBroker, embedded_broker  # noqa: F401
from emulated import WEATHER
from test_app import LINK, Gateway
from trigpoint.clock import WorldClock
from trigpoint.wire import permit
from trigpoint.wire.keys import PublicKey
from trigpoint_tools.emulator import board as emulator
from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.errors import HardwareError
from trigpoint_tools.emulator.parts.atecc608 import Atecc608

CHIP = {"scl": 22, "sda": 21}
SHOW = "import trig.enroll; trig.enroll.show()"


def config(port: int = 9, **changes: Any) -> dict[str, Any]:
    link = LINK.public_key().public_numbers()
    return {
        "version": 1,
        "wifi": [{"ssid": "trig", "password": "password"}],
        "broker": {"host": "127.0.0.1", "port": port, "tls": False, "keepalive_s": 5},
        "link_key": f"{link.x:064x}{link.y:064x}",
        "sensors": [{"type": "bme280", **CHIP}],
        "sample_s": 1800,
        "batch": {"samples": 2, "age_s": 21600},
        "resend_s": 2,
        "secure_element": CHIP,
        **changes,
    }


Make = Callable[..., EmulatedBoard]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    boards = []

    def made(settings: dict[str, Any], **options: Any) -> EmulatedBoard:
        clock = WorldClock(1_370_000_000, time.time(), 7200)
        boards.append(EmulatedBoard.create(tmp_path / f"board{len(boards)}", settings, clock, WEATHER, **options))
        return boards[-1]

    yield made
    for board in boards:
        board.cut()


def chip(board: EmulatedBoard) -> Atecc608:
    assert board.secure_element is not None
    return board.secure_element


def nvs(board: EmulatedBoard) -> dict[str, Any]:
    path = board.directory / "nvs.json"
    return json.loads(path.read_text()) if path.exists() else {}


def show(board: EmulatedBoard) -> dict[str, str]:
    return json.loads(board.exec(SHOW))


def reconfigure(board: EmulatedBoard, settings: dict[str, Any]) -> None:
    board.write_file("/config.json", json.dumps(settings).encode())


def without_chip() -> dict[str, Any]:
    settings = config()
    del settings["secure_element"]
    return settings


def public_key(board: EmulatedBoard, slot: int = 0) -> PublicKey:
    numbers = chip(board).public_key(slot).public_numbers()
    return PublicKey(numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"))


def test_the_key_is_made_in_the_chip_and_signs_a_permit(make: Make) -> None:
    board = make(config(secure_element=CHIP | {"slot": 3}))
    first = show(board)
    key = public_key(board, 3)
    assert first == {"kid": key.kid.hex(), "x": key.x.hex(), "y": key.y.hex()}
    assert nvs(board) == {"trig/chip": (chip(board).serial + b"\x03" + key.kid).hex()}, "and nothing secret is in NVS"
    registry, owner, metadata = bytes(range(20)), bytes(range(20, 40)), bytes(range(32))
    arguments = f"31337, '{registry.hex()}', '{owner.hex()}', '{metadata.hex()}', 1900000000"
    made = json.loads(board.exec(f"import trig.enroll; trig.enroll.permit({arguments})"))
    assert made["kid"] == first["kid"]
    r, s = bytes.fromhex(made["r"]), bytes.fromhex(made["s"])
    assert permit.verify(31337, registry, permit.Permit(owner, key.x, key.y, metadata, 1900000000, r, s))


def test_statements_of_the_chip_are_verified_and_acked(
    make: Make,
    embedded_broker: RunningBroker,  # noqa: F811
) -> None:
    board = make(config(embedded_broker.port))
    chip(board).high_s = True
    show(board)
    gateway = Gateway(embedded_broker.port, WorldClock(1_370_000_000, time.time(), 7200), public_key(board))
    try:
        board.start()
        gateway.wait_for(lambda g: len(g.stored) >= 3)
        board.cut()
        board.start()
        before = len(gateway.stored)
        gateway.wait_for(lambda g: len(g.stored) > before + 1)
        # The clock was set by an ack, whose key came out of the chip.
        assert gateway.stored[-1].base_time is not None
        # Without its chip the board signs nothing and goes on; what it measures waits until the chip is back.
        chip(board).absent = True
        time.sleep(1)
        signed = len(gateway.stored)
        time.sleep(2.5)
        assert board.alive and len(gateway.stored) == signed
        chip(board).absent = False
        gateway.wait_for(lambda g: len(g.stored) > signed + 1)
    except AssertionError as error:
        raise AssertionError("\n".join(board.console[-20:])) from error
    finally:
        board.cut()
        gateway.close()


def _gone(board: EmulatedBoard) -> None:
    chip(board).absent = True


def _unconfigured(board: EmulatedBoard) -> None:
    reconfigure(board, without_chip())


def _other_pins(board: EmulatedBoard) -> None:
    reconfigure(board, config(secure_element={"i2c": 1, "scl": 5, "sda": 4}))


def _other_slot(board: EmulatedBoard) -> None:
    reconfigure(board, config(secure_element=CHIP | {"slot": 2}))


def _other_chip(board: EmulatedBoard) -> None:
    chip(board).zone[2] ^= 1


def _other_key(board: EmulatedBoard) -> None:
    chip(board)._keys[0] = 4711


def _no_key(board: EmulatedBoard) -> None:
    del chip(board)._keys[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_gone, "secure element 0x60: no answer on the bus"),
        (_unconfigured, "software: this board's key is in a secure element, and config.json has no secure_element"),
        (_other_pins, "secure element 0x60: no answer on the bus"),
        (_other_slot, "secure element 0x60 slot 2: this board's key is in slot 0 of the chip"),
        (_other_chip, "secure element 0x60 slot 0: this board's key is in slot 0 of the chip"),
        (_other_key, "secure element 0x60 slot 0: the slot holds another key than this board's"),
        (_no_key, "secure element 0x60 slot 0: the board's key is gone from the slot"),
    ],
)
def test_a_board_without_its_chip_neither_signs_nor_makes_a_key(
    make: Make, change: Callable[[EmulatedBoard], None], message: str
) -> None:
    board = make(config())
    show(board)
    before = nvs(board)
    change(board)
    keys = dict(chip(board)._keys)
    with pytest.raises(emulator.BoardError) as error:
        board.exec(SHOW)
    assert f"SignerError: {message}" in error.value.output or f"StoredKeyError: {message}" in error.value.output
    board.start()
    board.wait_for(message, 10)  # the loader keeps the reason and pauses, for a person to press Ctrl-C
    board.stop()
    assert nvs(board).get("trig/chip") == before["trig/chip"] and "trig/key" not in nvs(board)
    assert chip(board)._keys == keys
    assert board.exec("print(6 * 7)").strip() == "42"


def test_a_board_with_a_key_in_software_takes_a_chip_only_when_told(make: Make) -> None:
    board = make(config())
    reconfigure(board, without_chip())
    old = show(board)["kid"]
    reconfigure(board, config())
    with pytest.raises(emulator.BoardError, match="this board has a key in software"):
        board.exec(SHOW)
    with pytest.raises(emulator.BoardError, match="this board's id is"):
        board.exec(f"import trig.enroll; trig.enroll.forget('{'00' * 32}')")
    assert f"forgotten: {old}" in board.exec(f"import trig.enroll; trig.enroll.forget('{old.upper()}')")
    new = show(board)["kid"]
    assert new == public_key(board).kid.hex() != old and "trig/key" not in nvs(board)
    board.exec(f"import trig.enroll; trig.enroll.forget('{new}')")
    third = show(board)["kid"]
    assert third not in (old, new), "a key that was given up does not come back out of its slot"
    board.exec(f"import trig.enroll; trig.enroll.forget('{third}')")
    reconfigure(board, without_chip())
    assert show(board)["kid"] not in (old, new, third)


def test_nvs_erased_costs_nothing_while_chip_and_journal_are_there(make: Make) -> None:
    board = make(config())
    first = show(board)
    before = nvs(board)
    (board.directory / "nvs.json").write_text("{}")
    assert show(board) == first
    assert nvs(board) == before


def test_a_key_without_its_journal_is_replaced_if_the_slot_allows_it(make: Make) -> None:
    board = make(config())
    forget_journal = "import os\nfor n in os.listdir('/journal'): os.remove('/journal/' + n)"
    first = show(board)
    board.exec(forget_journal)
    second = show(board)
    assert second["kid"] != first["kid"] and second["kid"] == public_key(board).kid.hex()
    board.exec(forget_journal)
    chip(board).zone[88] = 0xFE  # somebody has locked the slot
    with pytest.raises(emulator.BoardError, match="cannot be replaced; take another slot"):
        board.exec(SHOW)
    assert public_key(board).kid.hex() == second["kid"]


@pytest.mark.parametrize("fault", [1, 2, 3])
def test_making_a_key_may_break_off_anywhere(make: Make, fault: int) -> None:
    """NVS refuses at each of its commits in turn: the next start ends with one key, its record and a journal."""
    board = make(config())
    show(board)
    board.exec("import os\nfor n in os.listdir('/journal'): os.remove('/journal/' + n)")
    store = board._soc.nvs
    commit, left = store.commit, [fault]

    def refuse() -> None:
        left[0] -= 1
        if not left[0]:
            raise HardwareError(5)
        commit()

    store.commit = refuse  # type: ignore[method-assign]
    try:
        board.exec(SHOW)
    except emulator.BoardError as error:
        assert "OSError: 5" in error.output or "OSError: [Errno 5]" in error.output
        assert fault < 3
    store.commit = commit  # type: ignore[method-assign]
    board.cut()
    last = show(board)
    assert show(board) == last and last["kid"] == public_key(board).kid.hex()
    assert nvs(board)["trig/chip"].endswith(last["kid"])


@pytest.mark.parametrize("start", [True, False], ids=["main", "enrolment"])
def test_the_radio_is_on_while_software_draws_its_key(make: Make, start: bool) -> None:
    """On an ESP32 os.urandom is a true random source only then."""
    board = make(without_chip())
    store, seen = board._soc.nvs, []
    original = store.set

    def observed(key: str, value: int | bytes) -> None:
        seen.append((key, board._soc.station.active))
        original(key, value)

    store.set = observed  # type: ignore[method-assign]
    if start:
        board.start()
        board.wait_for("next seq 0")
        board.cut()
    else:
        show(board)
    assert ("trig/key", True) in seen and ("trig/key", False) not in seen


_SELF_TEST = """
from trig import keys, p256, self_test
key = keys.KeyPair(bytes(31) + b"\\5")
self_test.run(key)
class Wrong:
    name = "thing"
    x, y, kid = key.x, key.y, key.kid
    def sign(self, digest):
        return key.sign(digest)
    def secret(self, x, y):
        return key.secret(x, y)
wrong = Wrong()
self_test.run(wrong)
"""


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("wrong.sign = lambda digest: key.sign(bytes(32))", "thing: self-test: its signature does not verify"),
        ("wrong.secret = lambda x, y: bytes(32)", "thing: self-test: ECDH gives a wrong secret"),
        ("wrong.y = key.x", "not a point"),
        # A flipped bit in the table of multiples: keys and signatures agree with each other, and with nobody else.
        ("p256.POINTS = bytes((p256.POINTS[0] ^ 1,)) + p256.POINTS[1:]; wrong = key", "software: self-test: the known"),
    ],
)
def test_a_signer_that_fails_its_self_test_is_named(spoil: str, message: str) -> None:
    code = f"{_SELF_TEST}\n{spoil}\ntry:\n    self_test.run(wrong)\nexcept Exception as error:\n    print(error)\n"
    assert message in run(code)


def test_the_self_tests_text_is_no_statement_and_no_permit() -> None:
    text = run("from trig import self_test\nprint(self_test._TEXT.hex())").strip()
    signed = bytes.fromhex(text)
    assert signed[0] != 0x84 and not b"trig/1/permit".ljust(32, b"\0").startswith(signed[:14])
