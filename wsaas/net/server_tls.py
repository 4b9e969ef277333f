"""Server TLS: certificates by host name, client certificates, and reloading both.

``tls:`` and ``ssl:`` endpoints differ only in how their files are named. This module parses both, so that it sets the
versions, ciphers and options of TLS, and can replace certificates while connections stay open. Beneath TLS is an
ordinary endpoint, and :meth:`ServerTls.wrap` puts TLS on top of what it accepts.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509Store, X509StoreFlags
from OpenSSL.crypto import Error as CryptoError
from twisted.internet.endpoints import quoteStringArgument
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from wsaas.net.descriptions import TLS, options_of
from wsaas.net.pem import PrivateKey, private_key, reasons, split_pem

_log = Logger()

#: The ciphers of TLS 1.2 in Mozilla's intermediate configuration (Server Side TLS 5.7), without DHE, which would need
#: parameters, and which no known client of TLS 1.2 insists on. The ciphers of TLS 1.3 are all good.
CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    b"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
#: Key exchange groups: first one that a quantum computer does not break (OpenSSL's default), then those of the same
#: configuration; without OpenSSL's slow ones (X448, P-521, finite fields). The second list is for OpenSSL before 3.5.
GROUPS = (b"X25519MLKEM768 / X25519:P-256:P-384", b"X25519:P-256:P-384")
#: No session tickets: their key would live as long as the process, and decrypt recorded traffic of TLS 1.2.
#: No preference among good ciphers: the client knows which of them its hardware supports.
_OPTIONS = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET

_ALLOWED = "PEM files that this process can read, with a certificate, its chain, and its private key without passphrase"


class TlsError(Exception):
    """A certificate file that cannot be used.

    :param path: the file or folder
    :param reason: what is wrong with it
    :param allowed: what would be right
    """

    def __init__(self, path: Path, reason: str, allowed: str = _ALLOWED) -> None:
        super().__init__(f"{path}: {reason}")
        self.allowed = allowed


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A certificate with its private key and chain.

    :param path: the file of the certificate
    :param key: its private key
    :param chain: the certificate and its issuers in order, without the root
    :param names: the host names that it is valid for, in lower case; ``*`` stands for one label
    """

    path: Path
    key: PrivateKey
    chain: tuple[x509.Certificate, ...]
    names: tuple[bytes, ...]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsError(path, error.strerror or str(error)) from error
    except ValueError as error:  # a zero byte in the name
        raise TlsError(path, str(error)) from error


def _private_key(path: Path) -> PrivateKey:
    try:
        return private_key(_read(path))
    except ValueError as error:
        raise TlsError(path, str(error)) from error


def _certificate(pem: bytes) -> x509.Certificate:
    """Parse a certificate completely.

    :raises Exception: of many kinds, if it is damaged
    """
    certificate = x509.load_pem_x509_certificate(pem)
    # cryptography parses most of it only on access.
    certificate.public_key()
    _ = (certificate.subject, certificate.issuer, certificate.not_valid_after_utc, certificate.extensions)
    # OpenSSL, which serves it in the end, refuses some that cryptography accepts.
    X509.from_cryptography(certificate)
    return certificate


def _certificates(path: Path) -> list[x509.Certificate]:
    found = []
    for number, block in enumerate(split_pem(_read(path)), 1):
        # Python would show a warning only once, and name a line of this module.
        with warnings.catch_warnings(record=True) as complaints:
            warnings.simplefilter("always")
            try:
                found.append(_certificate(block))
            except Exception as error:
                raise TlsError(path, f"certificate {number} in it is damaged") from error
        for complaint in dict.fromkeys(str(complaint.message) for complaint in complaints):
            _log.warn("{path}: certificate {number} in it: {complaint}", path=path, number=number, complaint=complaint)
    return found


def _chain(path: Path, key: PrivateKey, certificates: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """Put certificates in the order in which they are sent (RFC 5246 §7.4.2), whatever the order in the file."""
    public = key.public_key()
    own = [certificate for certificate in certificates if certificate.public_key() == public]
    if not own:
        raise TlsError(path, "its private key is of none of the certificates" if certificates else "no certificate")
    chain = [max(own, key=lambda certificate: certificate.not_valid_after_utc)]
    # Clients have the roots themselves.
    rest = [one for one in certificates if one not in own and one.issuer != one.subject]
    while True:
        issuer = next((one for one in rest if one.subject == chain[-1].issuer), None)
        if issuer is None:
            break
        chain.append(issuer)
        rest = [one for one in rest if one.subject != issuer.subject]
    if rest:
        raise TlsError(path, f"{rest[0].subject.rfc4514_string()} did not sign any of the chain")
    return tuple(chain)


def _names(certificate: x509.Certificate) -> tuple[bytes, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(name.lower().encode() for name in names.get_values_for_type(x509.DNSName))


def _server_certificate(key_path: Path, path: Path, *more: Path) -> ServerCertificate:
    """Read a certificate, its private key, and the rest of its chain from further files."""
    key = _private_key(key_path)
    certificates = [certificate for file in (path, *more) for certificate in _certificates(file)]
    chain = _chain(path, key, certificates)
    return ServerCertificate(path, key, chain, _names(chain[0]))


def _is_default(path: Path) -> bool:
    # In a folder of credentials, systemd puts the folder's name in front.
    return path.stem == "default" or path.stem.endswith("_default")


def _folder(folder: Path) -> list[ServerCertificate]:
    """:returns: all certificates in a folder and below it, the default first"""
    try:
        next(folder.iterdir(), None)
    except (OSError, ValueError) as error:
        raise TlsError(folder, getattr(error, "strerror", None) or str(error)) from error
    files = [
        path
        for path in folder.rglob("*.pem")
        # A name with a leading dot is a temporary file, or another path to the same file.
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not files:
        raise TlsError(folder, "no .pem file in it")
    return [_server_certificate(path, path) for path in sorted(files, key=lambda path: (not _is_default(path), path))]


def _authorities(path: Path) -> list[x509.Certificate]:
    found = _certificates(path)
    if not found:
        raise TlsError(path, "no certificate in it", "caCerts=, a PEM file of certificates")
    return found


def _http(_: SSL.Connection, offered: list[bytes]) -> Any:
    """Choose HTTP/1.1 by ALPN (RFC 7301); ignore a client that offers only other protocols."""
    return b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _set_groups(context: SSL.Context) -> None:
    # pyOpenSSL's own method sets a single group, with which most handshakes take another round trip.
    lib: Any = vars(SSL)["_lib"]
    mine: Any = vars(context)["_context"]
    if not any(lib.SSL_CTX_set1_curves_list(mine, groups) == 1 for groups in GROUPS):
        raise RuntimeError("OpenSSL knows none of the groups")
    lib.ERR_clear_error()


def _context(certificate: ServerCertificate, authorities: Sequence[x509.Certificate]) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(_OPTIONS)
    # Free the buffers of idle connections.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"wsaas")
    context.set_cipher_list(CIPHERS)
    _set_groups(context)
    context.set_alpn_select_callback(_http)
    try:
        context.use_certificate(certificate.chain[0])
        context.use_privatekey(certificate.key)
        for issuer in certificate.chain[1:]:
            context.add_extra_chain_cert(issuer)
        context.check_privatekey()
    except (SSL.Error, CryptoError) as error:  # such as a key of 1024 bits
        raise TlsError(certificate.path, reasons(error)) from error
    if authorities:
        store = cast(X509Store, context.get_cert_store())
        for authority in authorities:
            store.add_cert(X509.from_cryptography(authority))
            context.add_client_ca(authority)
        # Trust each certificate in the file, even one that is not a root.
        store.set_flags(X509StoreFlags.PARTIAL_CHAIN)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    return context


def _switch(by_name: Mapping[bytes, SSL.Context | None], connection: SSL.Connection) -> None:
    """Use the certificate for the server name that the client sends (RFC 6066 §3), if there is one."""
    name = (connection.get_servername() or b"").lower().removesuffix(b".")
    context = by_name[name] if name in by_name else by_name.get(b"*." + name.partition(b".")[2])
    if context is not None:
        connection.set_context(context)


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """The TLS of an endpoint.

    :param where: the endpoint, for the log
    :param read: reads the certificates; the first is the default, for clients that send no name or an unknown one
    :param ca: PEM file of the certificates, or their issuers, that clients must show; :data:`None`: clients need none
    :raises TlsError: if the files cannot be used
    """

    _log = Logger()

    def __init__(self, where: str, read: Callable[[], Sequence[ServerCertificate]], ca: Path | None = None) -> None:
        self._where = where
        self._read = read
        self._ca = ca
        self._certificates, self._default = self._load()

    def _load(self) -> tuple[Sequence[ServerCertificate], SSL.Context]:
        certificates = self._read()
        authorities = () if self._ca is None else _authorities(self._ca)
        contexts = [_context(certificate, authorities) for certificate in certificates]
        default = contexts[0]
        # Of two for the same name, use the one that is valid longer. None stands for the default, which is set already.
        by_name: dict[bytes, SSL.Context | None] = {}
        for certificate, context in sorted(
            zip(certificates, contexts, strict=True), key=lambda pair: pair[0].chain[0].not_valid_after_utc
        ):
            by_name.update(dict.fromkeys(certificate.names, None if context is default else context))
            # OpenSSL may call the default's callback again after the switch (RFC 8446 §4.1.4), so keep the default
            # alive.
            if context is not default:
                context.set_app_data(default)
        if len(contexts) > 1:
            default.set_tlsext_servername_callback(partial(_switch, by_name))
        return certificates, default

    def reload(self) -> bool:
        """Reload the files, for new connections. If they cannot be used, the old certificates stay in use.

        :returns: whether they could be used
        """
        try:
            self._certificates, self._default = self._load()
        except TlsError as error:
            self._log.error(
                "{where}: the certificates were not reloaded, and the old ones stay: {why}",
                where=self._where,
                why=str(error),
            )
            return False
        self._log.info(
            "{where}: certificates reloaded: {count}, the first expires {when}",
            where=self._where,
            count=len(self._certificates),
            when=self.expires.date().isoformat(),
        )
        return True

    @property
    def expires(self) -> datetime:
        """When the first of its certificates expires."""
        return min(each.chain[0].not_valid_after_utc for each in self._certificates)

    @property
    def shown(self) -> str:
        """The certificate for clients that name no host, for the log: its names, until when it is valid, and others."""
        first, *others = self._certificates
        names = b", ".join(first.names[:3]).decode("ascii", "backslashreplace")
        when = first.chain[0].not_valid_after_utc.date().isoformat()
        more = f", and {len(others)} more" if others else ""
        return f"certificate of {names or first.path.name} until {when}{more}"

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:  # noqa: ARG002 - the interface has it
        """Make the TLS side of an accepted connection."""
        return SSL.Connection(self._default)

    def wrap(self, factory: IProtocolFactory, reactor: Any) -> IProtocolFactory:
        """Put TLS beneath protocols.

        :param factory: makes the protocols that get the decrypted bytes
        :param reactor: for timers
        :returns: a factory of protocols for the encrypted bytes, over any stream transport
        """
        wrapped: IProtocolFactory = TLSMemoryBIOFactory(self, False, factory, reactor)
        return wrapped


#: What OpenSSL's reasons mean here.
_MEANT = {
    "http request": "plain HTTP on a port with TLS",
    "wrong version number": "something else than TLS",
    "peer did not return a certificate": "no client certificate, which caCerts= asks for",
    "certificate verify failed": "a client certificate that caCerts= does not allow",
}


def why_no_tls(error: SSL.Error) -> str:
    """:returns: why a client that tried got no TLS"""
    said = reasons(error)
    return next((meaning for reason, meaning in _MEANT.items() if reason in said), said)


def unwrap(description: str) -> tuple[str, ServerTls | None]:
    """Split an endpoint description into TLS and what is beneath it.

    :param description: without ``haproxy:`` in front
    :returns: the description of the endpoint beneath TLS, and the TLS, if there is any
    :raises ValueError: if an option is missing, unknown or not supported
    :raises TlsError: if a file cannot be used
    """
    if description.partition(":")[0] not in TLS:
        return description, None
    kind, options = options_of(description)
    for name in ("sslmethod", "dhParameters"):
        if name in options:
            raise ValueError(f"not {name}=, TLS is 1.2 or 1.3 with ciphers that need none")
    ca = Path(options["caCerts"]) if "caCerts" in options else None
    read: Callable[[], Sequence[ServerCertificate]]
    if kind == "tls":
        if not options.get("path"):
            raise ValueError("no folder")  # which must not be the current one
        read = partial(_folder, Path(options["path"]))
    else:
        if "port" not in options or not options.get("privateKey"):
            raise ValueError("no port" if "port" not in options else "no privateKey=")
        key = Path(options["privateKey"])
        files = [Path(options.get("certKey") or key)]
        if "extraCertChain" in options:
            files.append(Path(options["extraCertChain"]))
        read = lambda: [_server_certificate(key, *files)]  # noqa: E731 - typed above, for both branches
    beneath = {
        "port": options.get("port", "443"),
        "interface": options.get("interface", "::" if kind == "tls" else ""),
        **({"backlog": options["backlog"]} if "backlog" in options else {}),
    }
    said = ":".join(f"{name}={quoteStringArgument(value)}" for name, value in beneath.items())
    return f"{'tcp6' if kind == 'tls' else 'tcp'}:{said}", ServerTls(description, read, ca)
