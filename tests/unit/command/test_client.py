"""``wsaas connect`` against a server in memory."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha1
from io import StringIO
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.wire import BINARY, CLOSE, TEXT, close_payload
from wsaas.command.client import LineClient, Lines, pump, shown, talk
from wsaas.command.words import Dial

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def of_server(opcode: int, payload: bytes) -> bytes:
    """:returns: a frame, which a server does not mask"""
    return bytes([0x80 | opcode, len(payload)]) + payload


class Socket(StringTransport):
    """As real ones do, it lets producers go that it does not have."""

    def unregisterProducer(self) -> None:
        self.producer = None


class Server:
    """The way to a server, and the server."""

    def __init__(self) -> None:
        self.transport = Socket()
        self.failure: Exception | None = None

    def connect(self, factory: Any) -> Deferred[Any]:
        """Be an endpoint."""
        if self.failure is not None:
            return fail(self.failure)
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        return succeed(self.protocol)

    def accept(self, more: bytes = b"") -> bytes:
        """:returns: the handshake, which is accepted"""
        asked = self.received()
        (key,) = re.findall(rb"(?i)sec-websocket-key: (\S+)", asked)
        accepted = b64encode(sha1(key + GUID).digest())
        head = b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n%b\r\n"
        self.protocol.dataReceived(head % (accepted, more))
        return asked

    def received(self) -> bytes:
        """:returns: what came since the last time"""
        value: bytes = self.transport.value()
        self.transport.clear()
        return value

    def frames(self) -> list[tuple[int, bytes]]:
        """:returns: opcode and payload of all short frames that came since the last time"""
        data, found = self.received(), []
        while data:
            length = data[1] & 0x7F
            mask, masked = data[2:6], data[6 : 6 + length]
            found.append((data[0] & 15, bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))))
            data = data[6 + length :]
        return found

    def end(self) -> None:
        """The connection is over."""
        self.protocol.connectionLost(Failure(ConnectionDone()))


class TalkTests(SynchronousTestCase):
    """From the handshake to the exit status."""

    def start(self, **more: Any) -> Deferred[int]:
        """:returns: fires with the exit status"""
        self.out, self.notes = StringIO(), StringIO()
        self.reactor, self.server = MemoryReactorClock(), more.pop("server", None) or Server()
        self.users: list[Lines] = []
        dial = Dial("ws://gw:8080/chat", **more)

        def begin(client: LineClient) -> None:
            self.users.append(Lines(client))

        endpoint: Any = self.server
        return Deferred.fromCoroutine(talk(self.reactor, endpoint, dial, (self.out, self.notes), begin))

    def test_lines(self) -> None:
        """Each is a message, as each message is a line."""
        status = self.start(protocols=("v1",), headers={"Origin": "http://x"})
        self.assertEqual(self.users, [])
        asked = self.server.accept(b"Sec-WebSocket-Protocol: v1\r\n")
        self.assertIn(b"GET /chat HTTP/1.1\r\n", asked)
        self.assertIn(b"Origin: http://x\r\n", asked)
        self.assertEqual(self.notes.getvalue(), "wsaas: open, subprotocol v1\n")
        (user,) = self.users
        for data in (b"one\ntw", b"o\r\n\nthr", b"ee"):
            user.dataReceived(data)
        self.assertEqual(self.server.frames(), [(TEXT, b"one"), (TEXT, b"two"), (TEXT, b"")])
        self.server.protocol.dataReceived(of_server(TEXT, b"hi\nyou") + of_server(BINARY, b"\x00\xff"))
        self.assertEqual(self.out.getvalue(), "hi\nyou\nbinary, 2 bytes: 00 ff\n")
        user.connectionLost()
        self.assertEqual(self.server.frames(), [(TEXT, b"three")])
        self.reactor.advance(1)
        self.assertEqual(self.server.frames(), [(CLOSE, close_payload(1000))])
        self.server.protocol.dataReceived(of_server(CLOSE, close_payload(1000)))
        self.server.end()
        self.assertEqual(self.successResultOf(status), 0)
        self.assertTrue(self.notes.getvalue().endswith("wsaas: closed: 1000\n"))

    def test_binary(self) -> None:
        """Lines are binary messages."""
        self.start(binary=True)
        self.server.accept()
        self.users[0].dataReceived(b"\xff\n")
        self.assertEqual(self.server.frames(), [(BINARY, b"\xff")])

    def test_closed_by_the_server(self) -> None:
        """Its code and reason are said; lines that still come are nobody's."""
        status = self.start()
        self.server.accept()
        self.server.protocol.dataReceived(of_server(CLOSE, close_payload(4001, "bye\x1b[2J")))
        self.server.end()
        self.assertEqual(self.successResultOf(status), 0)
        self.assertIn("wsaas: closed: 4001 bye\\x1b[2J\n", self.notes.getvalue())
        self.server.received()
        self.users[0].dataReceived(b"late\n")
        self.assertEqual(self.server.received(), b"")

    def test_cut(self) -> None:
        """An end without a close frame is 1006, and a failure."""
        status = self.start()
        self.server.accept()
        self.server.end()
        self.assertEqual(self.successResultOf(status), 1)
        self.assertIn("wsaas: closed: 1006 ", self.notes.getvalue())

    def test_refused(self) -> None:
        """By a status."""
        status = self.start()
        self.server.protocol.dataReceived(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        self.server.end()
        self.assertEqual(self.successResultOf(status), 1)
        self.assertRegex(self.notes.getvalue(), r"\Awsaas: not connected: .*403.*\n\Z")
        self.assertEqual(self.users, [])

    def test_no_connection(self) -> None:
        """Nobody is there."""
        server = Server()
        server.failure = Refused()
        self.assertEqual(self.successResultOf(self.start(server=server)), 1)
        self.assertIn("wsaas: not connected: Connection was refused", self.notes.getvalue())

    def test_interrupted(self) -> None:
        """The end of the process waits for a proper close."""
        status = self.start()
        self.server.accept()
        ((leave, arguments, _),) = self.reactor.triggers["before"]["shutdown"]
        left = leave(*arguments)
        self.assertEqual(self.server.frames(), [(CLOSE, close_payload(1000))])
        self.assertNoResult(left)
        self.server.protocol.dataReceived(of_server(CLOSE, close_payload(1000)))
        self.server.end()
        self.successResultOf(left)
        self.assertEqual(self.successResultOf(status), 0)


class PumpTests(SynchronousTestCase):
    """What a thread reads."""

    def test_until_the_end(self) -> None:
        """All of it, and then the end, once; an input that cannot be read is at its end."""
        for last in ([b""], OSError()):
            told: list[bytes | None] = []
            parts = iter([b"a", b"b", *(last if isinstance(last, list) else [])])

            def read(_: int, parts: Any = parts) -> bytes:
                for part in parts:
                    return bytes(part)
                raise OSError

            class Told:
                def dataReceived(self, data: bytes, told: Any = told) -> None:
                    told.append(data)

                def connectionLost(self, told: Any = told) -> None:
                    told.append(None)

            class Reactor:
                def callFromThread(self, call: Callable[[], None]) -> None:
                    call()

            told_lines: Any = Told()
            pump(read, Reactor(), told_lines)
            self.assertEqual(told, [b"a", b"b", None])


class ShownTests(SynchronousTestCase):
    """What stands on the terminal."""

    def test_text(self) -> None:
        """Nothing that moves its cursor but a new line and a tab."""
        self.assertEqual(shown("é\t\n🐎".encode(), False), "é\t\n🐎")
        self.assertEqual(shown(b"\r\x1b[1m\xff\xc2\x9b", False), "\\r\\x1b[1m�\\x9b")

    def test_binary(self) -> None:
        """Its length, and its beginning."""
        self.assertEqual(shown(b"\x01", True), "binary, 1 bytes: 01")
        self.assertTrue(shown(bytes(65), True).endswith("00 00 …"))
