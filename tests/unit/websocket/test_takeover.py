"""Granted handshakes that become WebSockets: the 101, and whose the socket is from then on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import PING, PONG, TEXT, Frame, Gate, Wire, frame, read_answer, read_frames
from tests.unit.connections.test_connection import HANDSHAKE
from wsaas.connections.connection import Connection, State
from wsaas.connections.messages import Close, ClosedBy, Grant, Handshake
from wsaas.limits import Budgets
from wsaas.websocket.takeover import ClientFactory

#: What RFC 6455 §1.3 makes of the key in :data:`HANDSHAKE`.
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


class TakeoverCase(SynchronousTestCase):
    """A factory, and connections that were granted."""

    compression = False

    def setUp(self) -> None:
        """Make the factory."""
        self.gate = Gate()
        self.budgets = Budgets()
        self.factory = ClientFactory(self.gate.clock, 1000, self.compression, self.budgets)

    def granted(self, handshake: Handshake = HANDSHAKE) -> Connection:
        """:returns: a connection whose POST was granted"""
        connection = self.gate.upgrade.connection(handshake)
        connection.authorise()
        self.gate.agent.last.answer()
        return connection

    def take_over(self, handshake: Handshake = HANDSHAKE, grant: Grant | None = None, early: bytes = b"") -> Wire:
        """:returns: a wire that has become a WebSocket"""
        wire = Wire(self.gate.clock)
        self.connection = self.granted(handshake)
        self.factory.take_over(wire, early, handshake, grant or Grant(), self.connection)
        return wire


class AnswerTests(TakeoverCase):
    """The 101."""

    def test_as_in_the_rfc(self) -> None:
        """RFC 6455 §4.2.2, with the key of its example; nothing that was not agreed on."""
        answer, rest = read_answer(self.take_over().take())
        self.assertEqual((answer.status, rest), (101, b""))
        self.assertEqual(answer.header("Sec-WebSocket-Accept"), ACCEPT)
        self.assertEqual((answer.header("Upgrade"), answer.header("Connection")), ("websocket", "Upgrade"))
        self.assertIsNone(answer.header("Sec-WebSocket-Protocol"))
        self.assertIsNone(answer.header("Sec-WebSocket-Extensions"))

    def test_subprotocol(self) -> None:
        """The one of the grant."""
        answer, _ = read_answer(self.take_over(grant=Grant("chat.v1")).take())
        self.assertEqual(answer.header("Sec-WebSocket-Protocol"), "chat.v1")

    def test_then_the_close_of_the_grant(self) -> None:
        """Not before the 101."""
        wire = self.take_over(grant=Grant(close=Close(4001, "full"), closed_by=ClosedBy.API))
        answer, rest = read_answer(wire.take())
        self.assertEqual(answer.status, 101)
        self.assertEqual(read_frames(rest), [Frame(8, b"\x0f\xa1full")])
        self.assertIs(self.connection.state, State.CLOSING)


class SocketTests(TakeoverCase):
    """Whose the socket is from then on."""

    def test_early_bytes(self) -> None:
        """They come first, and after the 101."""
        wire = self.take_over(early=frame(PING, b"a") + frame(TEXT, b"early")[:4])
        _, rest = read_answer(wire.take())
        self.assertEqual(read_frames(rest), [Frame(PONG, b"a")])
        wire.deliver(frame(TEXT, b"early")[4:])
        self.assertEqual((self.gate.agent.last.method, self.gate.agent.last.body), ("PUT", b"early"))

    def test_around_a_socket(self) -> None:
        """TLS and PROXY stand between the socket and the protocol, and stay there."""
        wrapper: Any = ProtocolWrapper(WrappingFactory(self.factory), Protocol())
        wire = Wire(self.gate.clock)
        wire.protocol = wrapper
        wrapper.transport = wire
        protocol = self.factory.take_over(wrapper, b"", HANDSHAKE, Grant(), self.granted())
        self.assertIs(wire.protocol, wrapper)
        self.assertIs(wrapper.wrappedProtocol, protocol)
        wire.deliver(frame(TEXT, b"a"))
        self.assertEqual(self.gate.agent.last.body, b"a")

    def test_protocols_share_what_is_the_same(self) -> None:
        """It costs no connection anything."""
        self.take_over()
        self.take_over()
        own = self.factory.protocol()
        for name in ("factory", "maxMessagePayloadSize", "budgets", "partial"):
            self.assertNotIn(name, vars(own))
        self.assertIs(own.budgets, self.budgets)


class OfferTests(TakeoverCase):
    """permessage-deflate, where it is spoken."""

    compression = True
    handshake = replace(HANDSHAKE, extensions="permessage-deflate")

    def test_accepted(self) -> None:
        """The client is told."""
        answer, _ = read_answer(self.take_over(self.handshake).take())
        self.assertTrue((answer.header("Sec-WebSocket-Extensions") or "").startswith("permessage-deflate"))

    def test_not_offered(self) -> None:
        """Nothing is compressed then."""
        answer, _ = read_answer(self.take_over().take())
        self.assertIsNone(answer.header("Sec-WebSocket-Extensions"))

    def test_declined(self) -> None:
        """An offer that cannot be accepted is as good as none; so is any where compression is not spoken."""
        declined = replace(HANDSHAKE, extensions="permessage-deflate; unknown")
        for factory, handshake in (
            (self.factory, declined),
            (ClientFactory(self.gate.clock, 1000, False), self.handshake),
        ):
            self.factory = factory
            answer, _ = read_answer(self.take_over(handshake).take())
            self.assertEqual((answer.status, answer.header("Sec-WebSocket-Extensions")), (101, None))
