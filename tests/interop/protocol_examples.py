"""The worked examples of docs/protocol.md sections 13 to 15, made by the gateway's code from the page's inputs."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from samples import SampleLog
from trigpoint.log import checkpoint, tree
from trigpoint.log.merkle import leaf_hash
from trigpoint.wire import ack, cbor, command, keys, manifest, permit, receipt, statement
from trigpoint.wire.command import Command, Kind
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.manifest import File, Manifest
from trigpoint.wire.permit import Permit
from trigpoint.wire.receipt import Anchor
from trigpoint.wire.statement import Reading
from trigpoint.wire.trust import Trust

# Inputs, as on the page.
BOARD_SECRET = bytes.fromhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721")
LINK_SECRET = bytes(range(1, 33))
OWNER_SECRET = bytes(range(0x21, 0x41))
LOG_SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
OPENER = bytes.fromhex("f39fd6e51aad88f6f4ce6ab8827279cfffb92266")
OWNER = bytes.fromhex("70997970c51812dc3a010c7d01b50e0d17dc79c8")
REGISTRY = bytes.fromhex("5fbdb2315678afecb367f032d93f642f64180aa3")
LOG_CONTRACT = bytes.fromhex("e7f1725e7734ce288f8367e1bb143e90bb3f0512")
CHAIN_ID = 31337
TRANSACTION = bytes(range(0x20, 0x40))
BLOCK = 17
METADATA_HASH = hashlib.sha256(b"{}").digest()
DEADLINE = 1_767_312_000
COUNTER = 7
CONFIGURATION = b'{"version":1}'
START = b"def start():\n    print('hello')\n"
VERSION = 2
FAMILY = "esp32-xtensawin"
ACK_SEQ = 1
ACK_TIME_MS = 1_767_229_201_500

# seq, oldest, base time, readings
STATEMENTS: tuple[tuple[int, int, int | None, tuple[Reading, ...]], ...] = (
    (0, 0, None, (Reading("temperature", "Cel", 2156, -2, -3),)),
    (
        1,
        0,
        1_767_225_600,
        (
            Reading("temperature", "Cel", 2150, -2, 0),
            Reading("humidity", "%RH", 5512, -2, 0),
            Reading("pressure", "Pa", 1_013_250, -1, 0),
            Reading("temperature", "Cel", 2143, -2, 3600),
        ),
    ),
    (2, 2, 1_767_232_800, (Reading("outdoor/temperature", "Cel", -5, -2, 0), Reading("door", "count", 7, 0, 60))),
)

BOARD_PRIVATE = ec.derive_private_key(int.from_bytes(BOARD_SECRET, "big"), ec.SECP256R1())
OWNER_PRIVATE = ec.derive_private_key(int.from_bytes(OWNER_SECRET, "big"), ec.SECP256R1())
LINK_PRIVATE = ec.derive_private_key(int.from_bytes(LINK_SECRET, "big"), ec.SECP256R1())
LOG_PRIVATE = Ed25519PrivateKey.from_private_bytes(LOG_SECRET)
BOARD, LINK = PublicKey.of(BOARD_PRIVATE), PublicKey.of(LINK_PRIVATE)
OWNER_PUBLIC = PublicKey.of(OWNER_PRIVATE)
UPDATE = Manifest(VERSION, FAMILY, (1, 24, 0), 1, (File.of("trig/__init__.py", b""), File.of("trig/start.py", START)))
LOG_KEY = LOG_PRIVATE.public_key().public_bytes_raw()
LOG_ID = checkpoint.log_id(OPENER, LOG_KEY)
TRUST = Trust(CHAIN_ID, REGISTRY, LOG_CONTRACT, LOG_ID, LOG_KEY)


def statements() -> list[bytes]:
    """Return the three statements, each with the hash of the one before."""
    made: list[bytes] = []
    for seq, oldest, base_time, readings in STATEMENTS:
        prev = hashlib.sha256(made[-1]).digest() if made else statement.NO_PREV
        made.append(
            statement.build(
                kid=BOARD.kid, seq=seq, prev=prev, oldest=oldest, base_time=base_time, readings=readings,
                sign=lambda message: keys.sign(BOARD_PRIVATE, message),
            )
        )  # fmt: skip
    return made


def hexadecimal() -> dict[str, bytes]:
    """Return each example that the page gives in hexadecimal digits, by its name."""
    raws = statements()
    entries = [hashlib.sha256(raw).digest() for raw in raws]
    log = SampleLog()
    log.append([leaf_hash(entry) for entry in entries])
    path = tree.inclusion_proof(log.tiles, 1, 3)
    unsigned = Permit(OWNER, BOARD.x, BOARD.y, METADATA_HASH, DEADLINE, bytes(32), bytes(32))
    ack_key = ack.derive_key(LINK_PRIVATE, BOARD)
    parsed = statement.parse(raws[1])
    anchor = Anchor(CHAIN_ID, LOG_CONTRACT, 3, log.root, TRANSACTION, BLOCK)
    file = receipt.build(
        statement_raw=raws[1], board_key=BOARD, log_id=LOG_ID, size=3, index=1, path=path, root=log.root,
        anchor=anchor, sign=LOG_PRIVATE.sign,
    )  # fmt: skip
    return {
        "board-key": cbor.encode(BOARD.to_cose()),
        "board-id": BOARD.kid,
        "statement-0": raws[0],
        "statement-1": raws[1],
        "statement-1-signed": parsed.to_be_signed(),
        "statement-2": raws[2],
        "link-key": LINK.x + LINK.y,
        "ack-secret": LINK_PRIVATE.exchange(ec.ECDH(), BOARD.key),
        "ack-info": b"trig/1/ack" + BOARD.kid + LINK.kid,
        "ack-key": ack_key,
        "ack": ack.seal(ack_key, ACK_SEQ, ACK_TIME_MS),
        "permit-digest": permit.digest(CHAIN_ID, REGISTRY, unsigned),
        "permit-signature": keys.sign(BOARD_PRIVATE, permit.message(CHAIN_ID, REGISTRY, unsigned)),
        "log-key": LOG_KEY,
        "log-id": LOG_ID,
        "entries": b"".join(entries),
        "leaves": log.tiles[0, 0],
        "root": log.root,
        "inclusion-path": b"".join(path),
        "consistency-proof": b"".join(tree.consistency_proof(log.tiles, 1, 3)),
        "receipt-signed": receipt.parse(file).to_be_signed(log.root),
        "receipt": file,
        "owner-key": OWNER_PUBLIC.x + OWNER_PUBLIC.y,
        "command": command.seal(OWNER_PRIVATE, Command(BOARD.kid, COUNTER, Kind.CONFIGURATION, CONFIGURATION)),
        "manifest": UPDATE.encode(),
        "request": cbor.encode({1: UPDATE.files[1].digest, 2: 13, 3: 2048}),
        "piece": manifest.piece(manifest.Request(UPDATE.files[1].digest, 13, 2048), START),
    }


def texts() -> dict[str, str]:
    """Return each example that the page gives as text."""
    return {
        "checkpoint": checkpoint.sign(LOG_ID, LOG_PRIVATE, 3, hexadecimal()["root"]),
        "trust.json": TRUST.to_json(),
    }
