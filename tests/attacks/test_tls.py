"""TLS towards clients and pushers: weak, none, or with nobody's certificate."""

from __future__ import annotations

import socket
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from bench.ports import free_port
from tests.attacks.attack import AttackTestCase, attack
from tests.certificates import Authority, self_signed
from tests.descriptions import escaped
from tests.tls_case import TlsTestCase
from tests.wire import Wire, handshake

NO_HTTP = "no byte of HTTP"


@implementer(IOpenSSLClientConnectionCreator)
class Offer:
    """A client's side of TLS that asks for whatever it is told to, and trusts everybody.

    :param context: with what it offers
    :param name: the name that it asks for
    """

    def __init__(self, context: SSL.Context, name: bytes | None = b"localhost") -> None:
        self._context = context
        self._name = name

    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """Make the TLS side of a connection."""
        connection = SSL.Connection(self._context)
        if self._name is not None:
            connection.set_tlsext_host_name(self._name)
        return connection


def weak(version: int, ciphers: bytes = b"ALL:COMPLEMENTOFALL:@SECLEVEL=0", name: bytes = b"localhost") -> Offer:
    """:returns: what offers one version at most, and ciphers of any strength"""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(min(version, SSL.TLS1_VERSION))
    context.set_max_proto_version(version)
    context.set_cipher_list(ciphers)
    return Offer(context, name)


class ClientTlsTests(AttackTestCase, TlsTestCase):
    """``tls:`` in ``WS_LISTEN``; pushes come there, too."""

    title = "TLS towards clients and pushers"

    async def begin_tls(self, options: str = "", mine: tuple[bytes, bytes] | None = None) -> None:
        """Start the gateway with TLS; the bystander uses it.

        :param options: of the endpoint
        :param mine: the bystander's certificate, and the API's
        """
        for name in ("default", "other"):
            self.write(f"{name}.pem", *self.authority.issue(("localhost" if name == "default" else "a.example",)))
        port = free_port()
        await self.serve(
            WS_LISTEN=f"tls:{escaped(self.folder.absolute())}:{port}{options}:interface=127.0.0.1",
            WS_HOSTNAME=f"https://localhost:{port}",
        )
        self.port, self.push_tls = port, self.trusting(mine=mine)
        client = await self.dial(tls=self.push_tls)
        client.send(handshake("/bystander"))
        self.assertEqual((await client.reply()).status, 101)
        await self.stand_by(client, (await self.api.call("POST")).ws_uri)

    async def nothing_from(self, *offers: Any) -> str:
        """:returns: that no HTTP came back, if so, from handshakes over each kind of TLS"""
        for offer in offers:
            wire: Wire = await self.dial(tls=offer)
            wire.send(handshake())
            self.assertEqual(await wire.end(), b"")
        return NO_HTTP

    @attack(
        "Downgrade to an old version",
        sent="TLS 1.0 and 1.1 alone, with any cipher there is, at OpenSSL's level of security 0",
        answer=NO_HTTP,
    )
    async def test_downgrade(self) -> str:
        await self.begin_tls()
        return await self.nothing_from(weak(SSL.TLS1_VERSION), weak(SSL.TLS1_1_VERSION))

    @attack(
        "Weak ciphers of TLS 1.2",
        sent="CBC, SHA-1, CCM with short tags, ARIA and CAMELLIA, with certificates of both kinds of keys; RSA key "
        "exchange; no encryption, no authentication; each alone",
        answer=NO_HTTP,
    )
    async def test_ciphers(self) -> str:
        self.write("rsa.example.pem", *self.authority.issue(("rsa.example",), bits=2048))
        await self.begin_tls()
        of_both = ["AES128-SHA", "AES256-SHA384", "CAMELLIA128-SHA256", "NULL-SHA"]
        kinds = {
            b"localhost": ["AES128-CCM8", "ARIA128-GCM-SHA256", *of_both],
            b"rsa.example": ["kRSA", "AES128-GCM-SHA256", "AES256-SHA", "ECDHE-ARIA128-GCM-SHA256", "aNULL"],
        }
        kinds[b"localhost"] = [f"ECDHE-ECDSA-{kind}" for kind in kinds[b"localhost"]]
        kinds[b"rsa.example"] += [f"ECDHE-RSA-{kind}" for kind in of_both]
        for name, good in ((b"localhost", "ECDSA"), (b"rsa.example", "RSA")):
            wire = await self.dial(tls=self.of_1_2(f"ECDHE-{good}-AES128-GCM-SHA256", name))
            wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual((await wire.reply()).status, 426)
        return await self.nothing_from(*(self.of_1_2(kind, name) for name in kinds for kind in kinds[name]))

    @staticmethod
    def of_1_2(ciphers: str, name: bytes) -> Offer:
        """:returns: what offers these ciphers of TLS 1.2 to the holder of a name"""
        return weak(SSL.TLS1_2_VERSION, f"{ciphers}:@SECLEVEL=0".encode(), name)

    @attack(
        "No TLS at all, or garbage, on a port of TLS",
        sent="a handshake, a push and HTTP/2 in plain text, records of 64 KiB, other bytes, SSL 2's first message, "
        "half a ClientHello and the end",
        answer=NO_HTTP,
    )
    async def test_plain(self) -> str:
        await self.begin_tls()
        push = self.request("PUT", self._bystanders_uri, b"evil")
        attempts = [handshake(), push, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(65535)]
        attempts += [bytes(range(256)) * 4, b"\x80\x2e\x01\x00\x02" + bytes(41), b"\x17\x03\x03\x00\x05hello"]
        for data in attempts:
            wire = await self.dial()
            wire.send(data)
            self.assertNotIn(b"HTTP", await wire.end())
        wire = await self.dial()
        wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        wire.drop()
        return NO_HTTP

    @attack(
        "Invalid names in SNI",
        sent="``../default``, ``/etc/passwd``, ``*``, ``*.example``, ``other.pem``, 255 letters, dots, bytes beyond "
        "ASCII, none: each gets the default certificate",
        answer="the default certificate, 101",
        api="POST, DELETE 1006",
    )
    async def test_names(self) -> str:
        await self.begin_tls()
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        names = [b"../default", b"/etc/passwd", b"*", b"*.example", b"other.pem", b"x" * 255, b"...", b"\xff\xfe"]
        seen = set()
        for name in [*names, b"other", b"..\\other.pem", b"%2e%2e", None]:
            wire = await self.dial(tls=Offer(context, name))
            wire.send(handshake())
            status = (await wire.reply()).status
            subject = wire.transport.getPeerCertificate().get_subject().commonName
            seen.add(f"{'the default certificate' if subject == 'localhost' else subject}, {status}")
        return " or ".join(sorted(seen))

    @attack(
        "Clients and pushers without a certificate, where one is asked for",
        sent="none, one of another authority, one that signs itself, one that has expired, one that is not valid yet, "
        "one of an authority of the same name; with ``caCerts=``",
        answer=NO_HTTP,
    )
    async def test_certificates(self) -> str:
        ca = Authority("Friends")
        path = self.write("friends.crt", ca.certificate)
        await self.begin_tls(f":caCerts={escaped(path)}", ca.issue(("friend",)))
        theirs = [None, self.authority.issue(("friend",)), self_signed("friend"), ca.issue(("friend",), days=-1)]
        theirs += [Authority("Friends").issue(("friend",)), ca.issue(("friend",), days=3, since=1)]
        push = self.request("PUT", self._bystanders_uri, b"evil")
        for mine in theirs:
            wire = await self.dial(tls=self.trusting(mine=mine))
            wire.send(push + handshake())
            self.assertEqual(await wire.end(), b"")
        return NO_HTTP

    @attack(
        "Renegotiation, which costs the server more than the client",
        sent="a client of TLS 1.2 that asks for it after its handshake",
        answer="no renegotiation",
    )
    async def test_renegotiation(self) -> str:
        await self.begin_tls()
        return str(await deferToThread(self._renegotiate))

    def _renegotiate(self) -> str:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        with socket.create_connection(("127.0.0.1", self.port), 5) as plain:
            # Without it the socket would not block, as pyOpenSSL needs it.
            plain.settimeout(None)
            connection = SSL.Connection(context, plain)
            connection.set_connect_state()
            connection.do_handshake()
            try:
                connection.renegotiate()
                connection.do_handshake()
            except SSL.Error as error:
                return str(error.args[0][0][-1])
            return "renegotiated"
