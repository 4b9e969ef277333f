"""TLS towards the API: somebody else in its place."""

from __future__ import annotations

import re
from typing import Any

from OpenSSL import SSL
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import PrivateCertificate

from tests.attacks.attack import Attack, AttackTestCase, attack
from tests.certificates import Authority, self_signed
from tests.tls_case import TlsTestCase
from tests.waiting import reactor
from tests.wire import handshake


class _Impostor(Protocol):
    """Takes down what it is told."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]  # it is connected
        self.factory.heard.append(data)


class ImpostorTests(AttackTestCase, TlsTestCase):
    """An ``https`` API, in whose place somebody else answers."""

    title = "Impostors in the API's place"

    def listen_api(self) -> None:
        """The API has a certificate that is in order."""
        self.api.listen(self.context(self.authority.issue()))

    @staticmethod
    def context(certificate: tuple[bytes, bytes]) -> Any:
        """:returns: a server's side of TLS"""
        return PrivateCertificate.loadPEM(b"".join(certificate)).options()

    async def impostor(self, context: Any) -> str:
        """Let another server take the API's place while two clients try to connect, then the API come back.

        :param context: the TLS of that server; :data:`None` if it speaks none
        :returns: what the clients got, and why the log says the server was not believed
        """
        ca = self.write("ca.pem", self.authority.certificate)
        await self.begin(API_URI=f"https://localhost:{self.api.port}/hook", API_CA=str(ca))
        port = self.api.port
        await self.api.stop_listening()
        factory = Factory.forProtocol(_Impostor)
        factory.noisy, factory.heard = False, []  # type: ignore[attr-defined]  # the test's
        listening = (
            reactor.listenTCP(port, factory, interface="127.0.0.1")
            if context is None
            else reactor.listenSSL(port, factory, context, interface="127.0.0.1")
        )
        status = await self.shaken(handshake(), handshake())
        await listening.stopListening()
        # Without TLS there is the beginning of a handshake, of which nobody learns anything.
        self.assertNotIn(b"HTTP", b"".join(factory.heard))  # type: ignore[attr-defined]  # the test's
        self.assertTrue(context is None or not factory.heard)  # type: ignore[attr-defined]  # the test's
        self.api.listen(self.context(self.authority.issue()), port)
        return status

    async def check_nothing_lost(self, row: Attack) -> None:
        """The log says once, as an error, that the certificate is not accepted."""
        self.log_lines += 4
        await super().check_nothing_lost(row)

    def check_said(self, why: str) -> None:
        """The log has one error, which says why; there will be no other."""
        self.expected_errors = ("{reason}; it gets no call until it is",)
        (said,) = re.findall(r"ERROR .*the API's certificate was not accepted: (.*)", self.logged())
        self.assertIn(why, said)

    async def check_impostor(self, certificate: tuple[bytes, bytes], why: str) -> str:
        """:returns: what clients got while a server with another certificate was in the API's place"""
        status = await self.impostor(self.context(certificate))
        self.check_said(why)
        return status

    @attack("A certificate that has expired", sent="the API's name and authority, valid until yesterday", answer="503")
    async def test_expired(self) -> str:
        return await self.check_impostor(self.authority.issue(days=-1), "it has expired")

    @attack(
        "A certificate that is not valid yet", sent="the API's name and authority, valid from tomorrow", answer="503"
    )
    async def test_not_yet(self) -> str:
        return await self.check_impostor(self.authority.issue(days=3, since=1), "it is not valid yet")

    @attack("A certificate for another name", sent="the API's authority, ``evil.example``", answer="503")
    async def test_name(self) -> str:
        return await self.check_impostor(self.authority.issue(("evil.example",)), "it is not for localhost")

    @attack(
        "A certificate for names that look alike",
        sent="``*.localhost``, ``localhost.evil.example``, ``xlocalhost``, ``*``, alone",
        answer="503",
    )
    async def test_look_alike(self) -> str:
        names = ("*.localhost", "localhost.evil.example", "xlocalhost", "*")
        return await self.check_impostor(self.authority.issue(names), "it is not for localhost")

    @attack("A certificate that signs itself", sent="the API's name", answer="503")
    async def test_self_signed(self) -> str:
        return await self.check_impostor(self_signed(), "it signs itself")

    @attack(
        "A certificate of an untrusted authority",
        sent="the API's name, an authority of the same name with another key",
        answer="503",
    )
    async def test_authority(self) -> str:
        return await self.check_impostor(Authority().issue(), "its authority is not trusted")

    @attack("No TLS in the API's place", sent="HTTP in plain text: nothing of a call is sent", answer="503")
    async def test_plain(self) -> str:
        return await self.impostor(None)

    @attack("An API of TLS 1.1", sent="a right certificate, TLS 1.1 at most", answer="503")
    async def test_version(self) -> str:
        made = self.context(self.authority.issue())
        context = made.getContext()
        context.set_min_proto_version(SSL.TLS1_VERSION)
        context.set_max_proto_version(SSL.TLS1_1_VERSION)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        return await self.impostor(made)
