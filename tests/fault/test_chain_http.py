"""A node that is down, slow or endless holds nobody beyond the deadline, and costs no memory beyond the bound."""

import datetime
import ipaddress
import ssl
import threading
import time
from pathlib import Path

import pytest
from anvil import Contracts
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from faultynode import FaultyNode
from trigpoint.chain.client import open_node, prefer_first, speak_over, turn_to_next
from trigpoint.chain.errors import ChainUnavailableError, NodeRefusedError
from trigpoint.chain.failover import BACK_AFTER_S, Failover
from trigpoint.chain.http import HttpNode
from trigpoint.chain.node import Node

DEADLINE_S = 0.4


def node(url: str, largest: int = 100_000) -> Node:
    return Node(speak_over(HttpNode(url, deadline_s=DEADLINE_S, largest=largest)))


def self_signed(path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + built.public_bytes(Encoding.PEM))
    return path


def test_a_node_that_is_down_and_comes_back(faulty: FaultyNode) -> None:
    asking = node(faulty.url)
    assert asking.chain_id() == 31337
    faulty.down = True
    with pytest.raises(ChainUnavailableError, match="cannot reach") as caught:
        asking.chain_id()
    assert "secret" not in str(caught.value)
    faulty.heal()
    assert asking.chain_id() == 31337


@pytest.mark.parametrize("head", [True, False], ids=["from the status line on", "in the answer"])
def test_a_node_that_drips_is_cut_off(faulty: FaultyNode, head: bool) -> None:
    """Each byte comes within the time for one read, so that a time for each read alone would never pass."""
    asking = node(faulty.url)
    faulty.drip_s, faulty.drip_head = DEADLINE_S / 8, head
    started = time.monotonic()
    with pytest.raises(ChainUnavailableError, match="did not answer eth_chainId in time"):
        asking.chain_id()
    assert DEADLINE_S <= time.monotonic() - started < 5 * DEADLINE_S
    faulty.heal()
    assert asking.chain_id() == 31337


def test_the_cut_goes_through_tls(faulty: FaultyNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path / "node.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    faulty.socket = context.wrap_socket(faulty.socket, server_side=True)
    url = faulty.url.replace("http:", "https:")
    with pytest.raises(ChainUnavailableError, match="cannot reach"):
        node(url).chain_id()  # an unknown certificate
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    asking = node(url)
    assert asking.chain_id() == 31337
    faulty.drip_s, faulty.drip_head = DEADLINE_S / 8, True
    started = time.monotonic()
    with pytest.raises(ChainUnavailableError, match="in time"):
        asking.chain_id()
    assert time.monotonic() - started < 5 * DEADLINE_S


def test_an_answer_without_end_is_not_read_to_it(faulty: FaultyNode) -> None:
    asking = node(faulty.url)
    faulty.pad = 90_000
    assert asking.chain_id() == 31337
    faulty.pad = 120_000
    with pytest.raises(NodeRefusedError, match="its answer is too large"):
        asking.chain_id()


def test_deadlines_of_two_threads_do_not_mix(faulty: FaultyNode) -> None:
    patient = Node(speak_over(HttpNode(faulty.url, deadline_s=30)))
    faulty.drip_s = 0.01
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(patient.chain_id()))
    thread.start()
    hasty = Node(speak_over(HttpNode(faulty.url, deadline_s=0.1)))
    with pytest.raises(ChainUnavailableError):
        hasty.chain_id()
    thread.join(20)
    assert answers == [31337]


def test_no_timer_is_left_behind(faulty: FaultyNode) -> None:
    asking = node(faulty.url)
    for _ in range(20):
        asking.chain_id()
    end = time.monotonic() + 5
    while any(isinstance(thread, threading.Timer) for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_redirection_is_not_followed(
    faulty: FaultyNode, contracts: Contracts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(handler: object) -> None:
        handler.rfile.read(int(handler.headers["Content-Length"]))  # type: ignore[attr-defined]
        handler.send_response(307)  # type: ignore[attr-defined]
        handler.send_header("Location", contracts.chain.url)  # type: ignore[attr-defined]
        handler.send_header("Content-Length", "0")  # type: ignore[attr-defined]
        handler.end_headers()  # type: ignore[attr-defined]

    monkeypatch.setattr(faulty.RequestHandlerClass, "do_POST", elsewhere)
    with pytest.raises(ChainUnavailableError, match="HTTP 307"):
        node(faulty.url).chain_id()


def test_the_next_node_is_asked_when_somebody_turns(faulty: FaultyNode, contracts: Contracts) -> None:
    now = [0.0]
    web3 = speak_over(Failover([HttpNode(faulty.url), HttpNode(contracts.chain.url)], monotonic=lambda: now[0]))
    asking = Node(web3)
    first, second = faulty.url.removesuffix("/secret-token"), contracts.chain.url
    faulty.down = True
    with pytest.raises(ChainUnavailableError, match=first):
        asking.chain_id()
    assert asking.place == first, "never in the middle of a piece of work"
    turn_to_next(web3)
    assert (asking.place, asking.chain_id()) == (second, 31337)
    prefer_first(web3)
    assert asking.place == second
    now[0] += BACK_AFTER_S
    prefer_first(web3)
    assert asking.place == first

    alone = open_node(faulty.url)
    turn_to_next(alone)
    assert Node(alone).place == first
