"""Client TLS to the API: trusted authorities, our own certificate, and clear errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from OpenSSL import SSL
from OpenSSL.crypto import X509, PKey
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.error import VerifyError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    KeyPair,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from wsaas.errors import SettingsError
from wsaas.net.pem import private_key, reasons, x509_of

#: Characters of a certificate's subject that an error shows.
_LONGEST = 120
#: Why a certificate is not trusted, in words; OpenSSL's own are not accessible through pyOpenSSL.
_UNTRUSTED = {
    SSL.X509VerificationCodes.ERR_CERT_HAS_EXPIRED: "it has expired",
    SSL.X509VerificationCodes.ERR_CERT_NOT_YET_VALID: "it is not valid yet",
    SSL.X509VerificationCodes.ERR_CERT_REVOKED: "it is revoked",
    SSL.X509VerificationCodes.ERR_CERT_SIGNATURE_FAILURE: "its signature is wrong",
    SSL.X509VerificationCodes.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: "it signs itself, and API_CA does not have it",
    SSL.X509VerificationCodes.ERR_INVALID_PURPOSE: "it is not for servers",
    SSL.X509VerificationCodes.ERR_SELF_SIGNED_CERT_IN_CHAIN: "its authority is not trusted (API_CA)",
    SSL.X509VerificationCodes.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its authority is not trusted (API_CA), or the "
    "API leaves out a part of its chain",
    SSL.X509VerificationCodes.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its authority is not trusted (API_CA), or the "
    "API leaves out a part of its chain",
}


class Untrusted(Exception):
    """The server's certificate is not accepted."""


class NoHandshake(SSL.Error):
    """The TLS handshake failed, so no byte of a request was sent. Distinguishes it from OpenSSL's later errors."""


class _Shaking(SSL.Connection):
    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except SSL.Error as error:
            if type(error) is SSL.Error:  # subclasses ask for more bytes, or report the socket's errors
                raise NoHandshake(*error.args) from error
            raise


def _short(text: str) -> str:
    """Shorten text from outside before it is logged."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _subject(certificate: X509) -> str:
    try:
        return _short(certificate.to_cryptography().subject.rfc4514_string()) or "no subject"
    except Exception:  # noqa: BLE001 - cryptography raises many kinds
        return "a subject that cannot be read"


@implementer(IOpenSSLClientConnectionCreator)
class _Verified:
    """Verifies the certificate for one host, and tells why it does not accept one, which Twisted's own does not.

    :param options: gives Twisted's TLS options, which do the rest
    :param host: the name or the IP address (RFC 9525)
    """

    def __init__(self, options: Callable[[], IOpenSSLClientConnectionCreator], host: str) -> None:
        self._options = options
        self._host = host
        self._is_address = isIPAddress(host) or isIPv6Address(host)

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        connection: SSL.Connection = self._options().clientConnectionForTLS(protocol)
        connection.__class__ = _Shaking  # it is pyOpenSSL's own class before
        if not self._is_address:  # a literal address is no server name (RFC 6066 §3)
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        connection.set_verify(SSL.VERIFY_PEER, self._verify)
        return connection

    def _verify(self, connection: SSL.Connection, certificate: X509, number: int, depth: int, ok: int) -> bool:
        """Verify one certificate of the chain."""
        why = ""
        if not ok:
            why = _UNTRUSTED.get(number, f"OpenSSL's error {number}")
            where = f", {depth} above it" if depth else ""
            why = f"{why} ({_subject(certificate)}{where})"
        elif depth == 0:
            wanted = IPAddress_ID(self._host) if self._is_address else DNS_ID(self._host)
            try:
                verify_service_identity(extract_patterns(certificate.to_cryptography()), [wanted], [])
            except (VerificationError, CertificateError):  # the latter if it has no names at all
                why = f"it is not for {self._host} ({_subject(certificate)})"
            except Exception as error:  # noqa: BLE001 - OpenSSL accepts some that cryptography cannot parse
                why = f"it cannot be read: {_short(str(error))}"
        if why:
            # The app data is the protocol, which fails the connection attempt with it.
            connection.get_app_data().failVerification(Failure(Untrusted(why)))
        return not why


def _usable(read: Callable[[bytes], dict[str, Any]], path: Path) -> dict[str, Any]:
    """:returns: what a parser makes of a PEM file: options of Twisted's TLS clients

    :raises ValueError: if it cannot be used
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(error.strerror) from error
    try:
        options = read(content)
        # OpenSSL checks some of it only here.
        optionsForClientTLS("localhost", **options)
    except ValueError:
        raise
    except Exception as error:  # OpenSSL raises many kinds
        raise ValueError(f"not usable: {reasons(error)}") from error
    return options


def _authorities(pem: bytes) -> dict[str, Any]:
    return {"trustRoot": trustRootFromCertificates(map(Certificate, x509_of(pem)))}


def _ours(pem: bytes) -> dict[str, Any]:
    own, *chain = x509_of(pem)
    key = KeyPair(PKey.from_cryptography_key(private_key(pem)))
    try:
        certificate = PrivateCertificate.fromCertificateAndKeyPair(Certificate(own), key)
    except VerifyError as error:
        raise ValueError("its private key is not that of the first certificate in it") from error
    options: dict[str, Any] = {"clientCertificate": certificate}
    if chain:
        options["extraCertificateOptions"] = {"extraCertChain": chain}
    return options


#: Reads ``API_CA``, a PEM file of certificates.
read_authorities = partial(_usable, _authorities)
#: Reads ``API_CERT``, a PEM file of our certificate, its chain and its private key.
read_certificate = partial(_usable, _ours)


@implementer(IPolicyForHTTPS)
class ApiTrust:
    """The TLS settings of connections to the API, which can be reloaded.

    :param ca: PEM file of the trusted certificates; :data:`None` for the system's roots
    :param certificate: PEM file of our certificate, its chain and its private key, if the API asks for one
    :raises SettingsError: if either cannot be used
    """

    _log = Logger()

    def __init__(self, ca: Path | None, certificate: Path | None) -> None:
        files = (("API_CA", ca, read_authorities), ("API_CERT", certificate, read_certificate))
        self._files = [(name, path, read) for name, path, read in files if path is not None]
        self._options = self._load()
        self._made: IOpenSSLClientConnectionCreator | None = None

    @property
    def has_files(self) -> bool:
        """Whether there are files to reload."""
        return bool(self._files)

    def check(self) -> None:
        """Check that TLS works at all: a callback from OpenSSL needs memory that is both writable and executable.

        :raises MemoryError: if this process may not have such memory, as with ``MemoryDenyWriteExecute=`` of systemd
        """
        SSL.Context(SSL.TLS_CLIENT_METHOD).set_verify(SSL.VERIFY_PEER, lambda *_: False)

    def _load(self) -> dict[str, Any]:
        options = {}
        for name, path, read in self._files:
            try:
                options.update(read(path))
            except ValueError as error:
                raise SettingsError(name, str(path), "a readable PEM file", str(error)) from error
        return options

    def reload(self) -> bool:
        """Reload the files, for new connections. If one cannot be used, the old ones stay in use.

        :returns: whether they could be used
        """
        try:
            self._options = self._load()
        except SettingsError as error:
            self._log.error("not reloaded, and what was read before stays: {why}", why=str(error))
            return False
        self._made = None
        ours: PrivateCertificate | None = self._options.get("clientCertificate")
        self._log.info(
            "reloaded: {names}{when}",
            names=" and ".join(name for name, _, _ in self._files),
            when="" if ours is None else f", which expires {_expiry(ours)}",
        )
        return True

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:  # noqa: ARG002 - the interface has a port
        """Verify this host, and this host only (RFC 9525). Files reloaded later apply to the result, too."""
        host = hostname.decode("ascii")
        return cast(IOpenSSLClientConnectionCreator, _Verified(self._creator, host))

    def _creator(self) -> IOpenSSLClientConnectionCreator:
        """:returns: what makes connections to any host; who it is is verified by :class:`_Verified`"""
        if self._made is None:
            # With a host's own name Twisted refuses one with an underscore.
            self._made = optionsForClientTLS("localhost", sendServerName=False, **self._options)
        return self._made


def _expiry(certificate: PrivateCertificate) -> str:
    # By OpenSSL, which parses some that cryptography does not: YYYYMMDDhhmmssZ.
    original: X509 = certificate.original
    when = (original.get_notAfter() or b"").decode("ascii")
    return f"{when[:4]}-{when[4:6]}-{when[6:8]}"
