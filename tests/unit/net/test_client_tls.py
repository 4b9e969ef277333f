"""TLS with the API: whom the gateway trusts, and what it shows of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from tests.agents import Content
from tests.certificates import Authority, encrypted, key_on_no_curve, self_signed
from tests.gate import Wire
from tests.memory_api import MemoryApi, answer_bytes
from wsaas.errors import SettingsError
from wsaas.net.client_tls import ApiTrust, read_authorities, read_certificate
from wsaas.net.http1.agent import PersistentAgent


class TrustTests(TestCase):
    """Whom an agent believes, and who it says it is."""

    def file(self, content: bytes | None) -> Path | None:
        """:returns: one with this in it"""
        if content is None:
            return None
        path = Path(self.mktemp())
        path.write_bytes(content)
        return path

    def trust(self, ca: bytes | None, certificate: bytes | None) -> ApiTrust:
        """:returns: trust by such files"""
        return ApiTrust(self.file(ca), self.file(certificate))

    async def connect(
        self, trust: ApiTrust, served: PrivateCertificate, uri: bytes
    ) -> tuple[Deferred[IResponse], bytes]:
        """:returns: a request over TLS, and what of it reached the other end in clear"""
        api = MemoryApi()
        agent = PersistentAgent(api.reactor, trust, 2, 30.0, 100)
        content: Any = Content(b"secret")
        result = agent.request(b"POST", uri, Headers({}), content)
        client = api.accept()
        received: list[bytes] = []

        class Server(Protocol):
            def dataReceived(self, data: bytes) -> None:
                received.append(data)
                assert self.transport is not None
                self.transport.write(answer_bytes(200, b"OK"))

        factory = TLSMemoryBIOFactory(served.options(), False, Factory.forProtocol(Server), api.reactor)
        server = Wire(api.reactor)
        protocol = factory.buildProtocol(server.getPeer())
        assert protocol is not None
        server.attach(protocol)
        for _ in range(12):
            # Twisted gathers what is written to TLS until the next turn of the global reactor.
            await deferLater(reactor, 0)
            for here, there in ((client, server), (server, client)):
                data = here.take()
                if data and not there.over:
                    there.deliver(data)
                api.turn(1)
        for wire in (client, server):
            wire.end(ConnectionLost)
        return result, b"".join(received)

    async def test_trusted(self) -> None:
        """A certificate of an authority in API_CA, for the name in API_URI."""
        certificate, key = self_signed("api.test")
        served = PrivateCertificate.loadPEM(certificate + key)
        result, received = await self.connect(self.trust(certificate, None), served, b"https://api.test/x")
        self.assertEqual(self.successResultOf(result).code, 200)
        self.assertTrue(received.endswith(b"\r\n\r\nsecret"))

    async def test_a_name_with_an_underscore(self) -> None:
        """As services of Docker Compose have; it is sent as server name, and no other certificate will do."""
        authority = Authority()
        for names, trusted in ((["my_api"], True), (["*.a_b.test"], False), (["my-api"], False)):
            served = PrivateCertificate.loadPEM(b"".join(authority.issue(names)))
            trust = self.trust(authority.certificate, None)
            result, received = await self.connect(trust, served, b"https://my_api/x")
            self.assertEqual(received.endswith(b"\r\n\r\nsecret"), trusted, names)
            if trusted:
                self.assertEqual(self.successResultOf(result).code, 200)
            else:
                self.failureResultOf(result)

    async def test_the_server_name(self) -> None:
        """It is that of the URI; an address is none (RFC 6066 §3)."""
        trust = self.trust(None, None)
        for host, name in ((b"my_api", b"my_api"), (b"api.test", b"api.test"), (b"127.0.0.1", None), (b"::1", None)):
            protocol = TLSMemoryBIOFactory(trust.creatorForNetloc(host, 443), True, Factory.forProtocol(Protocol))
            connection = trust.creatorForNetloc(host, 443).clientConnectionForTLS(protocol.buildProtocol(None))
            self.assertEqual(connection.get_servername(), name)

    async def test_not_trusted(self) -> None:
        """Unknown, or known by another name: nothing of the request goes out."""
        certificate, key = self_signed("api.test")
        other, _ = self_signed("api.test")
        served = PrivateCertificate.loadPEM(certificate + key)
        for trust, uri in (
            (self.trust(other, None), b"https://api.test/x"),
            (ApiTrust(None, None), b"https://api.test/x"),
            (self.trust(certificate, None), b"https://other.test/x"),
            (self.trust(certificate, None), b"https://192.0.2.10/x"),
        ):
            result, received = await self.connect(trust, served, uri)
            self.assertEqual(received, b"")
            self.assertIsInstance(self.failureResultOf(result), Failure)

    async def test_our_own_certificate(self) -> None:
        """API_CERT is sent, with its chain, to an API that asks for it."""
        certificate, key = self_signed("api.test")
        mine, my_key = self_signed("gateway.test")
        chain, _ = self_signed("intermediate.test")
        served = PrivateCertificate.loadPEM(certificate + key)
        shown: list[str] = []
        options = served.options

        def asking() -> Any:
            made = options(PrivateCertificate.loadPEM(mine + my_key))
            context = made.getContext()

            def verify(connection: object, x509: Any, number: int, depth: int, ok: int) -> bool:
                shown.append(x509.get_subject().CN)
                return True

            from OpenSSL.SSL import VERIFY_FAIL_IF_NO_PEER_CERT, VERIFY_PEER

            context.set_verify(VERIFY_PEER | VERIFY_FAIL_IF_NO_PEER_CERT, verify)
            return made

        served.options = asking
        result, _ = await self.connect(self.trust(certificate, mine + chain + my_key), served, b"https://api.test/x")
        self.assertEqual(self.successResultOf(result).code, 200)
        self.assertIn("gateway.test", shown)

    def test_unusable(self) -> None:
        """Said at the start, with the setting, the file and the reason."""
        certificate, key = self_signed()
        broken = b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"
        for ca, own, why in (
            (b"", None, "no certificate in it"),
            (broken, None, "certificate 1 in it is damaged"),
            (key, None, "no certificate in it"),
            (None, certificate, "no private key in it"),
            (None, key, "no certificate in it"),
            (None, broken, "certificate 1 in it is damaged"),
            (None, key_on_no_curve(certificate) + key, "not usable"),
            (None, certificate + encrypted(key), "has a passphrase"),
            (None, certificate + encrypted(key, traditional=True), "has a passphrase"),
            (None, certificate + self_signed()[1], "not that of the first certificate"),
        ):
            error = self.assertRaises(SettingsError, self.trust, ca, own)
            self.assertEqual(error.name, "API_CERT" if ca is None else "API_CA")
            self.assertIn(why, str(error))
            self.assertNotIn("[(", str(error))

    def test_files_that_cannot_be_read(self) -> None:
        """The reason is the system's."""
        folder = Path(self.mktemp())
        folder.mkdir()
        for path, why in (
            (folder / "none", "No such file"),
            (folder, "directory"),
            (Path("a\0b"), "null byte"),
        ):
            for read in (read_authorities, read_certificate):
                self.assertIn(why, str(self.assertRaises(ValueError, read, path)))

    async def test_reload(self) -> None:
        """New files count from then on; those of no use do not."""
        (old, _), (new, key) = self_signed("api.test"), self_signed("api.test")
        served = PrivateCertificate.loadPEM(new + key)
        path = self.file(old)
        assert path is not None
        trust = ApiTrust(path, None)
        self.assertTrue(trust.has_files)
        result, _ = await self.connect(trust, served, b"https://api.test/x")
        self.assertIsInstance(self.failureResultOf(result), Failure)
        for content, usable in ((new, True), (b"", False)):
            path.write_bytes(content)
            self.assertEqual(trust.reload(), usable)
            result, _ = await self.connect(trust, served, b"https://api.test/x")
            self.assertEqual(self.successResultOf(result).code, 200)

    def test_nothing_to_reload(self) -> None:
        """The system's roots are no file of ours."""
        self.assertFalse(ApiTrust(None, None).has_files)
