"""TLS where others connect: in memory, against the clients of Python's ssl module and of pyOpenSSL."""

from __future__ import annotations

import gc
import ssl
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import _parse  # whose rules ours have to be
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import (
    Authority,
    changed,
    encrypted,
    name_of_no_string,
    self_signed,
    serial_below_zero,
    version_11,
)
from tests.descriptions import escaped
from tests.properties import moderately
from wsaas.net import server_tls as tls
from wsaas.net.descriptions import options_of
from wsaas.net.listen import Endpoint
from wsaas.net.proxy_protocol import ProxiedFactory
from wsaas.net.server_tls import CIPHERS, ServerTls, TlsError, unwrap

#: Made once: it takes a while.
_ROOT = Authority("Root")
_ISSUER = Authority("Issuer", _ROOT)
_ECDSA = _ISSUER.issue(("localhost",))
_RSA = _ISSUER.issue(("localhost",), bits=2048)


class Echo(Protocol):
    """Sends back what comes."""

    def dataReceived(self, data: bytes) -> None:
        """Write it."""
        assert self.transport is not None
        self.transport.write(data)


class Server:
    """The accepting end of a connection in memory.

    :param served: the TLS
    """

    def __init__(self, served: ServerTls) -> None:
        self.clock = Clock()
        factory: Any = served.wrap(Factory.forProtocol(Echo), self.clock)
        self.protocol: Any = factory.buildProtocol(None)
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)

    def exchange(self, data: bytes) -> bytes:
        """:returns: what it sends after it got something"""
        if data and not self.transport.disconnecting:
            self.protocol.dataReceived(data)
        self.clock.advance(0)
        sent: bytes = self.transport.value()
        self.transport.clear()
        return sent


class Client:
    """A client of Python's ssl module.

    :param server: who it talks to
    :param context: its side of TLS
    :param name: the host name that it asks for
    """

    def __init__(self, server: Server, context: ssl.SSLContext, name: str | None = "localhost") -> None:
        self._server = server
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname=name)

    def does(self, step: Callable[[], Any]) -> Any:
        """Do something, exchanging bytes while it waits for some."""
        for _ in range(20):
            try:
                result = step()
            except ssl.SSLWantReadError:
                if not self.turn():
                    raise ConnectionError("there is no more to come") from None
            else:
                self.turn()
                return result
        raise ConnectionError("this does not end")

    def turn(self) -> int:
        """:returns: how many bytes came back for those that were sent"""
        return self._in.write(self._server.exchange(self._out.read()))

    def shake(self) -> Client:
        """Shake hands, and have something sent back."""
        self.does(self.tls.do_handshake)
        self.tls.write(b"hello")
        assert self.does(lambda: self.tls.read(100)) == b"hello"
        return self


class TlsCase(SynchronousTestCase):
    """With a folder for files."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def write(self, name: str, *pem: bytes) -> Path:
        """:returns: the path of a new file"""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"".join(pem))
        return path

    def served(self, description: str | None = None) -> ServerTls:
        """:returns: the TLS of an endpoint; by default of the folder"""
        served = unwrap(description or f"tls:{self.folder}:443")[1]
        assert served is not None
        return served

    def trusting(self, authority: Authority = _ROOT) -> ssl.SSLContext:
        """:returns: a client's context"""
        return ssl.create_default_context(cadata=authority.certificate.decode())

    def shake(self, served: ServerTls, context: ssl.SSLContext | None = None, name: str | None = "localhost") -> Client:
        """:returns: a client that is connected"""
        return Client(Server(served), context or self.trusting(), name).shake()

    def refused(self, served: ServerTls, context: ssl.SSLContext | None = None) -> None:
        """A client is not let in."""
        self.assertRaises((ssl.SSLError, ConnectionError), self.shake, served, context)

    def shown(self, served: ServerTls, name: str | None) -> str:
        """:returns: the subject of the certificate that a client gets"""
        context = self.trusting()
        context.check_hostname = False
        der = self.shake(served, context, name).tls.getpeercert(binary_form=True)
        assert der is not None
        value = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        assert isinstance(value, str)
        return value

    def unusable(self, description: str) -> str:
        """:returns: what is said about files that are of no use"""
        return str(self.assertRaises(TlsError, unwrap, description))


class StrengthTests(TlsCase):
    """What a scanner finds, for every spelling of an endpoint."""

    def setUp(self) -> None:
        super().setUp()
        self.write("rsa/x.pem", *_RSA, _ISSUER.certificate)
        certificate, key = _ECDSA
        self.write("ecdsa/x.pem", key, certificate, _ISSUER.certificate)
        key_path, cert_path = self.write("key", key), self.write("cert", certificate)
        chain_path = self.write("chain", _ISSUER.certificate)
        self.both = [self.served(f"tls:{self.folder}/{kind}") for kind in ("ecdsa", "rsa")]
        self.all = [
            *self.both,
            self.served(f"ssl:443:privateKey={key_path}:certKey={cert_path}:extraCertChain={chain_path}"),
        ]

    def only(self, version: ssl.TLSVersion, ciphers: str | None = None) -> ssl.SSLContext:
        """:returns: the context of a client that speaks one version, even an obsolete one"""
        context = self.trusting()
        context.set_ciphers(ciphers or "ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version, context.maximum_version = version, version
        return context

    def test_versions(self) -> None:
        """1.2 and 1.3, and no other."""
        for served in self.all:
            for version, said in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
                self.assertEqual(self.shake(served, self.only(version)).tls.version(), said)
            for old in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
                self.refused(served, self.only(old))

    def test_the_clients_of_these_tests(self) -> None:
        """Would get in with what is refused above, if the server let them."""
        self.patch(tls, "CIPHERS", b"ALL:@SECLEVEL=0")
        self.patch(SSL, "TLS1_2_VERSION", SSL.TLS1_VERSION)
        lax = self.served(f"tls:{self.folder}/rsa")
        for old, said in ((ssl.TLSVersion.TLSv1, "TLSv1"), (ssl.TLSVersion.TLSv1_1, "TLSv1.1")):
            self.assertEqual(self.shake(lax, self.only(old)).tls.version(), said)
        for weak in ("AES128-SHA", "AES256-GCM-SHA384", "ECDHE-RSA-AES256-SHA"):
            self.shake(lax, self.only(ssl.TLSVersion.TLSv1_2, f"{weak}:@SECLEVEL=0"))

    def test_ciphers(self) -> None:
        """Of all that this client knows, each alone, those of the list are accepted, and no other."""
        every = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        every.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
        known = {cipher["name"] for cipher in every.get_ciphers() if cipher["protocol"] != "TLSv1.3"}
        good = set(CIPHERS.decode().split(":"))
        self.assertTrue(good < known)
        accepted = set()
        for served in self.both:
            for name in sorted(known):
                try:
                    context = self.only(ssl.TLSVersion.TLSv1_2, f"{name}:@SECLEVEL=0")
                    accepted.add(self.shake(served, context).tls.cipher())
                except (ssl.SSLError, ConnectionError):
                    pass
        self.assertEqual({cipher[0] for cipher in accepted if cipher}, good)

    def test_ciphers_of_1_3(self) -> None:
        """With authentication and 128 bits at least."""
        for served in self.all:
            cipher = self.shake(served, self.only(ssl.TLSVersion.TLSv1_3)).tls.cipher()
            assert cipher is not None
            self.assertIn(
                cipher[0], ("TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256")
            )

    def test_groups(self) -> None:
        """Each alone, the good ones are accepted and others not; of all together, the hybrid one."""
        ecdsa, rsa = self.both
        good = (b"X25519", b"P-256", b"P-384")
        # In 1.2, a certificate is one more thing that takes a curve.
        for served, version, hybrid in (
            (rsa, SSL.TLS1_2_VERSION, ()),
            (rsa, SSL.TLS1_3_VERSION, (b"X25519MLKEM768",)),
            (ecdsa, SSL.TLS1_3_VERSION, (b"X25519MLKEM768",)),
        ):
            for group in (*good, *hybrid):
                client = self.limited(version, group)
                self.pump(Server(served), client, client.do_handshake)
            for group in (b"P-521", b"X448"):
                client = self.limited(version, group)
                error = self.assertRaises(SSL.Error, self.pump, Server(served), client, client.do_handshake)
                self.assertIn("alert handshake failure", str(error))
        for served in self.all:
            server, client = Server(served), self.limited(SSL.TLS1_3_VERSION, None)
            self.pump(server, client, client.do_handshake)
            self.assertEqual(client.get_group_name(), "X25519MLKEM768")

    def limited(self, version: int, group: bytes | None) -> SSL.Connection:
        """:returns: a client of pyOpenSSL's that speaks one version, with one key exchange or all of OpenSSL's list"""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        lib: Any = vars(SSL)["_lib"]
        if group is not None:
            self.assertEqual(lib.SSL_CTX_set1_curves_list(context._context, group), 1, group)
        client = SSL.Connection(context)
        client.set_connect_state()
        return client

    def test_an_older_openssl(self) -> None:
        """One that does not know the hybrid key exchange has the others."""
        self.patch(tls, "GROUPS", (b"unknown", *tls.GROUPS[1:]))
        served = self.served(f"tls:{self.folder}/rsa")
        server, client = Server(served), self.limited(SSL.TLS1_3_VERSION, None)
        self.pump(server, client, client.do_handshake)
        self.assertEqual(client.get_group_name(), "x25519")
        self.patch(tls, "GROUPS", (b"unknown",))
        self.assertRaises(RuntimeError, self.served, f"tls:{self.folder}/rsa")

    def test_compression(self) -> None:
        """None (CRIME)."""
        for served in self.all:
            context = self.only(ssl.TLSVersion.TLSv1_2)
            context.options &= ~ssl.OP_NO_COMPRESSION
            self.assertIsNone(self.shake(served, context).tls.compression())

    def test_resumption(self) -> None:
        """None, whose keys would live as long as the process."""
        for served in self.all:
            context = self.only(ssl.TLSVersion.TLSv1_2)
            first = self.shake(served, context).tls
            self.assertFalse(first.session is not None and first.session.has_ticket)

    def raw(self, served: ServerTls) -> tuple[Server, SSL.Connection]:
        """:returns: a client of pyOpenSSL's that has shaken hands, with TLS 1.2, and who it talks to"""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        client = SSL.Connection(context)
        client.set_connect_state()
        server = Server(served)
        self.pump(server, client, client.do_handshake)
        return server, client

    def pump(self, server: Server, client: SSL.Connection, step: Callable[[], object]) -> None:
        """Do something until it no longer waits for bytes."""
        for _ in range(10):
            try:
                step()
            except SSL.WantReadError:
                client.bio_write(server.exchange(client.bio_read(65536)))
            else:
                return
        self.fail("it waits for ever")

    def test_renegotiation(self) -> None:
        """A client that wants it hears that there is none; it costs more than it costs to ask."""
        for served in self.all:
            server, client = self.raw(served)
            client.renegotiate()
            error = self.assertRaises(SSL.Error, self.pump, server, client, client.do_handshake)
            self.assertIn("no renegotiation", str(error))

    def test_chain(self) -> None:
        """All but the root, the certificate first."""
        for served in self.all:
            chain = self.raw(served)[1].get_peer_cert_chain(as_cryptography=True)
            assert chain is not None
            names = [one.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value for one in chain]
            self.assertEqual(names, ["localhost", "Issuer"])

    def test_protocols(self) -> None:
        """HTTP/1.1, whatever else is offered; who offers others alone gets no answer to that, and HTTP/1.1."""
        for offered, chosen in ((["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["h2"], None)):
            for served in self.all:
                context = self.trusting()
                context.set_alpn_protocols(offered)
                self.assertEqual(self.shake(served, context).tls.selected_alpn_protocol(), chosen)


class NameTests(TlsCase):
    """Which certificate a client gets."""

    def issue(self, file: str, *names: str, days: int = 1) -> None:
        """Put a certificate with its chain into the folder."""
        self.write(file, *_ISSUER.issue(names, days=days), _ISSUER.certificate)

    def test_by_name(self) -> None:
        """That in the certificate, whatever the file is called; in any case, with the root's dot or without."""
        self.issue("1.pem", "a.example", "b.example")
        self.issue("2.pem", "c.example")
        self.issue("deeper/3.pem", "d.example")
        served = self.served()
        for asked, got in (
            ("a.example", "a.example"),
            ("b.example", "a.example"),
            ("C.Example", "c.example"),
            ("d.example", "d.example"),
        ):
            self.assertEqual(self.shown(served, asked), got)

    def test_what_the_log_says(self) -> None:
        """Names, until when, and how many others; the file if there is no name."""
        self.issue("1.pem", "a.example", "b.example", days=2)
        self.assertRegex(self.served().shown, r"^certificate of a\.example, b\.example until 20\d\d-\d\d-\d\d$")
        self.issue("2.pem", "c.example")
        self.assertRegex(self.served().shown, r"^certificate of a\.example.* until \S+, and 1 more$")

    def test_wildcards(self) -> None:
        """For one label, after the very name."""
        self.issue("1.pem", "first.example")
        self.issue("2.pem", "*.a.example")
        self.issue("3.pem", "x.a.example")
        served = self.served()
        for asked, got in (
            ("y.a.example", "*.a.example"),
            ("x.a.example", "x.a.example"),
            ("a.example", "first.example"),
            ("z.y.a.example", "first.example"),
        ):
            self.assertEqual(self.shown(served, asked), got)

    def test_the_default(self) -> None:
        """The first file, unless one is called default, also by systemd; with its own names as any other."""
        self.issue("1.pem", "a.example")
        self.issue("2.pem", "b.example")
        for default in ("a.example", "c.example", "d.example"):
            if default == "c.example":
                self.issue("tls_default.pem", default)
            elif default == "d.example":
                (self.folder / "tls_default.pem").unlink()
                self.issue("default.pem", default)
            served = self.served()
            for asked in (None, "unknown.example", default):
                self.assertEqual(self.shown(served, asked), default)
            self.assertEqual(self.shown(served, "b.example"), "b.example")

    def test_the_same_name_twice(self) -> None:
        """That which is valid longer, so that the old one may lie there still."""
        self.issue("1.pem", "old.example", "a.example", days=2)
        self.issue("2.pem", "new.example", "a.example", days=3)
        self.issue("3.pem", "older.example", "a.example", days=1)
        self.assertEqual(self.shown(self.served(), "a.example"), "new.example")

    def test_one_file(self) -> None:
        """Needs no names at all."""
        certificate, key = _ISSUER.issue((), ("192.0.2.1",))
        self.write("x.pem", key, certificate, _ISSUER.certificate)
        self.assertEqual(self.shown(self.served(), "a.example"), "192.0.2.1")

    def test_order_in_the_file(self) -> None:
        """Does not matter, and the root may be there; it is not sent."""
        certificate, key = _ECDSA
        self.write("x.pem", _ROOT.certificate, _ISSUER.certificate, key, certificate)
        self.shake(self.served())

    def test_a_self_signed_one(self) -> None:
        """Beside its own key, it is a certificate like any other."""
        certificate, key = self_signed()
        self.write("x.pem", certificate, key)
        self.shake(self.served(), ssl.create_default_context(cadata=certificate.decode()))

    def test_hidden_files(self) -> None:
        """Are not read: they are being written, or Kubernetes keeps them."""
        self.issue("x.pem", "a.example")
        self.write(".x.pem", b"half of it")
        self.write("..2026/x.pem", b"another way to it")
        self.assertEqual(self.shown(self.served(), "a.example"), "a.example")


class FileTests(TlsCase):
    """Files that are of no use: each is named, with the reason."""

    def test_folder(self) -> None:
        """None, no folder, empty, or not readable."""
        self.assertIn("no .pem file", self.unusable(f"tls:{self.folder}:443"))
        self.assertIn("No such file", self.unusable(f"tls:{self.folder}/x:443"))
        self.assertIn("Not a directory", self.unusable(f"tls:{self.write('file')}:443"))

        def denied(_: Path) -> None:
            raise PermissionError(13, "Permission denied")

        self.patch(Path, "iterdir", denied)
        self.assertIn(f"{self.folder}: Permission denied", self.unusable(f"tls:{self.folder}:443"))

    def test_unreadable(self) -> None:
        """As for an account that may not."""
        path = self.write("x.pem", *_ECDSA)

        def denied(_: Path) -> bytes:
            raise PermissionError(13, "Permission denied")

        self.patch(Path, "read_bytes", denied)
        for description in (f"tls:{self.folder}:443", f"ssl:443:privateKey={path}"):
            self.assertEqual(f"{path}: Permission denied", self.unusable(description))

    def test_contents(self) -> None:
        """Of a file in a folder; the same is true of those that ``ssl:`` names."""
        (certificate, key), (other, other_key) = _ECDSA, self_signed("other.example")
        weak = _ISSUER.issue(bits=1024)
        unknown = _key_of_a_kind_that_signs_nothing()
        for content, said in (
            (certificate, "no private key"),
            (certificate + key + other_key, "more than one private key"),
            (key, "no certificate"),
            (certificate + encrypted(key), "passphrase"),
            (certificate + encrypted(key, traditional=True), "passphrase"),
            (certificate + other_key, "none of the certificates"),
            (certificate + key[:60] + b"\n-----END PRIVATE KEY-----\n", "private key is damaged"),
            (certificate[:100] + key, "certificate 1 in it is damaged"),
            (certificate + key + other.replace(b"M", b"N", 3), "damaged"),
            (certificate + key + Authority("Stranger", _ROOT).certificate, "CN=Stranger did not sign"),
            (certificate + unknown, "of a kind"),
            (version_11(certificate) + key, "certificate 1 in it is damaged"),
            (name_of_no_string(certificate) + key, "certificate 1 in it is damaged"),
            (weak[0] + weak[1], "key too small"),
        ):
            path = self.write("tls/x.pem", content)
            for description in (f"tls:{path.parent}:443", f"ssl:443:privateKey={path}"):
                text = self.unusable(description)
                self.assertIn(said, text)
                self.assertIn(str(path), text)

    def test_authorities(self) -> None:
        """``caCerts=`` is read at the start, too."""
        self.write("tls/x.pem", *_ECDSA)
        for content, said in (
            (b"", "no certificate"),
            (_ECDSA[1], "no certificate"),
            (_ROOT.certificate + name_of_no_string(_ECDSA[0]), "certificate 2 in it is damaged"),
        ):
            path = self.write("ca", content)
            self.assertIn(f"{path}: {said}", self.unusable(f"tls:{self.folder}/tls:443:caCerts={path}"))
        self.assertIn("No such file", self.unusable(f"tls:{self.folder}/tls:443:caCerts={self.folder}/none"))

    @moderately
    @given(st.sampled_from(("tls/x.pem", "ca")), st.integers(0, 400), st.integers(1, 255), st.booleans())
    def test_damage(self, name: str, place: int, change: int, within: bool) -> None:
        """Whatever one byte is changed, in a certificate, in its key or in an authority: all is well, or it is said."""
        damaged = changed(_ECDSA[0] if within else _ECDSA[1], place, change)
        content = {"tls/x.pem": damaged + (_ECDSA[1] if within else _ECDSA[0]), "ca": damaged}
        self.write("tls/x.pem", *_ECDSA)
        self.write("ca", _ROOT.certificate)
        self.write(name, content[name])
        try:
            self.served(f"tls:{self.folder}/tls:443:caCerts={self.folder}/ca")
        except TlsError as error:
            self.assertIn(f"{self.folder}/{name}: ", str(error))

    def test_a_zero_byte_in_a_name(self) -> None:
        """Whatever can be written in a setting."""
        self.unusable("ssl:443:privateKey=a\0b")
        self.unusable("tls:a\0b")


def _key_of_a_kind_that_signs_nothing() -> bytes:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import NoEncryption

    return X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class ClientCertificateTests(TlsCase):
    """``caCerts=``: who shows no certificate, or a wrong one, is not let in."""

    def setUp(self) -> None:
        super().setUp()
        self.pushers = Authority("Pushers")
        certificate, key = _ECDSA
        path = self.write("tls/x.pem", key, certificate, _ISSUER.certificate)
        authorities = self.write("ca", self.pushers.certificate)
        self.all = [
            self.served(f"ssl:443:privateKey={path}:caCerts={authorities}"),
            self.served(f"tls:{path.parent}:443:caCerts={authorities}"),
        ]

    def showing(self, *pem: bytes, old: bool = False) -> ssl.SSLContext:
        """:returns: the context of a client with a certificate"""
        context = self.trusting()
        if pem:
            context.load_cert_chain(self.write("mine", *pem))
        if old:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context

    def test_right_and_wrong(self) -> None:
        """Signed by an authority of the file, and valid."""
        right = self.pushers.issue(("pusher",))
        for old in (False, True):
            for served in self.all:
                self.shake(served, self.showing(*right, old=old))
                self.refused(served, self.showing(old=old))
                self.refused(served, self.showing(*_ISSUER.issue(("pusher",)), old=old))
                self.refused(served, self.showing(*self.pushers.issue(("pusher",), days=-1), old=old))
                self.refused(served, self.showing(*self_signed("pusher"), old=old))

    def test_whatever_name_is_asked_for(self) -> None:
        """Each certificate of a folder asks for the same."""
        self.write("tls/y.pem", *_ISSUER.issue(("other.example",)), _ISSUER.certificate)
        served = self.served(f"tls:{self.folder}/tls:443:caCerts={self.folder}/ca")
        for name in ("localhost", "other.example"):
            self.shake(served, self.showing(*self.pushers.issue(("pusher",))), name)
            self.assertRaises((ssl.SSLError, ConnectionError), self.shake, served, None, name)

    def test_an_intermediate_authority(self) -> None:
        """Is trusted for itself, not for the root above it."""
        one, two = Authority("One", self.pushers), Authority("Two", self.pushers)
        served = self.served(
            f"ssl:443:privateKey={self.folder}/tls/x.pem:caCerts={self.write('ca-one', one.certificate)}"
        )
        self.shake(served, self.showing(*one.issue(("pusher",))))
        self.refused(served, self.showing(*two.issue(("pusher",)), two.certificate))


class ReloadTests(TlsCase):
    """New files for connections to come."""

    def setUp(self) -> None:
        super().setUp()
        self.issue("old.example")
        self.reloaded = self.served()
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def issue(self, name: str) -> None:
        """Put a certificate into the folder."""
        self.write("x.pem", *_ISSUER.issue((name,)), _ISSUER.certificate)

    def test_new_ones(self) -> None:
        """Count from now on; who is connected notices nothing."""
        context = self.trusting()
        context.check_hostname = False
        before = self.shake(self.reloaded, context)
        self.issue("new.example")
        self.assertTrue(self.reloaded.reload())
        self.assertEqual(self.shown(self.reloaded, None), "new.example")
        before.tls.write(b"still here")
        self.assertEqual(before.does(lambda: before.tls.read(100)), b"still here")
        event = self.events[-1]
        self.assertIn("reloaded", event["log_format"])
        self.assertEqual(event["where"], f"tls:{self.folder}:443")

    def test_in_the_middle_of_a_handshake(self) -> None:
        """It goes on with what it began with."""
        self.write("y.pem", *_ISSUER.issue(("other.example",)), _ISSUER.certificate)
        self.assertTrue(self.reloaded.reload())
        for name in ("old.example", "other.example"):
            context = self.trusting()
            context.maximum_version = ssl.TLSVersion.TLSv1_2  # with a round trip more
            client = Client(Server(self.reloaded), context, name)
            self.assertRaises(ssl.SSLWantReadError, client.tls.do_handshake)
            client.turn()
            self.assertTrue(self.reloaded.reload())
            gc.collect()
            client.shake()

    def test_new_names(self) -> None:
        """May be added, and others go."""
        self.write("y.pem", *_ISSUER.issue(("other.example",)), _ISSUER.certificate)
        self.assertEqual(self.shown(self.reloaded, "other.example"), "old.example")
        self.reloaded.reload()
        self.assertEqual(self.shown(self.reloaded, "other.example"), "other.example")
        (self.folder / "y.pem").unlink()
        self.reloaded.reload()
        self.assertEqual(self.shown(self.reloaded, "other.example"), "old.example")

    def test_odd(self) -> None:
        """What is odd about one that can be used is told, once for each time that it is read, and of which file."""
        certificate, key = _ISSUER.issue(("new.example",))
        path = self.write("x.pem", serial_below_zero(certificate), key)
        self.assertTrue(self.reloaded.reload())
        (event,) = [event for event in self.events if event["log_level"] is LogLevel.warn]
        said = formatEvent(event)
        self.assertIn(f"{path}: certificate 1 in it: ", said)
        self.assertIn("serial number", said)
        self.assertEqual(self.flushWarnings(), [])

    def test_of_no_use(self) -> None:
        """Then the old ones stay, all of them, and the log has file and reason."""
        self.issue("new.example")
        path = self.write("y.pem", b"nonsense")
        self.assertFalse(self.reloaded.reload())
        self.assertEqual(self.shown(self.reloaded, None), "old.example")
        event = self.events[-1]
        self.assertEqual((event["log_level"].name, event["why"]), ("error", f"{path}: no private key in it"))
        path.unlink()
        self.assertTrue(self.reloaded.reload())
        self.assertEqual(self.shown(self.reloaded, None), "new.example")

    def test_authorities(self) -> None:
        """Whose certificates are let in is reloaded as well."""
        old, new = Authority("Old"), Authority("New")
        path = self.write("ca", old.certificate)
        served = self.served(f"tls:{self.folder}:443:caCerts={path}")
        context = self.trusting()
        context.check_hostname = False
        context.load_cert_chain(self.write("mine", *new.issue(("pusher",))))
        self.refused(served, context)
        path.write_bytes(new.certificate)
        self.assertTrue(served.reload())
        self.shake(served, context)


class DescriptionTests(TlsCase):
    """What is beneath TLS, and what is not understood."""

    def setUp(self) -> None:
        super().setUp()
        self.path = self.write("x.pem", *_ECDSA)

    def test_beneath(self) -> None:
        """An ordinary endpoint with the same address."""
        for description, beneath in (
            (f"tls:{self.folder}", "tcp6:port=443:interface=\\:\\:"),
            (f"tls:{self.folder}:1:interface=127.0.0.1", "tcp6:port=1:interface=127.0.0.1"),
            (f"tls:path={self.folder}:port=1:backlog=2", "tcp6:port=1:interface=\\:\\::backlog=2"),
            (f"ssl:1:{self.path}:{self.path}", "tcp:port=1:interface="),
            (f"ssl:privateKey={self.path}:port=1:interface=\\:\\:1", "tcp:port=1:interface=\\:\\:1"),
        ):
            self.assertEqual(unwrap(description)[0], beneath)

    def test_others(self) -> None:
        """Stay as they are."""
        for description in ("tcp:80", "unix:/x", "systemd:domain=INET:index=0", "tlsx:1", ""):
            self.assertEqual(unwrap(description), (description, None))

    def test_not_understood(self) -> None:
        """What is missing, twice, unknown, or would make TLS weaker."""
        for description, said in (
            ("tls:", "no folder"),
            ("tls::443", "no folder"),
            ("ssl:443", "no privateKey"),
            (f"ssl:privateKey={self.path}", "no port"),
            (f"ssl:1:privateKey={self.path}:sslmethod=SSLv23_METHOD", "not sslmethod="),
            (f"ssl:1:privateKey={self.path}:dhParameters={self.path}", "not dhParameters="),
            (f"tls:{self.folder}:port=1:port=2", "port= is there twice"),
            (f"tls:{self.folder}:cacerts=x", "cacerts= is no option of tls:"),
            (f"tls:{self.folder}:1:2:127.0.0.1:x", "too many options"),
            (f"tls:{self.folder}\\", "backslash"),
        ):
            self.assertIn(said, str(self.assertRaises(ValueError, unwrap, description)))

    def test_an_escaped_colon(self) -> None:
        """Paths may have any character."""
        path = self.write("a:b=c\\d.pem", *_ECDSA)
        self.assertIsNotNone(unwrap(f"ssl:1:privateKey={escaped(path)}")[1])

    @moderately
    @given(st.text("tlsxport=:\\0 \n", max_size=30))
    def test_as_twisted_does(self, text: str) -> None:
        """Whatever we take apart, we take apart as Twisted does."""
        try:
            kind, options = options_of(f"tls:{text}")
        except ValueError:
            return
        arguments, named = _parse(f"tls:{text}")
        names = ("path", "port", "backlog", "interface")
        self.assertEqual((kind, options), ("tls", {**dict(zip(names, arguments[1:], strict=False)), **named}))

    def test_proxy_in_front(self) -> None:
        """The PROXY header is outside of what is encrypted."""
        for description, kinds in (
            (f"haproxy:tls:{self.folder}:1", [ProxiedFactory, TLSMemoryBIOFactory, Factory]),
            (f"tls:{self.folder}:1", [TLSMemoryBIOFactory, Factory]),
            (f"haproxy:ssl:1:{self.path}", [ProxiedFactory, TLSMemoryBIOFactory, Factory]),
        ):
            reactor = MemoryReactor()
            place = Endpoint(reactor, "WS_LISTEN", description)
            self.assertTrue(place.encrypted)
            self.successResultOf(Deferred.fromCoroutine(place.listen(Factory())))
            factory: Any = reactor.tcpServers[0][1]
            for kind in kinds:
                self.assertIsInstance(factory, kind)
                factory = getattr(factory, "wrappedFactory", None)
