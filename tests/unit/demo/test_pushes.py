"""Pushes are recorded as they were answered, whatever the answer."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import Gate
from wsaas.connections.connection import Connection
from wsaas.connections.messages import Close, ClosedBy, Message
from wsaas.connections.registry import Registry
from wsaas.demo.pushes import RecordedNamed, RecordedPushes
from wsaas.demo.traffic import Exchange, Traffic
from wsaas.net.http1.messages import RequestFields, RequestHead, Response
from wsaas.pushes.settings import PushSettings
from wsaas.pushes.tokens import PushTokens


class Target:
    """As much of a connection as pushes need."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.closing = False
        self.outbox = self

    def push(self, message: Message) -> bool:
        self.messages.append(message)
        return True

    def push_confirmed(self, message: Message, seconds: float) -> Deferred[bool]:
        self.push(message)
        self.confirmed: Deferred[bool] = Deferred()
        return self.confirmed

    def close(self, close: Close, by: ClosedBy) -> bool:
        open_before, self.closing = not self.closing, True
        return open_before


class OneConnection:
    """As much of a registry as pushes need."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def get(self, key: str) -> Connection | None:
        return cast(Connection, self.target) if key == "key" else None


class RecordedPushesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.traffic = Traffic(Clock(), float)
        self.target = Target()
        self.pushes = RecordedPushes(cast(Registry, OneConnection(self.target)), 10, self.traffic)

    def head(self, method: bytes, target: bytes, length: int | None = 0, *more: tuple[bytes, bytes]) -> RequestHead:
        fields = RequestFields([(b"Content-Type", b"text/plain"), *more])
        fields.length = length
        return RequestHead(method, target, b"HTTP/1.1", fields, False, "127.0.0.1")

    def recorded(self) -> Exchange:
        [exchange] = self.traffic.since(0)
        self.assertEqual(exchange.direction, "push")
        return exchange

    def test_message(self) -> None:
        head = self.head(b"PUT", b"/key", 2)
        self.assertIsNone(self.pushes.judge(head))
        answer = self.pushes.respond(head, b"hi")
        assert isinstance(answer, Response)
        self.assertEqual(answer.status, 200)
        self.assertEqual([message.payload for message in self.target.messages], [b"hi"])
        exchange = self.recorded()
        self.assertEqual((exchange.method, exchange.target, exchange.body.text), ("PUT", "/key", "hi"))
        self.assertEqual(exchange.headers, [("Content-Type", "text/plain")])
        self.assertEqual((exchange.status, exchange.answer_body.text), (200, '{"code": "OK"}\n'))
        self.assertIn(("Cache-Control", "no-store"), exchange.answer_headers)

    def test_close(self) -> None:
        head = self.head(b"DELETE", b"/key?code=4001&reason=bye")
        self.assertIsNone(self.pushes.judge(head))
        self.pushes.respond(head, b"")
        self.assertTrue(self.target.closing)
        self.assertEqual(self.recorded().target, "/key?code=4001&reason=bye")

    def test_refused_by_its_head(self) -> None:
        refusal = self.pushes.judge(self.head(b"PUT", b"/nobody", 2))
        assert refusal is not None
        exchange = self.recorded()
        self.assertEqual((refusal.status, exchange.status), (404, 404))
        self.assertIn("NOT_FOUND", exchange.answer_body.text)

    def test_refused_later(self) -> None:
        answer = self.pushes.respond(self.head(b"PUT", b"/key", 1), b"\xff")
        assert isinstance(answer, Response)
        self.assertEqual(answer.status, 400)
        exchange = self.recorded()
        self.assertEqual((exchange.status, exchange.body.binary), (400, True))
        self.assertIn("BAD_REQUEST", exchange.answer_body.text)

    def confirming(self) -> Deferred[Response]:
        answer = self.pushes.respond(self.head(b"PUT", b"/key", 2, (b"Ws-Confirm", b"1000")), b"hi")
        assert isinstance(answer, Deferred)
        return answer

    def test_answered_later(self) -> None:
        answer = self.confirming()
        exchange = self.recorded()
        self.assertEqual((exchange.body.text, exchange.status), ("hi", None))
        self.target.confirmed.callback(False)
        self.assertEqual(self.successResultOf(answer).status, 202)
        self.assertEqual(exchange.status, 202)
        self.assertIn("UNCONFIRMED", exchange.answer_body.text)

    def test_never_answered(self) -> None:
        answer = self.confirming()
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        exchange = self.recorded()
        self.assertEqual((exchange.status, exchange.error), (None, "the pusher left before the answer"))


class RecordedNamedTests(SynchronousTestCase):
    """Requests by name, in a gateway with the demo's resource."""

    def test_a_publish(self) -> None:
        traffic = Traffic(Clock(), float)
        gate = Gate(None, PUBLISH_TOKEN="publish")
        bounds = PushSettings(100, 1000)
        tokens = PushTokens((), (b"publish",))
        named = RecordedNamed(gate.registry, gate.groups, tokens, bounds, gate.clock, gate.totals.budgets.bodies)
        named.traffic = traffic
        gate.open()
        for token, status in ((b"publish", 200), (b"other", 401)):
            fields = RequestFields([(b"Authorization", b"Bearer " + token)])
            fields.length = 2
            head = RequestHead(b"PUT", b"/all", b"HTTP/1.1", fields, False, "127.0.0.1")
            if named.judge(head) is None:
                named.respond(head, b"hi")
            *_, exchange = traffic.since(0)
            self.assertEqual((exchange.direction, exchange.target, exchange.status), ("push", "/all", status))
            self.assertEqual(exchange.headers, [("Authorization", "(hidden)")])
        first = next(traffic.since(0))
        self.assertIn('"sent": 1', first.answer_body.text)
