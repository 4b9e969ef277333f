"""The gateway between two ends that a test holds in its hand, on real sockets of loopback.

On the API's side a :class:`~tests.recording_api.RecordingApi`: an HTTP server that keeps every callback as a
:class:`~tests.recording_api.Call` and answers as it was told, at once or when the test says so. On the clients' and
pushers' side a :class:`~tests.wire.Wire`: one TCP or TLS connection, on which a test writes what it likes and reads
heads, bodies and frames. In between the gateway, wired as in production, in the same process and reactor.

.. code-block:: python

    class EchoTests(ContractTestCase):
        async def test_echo(self) -> None:
            await self.serve(WS_TIMEOUT="1000")
            client = await self.connect("/chat")
            client.send_text("hello")
            put = await self.api.call("PUT")
            self.assertEqual(put.body, b"hello")

Every wait has a deadline, and fails by saying what did not come.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from autobahn.twisted.websocket import WebSocketClientFactory
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, ITransport
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from bench.ports import free_port
from tests.recording_api import Answer, Call, RecordingApi
from tests.steady import keep_steady
from tests.waiting import PATIENCE, Condition, reactor, within
from tests.wire import BINARY, PONG, TEXT, AutobahnClient, Fields, Reply, Wire, frame, handshake
from wsaas.assembly import build
from wsaas.logs import format_text
from wsaas.operations.service import Gateway
from wsaas.settings.read import read_settings


@dataclass
class Life:
    """The three callbacks of a connection that sent one message."""

    post: Call
    put: Call
    delete: Call

    @property
    def calls(self) -> list[Call]:
        """All of them."""
        return [self.post, self.put, self.delete]


@implementer(ILogObserver)
class _Log:
    def __init__(self) -> None:
        self.events: list[LogEvent] = []
        self.condition = Condition()

    def __call__(self, event: LogEvent) -> None:
        self.events.append(event)
        self.condition.changed()


class ContractTestCase(TestCase):
    """A test between an API and clients of its own. Whatever it starts ends with it."""

    #: The second line of defence: every wait in a test has a deadline of its own.
    timeout = 30
    #: Whom pushers trust, where pushes go over TLS.
    push_tls: IOpenSSLClientConnectionCreator | None = None

    def setUp(self) -> None:
        """Start the API; each test starts the gateway, with the settings that it is about."""
        keep_steady(self)
        self._sockets = set(self._open_sockets())
        self._log = _Log()
        globalLogPublisher.addObserver(self._log)
        self.addCleanup(globalLogPublisher.removeObserver, self._log)
        self.api = RecordingApi()
        self.addCleanup(self._all_quiet)
        self.addCleanup(self.api.stop_listening)
        self.gateway: Gateway | None = None
        self.port = 0
        self.listen_api()

    def listen_api(self) -> None:
        """Have the API listen; tests of TLS do it their way."""
        self.api.listen()

    @staticmethod
    def _open_sockets() -> list[object]:
        # The reactor's own wakers are no transports.
        return [it for it in (*reactor.getReaders(), *reactor.getWriters()) if ITransport.providedBy(it)]

    async def _all_quiet(self) -> None:
        """Wait until both ends of everything have noticed that it is over; trial complains about the rest."""
        # The other end of a connection is in this very process, but nothing tells when it is done with it.
        deadline = reactor.seconds() + PATIENCE
        while set(self._open_sockets()) - self._sockets and reactor.seconds() < deadline:
            await deferLater(reactor, 0.001)
        self._check_secrets()

    def _check_secrets(self) -> None:
        """No key of any connection may ever stand in the log (protocol §1), whatever the test was about."""
        log = self.logged()
        for ws_uri in {call.ws_uri for call in self.api.calls}:
            self.assertNotIn(ws_uri.rpartition("/")[2], log)

    # The log

    def logged(self) -> str:
        """:returns: everything that was logged so far, as it would stand in the log at ``DEBUG``"""
        return "".join(format_text(event) for event in self._log.events if "log_time" in event)

    async def until_logged(self, pattern: str) -> None:
        """Wait until something that matches stands in the log.

        :param pattern: a regular expression
        """
        await self._log.condition.until(lambda: bool(re.search(pattern, self.logged())), f"{pattern!r} in the log")

    # The gateway

    async def serve(self, **settings: str) -> Gateway:
        """Start the gateway on a free port of 127.0.0.1.

        :param settings: on top of, or in place of, those that make it short-tempered enough for tests
        """
        self.port = free_port()
        given = {
            "API_URI": settings.get("API_URI") or f"127.0.0.1:{self.api.port}/hook",
            "WS_HOSTNAME": f"http://127.0.0.1:{self.port}",
            "WS_LISTEN": f"tcp:{self.port}:interface=127.0.0.1",
            "DRAIN_TIMEOUT": "1000",
            **settings,
        }
        gateway = build(read_settings(given), reactor)
        gateway.startService()
        self.gateway = gateway
        self.addCleanup(self.stop_gateway)
        return gateway

    async def stop_gateway(self) -> None:
        """Stop it as SIGTERM would, an API that still owes answers giving them up."""
        gateway, self.gateway = self.gateway, None
        if gateway is not None:
            self.api.release()
            await gateway.stopService()

    # Clients

    async def dial(
        self, port: int | None = None, *, host: str = "127.0.0.1", tls: IOpenSSLClientConnectionCreator | None = None
    ) -> Wire:
        """:returns: a new TCP connection to the gateway, or a TLS one"""
        kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        endpoint: Any = kind(reactor, host, port or self.port)
        if tls is not None:
            endpoint = wrapClientTLS(tls, endpoint)
        wire: Wire = await within(connectProtocol(endpoint, Wire()), "a connection to the gateway")
        self.addCleanup(self._drop, wire)
        return wire

    def dial_narrow(self, tls: IOpenSSLClientConnectionCreator | None = None) -> Wire:
        """:returns: a new connection of which the kernel keeps little that is not read

        Else it keeps megabytes, and takes some more whenever it likes.
        """
        with socket.socket() as narrow:
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            # The gateway listens in this very thread; the kernel completes the connection all the same.
            narrow.connect(("127.0.0.1", self.port))
            narrow.setblocking(False)
            made: list[Wire] = []
            factory = Factory.forProtocol(Wire)
            factory.noisy = False

            def build_protocol(_: object) -> Wire:
                made.append(Wire())
                return made[0]

            factory.buildProtocol = build_protocol  # type: ignore[method-assign,assignment]  # one protocol, to be kept
            adopting = factory if tls is None else TLSMemoryBIOFactory(tls, True, factory)
            reactor.adoptStreamConnection(narrow.fileno(), socket.AF_INET, adopting)
        self.addCleanup(self._drop, made[0])
        return made[0]

    @staticmethod
    def _drop(wire: Wire) -> None:
        if not wire.ended:
            wire.drop()

    async def shake(self, request: bytes) -> Reply:
        """:returns: the gateway's answer to a handshake, or to whatever is sent in place of one"""
        wire = await self.dial()
        wire.send(request)
        return await wire.reply()

    async def connect(self, path: str = "/", headers: Fields = (), **more: Any) -> Wire:
        """:returns: a client that has its 101"""
        wire = await self.dial()
        wire.send(handshake(path, headers, **more))
        self.assertEqual((await wire.reply()).status, 101)
        return wire

    async def connected_narrow(self, tls: IOpenSSLClientConnectionCreator | None = None) -> tuple[Wire, str]:
        """:returns: a client on a narrow connection that does not read any more, and its ``ws_uri``"""
        wire = self.dial_narrow(tls)
        wire.send(handshake())
        self.assertEqual((await wire.reply()).status, 101)
        wire.stop_reading()
        return wire, (await self.api.call("POST")).ws_uri

    async def connected(self, path: str = "/", headers: Fields = ()) -> tuple[Wire, str]:
        """:returns: a client that has its 101, and its ``ws_uri``"""
        client = await self.connect(path, headers)
        return client, (await self.api.call("POST")).ws_uri

    async def life(self, path: str = "/", headers: Fields = (), message: bytes | None = None) -> Life:
        """Lead a whole life: connect, send one message, close.

        :param message: sent as binary; else a short text is
        """
        client = await self.connect(path, headers)
        client.send(frame(TEXT, b"hello") if message is None else frame(BINARY, message))
        put = await self.api.call("PUT")
        client.send_close(1000)
        delete = await self.api.call("DELETE")
        return Life(await self.api.call("POST"), put, delete)

    async def autobahn(self, url: str | None = None, protocols: Sequence[str] = ()) -> AutobahnClient:
        """:returns: an Autobahn client that is open"""
        factory = WebSocketClientFactory(url or f"ws://127.0.0.1:{self.port}/", protocols=list(protocols))
        factory.noisy = False
        # Its timers would outlive the test.
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0)
        factory.protocol = AutobahnClient
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port)
        client: AutobahnClient = await within(endpoint.connect(factory), "a connection to the gateway")

        def drop() -> None:
            if client.ended is None:
                client.transport.abortConnection()

        self.addCleanup(drop)
        await client.until(lambda it: it.opened or it.ended, "Autobahn's handshake")
        self.assertTrue(client.opened, client.ended)
        return client

    # Pushers

    def request(
        self, method: str, ws_uri: str, body: bytes | None = None, headers: Fields = (), query: str = ""
    ) -> bytes:
        """:returns: the bytes of a request to a ``ws_uri``

        :param body: sent with its length; without one nothing is said of a body
        """
        parts = urlsplit(ws_uri)
        lines = [f"{method} {parts.path}{query} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")

    async def push(
        self, method: str, ws_uri: str, body: bytes | None = None, headers: Fields = (), query: str = ""
    ) -> Reply:
        """:returns: the answer to a request to a ``ws_uri``, on a connection of its own; over TLS if it is https"""
        parts = urlsplit(ws_uri)
        host = "127.0.0.1" if parts.hostname in (None, "localhost") else parts.hostname
        wire = await self.dial(parts.port, host=host, tls=self.push_tls if parts.scheme == "https" else None)
        wire.send(self.request(method, ws_uri, body, headers, query))
        reply = await wire.reply(head_only=method == "HEAD")
        wire.drop()
        return reply

    async def put_text(self, ws_uri: str, text: str) -> Reply:
        """:returns: the answer to a push of text"""
        return await self.push("PUT", ws_uri, text.encode("utf-8"), [("Content-Type", "text/plain")])

    async def fill(self, client: Wire, ws_uri: str) -> list[int]:
        """Push to a client that does not read until there is no room any more, not even for a short message.

        :returns: how long the messages were that were taken
        """
        taken: list[int] = []
        before = -1
        while len(taken) > before:
            before = len(taken)
            for size in (131072, 20_000, 2_000):
                while (
                    reply := await self.push("PUT", ws_uri, bytes(size), [("Content-Type", "application/octet-stream")])
                ).status == 200:
                    taken.append(size)
                self.assertEqual((reply.status, reply.json["code"]), (503, "TOO_SLOW"))
            # Whatever comes from a client may move the kernel to make more room for it.
            client.send(frame(PONG))
            await self.push("GET", ws_uri)
        return taken

    async def check_slowed_down(self, client: Wire, ws_uri: str, count: int) -> None:
        """Send faster than the API takes: little is read until it does, and all of it comes, in order.

        :param count: messages, of 9,000 bytes each; for a gateway with a ``WS_MAX_BUFFER`` of 20,000
        """
        self.api.script["PUT"] = None
        for number in range(count):
            client.send_binary(b"%d:" % number + bytes(9_000))
        first = await self.api.call("PUT")
        for _ in range(5):
            value = (await self.push("GET", ws_uri)).json
        self.assertLess(value["bytes_in"], 50_000)
        self.api.script["PUT"] = Answer()
        first.answer()
        got = [first.body, *[(await self.api.call("PUT")).body for _ in range(count - 1)]]
        self.assertEqual([body.partition(b":")[0] for body in got], [b"%d" % number for number in range(count)])

    async def until_gone(self, ws_uri: str) -> None:
        """Ask until pushes do not find a connection any more."""
        deadline = reactor.seconds() + PATIENCE
        while (await self.push("HEAD", ws_uri)).status == 200:
            self.assertLess(reactor.seconds(), deadline, "pushes still find it")

    async def until_given_up(self, client: Wire, ws_uri: str) -> list[int]:
        """Push to a client that does not read, but shows that it lives, until the API is told that it is gone.

        :returns: the statuses of the pushes
        """
        statuses: list[int] = []
        deadline = reactor.seconds() + PATIENCE
        alive_at = 0.0
        while not any(call.method == "DELETE" for call in self.api.of(ws_uri)):
            self.assertLess(reactor.seconds(), deadline, "it is not given up")
            # More than 64 a second would be a flood.
            if reactor.seconds() - alive_at > 0.04:
                alive_at = reactor.seconds()
                client.send(frame(PONG))
            reply = await self.push("PUT", ws_uri, bytes(131072), [("Content-Type", "application/octet-stream")])
            statuses.append(reply.status)
        return statuses

    def scratch(self) -> Path:
        """:returns: a new folder for this test"""
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        return folder
