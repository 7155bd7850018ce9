"""Connecting: each thing that can be wrong has one line that says which and what to do; a node may answer anything."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from anvil import Contracts, Wire
from hexbytes import HexBytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trigpoint.chain.abi import DEVICE_REGISTRY, TRANSPARENCY_LOG
from trigpoint.chain.client import check_contracts, connect
from trigpoint.chain.errors import ChainUnavailableError, RevertedError
from trigpoint.chain.keys import load_account
from trigpoint.chain.node import Node, checksum
from trigpoint.errors import OperatorError
from trigpoint_tools import localchain
from trigpoint_tools.localchain import LocalChain


class FakeServer(ThreadingHTTPServer):
    """Answers every request with the same status and body."""

    status = 200
    body = b""


class Handler(BaseHTTPRequestHandler):
    server: FakeServer

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def url(server: FakeServer) -> str:
    return f"http://user:secret@127.0.0.1:{server.server_port}/v3/secret?key=secret"


def assert_helpful(error: OperatorError, *words: str) -> None:
    text = str(error)
    assert "\n" not in text
    assert "secret" not in text
    for word in words:
        assert word in text, text


def test_the_right_node_and_contracts(contracts: Contracts) -> None:
    web3 = connect(contracts.chain.url, contracts.chain_id)
    check_contracts(web3, contracts.registry, contracts.log)
    assert connect(contracts.chain.url).eth.chain_id == contracts.chain_id


def test_a_node_that_is_not_there() -> None:
    with pytest.raises(ChainUnavailableError) as caught:
        connect("http://127.0.0.1:1/v3/secret", 1)
    assert_helpful(caught.value, "cannot reach", "http://127.0.0.1:1", "chain.rpc_url")


def test_a_node_of_another_chain(contracts: Contracts) -> None:
    with pytest.raises(OperatorError) as caught:
        connect(contracts.chain.url, 1)
    assert not isinstance(caught.value, ChainUnavailableError), "to try again would not help"
    assert_helpful(caught.value, "chain 31337, not 1", "chain.rpc_url", "chain.chain_id")


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>a web site</html>", "is no node"),
        (200, b"[]", "nonsense"),
        (200, b'{"jsonrpc":"2.0","id":0,"result":null}', "nonsense"),
        (200, b'{"jsonrpc":"2.0","id":0,"result":"0xzz"}', "nonsense"),
        (200, b'{"jsonrpc":"2.0","id":0,"error":{"code":1,"message":"no\\nmore"}}', "refused eth_chainId: no more"),
        (401, b"", "HTTP 401"),
        (429, b"", "HTTP 429"),
        (503, b"", "HTTP 503"),
    ],
)
def test_what_answers_is_no_good_node(server: FakeServer, status: int, body: bytes, said: str) -> None:
    server.status, server.body = status, body
    with pytest.raises(ChainUnavailableError) as caught:
        connect(url(server), 1)
    assert_helpful(caught.value, said, f"127.0.0.1:{server.server_port}")


def test_a_missing_or_wrong_contract(contracts: Contracts) -> None:
    registry, log, nowhere = contracts.registry, contracts.log, b"\x11" * 20
    for addresses, said in [
        ((nowhere, log), "chain.device_registry, or run `trigpoint chain deploy --gateway DIR`"),
        ((registry, nowhere), "chain.transparency_log, or run `trigpoint chain deploy --gateway DIR`"),
        ((registry, registry), "is no TransparencyLog"),
        ((log, log), "is no TransparencyLog for the registry"),
    ]:
        with pytest.raises(OperatorError) as caught:
            check_contracts(contracts.web3, *addresses)
        assert_helpful(caught.value, said)
        assert not isinstance(caught.value, ChainUnavailableError)


def test_the_key_file(tmp_path: Path) -> None:
    key = "11" * 32
    path = tmp_path / "chain.key"
    with pytest.raises(OperatorError, match="cannot read the key file"):
        load_account(path)
    path.write_text(key + "\n")
    for mode in (0o640, 0o604, 0o660):
        path.chmod(mode)
        with pytest.raises(OperatorError, match="chmod 600") as caught:
            load_account(path)
        assert key not in str(caught.value)
    path.chmod(0o600)
    assert load_account(path).address == "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
    for bad in ("", "zz" * 32, key + "11", "00" * 32, "ff" * 32):
        path.write_text(bad)
        with pytest.raises(OperatorError, match="does not hold a secp256k1 key") as caught:
            load_account(path)
        assert not bad or bad not in str(caught.value)


def test_anvil_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(localchain, "_ANVIL", tmp_path / "anvil")
    with pytest.raises(OperatorError, match="run make setup"):
        LocalChain().start()


def test_a_local_chain_stops_as_a_whole_and_starts_where_it_was() -> None:
    with LocalChain() as chain:
        account = chain.account(ether=3)
        assert chain.web3.eth.get_balance(account.address) == 3 * 10**18
        port = int(chain.url.rsplit(":", 1)[1])
        chain.stop()
        chain.stop()
        with pytest.raises(ChainUnavailableError, match="cannot reach"):
            connect(chain.url)
        chain.start(port)
        assert connect(chain.url).eth.block_number == 0


def test_custom_errors_are_named(contracts: Contracts) -> None:
    data = TRANSPARENCY_LOG.call("anchor", bytes(32), 1, bytes(32), [])
    request: Any = {"from": contracts.account.address, "to": checksum(contracts.log), "data": HexBytes(data)}
    with pytest.raises(RevertedError) as caught:
        contracts.node.estimate_gas(request, TRANSPARENCY_LOG)
    assert caught.value.name == "NotLogWriter"
    assert caught.value.arguments[1] == contracts.account.address.lower()


@given(st.binary(max_size=200))
def test_results_and_errors_of_any_bytes(data: bytes) -> None:
    for interface, function in ((TRANSPARENCY_LOG, "heads"), (TRANSPARENCY_LOG, "logs"), (DEVICE_REGISTRY, "name")):
        interface.error(data)
        with suppress(ValueError):
            interface.result(function, data)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.binary(max_size=40).map(lambda data: "0x" + data.hex())
    | st.integers(0, 2**70).map(hex),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "number",
                    "hash",
                    "timestamp",
                    "baseFeePerGas",
                    "status",
                    "blockNumber",
                    "blockHash",
                    "gasUsed",
                    "logs",
                    "transactionHash",
                    "contractAddress",
                    "address",
                    "topics",
                    "data",
                    "logIndex",
                    "error",
                    "message",
                ]
            ),
            inner,
            max_size=8,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answer=JSON, member=st.sampled_from(["result", "error"]))
def test_a_lying_node_gets_our_own_errors_only(answer: object, member: str) -> None:
    wire = Wire("http://127.0.0.1:1/secret")
    wire.make_request = lambda method, params: {"jsonrpc": "2.0", "id": 1, member: json.loads(json.dumps(answer))}  # type: ignore[method-assign]
    node = Node(wire.web3)
    for ask in (
        node.chain_id,
        node.head,
        node.block,
        lambda: node.has_code(bytes(20)),
        lambda: node.balance(bytes(20)),
        lambda: node.nonce(bytes(20), pending=True),
        lambda: node.receipt(bytes(32)),
        lambda: node.knows(bytes(32)),
        lambda: node.logs(bytes(20), [[bytes(32)]], 0, 5),
        lambda: node.call(TRANSPARENCY_LOG, bytes(20), "heads", bytes(32)),
        lambda: node.estimate_gas({}, TRANSPARENCY_LOG),
        node.priority_fee,
        node.gas_price,
        lambda: node.send(b"raw"),
    ):
        try:
            ask()  # type: ignore[operator]
        except (ChainUnavailableError, RevertedError) as error:
            assert_helpful(error)
