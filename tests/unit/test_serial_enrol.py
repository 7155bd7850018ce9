"""Enrolment as a plan: what comes next, what a board may answer, what it is told."""

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from trigpoint.errors import OperatorError
from trigpoint.wire.keys import PublicKey, sign
from trigpoint.wire.permit import Permit, message
from trigpoint_tools.serial import enrol, settings
from trigpoint_tools.serial.enrol import Seen, Step, Terms, next_step
from trigpoint_tools.serial.settings import Gateway

KEY = PublicKey.of(ec.derive_private_key(7, ec.SECP256R1()))
TERMS = Terms(31337, bytes(20), bytes(range(20)), bytes(32), 2_000_000_000)
LINK = (KEY.x + KEY.y).hex()
GATEWAY = Gateway("broker.example", 8883, True, b"der", LINK)
WIFI = [("home", "correct horse")]


def test_every_state_has_its_step() -> None:
    yes_or_no = (False, True)
    for configured, key, admitted, checked, registered, stored in itertools.product(
        yes_or_no, (None, KEY), yes_or_no, yes_or_no, yes_or_no, (0, 5)
    ):
        step = next_step(Seen(configured, key, admitted, checked, registered, stored))
        if not configured:
            assert step is Step.CONFIGURE  # it says where the key is to be made
        elif key is None:
            assert step is Step.KEY
        elif registered and stored:
            assert step is Step.DONE
        elif not admitted:
            assert step is Step.ADMIT
        elif not checked:
            assert step is Step.CHECK  # before it costs gas
        else:
            assert step is (Step.START if registered else Step.REGISTER)


@dataclass
class FakeSession:
    """A board that has a key and this configuration; `secret` is what it signs with."""

    files: dict[str, str] = field(default_factory=dict)
    secret: int = 7
    restarts: int = 0
    port: str = "/dev/ttyUSB0"
    identity: str | None = KEY.kid.hex()
    printed: list[str] = field(default_factory=list)
    sensors: list[dict[str, Any]] = field(default_factory=lambda: [{"part": "bme280", "readings": [], "error": ""}])
    way: dict[str, Any] = field(default_factory=lambda: {"wifi": "home", "wifi_error": "", "broker_error": ""})

    def hashes(self, folders: object = ()) -> dict[str, str]:
        return self.files

    def ask(self, code: str, timeout: float = 0) -> Any:
        if "NvsKeys" in code:
            return self.identity
        if "open_sensors" in code:
            return self.sensors
        if "getaddrinfo" in code:
            return self.way
        if "enroll.permit" in code:
            return self.permit()
        return {"kid": KEY.kid.hex(), "x": KEY.x.hex(), "y": KEY.y.hex()}

    def permit(self) -> dict[str, str]:
        private = ec.derive_private_key(self.secret, ec.SECP256R1())
        public = PublicKey.of(private)
        unsigned = Permit(TERMS.owner, public.x, public.y, TERMS.metadata_hash, TERMS.deadline, bytes(32), bytes(32))
        signature = sign(private, message(TERMS.chain_id, TERMS.registry, unsigned))
        words = (public.x, public.y, signature[:32], signature[32:])
        return dict(zip("xyrs", (word.hex() for word in words), strict=True))

    def restart(self) -> None:
        self.restarts += 1

    def overheard(self) -> str:
        return self.printed.pop(0) if self.printed else ""


@dataclass
class FakeWorld:
    known: bool
    statements: list[int]
    refusals: list[str] = field(default_factory=list)

    def terms(self) -> Terms:
        return TERMS

    def registered(self, kid: bytes) -> bool:
        return self.known

    def register(self, permit: Permit) -> None:
        raise AssertionError("it is registered")

    def refusal(self, kid: bytes) -> str:
        assert kid == KEY.kid
        return self.refusals.pop(0) if self.refusals else ""

    def stored(self, kid: bytes) -> int:
        return self.statements.pop(0) if len(self.statements) > 1 else self.statements[0]


def configured() -> tuple[FakeSession, settings.Settings]:
    told = settings.Settings(b"{}", None)
    return FakeSession({enrol.CONFIG: hashlib.sha256(b"{}").hexdigest()}), told


def run(world: FakeWorld, wait_s: float) -> tuple[FakeSession, enrol.Result, list[Step]]:
    session, told = configured()
    steps: list[Step] = []
    clock = itertools.count()
    result = enrol.enrol(
        session,  # type: ignore[arg-type]
        lambda kid: told,
        world,
        steps.append,
        wait_s=wait_s,
        now=lambda: float(next(clock)),
        sleep=lambda seconds: None,
    )
    return session, result, steps


def test_a_run_that_was_cut_short_goes_on_where_it_was() -> None:
    session, result, steps = run(FakeWorld(True, [0, 0, 0, 2]), 100)
    assert steps == [Step.KEY, Step.ADMIT, Step.CHECK, Step.START, Step.DONE]
    assert (result.kid, result.stored, session.restarts) == (KEY.kid, 2, 1)


def test_a_permit_is_handed_over() -> None:
    session, told = configured()
    board: Any = session
    result = enrol.enrol(board, lambda kid: told, FakeWorld(False, [0]), submit=False)
    assert result.permit is not None
    assert result.permit.x == KEY.x


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("claims_early", [True, False])
def test_who_claims_to_be_another_board_is_told_nothing_of_it(known: bool, claims_early: bool) -> None:
    """Else it would get that board's password at the broker, or be registered, or taken for one that is enrolled."""
    session, told = configured()
    session.secret = 8
    if not claims_early:
        session.identity = None
    asked: list[bytes | None] = []
    board: Any = session
    with pytest.raises(OperatorError, match="another key"):
        enrol.enrol(board, lambda kid: (asked.append(kid), told)[1], FakeWorld(known, [3]))
    assert set(asked) <= {None}


def test_a_board_that_is_enrolled_is_only_started_again() -> None:
    session, result, steps = run(FakeWorld(True, [9]), 100)
    assert steps == [Step.KEY, Step.DONE]
    assert (result.stored, session.restarts) == (9, 1)


def test_a_board_that_stays_silent() -> None:
    with pytest.raises(OperatorError, match=f"board {KEY.kid.hex()} is registered and runs.*board status"):
        run(FakeWorld(True, [0]), 10)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sensors": [{"part": "bme280 at 118", "error": "OSError: 19"}]}, "no sensor answers .bme280 at 118: OSError"),
        ({"way": {"wifi": None, "wifi_error": "home: wrong password"}}, "cannot join its Wi-Fi .home: wrong password"),
        ({"way": {"wifi": "home", "broker_error": "OSError: -202"}}, "on home and does not reach its broker"),
    ],
)
def test_what_is_around_the_board_is_tried(changes: dict[str, Any], said: str) -> None:
    session, _ = configured()
    for name, value in changes.items():
        setattr(session, name, value)
    with pytest.raises(OperatorError, match=said):
        enrol.check(session)  # type: ignore[arg-type]


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=70),
        lambda inner: st.dictionaries(st.sampled_from(["x", "y", "r", "s", "kid"]), inner, max_size=5),
        max_leaves=6,
    )
)
def test_a_board_may_answer_anything(answer: object) -> None:
    with pytest.raises(OperatorError):
        enrol.checked_permit(answer, TERMS)


def test_a_permit_with_anothers_signature_is_refused() -> None:
    answer = {"x": KEY.x.hex(), "y": KEY.y.hex(), "r": "01" * 32, "s": "01" * 32}
    with pytest.raises(OperatorError, match="does not fit its permit"):
        enrol.checked_permit(answer, TERMS)


def test_settings() -> None:
    told = settings.build(
        {"batch": {"samples": 2, "age_s": 60}, "broker": {"keepalive_s": 30, "host": "elsewhere"}},
        GATEWAY,
        chip="esp32c6",
        wifi=WIFI,
        sensors=["bme280", "ds18b20"],
        broker_password="its own",
        sample_s=60,
        ntp="pool.ntp.org",
    )
    assert json.loads(told.config) == {
        "version": 1,
        "batch": {"samples": 2, "age_s": 60},
        "wifi": [{"ssid": "home", "password": "correct horse"}],
        "broker": {
            "host": "broker.example",
            "port": 8883,
            "tls": True,
            "ca": "/ca.der",
            "password": "its own",
            "keepalive_s": 30,
        },
        "link_key": LINK,
        "sensors": [{"type": "bme280", "scl": 7, "sda": 6}, {"type": "ds18b20", "pin": 10}],
        "sample_s": 60,
        "ntp": {"host": "pool.ntp.org"},
    }
    assert told.authority == b"der"
    assert "horse" not in repr(told) and "its own" not in repr(told)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"wifi": []}, "wifi: name a network"),
        ({"wifi": [("", "")]}, r"wifi\[0\].ssid"),
        ({"wifi": [("n" * 33, "")]}, r"wifi\[0\].ssid"),
        ({"wifi": [("home", "tiny123")]}, r"wifi\[0\].password: want 8 to 64"),
        ({"sensors": []}, "sensors: name one"),
        ({"sensors": ["analog"]}, "no usual place for a sensor 'analog'"),
        ({"chip": "esp32h2"}, "pins of ESP32H2 are not known"),
        ({"owner_key": "00" * 64}, "owner_key: want a P-256 public key"),
        ({"gateway": Gateway("b", 1, True, b"", LINK)}, "broker.ca"),
        ({"gateway": Gateway("b", 1, False, None, "ab")}, "link_key"),
        ({"base": {"broker": []}}, "broker: want an object"),
        ({}, "ntp.host: the broker speaks TLS"),
        ({"base": {"ntp": {}, "pad": "x" * 9000}}, "a board takes 8192"),
    ],
)
def test_what_cannot_be_right(changes: dict[str, Any], said: str) -> None:
    given_: dict[str, Any] = {
        "base": {},
        "gateway": GATEWAY,
        "chip": "esp32",
        "wifi": WIFI,
        "sensors": ["bme280"],
        **changes,
    }
    with pytest.raises(OperatorError, match=said) as caught:
        settings.build(given_.pop("base"), given_.pop("gateway"), **given_)
    assert "tiny123" not in str(caught.value)


def test_a_file_of_settings(tmp_path: Path) -> None:
    path = tmp_path / "more.json"
    path.write_text('{"sample_s": 60}')
    assert settings.read_base(path) == {"sample_s": 60}
    for text, said in (("[1]", "want an object"), ("{", "not JSON"), ("[" * 9000, "not JSON")):
        path.write_text(text)
        with pytest.raises(OperatorError, match=said):
            settings.read_base(path)
    with pytest.raises(OperatorError, match="cannot read"):
        settings.read_base(tmp_path / "nothing")
    with pytest.raises(OperatorError, match="PEM certificate"):
        settings.authority_of(path)
    with pytest.raises(OperatorError, match="no list of authorities"):
        settings.authority_of(None)
