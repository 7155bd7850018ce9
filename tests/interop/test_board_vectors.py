"""The board's code against the vectors of the standards, and the vectors against independent libraries.

Each vector is checked twice: a library that is not ours says that the file is right, then the board has to agree.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import ecdsa
import pytest
from boardrunner import BoardError, BoardProcess
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

N = ecdsa.NIST256p.order

SETUP = """
import cborvalue as cbor
from trig import cose, hkdf, p256, p256_points, senml

def recode(data):
    return cbor.encode(cbor.decode(data))

def nonce(d, digest):
    return next(p256._nonces(d, digest)).to_bytes(32, "big")

def pack(readings, base_time, now):
    filled = senml.Pack()
    for reading in readings:
        filled.add(*reading)
    writer = cbor.Writer(bytearray(4096))
    filled.encode(writer, base_time, now)
    return writer.buffer[:writer.length]

def accepts_point(x, y):
    try:
        p256_points.ecdh(b"\\0" * 31 + b"\\1", x, y)
        return True
    except p256.P256Error:
        return False
"""


def vectors(name: str) -> Any:
    return json.loads((Path(__file__).parent / "vectors" / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess(SETUP) as process:
        yield process


def h(text: str) -> bytes:
    return bytes.fromhex(text)


def openssl_accepts(x: str, y: str, digest: str, signature: str) -> bool:
    """Whether OpenSSL takes the signature, whatever its s."""
    try:
        key = ec.EllipticCurvePublicNumbers(int(x, 16), int(y, 16), ec.SECP256R1()).public_key()
        raw = h(signature)
        if len(raw) != 64:
            return False
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        key.verify(encode_dss_signature(r, s), h(digest), ec.ECDSA(Prehashed(hashes.SHA256())))
    except (InvalidSignature, ValueError):
        return False
    return True


def ecdsa_accepts(x: str, y: str, digest: str, signature: str) -> bool:
    """Whether the ecdsa package takes the signature, whatever its s."""
    try:
        key = ecdsa.VerifyingKey.from_string(h(x + y), curve=ecdsa.NIST256p)
        return bool(key.verify_digest(h(signature), h(digest)))
    except (ecdsa.BadSignatureError, ecdsa.errors.MalformedPointError):
        return False
    except TypeError:  # the sum is the point at infinity, whose x this package takes for a number
        return False


# RFC 8949 appendix A

NOT_ON_THE_BOARD = {"float", "simple", "indefinite", "bignum"}
# Two bignums are well-formed byte strings under a tag, which is how a reader without bignums reads them.
APPENDIX_A = vectors("rfc8949_appendix_a.json")["examples"]


@pytest.mark.parametrize("example", APPENDIX_A, ids=lambda e: e["encoded"][:24])
def test_cbor_appendix_a(board: BoardProcess, example: dict[str, Any]) -> None:
    encoded = h(example["encoded"])
    known = not NOT_ON_THE_BOARD & set(example["features"])
    if known or example["features"] == ["bignum", "bytes"]:
        assert example["deterministic"]
        assert board.call("recode", encoded) == encoded
    else:
        with pytest.raises(BoardError) as error:
            board.call("recode", encoded)
        assert error.value.kind == "CborError"
    if example["encoded"] != "f8ff":  # cbor2 has no simple(255)
        value = cbor2.loads(encoded)
        if known and not isinstance(value, cbor2.CBORTag) and "tag" not in example["features"]:
            assert board.call("cborvalue.decode", encoded) == value


def test_cbor_appendix_a_is_whole() -> None:
    assert len(APPENDIX_A) == 81
    assert sum(not NOT_ON_THE_BOARD & set(example["features"]) for example in APPENDIX_A) == 39


# RFC 4231 and RFC 5869


@pytest.mark.parametrize("case", vectors("rfc4231_hmac_sha256.json")["cases"], ids=lambda c: c["mac"][:8])
def test_hmac(board: BoardProcess, case: dict[str, str]) -> None:
    key, data, mac = h(case["key"]), h(case["data"]), h(case["mac"])
    assert hmac.digest(key, data, "sha256")[: len(mac)] == mac
    assert bytes(board.call("trig.hkdf.hmac_sha256", key, data))[: len(mac)] == mac
    assert bytes(board.call("trig.hkdf.hmac_sha256", key, data[:3], b"", data[3:]))[: len(mac)] == mac


@pytest.mark.parametrize("case", vectors("rfc5869_hkdf_sha256.json")["cases"], ids=lambda c: c["okm"][:8])
def test_hkdf(board: BoardProcess, case: dict[str, str]) -> None:
    secret, salt, info, okm = h(case["ikm"]), h(case["salt"]), h(case["info"]), h(case["okm"])
    assert HKDF(hashes.SHA256(), len(okm), salt, info).derive(secret) == okm
    assert hmac.digest(salt, secret, "sha256") == h(case["prk"])
    assert board.call("trig.hkdf.hkdf", salt, secret, info, len(okm)) == okm


# RFC 6979, ECDH and our own edge cases


@pytest.mark.parametrize("message", ["sample", "test"])
def test_rfc6979(board: BoardProcess, message: str) -> None:
    vector = vectors("rfc6979_p256_sha256.json")
    case = next(item for item in vector["signatures"] if item["message"] == message)
    digest = hashlib.sha256(message.encode()).digest()
    assert int(case["k"], 16) == ecdsa.rfc6979.generate_k(N, int(vector["d"], 16), hashlib.sha256, digest)
    assert ecdsa_accepts(vector["x"], vector["y"], digest.hex(), case["r"] + case["s"])
    assert openssl_accepts(vector["x"], vector["y"], digest.hex(), case["r"] + case["s_low"])
    assert int(case["s_low"], 16) == min(int(case["s"], 16), N - int(case["s"], 16))

    assert board.call("trig.p256.public", h(vector["d"])) == [h(vector["x"]), h(vector["y"])]
    assert board.call("nonce", h(vector["d"]), digest) == h(case["k"])
    assert board.call("trig.p256.sign", h(vector["d"]), digest) == h(case["r"] + case["s_low"])


@pytest.mark.parametrize("case", vectors("ecdh_p256.json")["cases"], ids=lambda c: c["d"][:8])
def test_ecdh(board: BoardProcess, case: dict[str, str]) -> None:
    peer = ec.EllipticCurvePublicNumbers(int(case["x"], 16), int(case["y"], 16), ec.SECP256R1()).public_key()
    private = ec.derive_private_key(int(case["d"], 16), ec.SECP256R1())
    assert private.exchange(ec.ECDH(), peer) == h(case["secret"])
    assert board.call("trig.p256_points.ecdh", h(case["d"]), h(case["x"]), h(case["y"])) == h(case["secret"])


@pytest.mark.parametrize("case", vectors("p256_edge_cases.json")["signatures"], ids=lambda c: c["notes"])
def test_signature_edge_cases(board: BoardProcess, case: dict[str, Any]) -> None:
    x, y, digest, signature = case["x"], case["y"], case["digest"], case["signature"]
    low = len(signature) == 128 and int(signature[64:], 16) <= N // 2
    for accepts in (openssl_accepts, ecdsa_accepts):
        assert (low and accepts(x, y, digest, signature)) == case["valid"]
    assert board.call("trig.p256_points.verify", h(x), h(y), h(digest), h(signature)) == case["valid"]


@pytest.mark.parametrize("accepted", [True, False])
def test_point_edge_cases(board: BoardProcess, accepted: bool) -> None:
    points = vectors("p256_edge_cases.json")["points_accepted" if accepted else "points_refused"]
    for point in points:
        try:
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), h("04" + point["x"] + point["y"]))
            opinion = True
        except ValueError:
            opinion = False
        assert opinion == accepted, point["notes"]
        assert board.call("accepts_point", h(point["x"]), h(point["y"])) == accepted, point["notes"]


def test_thumbprint(board: BoardProcess) -> None:
    vector = vectors("rfc9679_thumbprint.json")
    x, y = h(vector["x"]), h(vector["y"])
    assert cbor2.loads(h(vector["hashed"])) == {1: 2, -1: 1, -2: x, -3: y}
    assert hashlib.sha256(h(vector["hashed"])).hexdigest() == vector["thumbprint"]
    assert board.call("trig.keys.thumbprint", x, y) == h(vector["thumbprint"])


# COSE working group examples


def sig_structure(message: cbor2.CBORTag) -> bytes:
    protected, _, payload, _ = message.value
    return cbor2.dumps(["Signature1", protected, b"", payload])


@pytest.mark.parametrize("case", vectors("cose_es256_sign1.json")["messages"], ids=lambda c: c["file"])
def test_sign1(board: BoardProcess, case: dict[str, Any]) -> None:
    key = vectors("cose_es256_sign1.json")["key"]
    message = cbor2.loads(h(case["message"]))
    protected, _, payload, signature = message.value
    digest = hashlib.sha256(sig_structure(message)).digest()
    assert openssl_accepts(key["x"], key["y"], digest.hex(), signature.hex()) == case["valid"]

    assert board.call("trig.cose.sign1_digest", cbor2.dumps(protected), cbor2.dumps(payload)) == digest
    assert board.call("trig.p256.public", h(key["d"])) == [h(key["x"]), h(key["y"])]
    verdict = board.call("trig.p256_points.verify", h(key["x"]), h(key["y"]), digest, signature)
    assert verdict == (case["valid"] and case["low_s"])
    if case["valid"] and not case["low_s"]:
        lower = signature[:32] + (N - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
        assert board.call("trig.p256_points.verify", h(key["x"]), h(key["y"]), digest, lower) is True


@pytest.mark.parametrize("case", vectors("cose_hmac_mac0.json")["messages"], ids=lambda c: c["file"])
def test_mac0(board: BoardProcess, case: dict[str, Any]) -> None:
    key, message = h(vectors("cose_hmac_mac0.json")["key"]), h(case["message"])
    if case["accepted"]:
        protected, unprotected, payload, mac = cbor2.loads(message).value
        assert (protected, unprotected) == (b"\xa1\x01\x04", {})
        assert hmac.digest(key, cbor2.dumps(["MAC0", protected, b"", payload]), "sha256")[:8] == mac
        assert board.call("trig.cose.mac0_open", key, message) == payload
    else:
        with pytest.raises(BoardError) as error:
            board.call("trig.cose.mac0_open", key, message)
        assert error.value.kind == "CoseError"


# RFC 8428


@pytest.mark.parametrize("example", vectors("senml_profile.json")["accepted"], ids=lambda e: e["name"])
def test_senml_accepted(board: BoardProcess, example: dict[str, Any]) -> None:
    expected = []
    for index, reading in enumerate(example["readings"]):
        value = reading["mantissa"]
        if reading["exponent"]:
            value = cbor2.CBORTag(4, [reading["exponent"], value])
        record = {0: reading["name"], 1: reading["unit"], 2: value}
        if reading["t"]:
            record[6] = reading["t"]
        if index == 0 and example["base_time"] is not None:
            record[-3] = example["base_time"]
        expected.append(record)
    assert cbor2.dumps(expected) == h(example["encoded"])

    readings = [(r["name"], r["unit"], r["mantissa"], r["exponent"], 1000 + r["t"]) for r in example["readings"]]
    assert board.call("pack", readings, example["base_time"], 1000) == h(example["encoded"])


def test_senml_section_6_is_refused(board: BoardProcess) -> None:
    example = vectors("senml_profile.json")["rejected"][0]
    assert example["section"] == "6"
    assert [record[2] for record in cbor2.loads(h(example["encoded"]))] == [120.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
    with pytest.raises(BoardError) as error:
        board.call("cborvalue.decode", h(example["encoded"]))
    assert error.value.kind == "CborError"
