"""A line about pushes that were refused, not one for each."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from wsaas.connections.registry import Registry
from wsaas.net.http1.messages import RequestFields, RequestHead, json_response
from wsaas.operations.refused_pushes import EVERY, RefusedPushes
from wsaas.pushes.resource import PushResource


class RefusedPushesTests(SynchronousTestCase):
    """At most one line a minute, and none while there is nothing to tell."""

    def setUp(self) -> None:
        """Make one, and keep what is logged."""
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.clock = Clock()
        self.pushes = PushResource(Registry(), 100)
        self.refused = RefusedPushes(self.clock, [self.pushes])

    def push(self, method: bytes = b"PUT") -> None:
        """Push to nobody."""
        self.pushes.respond(RequestHead(method, b"/" + b"k" * 24, b"HTTP/1.1", RequestFields()), b"")

    def told(self) -> list[str]:
        """:returns: the lines since the last time"""
        self.assertTrue(all(event["log_level"] is LogLevel.info for event in self.events))
        told = [formatEvent(event) for event in self.events]
        self.events.clear()
        return told

    def test_once_a_minute(self) -> None:
        """With what is new, by status, whatever the method."""
        self.refused.start()
        self.refused.start()
        self.clock.advance(EVERY)
        self.assertEqual(self.told(), [])
        for method in (b"PUT", b"DELETE", b"POST"):
            self.push(method)
        head = RequestHead(b"PUT", b"/", b"HTTP/1.1", RequestFields())
        self.pushes.missed(head, json_response(413, "MESSAGE_TOO_LONG"))
        self.assertEqual(self.told(), [])
        self.clock.advance(EVERY)
        self.assertEqual(self.told(), ["4 pushes were refused: 404 x2, 405 x1, 413 x1"])
        self.clock.advance(EVERY)
        self.assertEqual(self.told(), [])
        self.push()
        self.clock.advance(EVERY)
        self.assertEqual(self.told(), ["1 push was refused: 404 x1"])

    def test_the_end(self) -> None:
        """What was not told yet is told, and no timer is left."""
        self.refused.start()
        self.push()
        self.refused.stop()
        self.refused.stop()
        self.assertEqual(self.told(), ["1 push was refused: 404 x1"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
