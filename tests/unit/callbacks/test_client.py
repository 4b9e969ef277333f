"""Calls to the API on the fast road: what holds of the other client holds of this one; and one timer for all."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from tests import calls
from tests.calls import MAX_BODY, TIMEOUT, URI
from tests.gate import Wire
from tests.memory_api import answer_bytes, read_requests
from tests.properties import moderately
from wsaas.callbacks.client import FastApiClient, FastClient
from wsaas.callbacks.treq_client import CallsApi
from wsaas.errors import CallbackFailed, NoAnswer, NotSent, TimedOut, Unusable
from wsaas.net.client_tls import ApiTrust
from wsaas.net.http1.client import FastAgent, PendingCall, Target
from wsaas.net.http1.messages import Answer
from wsaas.net.http1.parser import Fields


class EagerOrigin:
    """Gives every call the same answer, or failure, at once."""

    def __init__(self, result: Answer | Failure) -> None:
        self._result = result

    def send(self, call: PendingCall) -> None:
        """Answer."""
        if isinstance(self._result, Failure):
            call._fail(self._result)
        else:
            call.answered(self._result)


class FastRoad(calls.ClientTestCase):
    """What is under test here."""

    def make_http(self) -> FastClient:
        """:returns: what it sends requests with"""
        return FastClient(FastAgent(self.api.reactor, ApiTrust(None, None), 2, TIMEOUT))

    def make_client(self) -> CallsApi:
        """:returns: an ordinary one"""
        return FastApiClient(self.make_http(), self.api.reactor, URI, TIMEOUT, MAX_BODY)

    def make_failing(self, error: Exception, *, at_once: bool = False) -> CallsApi:
        """:returns: one whose calls go nowhere"""
        http: Any = self.make_http()
        target = http.target(URI.encode("ascii"))

        def targeted(_: bytes) -> Target:
            if at_once:
                raise error
            target.origin = EagerOrigin(Failure(error))
            return cast(Target, target)

        http.target = targeted
        return FastApiClient(http, self.api.reactor, URI, TIMEOUT, MAX_BODY)


class AnswerTests(FastRoad, calls.Answers):
    """Complete answers."""


class BoundTests(FastRoad, calls.Bounds):
    """Bodies are bounded while they arrive."""


class NoBrowserTests(FastRoad, calls.NoBrowser):
    """Nothing is remembered, followed or decoded."""


class FailureTests(FastRoad, calls.Failures):
    """Why there is no answer."""

    @moderately
    @given(calls.SEGMENTS)
    def test_any_bytes(self, segments: list[bytes]) -> None:
        """Whatever comes is an answer or a reason."""
        self.check_any_bytes(segments)


class TimeTests(FastRoad, calls.TimeLimits):
    """One time limit for all of a call."""


class TimerTests(FastRoad):
    """One timer for all calls with the usual limit, always for the one that ends first, and none without calls."""

    def test_one_timer(self) -> None:
        """However many calls there are."""
        for _ in range(5):
            self.begin()
            self.api.reactor.advance(0.1)
        (timer,) = self.timers()
        self.assertAlmostEqual(timer.getTime(), self.api.reactor.seconds() + TIMEOUT - 0.5, places=3)

    def test_each_in_its_time(self) -> None:
        """Calls that began one after another time out one after another; those that ended are passed over."""
        results = []
        for index in range(4):
            result, wire = self.begin()
            results.append(result)
            if index == 1:
                wire.deliver(answer_bytes(200, b"", "Connection: close"))
                self.successResultOf(result)
            self.api.reactor.advance(1)
        self.api.reactor.advance(TIMEOUT - 4)
        self.assert_failed_only(results, [0])
        self.api.reactor.advance(1.5)
        self.assert_failed_only(results, [])
        self.api.reactor.advance(0.5)
        self.assert_failed_only(results, [2])
        self.api.reactor.advance(1)
        self.assert_failed_only(results, [3])
        self.assertEqual(self.timers(), [])

    def assert_failed_only(self, results: list[Deferred[Answer]], which: list[int]) -> None:
        """Just these have failed since the last time."""
        failed = []
        for index, result in enumerate(results):
            outcome: list[object] = []
            if result.called:
                result.addBoth(outcome.append)
                if outcome[0] is not None and not isinstance(outcome[0], Answer):
                    failed.append(index)
        self.assertEqual(failed, which)

    def test_of_the_same_moment(self) -> None:
        """They time out together."""
        results = [self.begin()[0] for _ in range(3)]
        self.api.reactor.advance(TIMEOUT)
        for result in results:
            self.assert_failed(result, TimedOut)

    def test_nothing_pending_after_the_last_answer(self) -> None:
        """Whichever comes last."""
        begun = [self.begin() for _ in range(3)]
        for result, wire in reversed(begun):
            self.assertEqual(len(self.timers()), 1)
            wire.deliver(answer_bytes())
            self.successResultOf(result)
        self.assertEqual(self.timers(), [])

    def test_a_call_from_within_an_expiring_call(self) -> None:
        """It has its whole time, and takes none from, nor gives any to, those that are under way."""
        first, _ = self.begin()
        again: list[Deferred[Answer]] = []
        first.addErrback(lambda _: again.append(self.call()))
        self.api.reactor.advance(1)
        second, _ = self.begin()
        self.api.reactor.advance(TIMEOUT - 1)
        self.api.accept()
        self.assertNoResult(second)
        self.api.reactor.advance(1)
        self.assert_failed_now(second)
        self.assertNoResult(again[0])
        self.api.reactor.advance(TIMEOUT - 1)
        self.assert_failed(again[0], TimedOut)

    def assert_failed_now(self, result: Deferred[Answer]) -> None:
        """It timed out; others may go on."""
        self.assertIs(type(self.failureResultOf(result, CallbackFailed).value), TimedOut)

    def test_a_call_from_within_the_only_expiring_call(self) -> None:
        """There was no timer any more; there is one again."""
        first, _ = self.begin()
        again: list[Deferred[Answer]] = []
        first.addErrback(lambda _: again.append(self.call()))
        self.api.reactor.advance(TIMEOUT)
        self.api.accept()
        self.assertEqual(len(self.timers()), 1)
        self.api.reactor.advance(TIMEOUT)
        self.assert_failed(again[0], TimedOut)

    def test_a_call_cancelled_by_an_expiring_call(self) -> None:
        """It is not looked for again, though its time is over as well; the third one is."""
        results = [self.begin()[0] for _ in range(3)]
        results[0].addErrback(lambda _: results[1].cancel())
        self.api.reactor.advance(TIMEOUT)
        self.assert_failed(results[1], NoAnswer)
        self.assert_failed(results[2], TimedOut)

    def test_the_last_call_cancelled_by_an_expiring_call(self) -> None:
        """Its timer goes with it."""
        first, _ = self.begin()
        self.api.reactor.advance(1)
        second, _ = self.begin()
        first.addErrback(lambda _: second.cancel())
        self.api.reactor.advance(TIMEOUT - 1)
        self.assert_failed(second, NoAnswer)

    def test_other_limits(self) -> None:
        """Calls with less time have a timer of their own, gone when they are."""
        usual, usual_wire = self.begin()
        short = self.call(timeout=4.0)
        wire = self.api.accept()
        self.assertEqual(len(self.timers()), 2)
        wire.deliver(answer_bytes())
        self.successResultOf(short)
        self.assertEqual(len(self.timers()), 1)
        usual_wire.deliver(answer_bytes())
        self.successResultOf(usual)
        self.assertEqual(self.timers(), [])

    def test_the_usual_limit_said(self) -> None:
        """It is the usual one."""
        results = [self.call(timeout=TIMEOUT), self.call()]
        self.assertEqual(len(self.timers()), 1)
        self.api.reactor.advance(TIMEOUT)
        for result in results:
            self.assert_failed(result, NotSent)

    def test_answered_at_once(self) -> None:
        """No timer is left."""
        http: Any = self.make_http()
        target = http.target(URI.encode("ascii"))
        target.origin = EagerOrigin(Answer(200, Fields([]), b""))
        http.target = lambda _: target
        self.client = FastApiClient(http, self.api.reactor, URI, TIMEOUT, MAX_BODY)
        self.assertEqual(self.successResultOf(self.call()).status, 200)
        self.assertEqual(self.api.reactor.getDelayedCalls(), [])


class UriTests(FastRoad):
    """Where calls go."""

    def test_set_before_the_first_call(self) -> None:
        """The demo's port is not known from the start."""
        self.client.uri = "http://192.0.2.11:81/other"
        self.assertEqual(self.client.uri, "http://192.0.2.11:81/other")
        self.call()
        self.assertEqual(self.api.attempts, [("192.0.2.11", 81)])
        (request,) = read_requests(self.api.accept().take())
        self.assertEqual((request.line, request.headers["host"]), ("PUT /other HTTP/1.1", ["192.0.2.11:81"]))

    def test_set_later(self) -> None:
        """The next call goes there."""
        result, wire = self.begin()
        wire.deliver(answer_bytes())
        self.successResultOf(result)
        self.client.uri = "http://192.0.2.11:81/other"
        self.call()
        self.assertEqual(self.api.attempts, [("192.0.2.11", 81)])

    def test_unusable(self) -> None:
        """It fails the call, which was never sent, and raises nothing into the caller."""
        self.client.uri = "ftp://192.0.2.11/"
        self.failureResultOf(self.call(), CallbackFailed)
        self.assertEqual(self.api.reactor.getDelayedCalls(), [])


class HeaderTests(FastRoad):
    """Header lines, encoded or not."""

    def lines(self, wire: Wire) -> dict[str, list[str]]:
        """:returns: the fields of the one request"""
        (request,) = read_requests(wire.take())
        return request.headers

    def test_encoded(self) -> None:
        """As they are."""
        self.client.call("PUT", b"Ws-Id: a-1\r\nAuthorization: b\r\n", b"")
        fields = self.lines(self.api.accept())
        self.assertEqual((fields["ws-id"], fields["authorization"]), (["a-1"], ["b"]))

    def test_values(self) -> None:
        """Repeated ones stay repeated."""
        self.client.call("PUT", Headers({"Authorization": ["a", "b"]}), b"")
        self.assertEqual(self.lines(self.api.accept())["authorization"], ["a", "b"])


class TreqTests(FastRoad):
    """It is still treq's client."""

    def test_get(self) -> None:
        """Its shortcuts work over the fast agent, and do nothing of what a browser does."""
        http = self.make_http()
        result: Any = http.get(URI)
        wire = self.api.accept()
        (request,) = read_requests(wire.take())
        self.assertEqual((request.line, set(request.headers)), ("GET /hook HTTP/1.1", {"host"}))
        wire.deliver(answer_bytes(299))
        self.assertEqual(self.successResultOf(result).code, 299)


class CauseTests(FastRoad):
    """What the agent already put into words."""

    def test_as_it_is(self) -> None:
        """A reason of our own is passed on."""
        for error in (NotSent("no connection to the API"), Unusable("the answer is too long")):
            self.client = self.make_failing(error)
            self.assertIs(self.assert_failed(self.call(), type(error)), error)
