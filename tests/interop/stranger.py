"""A stranger's verifier: docs/protocol.md and the RFCs in one file that shares no code with Trigpoint.

    python tests/interop/stranger.py receipt.cose trust.json

It makes the seven checks of section 11, prints one line for each, and exits with 0 only if all hold. It needs
Python's standard library and the `cryptography` package. If it ever disagrees with Trigpoint's own verifier on a file,
one of the two, or the page, is wrong.
"""

import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.hashes import SHA256

N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class NotAReceipt(Exception):
    """The file breaks section 1, 3, 4 or 10."""


def need(condition: object, what: str) -> None:
    if not condition:
        raise NotAReceipt(what)


# Section 1: deterministic CBOR. Items come back as (kind, value), so that 1, true and 4([0, 1]) stay apart.


def read_item(data: bytes, at: int, depth: int = 0) -> tuple[Any, int]:
    need(at < len(data) and depth < 10, "CBOR ends early, or is too deep")
    major, low = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        need(low == 22, "a simple value other than null, or a float")
        return ("null", None), at
    need(low < 28, "an indefinite or reserved length")
    number = low
    if low >= 24:
        width = 2 ** (low - 24)
        number = int.from_bytes(data[at : at + width], "big")
        need(at + width <= len(data), "CBOR ends early")
        need(number >= (24, 2**8, 2**16, 2**32)[low - 24], "a number that is not as short as it could be")
        at += width
    if major == 0:
        return ("int", number), at
    if major == 1:
        return ("int", -1 - number), at
    if major in (2, 3):
        need(at + number <= len(data), "a string longer than the data")
        body = data[at : at + number]
        return (("bytes", body) if major == 2 else ("text", body)), at + number
    if major == 6:
        item, at = read_item(data, at, depth + 1)
        return ("tag", (number, item)), at
    need(number <= len(data) - at, "more items than bytes")
    items = []
    if major == 4:
        for _ in range(number):
            item, at = read_item(data, at, depth + 1)
            items.append(item)
        return ("array", items), at
    keys = []
    for _ in range(number):
        start = at
        key, at = read_item(data, at, depth + 1)
        keys.append(data[start:at])
        item, at = read_item(data, at, depth + 1)
        items.append((key, item))
    need(keys == sorted(set(keys)), "map keys out of order or twice")
    return ("map", items), at


def read_whole(data: bytes) -> Any:
    item, end = read_item(data, 0)
    need(end == len(data), "bytes after the end")
    return item


def want(item: Any, kind: str, what: str) -> Any:
    need(item[0] == kind, f"{what} is not of type {kind}")
    return item[1]


def want_bytes(item: Any, length: int, what: str) -> bytes:
    value: bytes = want(item, "bytes", what)
    need(len(value) == length, f"{what} is not {length} bytes long")
    return value


def want_uint(item: Any, limit: int, what: str) -> int:
    value: int = want(item, "int", what)
    need(0 <= value < limit, f"{what} is out of range")
    return value


def want_map(item: Any, required: set[int], optional: set[int], what: str) -> dict[int, Any]:
    pairs = {want(key, "int", what): value for key, value in want(item, "map", what)}
    need(required <= set(pairs) <= required | optional, f"{what} has other labels than it may have")
    return pairs


def want_sign1(data: bytes, what: str) -> list[Any]:
    number, item = want(read_whole(data), "tag", what)
    need(number == 18, f"{what} has another tag than 18")
    parts: list[Any] = want(item, "array", what)
    need(len(parts) == 4, f"{what} has not four parts")
    return parts


def byte_string(body: bytes) -> bytes:
    """The encoding of a byte string shorter than 65,536."""
    if len(body) < 24:
        return bytes((0x40 + len(body),)) + body
    if len(body) < 256:
        return bytes((0x58, len(body))) + body
    return b"\x59" + len(body).to_bytes(2, "big") + body


def sig_structure(protected: bytes, payload: bytes) -> bytes:
    return b"\x84\x6aSignature1" + byte_string(protected) + b"\x40" + byte_string(payload)


# Sections 3 and 4: the statement.


def read_statement_header(protected: bytes) -> dict[int, Any]:
    header = want_map(read_whole(protected), {1, 3, 4, -65537, -65538, -65539}, set(), "protected header")
    need(want(header[1], "int", "alg") == -7, "alg is not ES256")
    need(want(header[3], "int", "content type") == 112, "content type is not SenML")
    seq = want_uint(header[-65537], 2**32, "seq")
    prev = want_bytes(header[-65538], 32, "prev")
    need(seq > 0 or prev == bytes(32), "prev is not zeros at seq 0")
    want_uint(header[-65539], seq + 1, "oldest")
    return {"kid": want_bytes(header[4], 32, "kid"), "seq": seq}


def check_pack(payload: bytes) -> list[str]:
    records = want(read_whole(payload), "array", "pack")
    need(1 <= len(records) <= 255, "pack has not 1 to 255 records")
    shown = []
    base = None
    for place, item in enumerate(records):
        record = want_map(item, {0, 1, 2}, {6, -3} if place == 0 else {6}, "record")
        if -3 in record:
            base = want_uint(record[-3], 2**33, "bt")
            need(base >= 2**28, "bt is below 2^28")
        name, unit = want(record[0], "text", "n"), want(record[1], "text", "u")
        need(re.fullmatch(rb"[A-Za-z0-9][-A-Za-z0-9:./_]{0,63}", name), "n")
        need(re.fullmatch(rb"[ -~]{1,16}", unit), "u")
        exponent, value = 0, record[2]
        if value[0] == "tag":
            need(value[1][0] == 4, "v has another tag than 4")
            parts = want(value[1][1], "array", "v")
            need(len(parts) == 2, "v is not [exponent, mantissa]")
            exponent, value = want(parts[0], "int", "exponent"), parts[1]
            need(-18 <= exponent <= 0, "exponent is not -18 to 0")
        mantissa = want(value, "int", "v")
        need(abs(mantissa) <= 2**31 - 1, "v is out of range")
        t = 0
        if 6 in record:
            t = want(record[6], "int", "t")
            need(t != 0 and abs(t) < 2**28, "t is out of range")
            need((t > 0) == (base is not None), "t has the wrong sign")
        shown.append(f"{name.decode()} {mantissa}e{exponent} {unit.decode()} at {t if base is None else base + t}")
    return shown


# Section 10: the receipt file.


def read_file(data: bytes) -> dict[str, Any]:
    need(len(data) <= 16_384, "the file has more than 16,384 bytes")
    protected_item, unprotected, payload_item, signature_item = want_sign1(data, "file")
    protected, payload = want(protected_item, "bytes", "protected header"), want(payload_item, "bytes", "payload")
    signature = want_bytes(signature_item, 64, "signature")
    statement = b"\xd2\x84" + byte_string(protected) + b"\xa0" + byte_string(payload) + byte_string(signature)
    need(len(statement) <= 4_096, "the statement has more than 4,096 bytes")
    header = read_statement_header(protected)
    shown = check_pack(payload)

    labels = want_map(unprotected, {394, -65540}, set(), "unprotected header")
    cose_key = want_map(labels[-65540], {1, -1, -2, -3}, set(), "board key")
    need(want(cose_key[1], "int", "kty") == 2 and want(cose_key[-1], "int", "crv") == 1, "the key is not on P-256")
    x, y = want_bytes(cose_key[-2], 32, "x"), want_bytes(cose_key[-3], 32, "y")
    try:
        board_key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)
    except ValueError:
        raise NotAReceipt("the board key is not a point on the curve") from None

    receipts = want(labels[394], "array", "receipts")
    need(len(receipts) == 1, "there is not exactly one receipt")
    log_protected_item, proofs_item, detached, log_signature = want_sign1(
        want(receipts[0], "bytes", "receipt"), "receipt"
    )
    want(detached, "null", "the receipt's payload")
    log_protected = want(log_protected_item, "bytes", "the receipt's protected header")
    log_header = want_map(read_whole(log_protected), {1, 4, 395}, {-65541}, "the receipt's protected header")
    need(want(log_header[1], "int", "alg") == -8, "the receipt's alg is not EdDSA")
    need(want(log_header[395], "int", "vds") == 1, "the receipt's tree is not RFC9162_SHA256")
    anchor = None
    if -65541 in log_header:
        fields = want_map(log_header[-65541], {1, 2, 3, 4, 5, 6}, set(), "anchor")
        anchor = {
            "chain_id": want_uint(fields[1], 2**64, "anchor's chain id"),
            "contract": want_bytes(fields[2], 20, "anchor's contract"),
            "size": want_uint(fields[3], 2**48, "anchor's size"),
            "root": want_bytes(fields[4], 32, "anchor's root"),
        }
        want_bytes(fields[5], 32, "anchor's transaction")
        want_uint(fields[6], 2**64, "anchor's block")
        need(anchor["chain_id"] and anchor["size"], "anchor without a chain or a size")

    proofs = want_map(proofs_item, {396}, set(), "the receipt's unprotected header")
    inclusion = want(want_map(proofs[396], {-1}, set(), "proofs")[-1], "array", "inclusion proofs")
    need(len(inclusion) == 1, "there is not exactly one inclusion proof")
    proof = want(read_whole(want(inclusion[0], "bytes", "inclusion proof")), "array", "inclusion proof")
    need(len(proof) == 3, "the inclusion proof is not [size, index, path]")
    path = [want_bytes(node, 32, "path node") for node in want(proof[2], "array", "path")]
    need(len(path) <= 48, "the path has more than 48 nodes")
    return {
        "protected": protected, "payload": payload, "signature": signature, "statement": statement, "shown": shown,
        **header, "x": x, "y": y, "board_key": board_key, "anchor": anchor,
        "log_protected": log_protected, "log_id": want_bytes(log_header[4], 32, "log id"),
        "log_signature": want_bytes(log_signature, 64, "the receipt's signature"),
        "size": want_uint(proof[0], 2**48, "size"), "index": want_uint(proof[1], 2**48, "index"), "path": path,
    }  # fmt: skip


# Section 9 and RFC 9162 section 2.1.3.2.


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def inclusion_root(statement: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    if index >= size:
        return None
    fn, sn, r = index, size - 1, sha256(b"\x00", sha256(statement))
    for p in path:
        if sn == 0:
            return None
        if fn % 2 == 1 or fn == sn:
            r = sha256(b"\x01", p, r)
            while fn % 2 == 0 and fn != 0:
                fn, sn = fn // 2, sn // 2
        else:
            r = sha256(b"\x01", r, p)
        fn, sn = fn // 2, sn // 2
    return r if sn == 0 else None


def verifies(check: Callable[[], None]) -> bool:
    try:
        check()
    except InvalidSignature:
        return False
    return True


def verify(data: bytes, trust: dict[str, Any]) -> tuple[dict[str, bool], list[str]]:
    """Make the seven checks of section 11; returns them by name, and the readings as text."""
    names = ["format", "board key", "board signature", "inclusion", "log identity", "log signature", "anchor"]
    checks = dict.fromkeys(names, False)
    try:
        f = read_file(data)
    except NotAReceipt as error:
        return checks, [f"not a receipt file: {error}"]
    checks["format"] = True
    thumbprint = sha256(bytes.fromhex("a40102200121 5820"), f["x"], bytes.fromhex("22 5820"), f["y"])
    checks["board key"] = thumbprint == f["kid"]
    r, s = int.from_bytes(f["signature"][:32], "big"), int.from_bytes(f["signature"][32:], "big")
    signed, der = sig_structure(f["protected"], f["payload"]), utils.encode_dss_signature(r, s)
    checks["board signature"] = s <= N // 2 and verifies(lambda: f["board_key"].verify(der, signed, ec.ECDSA(SHA256())))
    root = inclusion_root(f["statement"], f["index"], f["size"], f["path"])
    checks["inclusion"] = root is not None
    checks["log identity"] = f["log_id"] == bytes.fromhex(trust["log_id"])
    anchor = f["anchor"]
    if root is not None:
        log_key = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(trust["log_key"]))
        signed_by_log = sig_structure(f["log_protected"], root)
        checks["log signature"] = verifies(lambda: log_key.verify(f["log_signature"], signed_by_log))
        checks["anchor"] = anchor is not None and (
            anchor["chain_id"] == trust["chain_id"]
            and anchor["contract"] == bytes.fromhex(trust["contracts"]["transparency_log"].removeprefix("0x"))
            and anchor["size"] == f["size"]
            and anchor["root"] == root
        )
    return checks, f["shown"]


def main(receipt: str, trust: str) -> int:
    checks, readings = verify(Path(receipt).read_bytes(), json.loads(Path(trust).read_text(encoding="utf-8")))
    for name, holds in checks.items():
        print(f"{'ok    ' if holds else 'FAILED'}  {name}")
    print("\n".join(readings))
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python stranger.py receipt.cose trust.json")
    sys.exit(main(sys.argv[1], sys.argv[2]))
