"""The broker's certificate, and an authority of your own that signs it (RFC 5280)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trigpoint.errors import OperatorError

AUTHORITY_LIFE = timedelta(days=7_305)
"""Twenty years: the boards carry it, and outlive most."""

SERVER_LIFE = timedelta(days=1_096)
"""Three years. `doctor` and an alert say so a month before it ends."""

RENEW_BEFORE = timedelta(days=366)
"""A certificate with less than that to go is made anew when the set-up is made again."""

_BACKDATED = timedelta(days=2)
"""So that a board whose clock is behind accepts a certificate made today."""


@dataclass(frozen=True)
class Identity:
    """A private key and its certificate, both PEM."""

    key: bytes
    certificate: bytes

    def loaded(self) -> x509.Certificate:
        """Return the certificate. Raises OperatorError if it is none."""
        return load_certificate(self.certificate)


def load_certificate(pem: bytes) -> x509.Certificate:
    """Read a certificate in PEM. Raises OperatorError if it is none."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise OperatorError(f"that is no PEM certificate: {error}") from error


def make_authority(name: str, now: datetime) -> Identity:
    """Make an authority that can sign server certificates and no other authority.

    Its key is P-256, which every ESP32 verifies.

    Args:
        name: for people.
        now: an aware time.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _begin(subject, subject, key, now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Identity(_pem(key), certificate.public_bytes(Encoding.PEM))


def make_server(authority: Identity, names: list[str], now: datetime) -> Identity:
    """Make a server's key and certificate, signed by `authority`.

    Args:
        authority: from `make_authority`.
        names: host names and IP addresses under which clients reach the server, the main one first.
        now: an aware time.

    Raises:
        OperatorError: the authority's files are damaged, or a name is none.
    """
    issuer = authority.loaded()
    try:
        issuer_key = load_pem_private_key(authority.key, password=None)
    except (ValueError, TypeError) as error:
        raise OperatorError("the authority's key is not an unencrypted PEM private key") from error
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise OperatorError("the authority's key is not one that this command made")
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    key = ec.generate_private_key(ec.SECP256R1())
    life = min(SERVER_LIFE, issuer.not_valid_after_utc - now)
    certificate = (
        _begin(_subject(names[0]), issuer.subject, key, now, life)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return Identity(_pem(key), certificate.public_bytes(Encoding.PEM))


def serves(server: Identity, authority: Identity, names: list[str], now: datetime) -> bool:
    """Tell whether `server` is signed by `authority`, has its own key, covers all `names`, and will a while longer."""
    try:
        certificate = server.loaded()
        certificate.verify_directly_issued_by(authority.loaded())
        key = load_pem_private_key(server.key, password=None)
        covered = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        wanted = {_general(name) for name in names}
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature, OperatorError):
        return False
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        return False
    return wanted <= set(covered) and certificate.not_valid_after_utc - now > RENEW_BEFORE


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    now = now.astimezone(UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + life)
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name.encode("idna").decode())
    except (UnicodeError, ValueError) as error:
        raise OperatorError(f"{name!r} is no host name: give the one under which boards reach the broker") from error


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
