"""Calls to the API over treq and Twisted's Agent."""

from __future__ import annotations

from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from tests import calls
from tests.gate import ApiCall, FakeAgent
from tests.properties import moderately
from wsaas.callbacks.treq_client import ApiClient, Body, CallsApi, PlainClient
from wsaas.net.client_tls import ApiTrust
from wsaas.net.http1.persistent_agent import PersistentAgent


class PlainRoad(calls.ClientTestCase):
    """What is under test here."""

    def make_client(self) -> CallsApi:
        """:returns: an ordinary one"""
        agent = PersistentAgent(self.api.reactor, ApiTrust(None, None), 2, calls.TIMEOUT)
        return ApiClient(PlainClient(agent), self.api.reactor, calls.URI, calls.TIMEOUT, calls.MAX_BODY)

    def make_failing(self, error: Exception, *, at_once: bool = False) -> CallsApi:
        """:returns: one with another agent"""

        def react(call: ApiCall) -> None:
            if at_once:
                raise error
            call.fail(error)

        agent = FakeAgent()
        agent.react = react
        return ApiClient(PlainClient(agent), self.api.reactor, calls.URI, calls.TIMEOUT, calls.MAX_BODY)


class AnswerTests(PlainRoad, calls.Answers):
    """Complete answers."""


class BoundTests(PlainRoad, calls.Bounds):
    """Bodies are bounded while they arrive."""


class NoBrowserTests(PlainRoad, calls.NoBrowser):
    """Nothing is remembered, followed or decoded."""


class FailureTests(PlainRoad, calls.Failures):
    """Why there is no answer."""

    @moderately
    @given(calls.SEGMENTS)
    def test_any_bytes(self, segments: list[bytes]) -> None:
        """Whatever comes is an answer or a reason."""
        self.check_any_bytes(segments)


class TimeTests(PlainRoad, calls.TimeLimits):
    """One time limit for all of a call."""


class BodyTests(SynchronousTestCase):
    """A request's body."""

    def test_pausing_and_stopping(self) -> None:
        """It is written whole at once; nothing is left to pause or stop."""
        body = Body(b"abc")
        self.assertEqual((body.length, body.started), (3, False))
        body.pauseProducing()
        body.resumeProducing()
        body.stopProducing()
        self.assertFalse(body.started)
