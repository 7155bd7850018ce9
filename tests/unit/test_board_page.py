"""The board page's modules, in Node: they must decide as the commands do, and stand whatever comes from outside."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st
from trigpoint.chain import permitfile
from trigpoint.chain.abi import DEVICE_REGISTRY
from trigpoint.chain.registration import as_struct
from trigpoint.web.files import PAGE
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.permit import Permit, digest
from trigpoint_tools.serial import install, site

Ask = Callable[..., dict[str, Any]]
JOIN = {
    "format": "trigpoint-join/1",
    "name": "roof",
    "chain": {"chain_id": 31337, "registry": "0x" + "ab" * 20},
    "board": {"broker": {"host": "b", "port": 1883, "tls": False, "ca": ""}, "link_key": "0" * 128, "version": 1},
    "authority": "",
    "broker_passwords": False,
    "sensors": ["bme280"],
    "api": {"url": "", "token": ""},
}


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Ask a function of the page's modules; the answer has `value`, or `message` and whether it is a `trouble`."""
    node = shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")
    assert node is not None
    with subprocess.Popen(
        [node, str(Path(__file__).with_name("boardpage.mjs")), PAGE.as_uri()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def question(what: str, **given: Any) -> dict[str, Any]:
            process.stdin.write(json.dumps({"what": what, **given}) + "\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            return answer

        yield question
        process.stdin.close()


PATHS = st.sampled_from(
    ["/slots.py", "/boot.py", "/main.py", "/a/trig/app.mpy", "/a/trig/x.mpy", "/a/trig/sensors/bme280.mpy"]
)
PRESENT = st.sampled_from(
    ["/slots.py", "/boot.py", "/main.py", "/main.py.new", "/config.json", "/journal/0"]
    + [f"/{slot}/trig/{name}" for slot in "ab" for name in ("app.mpy", "x.mpy", "old.py", "sensors/bme280.mpy")]
)
CONTENT = st.sampled_from([b"one", b"two"])


@settings(max_examples=300)
@given(st.dictionaries(PATHS, CONTENT, min_size=1), st.dictionaries(PRESENT, CONTENT), st.sampled_from("ab"))
def test_it_installs_what_the_command_installs(ask: Ask, files, present, slot):
    """The same files, in the same order."""
    hashes = {path: hashlib.sha256(content).hexdigest() for path, content in present.items()}
    mine = install.plan(files, f"/{slot}", hashes)
    listed = [{"path": path, "sha256": hashlib.sha256(content).hexdigest()} for path, content in files.items()]
    todo = ask("plan", files=listed, present=hashes, slot=slot)["value"]
    assert ([file["path"] for file in todo["write"]], todo["remove"]) == (list(mine.write), list(mine.remove))


HALF_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551 // 2
TERMS = st.fixed_dictionaries(
    {
        "chainId": st.integers(1, 2**53 - 1),
        "registry": st.binary(min_size=20, max_size=20).map(lambda address: "0x" + address.hex()),
        "owner": st.binary(min_size=20, max_size=20).map(lambda address: "0x" + address.hex()),
        "metadataHash": st.binary(min_size=32, max_size=32).map(bytes.hex),
        "deadline": st.integers(0, 2**40),
    }
)


def signed(secret: int, terms: dict[str, Any]) -> tuple[Permit, dict[str, str]]:
    """What a board with this key answers: its permit, and as the page reads it."""
    key = ec.derive_private_key(secret, ec.SECP256R1())
    public = PublicKey.of(key)
    owner, registry = (bytes.fromhex(terms[name][2:]) for name in ("owner", "registry"))
    unsigned = Permit(
        owner, public.x, public.y, bytes.fromhex(terms["metadataHash"]), terms["deadline"], bytes(32), bytes(32)
    )
    hashed = digest(terms["chainId"], registry, unsigned)
    r, s = decode_dss_signature(key.sign(hashed, ec.ECDSA(Prehashed(SHA256()))))
    s = s if s <= HALF_ORDER else 2 * HALF_ORDER + 1 - s
    permit = replace(unsigned, r=r.to_bytes(32, "big"), s=s.to_bytes(32, "big"))
    return permit, {name: getattr(permit, name).hex() for name in ("x", "y", "r", "s")} | {"kid": public.kid.hex()}


def other(value: Any) -> Any:
    """A value of the same kind that differs."""
    return value + 1 if isinstance(value, int) else value[:-1] + "0f"[value[-1] != "f"]


@settings(max_examples=60)
@given(st.integers(1, 2**255), TERMS, st.data())
def test_a_permit_is_checked_and_submitted_as_python_does(ask: Ask, secret, terms, data):
    permit, answer = signed(secret, terms)
    good = ask("checked", answer=answer, terms=terms)["value"]
    assert good == permitfile.plain(permit, terms["chainId"], bytes.fromhex(terms["registry"][2:]))
    selector = site._site("")["registry"]["register"]
    call = ask("registration", selector=selector, permit=good)["value"]
    assert call == "0x" + DEVICE_REGISTRY.call("register", as_struct(permit)).hex()
    field = data.draw(st.sampled_from(sorted(terms)))
    assert ask("checked", answer=answer, terms={**terms, field: other(terms[field])})["trouble"]
    field = data.draw(st.sampled_from(sorted(answer)))
    assert ask("checked", answer={**answer, field: other(answer[field])}, terms=terms)["trouble"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(0.5) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def test_a_join_file(ask: Ask):
    assert ask("parse", text=json.dumps(JOIN))["value"] == JOIN


@settings(max_examples=300)
@given(st.text() | JSON.map(json.dumps))
def test_what_is_no_join_file_is_trouble(ask: Ask, text):
    answer = ask("parse", text=text)
    assert answer["trouble"]
    assert "no join file" in answer["message"]


@settings(max_examples=300)
@given(st.data())
def test_a_join_file_with_a_wrong_field_says_which(ask: Ask, data):
    changed = json.loads(json.dumps(JOIN))
    path = data.draw(
        st.sampled_from(
            [
                ("format",),
                ("name",),
                ("chain",),
                ("chain", "chain_id"),
                ("chain", "registry"),
                ("board",),
                ("board", "link_key"),
                ("authority",),
                ("broker_passwords",),
                ("sensors",),
                ("api", "url"),
            ]
        )
    )
    at = changed
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value = data.draw(JSON)
    answer = ask("parse", text=json.dumps(changed))
    if "value" not in answer:
        assert answer["trouble"], answer
        assert path[0] in answer["message"]
    else:
        assert type(value) is type(JOIN[path[0]] if len(path) == 1 else JOIN[path[0]][path[1]])


@settings(max_examples=200)
@given(st.tuples(*[st.booleans()] * 6))
def test_nothing_is_registered_before_it_was_tried(ask: Ask, flags):
    configured, key, password, checked, registered, submit = flags
    seen = {
        "configured": configured,
        "kid": "ab" * 32 if key else None,
        "password": password,
        "checked": checked,
        "registered": registered,
        "permit": None,
        "submit": submit,
    }
    step = ask("next", seen=seen)["value"]
    if step in ("PERMIT", "REGISTER", "START"):
        assert configured and key and password and checked
        assert (step == "START") == registered
    permitted = ask("next", seen={**seen, "permit": {}})["value"]
    if step == "PERMIT":
        assert permitted == ("REGISTER" if submit else "START")


def test_settings_keep_the_secure_element_and_take_the_rest_from_the_join_file(ask: Ask):
    chosen = {"wifi": [{"ssid": "a", "password": "b"}], "sensors": [{"type": "x"}], "sample": 60, "password": "p"}
    present = {"secure_element": {"scl": 1, "sda": 2}, "link_key": "old", "battery": {}}
    config = ask("settings", join=JOIN, present=present, chosen=chosen)["value"]
    assert config["secure_element"] == present["secure_element"]
    assert config["link_key"] == JOIN["board"]["link_key"]
    assert config["broker"] == {**JOIN["board"]["broker"], "password": "p"}
    assert (config["wifi"], config["sensors"], config["sample_s"]) == (chosen["wifi"], chosen["sensors"], 60)
    assert "battery" not in config


@pytest.mark.parametrize("field", [None, "host", "port", "tls", "link_key"])
def test_a_password_at_one_broker_is_not_told_to_another(ask: Ask, field: str | None):
    chosen = {"wifi": [], "sensors": [], "sample": 60, "password": ""}
    present = {"link_key": JOIN["board"]["link_key"], "broker": {**JOIN["board"]["broker"], "password": "old"}}
    if field is not None:
        (present if field == "link_key" else present["broker"])[field] = {"port": 8883, "tls": True}.get(field, "other")
    config = ask("settings", join=JOIN, present=present, chosen=chosen)["value"]
    assert config["broker"].get("password") == (None if field else "old")
    assert "password" not in ask("settings", join=JOIN, present=None, chosen=chosen)["value"]["broker"]


RAW = b"raw REPL; CTRL-B to exit\r\n>"


def _pieces(*said: bytes) -> list[str]:
    return [base64.b64encode(piece).decode() for piece in said]


def test_the_prompt(ask: Ask):
    """Each piece answers one write: Ctrl-C, Ctrl-A, Ctrl-D, the code, its end."""
    begin = (b"noise\r\n>>> ", b"\r\n" + RAW, b"OK\r\nMPY: soft reboot\r\n" + RAW)
    done = ask("prompt", pieces=_pieces(*begin, b"", b"OK\xc3\xa4\r\n\x04\x04>"), code="print('ä')")
    assert done == {"value": "ä\r\n"}
    words = b"OK\x04Traceback:\r\n  File x\r\nValueError: broker.port: missing\r\n\x04>"
    raised = ask("prompt", pieces=_pieces(*begin, b"", words), code="x")
    assert (raised["name"], raised["message"]) == ("BoardError", "the board says: ValueError: broker.port: missing")


@settings(max_examples=20)
@given(st.lists(st.binary(max_size=40) | st.sampled_from([RAW, b"\x04", b"OK", b">", b"soft reboot\r\n"]), max_size=8))
def test_whatever_a_port_says_ends_in_words(ask: Ask, said):
    answer = ask("prompt", pieces=_pieces(*said), code="1")
    assert "value" in answer or answer["trouble"] or answer["name"] == "BoardError", answer
