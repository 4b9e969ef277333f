"""TLS on real sockets, each of the four ways: clients, pushes, the API, and the gateway's own certificate there."""

from __future__ import annotations

import re
import socket
from typing import Any

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import (
    AcceptableCiphers,
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    TLSVersion,
)

from bench.ports import free_port
from tests.certificates import Authority, self_signed, version_11
from tests.descriptions import escaped
from tests.tls_case import TlsTestCase
from tests.waiting import reactor
from tests.wire import BINARY, CLOSE, PING, PONG, TEXT, Frame, Wire, close_payload, frame, handshake


class ClientTests(TlsTestCase):
    """``wss`` clients, through ``ssl:`` and ``tls:`` endpoints."""

    async def serve_ssl(self, **settings: str) -> None:
        """Start the gateway with one certificate for clients and pushes, at an ``ssl:`` endpoint."""
        certificate, key = self.authority.issue()
        cert_path, key_path = self.write("cert.pem", certificate), self.write("key.pem", key)
        port = free_port()
        await self.serve(
            WS_LISTEN=f"ssl:{port}:privateKey={escaped(key_path)}:certKey={escaped(cert_path)}:interface=127.0.0.1",
            WS_HOSTNAME=f"https://localhost:{port}",
            **settings,
        )
        self.port = port
        self.push_tls = self.trusting()

    async def connect_tls(self, tls: IOpenSSLClientConnectionCreator) -> tuple[Wire, str]:
        """:returns: a ``wss`` client that has its 101, and its ``ws_uri``"""
        client = await self.dial(tls=tls)
        client.send(handshake(host=f"localhost:{self.port}"))
        self.assertEqual((await client.reply()).status, 101)
        post = await self.api.call("POST")
        self.assertEqual(post.header("Ws-Scheme"), "wss")
        self.assertEqual(post.header("X-Forwarded-Proto"), "https")
        self.assertEqual(post.header("Ws-Client"), "127.0.0.1")
        return client, post.ws_uri

    async def check_both_ways(self, client: Wire, ws_uri: str) -> None:
        """Messages get through in both directions, and the end in an orderly way."""
        client.send_text("hello")
        self.assertEqual((await self.api.call("PUT", ws_uri)).body, b"hello")
        self.assertEqual((await self.put_text(ws_uri, "hi")).status, 200)
        self.assertEqual(await client.frame(), Frame(TEXT, b"hi"))
        client.send_close(1000)
        self.assertEqual(await client.frame(), Frame(CLOSE, close_payload(1000)))
        await client.end()
        self.assertEqual((await self.api.call("DELETE", ws_uri)).header("Ws-Close-Code"), "1000")

    async def test_ssl(self) -> None:
        """``WS_LISTEN=ssl:…``: a ``wss`` client, and pushes over TLS to the same port."""
        await self.serve_ssl()
        await self.check_both_ways(*await self.connect_tls(self.trusting()))

    async def test_tls(self) -> None:
        """``WS_LISTEN=tls:<folder>:…``: each name gets its certificate."""
        names = ("localhost", "a.example")
        for name in names:
            self.write(f"tls/{name}.pem", *self.authority.issue((name,)))
        port = free_port()
        await self.serve(
            WS_LISTEN=f"tls:{escaped((self.folder / 'tls').absolute())}:{port}:interface=127.0.0.1",
            WS_HOSTNAME=f"https://localhost:{port}",
        )
        self.port, self.push_tls = port, self.trusting()
        for name in names:
            await self.check_both_ways(*await self.connect_tls(self.trusting(name)))

    async def test_early_frames(self) -> None:
        """What comes behind the handshake in the same record is not lost."""
        await self.serve_ssl()
        client = await self.dial(tls=self.trusting())
        client.send(handshake() + frame(TEXT, b"early") + frame(PING, b"?"))
        self.assertEqual((await client.reply()).status, 101)
        self.assertEqual(await client.frame(), Frame(PONG, b"?"))
        self.assertEqual((await self.api.call("PUT")).body, b"early")

    async def test_big_messages(self) -> None:
        """Messages much bigger than a TLS record, in both directions."""
        await self.serve_ssl(WS_MAX_MESSAGE="3000000", WS_MAX_BUFFER="6000000")
        payload = bytes(range(256)) * 10_000
        self.api.script["PUT"] = lambda call: call.answer(200, call.body, [("Ws-Reply", "binary")])
        client, ws_uri = await self.connect_tls(self.trusting())
        client.send_binary(payload)
        self.assertEqual(await client.frame(), Frame(BINARY, payload))
        reply = await self.push("PUT", ws_uri, payload, [("Content-Type", "application/octet-stream")])
        self.assertEqual(reply.status, 200)
        self.assertEqual(await client.frame(), Frame(BINARY, payload))

    async def test_refusals(self) -> None:
        """A refusal reaches who is refused over TLS too, with nothing cut off: a handshake, a push that is too long."""
        await self.serve_ssl()
        client = await self.dial(tls=self.trusting())
        client.send(handshake(without=["Host"]))
        self.assertEqual((await client.reply()).status, 400)
        _, ws_uri = await self.connect_tls(self.trusting())
        self.assertEqual((await self.push("PUT", ws_uri, bytes(200_000))).status, 413)

    async def test_slow(self) -> None:
        """A client that does not read fills its buffer: 503; when it reads, all that was taken arrives."""
        await self.serve_ssl()
        client, ws_uri = await self.connected_narrow(self.trusting())
        taken = await self.fill(client, ws_uri)
        buffered = (await self.push("GET", ws_uri)).json["buffered"]
        self.assertTrue(1_000_000 < buffered <= 1048576, buffered)
        client.read_on()
        for size in taken:
            self.assertEqual(await client.frame(), Frame(BINARY, bytes(size)))
        self.assertEqual((await self.put_text(ws_uri, "room again")).status, 200)
        self.assertEqual(await client.frame(), Frame(TEXT, b"room again"))

    async def test_slow_to_the_end(self) -> None:
        """One that never reads, though it lives, is given up: 1006, by slow."""
        await self.serve_ssl(WS_TIMEOUT="500")
        client, ws_uri = await self.connected_narrow(self.trusting())
        await self.until_given_up(client, ws_uri)
        delete = await self.api.call("DELETE")
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("1006", "slow"))

    async def test_back_pressure(self) -> None:
        """A client that sends faster than the API takes is not read, and loses nothing."""
        await self.serve_ssl(WS_MAX_MESSAGE="10000", WS_MAX_BUFFER="20000")
        client, ws_uri = await self.connect_tls(self.trusting())
        await self.check_slowed_down(client, ws_uri, 60)

    async def test_no_tls_from_the_client(self) -> None:
        """A client that speaks plain HTTP to a TLS port gets nowhere and harms nobody."""
        await self.serve_ssl()
        plain = await self.dial()
        plain.send(handshake())
        self.assertNotIn(b"HTTP/", await plain.end())
        await self.check_both_ways(*await self.connect_tls(self.trusting()))
        self.assertEqual(len(self.api.calls), 3)


class PushTests(TlsTestCase):
    """Pushes over TLS at a ``PUSH_LISTEN`` of their own, clients without."""

    async def test_push_listen(self) -> None:
        """Pushes are taken over TLS there; the client is a plain one."""
        certificate, key = self.authority.issue()
        cert_path, key_path = self.write("cert.pem", certificate), self.write("key.pem", key)
        pushes = free_port()
        await self.serve(
            PUSH_LISTEN=f"ssl:{pushes}:privateKey={escaped(key_path)}:certKey={escaped(cert_path)}:interface=127.0.0.1",
            WS_HOSTNAME=f"https://localhost:{pushes}",
        )
        self.push_tls = self.trusting()
        client, ws_uri = await self.connected()
        self.assertEqual((await self.api_scheme()), "ws")
        self.assertEqual((await self.put_text(ws_uri, "hello")).status, 200)
        self.assertEqual(await client.frame(), Frame(TEXT, b"hello"))
        self.assertEqual((await self.push("HEAD", ws_uri)).status, 200)
        self.assertEqual((await self.push("DELETE", ws_uri, query="?code=4000")).status, 200)
        self.assertEqual((await client.closed()).code, 4000)

    async def test_client_certificates(self) -> None:
        """With ``caCerts=``, only who has a certificate of theirs can push, at ``ssl:`` and at ``tls:``."""
        pushers = Authority("Pushers")
        ca = self.write("pushers.pem", pushers.certificate)
        path = self.write("tls/localhost.pem", *self.authority.issue())
        for place in (f"ssl:{{}}:privateKey={escaped(path)}", f"tls:{escaped(path.parent)}:{{}}"):
            port = free_port()
            await self.serve(
                PUSH_LISTEN=f"{place.format(port)}:caCerts={escaped(ca)}:interface=127.0.0.1",
                WS_HOSTNAME=f"https://localhost:{port}",
            )
            client, ws_uri = await self.connected()
            for mine in (None, self.authority.issue(("pusher",)), pushers.issue(("pusher",), days=-1)):
                self.push_tls = self.trusting(mine=mine)
                with self.assertRaises(Exception):  # noqa: B017 - no answer, however that is noticed
                    await self.put_text(ws_uri, "not for you")
            await self.until_logged("- refused: 127.0.0.1: no client certificate, which caCerts= asks for")
            await self.until_logged("- refused: 127.0.0.1: a client certificate that caCerts= does not allow")
            self.push_tls = self.trusting(mine=pushers.issue(("pusher",)))
            self.assertEqual((await self.put_text(ws_uri, "hello")).status, 200)
            self.assertEqual(await client.frame(), Frame(TEXT, b"hello"))
            await self.stop_gateway()

    async def test_plain_http(self) -> None:
        """On a port with TLS: the log says so."""
        port = free_port()
        path = self.write("tls/localhost.pem", *self.authority.issue())
        await self.serve(WS_LISTEN=f"tls:{escaped(path.parent)}:{port}:interface=127.0.0.1")
        for data, said in (
            (b"GET / HTTP/1.1\r\n\r\n", "plain HTTP on a port with TLS"),
            (b"\x00" * 20, "something else"),
        ):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(data)
                await self.until_logged(f"- refused: 127.0.0.1: {said}")

    async def api_scheme(self) -> str | None:
        """:returns: the ``Ws-Scheme`` of the first callback"""
        return self.api.calls[0].header("Ws-Scheme")


class Complaining(Protocol):
    """Takes whatever comes for bad HTTP."""

    transport: Any

    def dataReceived(self, data: bytes) -> None:
        """Say so."""
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self.transport.loseConnection()


class ApiTests(TlsTestCase):
    """An ``https`` API: verified TLS."""

    def listen_api(self) -> None:
        """Each test has the API listen with a certificate of its own."""

    def listen(self, certificate: tuple[bytes, bytes], *trusted: bytes, port: int = 0) -> None:
        """Have the API listen.

        :param certificate: its certificate and key
        :param trusted: whose certificates its clients have to show
        :param port: where; a free port if not given
        """
        own = PrivateCertificate.loadPEM(b"".join(certificate))
        context: Any = own.options(*map(Certificate.loadPEM, trusted))
        self.api.listen(context, port)

    async def serve_https(self, host: str = "localhost", **settings: str) -> None:
        """Start the gateway in front of the API, with our authority as the only one that it trusts."""
        ca = str(self.write("ca.pem", self.authority.certificate))
        given = {"API_URI": f"https://{host}:{self.api.port}/hook", "API_CA": ca}
        await self.serve(**{**given, **settings})

    async def check_refused(self, why: str) -> None:
        """Nobody is let in, the API hears nothing, no DELETE is owed, and the log says why, once as an error."""
        for _ in range(2):
            reply = await self.shake(handshake())
            self.assertEqual(reply.status, 503)
            self.assertRegex(reply.header("Retry-After") or "", r"^[0-9]+$")
        await self.stop_gateway()
        self.assertEqual(self.api.calls, [])
        self.assertRegex(self.logged(), r"WARN .*certificate")
        (said,) = re.findall(r"ERROR .*the API's certificate was not accepted: (.*)", self.logged())
        self.assertIn(why, said)

    async def test_verified(self) -> None:
        """A certificate of an authority in ``API_CA``, for this name: all three callbacks."""
        self.listen(self.authority.issue())
        await self.serve_https()
        life = await self.life(message=bytes(100_000))
        self.assertEqual(life.put.body, bytes(100_000))
        self.assertEqual(life.post.header("Host"), f"localhost:{self.api.port}")
        self.assertEqual(self.api.connections, 1)

    async def test_address(self) -> None:
        """A certificate for an IP address."""
        self.listen(self.authority.issue(("api.example",), ("127.0.0.1",)))
        await self.serve_https("127.0.0.1")
        self.assertEqual(len((await self.life()).calls), 3)

    async def test_several_authorities(self) -> None:
        """``API_CA`` may hold several."""
        other = Authority("another")
        self.listen(self.authority.issue())
        ca = str(self.write("cas.pem", other.certificate, self.authority.certificate))
        await self.serve_https(API_CA=ca)
        self.assertEqual(len((await self.life()).calls), 3)

    async def test_wrong_name(self) -> None:
        """For another name: 503 and no DELETE."""
        self.listen(self.authority.issue(("other.example",)))
        await self.serve_https()
        await self.check_refused("it is not for localhost (CN=other.example)")

    async def test_wrong_address(self) -> None:
        """For a name where an address is asked for: 503 and no DELETE."""
        self.listen(self.authority.issue())
        await self.serve_https("127.0.0.1")
        await self.check_refused("it is not for 127.0.0.1 (CN=localhost)")

    async def test_expired(self) -> None:
        """Expired: 503 and no DELETE."""
        self.listen(self.authority.issue(days=-1))
        await self.serve_https()
        await self.check_refused("it has expired (CN=localhost)")

    async def test_not_valid_yet(self) -> None:
        """Valid from tomorrow: 503 and no DELETE."""
        self.listen(self.authority.issue(days=3, since=1))
        await self.serve_https()
        await self.check_refused("it is not valid yet")

    async def test_self_signed(self) -> None:
        """One that signs itself, for the right name: 503 and no DELETE; unless ``API_CA`` has that very one."""
        mine = self_signed()
        self.listen(mine)
        await self.serve_https()
        await self.check_refused("it signs itself, and API_CA does not have it")
        await self.serve_https(API_CA=str(self.write("self.pem", mine[0])))
        self.assertEqual(len((await self.life()).calls), 3)

    async def test_no_alternative_name(self) -> None:
        """With the name as its subject alone, which has not counted for long (RFC 9525 §2): 503 and no DELETE."""
        self.listen(self.authority.issue(alternatives=False))
        await self.serve_https()
        await self.check_refused("it is not for localhost (CN=localhost)")

    async def test_an_old_version(self) -> None:
        """An API that speaks nothing newer than TLS 1.1: 503 and no DELETE, and the log has what is wrong."""
        for version in (TLSVersion.TLSv1_0, TLSVersion.TLSv1_1):
            self.listen_old(version)
            await self.serve_https()
            self.assertEqual((await self.shake(handshake())).status, 503)
            await self.stop_gateway()
            await self.api.stop_listening()
            self.assertRegex(self.logged(), "WARN .*no TLS with the API: .*alert protocol version")
        self.check_nothing_owed()

    def check_nothing_owed(self) -> None:
        """The API heard nothing, and will not hear of it."""
        self.assertEqual(self.api.calls, [])
        self.assertNotIn("does not take a DELETE", self.logged())

    def listen_old(self, version: Any) -> None:
        """Have the API listen with one version of TLS."""
        own = PrivateCertificate.loadPEM(b"".join(self.authority.issue()))
        self.api.listen(
            CertificateOptions(
                privateKey=own.privateKey.original,
                certificate=own.original,
                insecurelyLowerMinimumTo=version,
                lowerMaximumSecurityTo=version,
                acceptableCiphers=AcceptableCiphers.fromOpenSSLCipherString("ALL:@SECLEVEL=0"),
            )
        )

    async def test_one_that_cannot_be_read(self) -> None:
        """Of a version that there is none of, though trusted: 503 and no DELETE."""
        certificate, key = self_signed()
        odd = version_11(certificate)
        self.listen((odd, key))
        await self.serve_https(API_CA=str(self.write("odd.pem", odd)))
        await self.check_refused("it cannot be read")

    async def test_one_that_was_changed(self) -> None:
        """Its signature is of another: 503 and no DELETE."""
        certificate, key = self.authority.issue()
        self.listen((version_11(certificate), key))
        await self.serve_https()
        await self.check_refused("its signature is wrong (a subject that cannot be read)")

    async def test_one_that_says_a_lot(self) -> None:
        """Its subject is cut before it goes to the log."""
        self.listen(Authority("another").issue(units=["unit"] * 1000))
        await self.serve_https()
        await self.check_refused("its authority is not trusted")
        self.assertLess(max(map(len, self.logged().splitlines())), 500)

    async def test_renewed(self) -> None:
        """A certificate that is accepted after one that was not: clients get in."""
        self.listen(self.authority.issue(days=-1))
        await self.serve_https()
        self.assertEqual((await self.shake(handshake())).status, 503)
        port = self.api.port
        await self.api.stop_listening()
        self.listen(self.authority.issue(), port=port)
        self.assertEqual(len((await self.life()).calls), 3)

    async def test_untrusted(self) -> None:
        """Of an authority that is not in ``API_CA``: 503 and no DELETE."""
        self.listen(Authority("another").issue())
        await self.serve_https()
        await self.check_refused("its authority is not trusted")

    async def test_system_roots(self) -> None:
        """Without ``API_CA`` the system's roots count, which do not have ours: 503 and no DELETE."""
        self.listen(self.authority.issue())
        await self.serve(API_URI=f"https://localhost:{self.api.port}/hook")
        await self.check_refused("its authority is not trusted")

    async def test_no_tls_at_the_api(self) -> None:
        """An API that speaks no TLS: nobody is let in, and nothing is sent to it in plain text."""
        self.api.listen()
        await self.serve_https(API_TIMEOUT="150")
        self.assertIn((await self.shake(handshake())).status, (502, 503, 504))
        await self.stop_gateway()
        self.assertEqual(self.api.calls, [])

    async def test_plain_text_from_the_api(self) -> None:
        """An API that answers what is no HTTP to it, as most do: 503 and no DELETE."""
        self.api.listen()
        server = Factory.forProtocol(Complaining)
        server.noisy = False
        port: Any = reactor.listenTCP(0, server, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        await self.serve_https(API_URI=f"https://localhost:{port.getHost().port}/hook")
        self.assertEqual((await self.shake(handshake())).status, 503)
        await self.stop_gateway()
        self.assertRegex(self.logged(), "WARN .*no TLS with the API: .*wrong version number")
        self.check_nothing_owed()

    async def test_own_certificate(self) -> None:
        """``API_CERT``: an API that asks for a certificate gets ours."""
        self.listen(self.authority.issue(), self.authority.certificate)
        certificate, key = self.authority.issue(("gateway.example",))
        await self.serve_https(API_CERT=str(self.write("own.pem", key, certificate)))
        self.assertEqual(len((await self.life()).calls), 3)

    async def test_own_certificate_of_somebody_else(self) -> None:
        """An API that does not accept ours does not hear of anybody."""
        self.listen(self.authority.issue(), self.authority.certificate)
        await self.serve_https(API_CERT=str(self.write("own.pem", *Authority("another").issue(("gateway.example",)))))
        self.assertEqual((await self.shake(handshake())).status, 503)
        await self.stop_gateway()
        self.check_nothing_owed()

    async def test_reload(self) -> None:
        """SIGHUP: ``API_CA`` and ``API_CERT`` as they are now, or, if one is of no use, both as they were."""
        other = Authority("another")
        self.listen(other.issue(), other.certificate)
        own = self.write("own.pem", *self.authority.issue(("gateway.example",)))
        await self.serve_https(API_CERT=str(own))
        assert self.gateway is not None
        self.assertEqual((await self.shake(handshake())).status, 503)
        self.write("ca.pem", other.certificate)
        self.write("own.pem", *other.issue(("gateway.example",)))
        self.gateway.reload()
        self.assertRegex(self.logged(), r"INFO .*reloaded: API_CA and API_CERT, which expires 20\d\d-\d\d-\d\d")
        self.assertEqual(len((await self.life()).calls), 3)
        self.write("ca.pem", self.authority.certificate)
        self.write("own.pem", b"nonsense")
        self.gateway.reload()
        self.assertRegex(self.logged(), f"ERROR .*not reloaded.* stays: API_CERT: '{own}' .*no certificate in it")
        self.assertEqual(len((await self.life()).calls), 3)
        # A connection is kept, and would be used. Whose authority is not trusted any more gets nothing on it either.
        self.write("own.pem", *other.issue(("gateway.example",)))
        self.gateway.reload()
        self.assertEqual((await self.shake(handshake())).status, 503)

    async def test_no_own_certificate(self) -> None:
        """An API that asks for a certificate does not hear of a gateway that has none."""
        self.listen(self.authority.issue(), self.authority.certificate)
        await self.serve_https()
        self.assertEqual((await self.shake(handshake())).status, 503)
        await self.stop_gateway()
        self.check_nothing_owed()
