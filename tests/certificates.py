"""Certificates for tests, made when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
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
        alternatives: bool = True,
    ) -> tuple[bytes, bytes]:
        """Make a certificate.

        :param names: the DNS names that it is for; the first is its subject
        :param addresses: the IP addresses that it is for
        :param days: from now until it expires; negative for one that has
        :param since: days from now until it becomes valid
        :param bits: of an RSA key; 0 for one of an elliptic curve
        :param alternatives: whether it is for all of them; else its subject is all that names anything
        :returns: the certificate and its private key, each as PEM
        """
        key = rsa.generate_private_key(65537, bits) if bits else ec.generate_private_key(ec.SECP256R1())
        named = [*map(x509.DNSName, names), *(x509.IPAddress(ip_address(address)) for address in addresses)]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, [*names, *addresses][0])])
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
