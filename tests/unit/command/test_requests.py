"""``wsaas push`` and ``wsaas publish`` against a server in memory."""

from __future__ import annotations

from io import StringIO
from typing import Any

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource
from twisted.web.server import Request
from zope.interface import implementer

from wsaas.command.requests import send
from wsaas.command.words import Message

URL = "http://gw:8080/SECRET"


class Gateway(Resource):
    """Answers as it is told, and keeps what was asked."""

    isLeaf = True
    status = 200
    answer = b'{"code": "OK"}'

    def render_PUT(self, request: Request) -> bytes:
        """Take one."""
        assert request.content is not None
        self.body = request.content.read()
        self.headers = request.requestHeaders
        request.setResponseCode(self.status)
        request.setHeader("Location", "http://elsewhere/")
        return self.answer


@implementer(IAgent)
class NoAgent:
    """Has an answer of its own: a failure, or none."""

    def __init__(self, answer: Deferred[Any]) -> None:
        self.answer = answer

    def request(self, *_: object) -> Deferred[Any]:
        return self.answer


class SendTests(SynchronousTestCase):
    """One request."""

    def setUp(self) -> None:
        """Make both streams."""
        self.out, self.errors, self.clock = StringIO(), StringIO(), Clock()
        self.gateway = Gateway()

    def send(self, message: Message, agent: IAgent | None = None) -> Deferred[int]:
        """:returns: fires with the exit status"""
        traversal = RequestTraversalAgent(self.gateway)
        status = Deferred.fromCoroutine(send(agent or traversal, self.clock, message, self.out, self.errors))
        traversal.flush()
        return status

    def test_text(self) -> None:
        """The answer is printed."""
        self.assertEqual(self.successResultOf(self.send(Message(URL, b"hello"))), 0)
        self.assertEqual((self.out.getvalue(), self.errors.getvalue()), ('{"code": "OK"}\n', ""))
        self.assertEqual(self.gateway.body, b"hello")
        self.assertEqual(self.gateway.headers.getRawHeaders("Content-Type"), ["text/plain; charset=utf-8"])
        self.assertIsNone(self.gateway.headers.getRawHeaders("Authorization"))

    def test_binary_with_token(self) -> None:
        """Both are headers."""
        self.successResultOf(self.send(Message(URL, b"\xff", True, b"token")))
        self.assertEqual(self.gateway.headers.getRawHeaders("Content-Type"), ["application/octet-stream"])
        self.assertEqual(self.gateway.headers.getRawHeaders("Authorization"), ["Bearer token"])

    def test_refused(self) -> None:
        """The answer is printed, the message is said; a redirect is an answer."""
        self.gateway.answer = b'{"code": "TOO_SLOW", "message": "it does not read"}'
        for status in (503, 307):
            self.gateway.status = status
            self.assertEqual(self.successResultOf(self.send(Message(URL, b"", token=b"token"))), 1)
            self.assertIn(f"wsaas: {status} TOO_SLOW: it does not read\n", self.errors.getvalue())
        self.assertEqual(self.out.getvalue(), f"{self.gateway.answer.decode()}\n" * 2)

    def test_another_server(self) -> None:
        """It is no gateway's answer."""
        self.gateway.status = 404
        for answer in (b"<html>", b"[]", b'{"code": 1}'):
            self.gateway.answer = answer
            self.assertEqual(self.successResultOf(self.send(Message(URL, b""))), 1)
        self.assertEqual(self.errors.getvalue(), "wsaas: 404, which is no answer of a gateway's\n" * 3)

    def test_no_connection(self) -> None:
        """Said, without the ``ws_uri``."""
        self.assertEqual(self.successResultOf(self.send(Message(URL, b""), NoAgent(fail(Refused())))), 1)
        self.assertIn("wsaas: no answer from gw:8080: Connection was refused", self.errors.getvalue())
        self.assertNotIn("SECRET", self.errors.getvalue())

    def test_silence(self) -> None:
        """It has an end."""
        status = self.send(Message(URL, b""), NoAgent(Deferred()))
        self.clock.advance(60)
        self.assertEqual(self.successResultOf(status), 1)
        self.assertEqual(self.errors.getvalue(), "wsaas: gw:8080 does not answer\n")
