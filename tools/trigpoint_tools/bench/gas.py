"""What the contracts cost: gas of real transactions on a local chain that has the P-256 precompile.

Everything is signed and encoded by the gateway's own wire code. The big trees are never built: a consistency proof
from m leaves needs m's peaks (the roots of its complete subtrees) and the new leaves, an inclusion proof needs the
path, and hashes that nobody opens may as well be random.

`verify_statement_gas` is what a whole transaction is charged that does nothing but call verifyStatement: 21,000, the
calldata, and all execution with every slot and address cold, or the floor that EIP-7623 sets for its calldata if that
is more. It is the dearest way to ask, which is why it bears the name. A contract that asks pays
`verify_statement_execution_gas`, and somebody who only wants to know (eth_call) pays nothing.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from trigpoint.chain.abi import DEVICE_REGISTRY, TRANSPARENCY_LOG, Interface
from trigpoint.chain.deploy import deploy
from trigpoint.log.merkle import leaf_hash, node_hash, root_from_inclusion
from trigpoint.wire import keys, permit, statement

from trigpoint_tools.localchain import CHAIN_ID, LocalChain

SEED = 20
ANCHORS = 20
BATCH = 20
SAMPLES = 6
LEVELS = 20
"""Height of the tree that a statement is proved in: 2^20 leaves."""

# EVM code: copy what follows this code into memory, note the gas, STATICCALL with it, return the answer's word and the
# gas that went.
_METER = "60<length>38038060<length>5f395a60205f835f73<to>5afa5a9190500360205260405ff3"

_GAS_LIMIT = hex(15_000_000)

Hashes = dict[tuple[int, int], bytes]


class GasError(Exception):
    """A transaction that should have succeeded did not, so that its gas means nothing."""


@dataclass(frozen=True)
class _Bench:
    """The contracts on a local chain, and an account that the node signs for."""

    chain: LocalChain
    account: str
    registry: str
    log: str

    def gas(self, interface: Interface, function: str, *arguments: object) -> int:
        """Send a transaction and return the gas that it was charged; raises GasError if it did not succeed."""
        data = interface.call(function, *arguments)
        request = {"from": self.account, "to": self._address(interface), "data": "0x" + data.hex(), "gas": _GAS_LIMIT}
        transaction = self.chain.rpc("eth_sendTransaction", request)
        receipt = self.chain.web3.eth.wait_for_transaction_receipt(transaction, poll_latency=0.01)
        if receipt["status"] != 1:
            raise GasError(f"{function} was refused")
        return int(receipt["gasUsed"])

    def execution_gas(self, interface: Interface, function: str, *arguments: object) -> int:
        """Return what the call costs a contract that makes it, and check that it answers true.

        The asking contract is the creation code of an eth_call: it calls with what follows it in the code, everything
        cold, and returns the answer and the gas that the call took, with less than 30 gas of its own.
        """
        meter = _METER.replace("<to>", self._address(interface)[2:].lower())
        code = meter.replace("<length>", f"{len(meter.replace('<length>', '00')) // 2:02x}")
        data = interface.call(function, *arguments)
        result = bytes.fromhex(self.chain.rpc("eth_call", {"data": "0x" + code + data.hex()}, "latest")[2:])
        if int.from_bytes(result[:32], "big") != 1:
            raise GasError(f"{function} did not answer true")
        return int.from_bytes(result[32:], "big")

    def _address(self, interface: Interface) -> str:
        return self.registry if interface is DEVICE_REGISTRY else self.log

    def open_log(self, key: bytes) -> bytes:
        """Open a log and return its id (docs/protocol.md section 9)."""
        self.gas(TRANSPARENCY_LOG, "open", key)
        return hashlib.sha256(bytes.fromhex(self.account[2:]).rjust(32, b"\x00") + key).digest()


def figures(report: Callable[[str], None]) -> dict[str, int | float]:
    """Measure and return the gas figures; `report` gets a line for each part.

    Raises:
        GasError: a contract refused what it should take.
        OperatorError: Anvil is not installed or does not start.
    """
    source = random.Random(SEED)  # noqa: S311 - the same trees and boards each time; nothing here is secret
    with LocalChain() as chain:
        deployed = deploy(chain.web3, chain.account())
        account = chain.rpc("eth_accounts")[0]
        bench = _Bench(chain, account, deployed.device_registry, deployed.transparency_log)
        results: dict[str, int | float] = {"deploy_gas": deployed.gas_used}
        for measure in (_anchoring, _registering, _verifying):
            measured = measure(bench, source)
            report(", ".join(f"{name} {value:,}" for name, value in measured.items()))
            results.update(measured)
    return results


def _anchoring(bench: _Bench, source: random.Random) -> dict[str, int]:
    costs = []
    for _ in range(ANCHORS):
        log_id = bench.open_log(source.randbytes(32))
        old = source.randrange(1 << LEVELS, 1 << LEVELS + 1)
        new = old + source.randint(100, 200)
        tree = _tree(old, new, source)
        bench.gas(TRANSPARENCY_LOG, "anchor", log_id, old, _root(tree, 0, old), [])
        proof = _consistency(tree, old, 0, new, whole=True)
        costs.append(bench.gas(TRANSPARENCY_LOG, "anchor", log_id, new, _root(tree, 0, new), proof))
    return {"anchor_gas_1m": round(fmean(costs)), "anchor_gas_1m_max": max(costs)}


def _tree(old: int, new: int, source: random.Random) -> Hashes:
    """Return hashes of subtrees (from, to): the old tree's peaks, random, and each new leaf."""
    tree: Hashes = {}
    start = 0
    for level in range(old.bit_length() - 1, -1, -1):
        if old >> level & 1:
            tree[start, start + (1 << level)] = source.randbytes(32)
            start += 1 << level
    tree.update({(leaf, leaf + 1): source.randbytes(32) for leaf in range(old, new)})
    return tree


def _split(start: int, end: int) -> int:
    """Return where RFC 9162 splits the tree over the leaves [start, end)."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def _root(tree: Hashes, start: int, end: int) -> bytes:
    """Return the root over the leaves [start, end) (RFC 9162 section 2.1.1)."""
    if (start, end) in tree:
        return tree[start, end]
    middle = _split(start, end)
    return node_hash(_root(tree, start, middle), _root(tree, middle, end))


def _consistency(tree: Hashes, old: int, start: int, end: int, *, whole: bool) -> list[bytes]:
    """Return the proof that the tree over [start, end) extends its leaves below `old` (RFC 9162 section 2.1.4.1)."""
    if old == end:
        return [] if whole else [_root(tree, start, end)]
    middle = _split(start, end)
    if old <= middle:
        return [*_consistency(tree, old, start, middle, whole=whole), _root(tree, middle, end)]
    return [*_consistency(tree, old, middle, end, whole=False), _root(tree, start, middle)]


def _registering(bench: _Bench, source: random.Random) -> dict[str, int]:
    owner = bytes.fromhex(bench.account[2:])
    permits = [_permit(bench, _board(source), owner, source.randbytes(32)) for _ in range(BATCH + 2)]
    first = bench.gas(DEVICE_REGISTRY, "register", permits[0])
    second = bench.gas(DEVICE_REGISTRY, "register", permits[1])
    batch = bench.gas(DEVICE_REGISTRY, "registerBatch", permits[2:])
    return {"register_first_gas": first, "register_gas": second, "register_batch_gas_each": round(batch / BATCH)}


def _board(source: random.Random) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(source.randrange(1, keys.ORDER), ec.SECP256R1())


def _permit(bench: _Bench, board: ec.EllipticCurvePrivateKey, owner: bytes, metadata_hash: bytes) -> tuple[object, ...]:
    """Return a permit as the contract's struct."""
    key = keys.PublicKey.of(board)
    deadline = int(bench.chain.web3.eth.get_block("latest")["timestamp"]) + 3_600
    unsigned = permit.Permit(owner, key.x, key.y, metadata_hash, deadline, bytes(32), bytes(32))
    digest = permit.digest(CHAIN_ID, bytes.fromhex(bench.registry[2:]), unsigned)
    r, s = decode_dss_signature(board.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
    low_s = min(s, keys.ORDER - s)
    return owner, key.x, key.y, metadata_hash, deadline, r.to_bytes(32, "big"), low_s.to_bytes(32, "big")


def _verifying(bench: _Bench, source: random.Random) -> dict[str, int]:
    board = _board(source)
    key = keys.PublicKey.of(board)
    bench.gas(DEVICE_REGISTRY, "register", _permit(bench, board, bytes.fromhex(bench.account[2:]), bytes(32)))
    signed = statement.parse(_statement(board, source))
    index = source.randrange(1 << LEVELS)
    path = [source.randbytes(32) for _ in range(LEVELS)]
    root = root_from_inclusion(leaf_hash(signed.entry), index, 1 << LEVELS, path)
    log_id = bench.open_log(source.randbytes(32))
    bench.gas(TRANSPARENCY_LOG, "anchor", log_id, 1 << LEVELS, root, [])

    r, s = signed.signature[:32], signed.signature[32:]
    arguments = (log_id, (signed.protected, signed.payload, r, s, key.x, key.y), index, path)
    return {
        "verify_statement_execution_gas": bench.execution_gas(TRANSPARENCY_LOG, "verifyStatement", *arguments),
        "verify_statement_gas": bench.gas(TRANSPARENCY_LOG, "verifyStatement", *arguments),
    }


def _statement(board: ec.EllipticCurvePrivateKey, source: random.Random) -> bytes:
    """Return a statement of the default batch: six hourly samples of temperature, humidity and pressure."""
    readings = []
    for sample in range(SAMPLES):
        t = 3_600 * sample
        readings += [
            statement.Reading("temperature", "Cel", source.randint(-1_000, 3_500), -2, t),
            statement.Reading("humidity", "%RH", source.randint(2_000, 10_000), -2, t),
            statement.Reading("pressure", "Pa", source.randint(980_000, 1_040_000), -1, t),
        ]
    return statement.build(
        kid=keys.PublicKey.of(board).kid,
        seq=10_000,
        prev=source.randbytes(32),
        oldest=10_000,
        base_time=1_800_000_000,
        readings=readings,
        sign=lambda message: keys.sign(board, message),
    )
