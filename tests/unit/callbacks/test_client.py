"""Calls to the API: the same contract over any Agent, and one timer for all calls."""

from __future__ import annotations

from typing import Any

from OpenSSL.SSL import Error as TLSError
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost, DNSLookupError
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent, ResponseDone, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests import calls
from tests.calls import MAX_BODY, TIMEOUT, URI
from tests.gate import ApiCall, FakeAgent
from tests.memory_api import answer_bytes, read_requests
from wsaas.callbacks.client import ApiClient
from wsaas.errors import CallbackFailed, NoAnswer, NotSent, NotVerified, TimedOut, Unusable
from wsaas.net.client_tls import ApiTrust
from wsaas.net.http1.agent import PersistentAgent
from wsaas.net.http1.headers import EncodedHeaders
from wsaas.net.http1.messages import Answer


class OverOurAgent(calls.ClientTestCase):
    """The client as the gateway has it."""

    def make_agent(self) -> IAgent:
        """:returns: ours"""
        return PersistentAgent(self.api.reactor, ApiTrust(None, None), 2, TIMEOUT, MAX_BODY)


class OurAgentTests(OverOurAgent, calls.ConnectingContract):
    """Over the gateway's own agent, which keeps connections."""

    def test_repeated_on_a_fresh_connection(self) -> None:
        """What a kept one swallowed."""
        result, wire = self.begin()
        wire.deliver(answer_bytes())
        self.successResultOf(result)
        result = self.call("POST", b"{}")
        wire.end(ConnectionLost)
        self.api.turn()
        self.api.accept().deliver(answer_bytes(201))
        self.assertEqual(self.successResultOf(result).status, 201)

    def test_a_timed_out_call_is_not_repeated(self) -> None:
        """Not even on a kept connection."""
        result, wire = self.begin()
        wire.deliver(answer_bytes())
        self.successResultOf(result)
        result = self.call(timeout=1.0)
        self.api.reactor.advance(1.0)
        self.api.turn()
        self.assert_failed(result, TimedOut)
        self.assertEqual(self.api.attempts, [])


class TwistedAgentTests(calls.ConnectingContract):
    """Over Twisted's Agent."""

    def make_agent(self) -> IAgent:
        """:returns: an ordinary one"""
        return Agent(self.api.reactor)


class TraversalAgentTests(calls.CallContract):
    """Over treq's agent for tests."""

    def make_api(self) -> calls.TraversalApi:
        """:returns: a Resource"""
        return calls.TraversalApi()

    def make_agent(self) -> IAgent:
        """:returns: what calls it"""
        return self.api.agent  # type: ignore[no-any-return]  # treq's is not annotated


@implementer(IAgent)
class AgentInBetween:
    """An agent that waits for the answers of another."""

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Pass a request on."""
        return self._agent.request(method, uri, headers, bodyProducer).addCallback(self._read)

    @staticmethod
    def _read(response: IResponse) -> IResponse:
        verifyObject(IResponse, response)
        return response


class AgentInBetweenTests(OverOurAgent, calls.ConnectingContract):
    """Over the gateway's own agent, with another one in between that sees responses."""

    def make_agent(self) -> IAgent:
        """:returns: one above ours"""
        agent: IAgent = AgentInBetween(super().make_agent())
        return agent


class TimerTests(OverOurAgent):
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


class UriTests(OverOurAgent):
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


class HeaderTests(OverOurAgent):
    """Header lines, encoded or not."""

    def fields(self, headers: Headers) -> dict[str, list[str]]:
        """:returns: the fields of a request, as they are sent"""
        self.client.put(URI, b"", headers=headers)
        (request,) = read_requests(self.api.accept().take())
        return request.headers

    def test_encoded(self) -> None:
        """As they are."""
        found = self.fields(EncodedHeaders(b"Ws-Id: a-1\r\nAuthorization: b\r\n"))
        self.assertEqual((found["ws-id"], found["authorization"]), (["a-1"], ["b"]))

    def test_values(self) -> None:
        """Repeated ones stay repeated."""
        self.assertEqual(self.fields(Headers({"Authorization": ["a", "b"]}))["authorization"], ["a", "b"])


class TreqTests(OverOurAgent):
    """It is still treq's client."""

    def test_verbs(self) -> None:
        """Its shortcuts all come to the one request()."""
        self.assertIsInstance(self.client, HTTPClient)
        for verb in ("get", "put", "patch", "post", "delete"):
            result: Any = getattr(self.client, verb)(URI)
            wire = self.api.accept()
            (request,) = read_requests(wire.take())
            self.assertEqual(request.line, f"{verb.upper()} /hook HTTP/1.1")
            self.assertLessEqual(set(request.headers), {"host", "content-length"})
            wire.deliver(answer_bytes(299, b"", "Connection: close"))
            self.assertEqual(self.successResultOf(result).status, 299)
            wire.end()


class FailingAgentTests(SynchronousTestCase):
    """What an Agent fails with, of its own or ours."""

    def outcome(self, error: Exception, *, at_once: bool = False, method: str = "POST") -> CallbackFailed:
        """:returns: what a call fails with

        :param error: what its agent fails with
        :param at_once: raised, not the result of a Deferred
        """

        def react(call: ApiCall) -> None:
            if at_once:
                raise error
            call.fail(error)

        agent, clock = FakeAgent(), Clock()
        agent.react = react
        client: Any = ApiClient(agent, clock, TIMEOUT, MAX_BODY)
        result = client.post(URI, b"{}") if method == "POST" else client.delete(URI)
        failed: CallbackFailed = self.failureResultOf(result, CallbackFailed).value
        self.assertEqual(clock.getDelayedCalls(), [])
        failures = client.attempts[method].failures
        self.assertEqual({kind for kind, count in failures.items() if count}, {failed.kind})
        return failed

    def test_unknown_name(self) -> None:
        """NotSent, whatever the method."""
        for method in ("POST", "DELETE"):
            self.assertIs(type(self.outcome(DNSLookupError(), method=method)), NotSent)

    def test_certificate(self) -> None:
        """NotVerified, though bytes went into the TLS buffer."""
        error = TLSError([("SSL routines", "", "certificate verify failed")])
        failed = self.outcome(ResponseNeverReceived([Failure(error)]))
        self.assertIs(type(failed), NotVerified)
        self.assertIn("certificate", failed.reason)

    def test_a_fault_below(self) -> None:
        """It fails the call, and leaves no timer."""
        self.outcome(ZeroDivisionError(), at_once=True)

    def test_as_it_is(self) -> None:
        """A reason of our own is passed on."""
        for error in (NotSent("no connection to the API"), Unusable("the answer is too long")):
            self.assertIs(self.outcome(error), error)


class DeliveryCase(SynchronousTestCase):
    """A call that an Agent has taken."""

    def setUp(self) -> None:
        """Make a call."""
        self.agent, self.clock = FakeAgent(), Clock()
        self.client = ApiClient(self.agent, self.clock, TIMEOUT, MAX_BODY, URI)
        self.result = self.client.put(URI, b"body", headers=Headers())


class DeliveryTests(DeliveryCase):
    """Bodies that come later than their heads, as with some Agents."""

    def test_at_once(self) -> None:
        """No timer is left."""
        self.agent.last.answer(299, b"all")
        answer = self.successResultOf(self.result)
        self.assertEqual((answer.status, answer.body), (299, b"all"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        """The connection goes, too, and what still comes counts for nothing."""
        response = self.agent.last.answer(200, b"half", complete=False)
        self.result.cancel()
        self.failureResultOf(self.result, NoAnswer)
        self.assertTrue(response.transport.disconnecting)
        assert response.reader is not None
        response.reader.dataReceived(b"x" * (MAX_BODY + 1))
        response.reader.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.client.attempts["PUT"].failures["no_answer"], 1)

    def test_too_long(self) -> None:
        """By whatever Agent: the rest is not waited for, and the answer has its status, its headers and no body."""
        response = self.agent.last.answer(503, b"half", ("Retry-After", "7"), complete=False)
        assert response.reader is not None
        response.reader.dataReceived(b"x" * MAX_BODY)
        answer = self.successResultOf(self.result)
        self.assertEqual((answer.status, answer.body, answer.cut), (503, b"", MAX_BODY))
        self.assertEqual(answer.headers.getRawHeaders(b"Retry-After"), [b"7"])
        self.assertTrue(response.transport.disconnecting)
        response.reader.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(sum(self.client.attempts["PUT"].failures.values()), 0)

    def test_a_response_that_raises(self) -> None:
        """It fails the call, and leaves no timer."""
        response = self.agent.last
        response.result.callback(None)
        self.failureResultOf(self.result, CallbackFailed)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class BodyTests(DeliveryCase):
    """The body of a request, to Agents that let it be produced, and to those that take it whole."""

    def test_producer(self) -> None:
        """It is written whole at once; nothing is left to pause or stop."""
        body: Any = next(iter(self.client._open))
        verifyObject(IBodyProducer, body)
        verifyObject(IProtocol, body)
        self.assertEqual((body.length, body.content), (4, b"body"))
        body.pauseProducing()
        body.resumeProducing()
        body.stopProducing()
        self.assertEqual((self.agent.last.body, body.started), (b"body", True))

    def test_done(self) -> None:
        """Who wants no Deferred is told the outcome, whatever it is and whenever it comes."""
        outcomes: list[Any] = []
        for answer in (
            lambda call: call.answer(299, b"all"),
            lambda call: call.fail(ConnectionLost()),
            lambda call: call.answer(200, b"x" * (MAX_BODY + 1)),
            lambda call: call.answer(200, b"half", complete=False).reader.connectionLost(Failure(ResponseDone())),
        ):
            result = self.client.put(URI, b"body", headers=Headers(), done=outcomes.append)
            answer(self.agent.last)
            self.assertIsNone(self.successResultOf(result))
        kinds = [type(each.value if isinstance(each, Failure) else each) for each in outcomes]
        self.assertEqual((outcomes[2].body, outcomes[2].cut), (b"", MAX_BODY))
        self.assertEqual(kinds, [Answer, NoAnswer, Answer, Answer])
