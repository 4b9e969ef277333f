"""Certificates for tests, made when they are needed."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: What a certificate's key is for: to sign certificates, or handshakes (RFC 5280 §4.2.1.3).
_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


class Authority:
    """A certificate authority of a test's own.

    :param name: its subject
    :param issuer: who signed its certificate; itself if not given
    """

    def __init__(self, name: str = "Authority of a test", issuer: Authority | None = None) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        #: Its own certificate, as PEM.
        signer = issuer or self
        self.certificate = signer._sign(self._subject, self._key, (), authority=True).public_bytes(Encoding.PEM)

    def issue(
        self,
        names: Sequence[str] = ("localhost",),
        addresses: Sequence[str] = (),
        *,
        days: int = 1,
        since: int = -10,
        bits: int = 0,
        units: Sequence[str] = (),
        alternatives: bool = True,
    ) -> tuple[bytes, bytes]:
        """Make a certificate.

        :param names: the DNS names that it is for; the first is its subject
        :param addresses: the IP addresses that it is for
        :param days: from now until it expires; negative for one that has
        :param since: days from now until it becomes valid
        :param bits: of an RSA key; 0 for one of an elliptic curve
        :param units: of an organisation, in its subject
        :param alternatives: whether it is for all of them; else its subject is all that names anything
        :returns: the certificate and its private key, each as PEM
        """
        key = rsa.generate_private_key(65537, bits) if bits else ec.generate_private_key(ec.SECP256R1())
        named = [*map(x509.DNSName, names), *(x509.IPAddress(ip_address(address)) for address in addresses)]
        parts = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
        subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, [*names, *addresses][0])])
        certificate = self._sign(subject, key, named if alternatives else (), days=days, since=since)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), private

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
        alternatives: Sequence[x509.GeneralName],
        *,
        authority: bool = False,
        days: int = 1,
        since: int = -10,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=since))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            # Some who verify insist on these (RFC 5280 §4.2.1).
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(_usage("key_cert_sign" if authority else "digital_signature"), critical=True)
        )
        if authority:
            builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        else:
            purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return builder.sign(self._key, SHA256())


def _usage(use: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name == use for name in _USES})


def encrypted(key: bytes, *, traditional: bool = False) -> bytes:
    """:returns: a private key that has a passphrase

    :param traditional: in the form that OpenSSL had before PKCS 8
    """
    form = PrivateFormat.TraditionalOpenSSL if traditional else PrivateFormat.PKCS8
    return load_pem_private_key(key, None).private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret"))


def changed(pem: bytes, place: int, change: int) -> bytes:
    """:returns: PEM of which one byte is another, within its encoding"""
    begin, *lines, end = pem.splitlines(keepends=True)
    der = bytearray(b64decode(b"".join(lines)))
    der[place % len(der)] ^= change
    return b"%b%b\n%b" % (begin, b64encode(der), end)


def name_of_no_string(pem: bytes) -> bytes:
    """:returns: a certificate with a UTCTime in its issuer's name, which cryptography takes and OpenSSL does not"""
    der = b64decode(b"".join(pem.splitlines()[1:-1]))
    # The type of the attribute, commonName (RFC 5280 §4.1.2.4), and the tag of its value, UTF8String.
    return changed(pem, der.index(b"\x06\x03\x55\x04\x03\x0c") + 5, 0x0C ^ 0x17)


def key_on_no_curve(pem: bytes) -> bytes:
    """:returns: a certificate whose public key is no point (SEC 1 §2.3.3), which shows only when it is asked for"""
    der = b64decode(b"".join(pem.splitlines()[1:-1]))
    # BIT STRING, its length, no unused bits, and the form of the point.
    return changed(pem, der.index(b"\x03\x42\x00\x04") + 3, 0x01)


def serial_below_zero(pem: bytes) -> bytes:
    """:returns: a certificate that some authorities did issue, though RFC 5280 §4.1.2.2 forbids it"""
    der = b64decode(b"".join(pem.splitlines()[1:-1]))
    # Behind the version, INTEGER and its length.
    return changed(pem, der.index(b"\xa0\x03\x02\x01\x02\x02") + 7, 0x80)


def version_11(pem: bytes) -> bytes:
    """:returns: a certificate of a version that there is none of, which is not a ValueError to cryptography"""
    place = b64decode(b"".join(pem.splitlines()[1:-1])).index(b"\xa0\x03\x02\x01\x02") + 4
    return changed(pem, place, 2 ^ 10)


def self_signed(name: str = "localhost") -> tuple[bytes, bytes]:
    """Make a certificate that signs itself, valid for a day.

    :param name: its subject, and the one DNS name that it is for
    :returns: the certificate and its private key, each as PEM
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), private
