"""The client that calls the API: treq's, less what a browser does, with one complete answer or a reason for each call.

treq gives the client, its verbs (``put()`` and the like) and its seam: the Agent below may be any. What its own
``request()`` does besides stays out: the cookie jar would be a leak between clients, ``gzip`` without a limit a bomb,
redirects a way around ``API_URI``, and to parse the URL at every call a waste.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IConsumer, IDelayedCall, IProtocol, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from wsaas.callbacks.failures import why
from wsaas.counts import Attempts, attempts
from wsaas.errors import CallbackFailed, NoAnswer, TimedOut
from wsaas.net.http1.client import Exchange
from wsaas.net.http1.messages import Answer, AnswerHead, BodyCut

#: The name of a call in its header lines.
_ID = re.compile(rb"(?:^|\n)Ws-Id: ([A-Za-z0-9_-]+)\r\n")
_TRACE = re.compile(rb"(?:^|\n)traceparent: 00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}\r\n", re.IGNORECASE)
#: Takes the outcome of a call.
Done = Callable[[Answer | Failure], object]
_log = Logger()
#: How a complete body ends. PotentialDataLoss: where the connection did, as HTTP/1.0 and PHP's built-in server do it.
_COMPLETE = (ResponseDone, PotentialDataLoss)


@lru_cache(maxsize=16)
def _ascii(text: str) -> bytes:
    """:returns: a method or a URI as bytes: the same for each call, so that nobody need compute its hash again"""
    return text.encode("ascii")


@implementer(IBodyProducer, IProtocol)
class _Call(Exchange):
    """A call that has no outcome yet: what goes out with it, what comes in, and by when.

    To any Agent it is the producer of the request's body, with its ``content`` ready for an Agent that sends a request
    in one piece; to any response it is the protocol that takes the answer's body, bounded while it arrives. Our own
    Agent has it carry the request, too: then the answer comes as a value, and there is no object but this.

    :param client: makes it
    :param counted: where its outcome is counted
    :param content: the request's body, which is bounded by ``WS_MAX_MESSAGE``; :data:`None` for none at all
    :param done: called with the outcome
    """

    # Defaults of the class, as they are seldom needed.
    #: What the Agent returned, if that is another Deferred.
    answering: Deferred[Any] | None = None
    #: Whether an Agent had the body produced. One that takes the content as it is says itself what it has sent.
    started = False
    expired = False
    #: Its own, if its time limit is another than that of most.
    timer: IDelayedCall | None = None
    #: In the end.
    outcome: Answer | CallbackFailed | None = None
    _response: IResponse | None = None
    _transport: Any = None
    _parts: list[bytes] | None = None
    _length = 0
    #: Fires when the rest of the body has come, if it did not come with the head.
    _rest: Deferred[Answer] | None = None

    def __init__(self, client: ApiClient, counted: Attempts, content: bytes | None, done: Done | None) -> None:
        Exchange.__init__(self)
        self._client = client
        self.counted = counted
        self.content = content
        self._done = done
        self.began = client.clock.seconds()

    # The request's body

    @property
    def length(self) -> int:
        """Bytes of the request's body."""
        return len(self.content or b"")

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write all of the request's body."""
        self.started = True
        consumer.write(self.content or b"")
        return succeed(None)

    def stopProducing(self) -> None:
        """No-op: nothing is left to stop, to pause or to resume."""

    pauseProducing = resumeProducing = stopProducing

    # The answer, from our own Agent

    def answered(self, head: AnswerHead, body: bytes | None, open_ended: bool) -> None:
        """It is complete. That its body may have ended too early, as ``open_ended`` says, is not seen in the answer."""
        if not self.claimed:
            Exchange.answered(self, head, body, open_ended)
            return
        self.connection = None
        if not self.called:
            accepted = self._client.max_body
            answer = head.with_body(None if body and len(body) > accepted else body, accepted)
            self._client.ended(self, answer)
            self._tell(answer)

    def broke(self, failure: Failure) -> None:
        """There is none."""
        if not self.claimed:
            Exchange.broke(self, failure)
            return
        error = why(failure, self.expired, self.content is None or self.started)
        self._client.ended(self, error)
        self._tell(Failure(error))

    def _tell(self, outcome: Answer | Failure) -> None:
        done = self._done
        if done is None:
            self.callback(outcome)  # type: ignore[arg-type]  # not a response, as nobody but the caller waits
            return
        self.called, self.result = True, None
        try:
            done(outcome)
        except Exception:  # noqa: BLE001 - as an unhandled error in a Deferred: it is logged, and ends no connection
            _log.failure("a fault of the gateway")

    # The answer, from any Agent

    def read(self, response: IResponse) -> Any:
        """Its head has come.

        :returns: the outcome, or fires with it; nothing if it was told already
        """
        self._response = response
        try:
            if response.length == 0:
                # Nothing to deliver, as with most answers: this saves the three calls that say so.
                self._client.ended(self, Answer(response.code, response.headers, b""))
            else:
                response.deliverBody(self)
        except Exception:  # noqa: BLE001 - whatever it is, there will be no answer
            return self.failed(Failure())
        outcome = self.outcome
        if outcome is None:
            rest: Deferred[Answer] = Deferred(lambda _: self._stop(NoAnswer("the call was cancelled")))
            self._rest = rest
            return rest if self._done is None else rest.addBoth(self._done)
        result = Failure(outcome) if isinstance(outcome, CallbackFailed) else outcome
        return result if self._done is None else self._done(result)

    def failed(self, failure: Failure) -> Any:
        """There is no answer."""
        error = why(failure, self.expired, self.content is None or self.started)
        self._client.ended(self, error)
        return Failure(error) if self._done is None else self._done(Failure(error))

    def makeConnection(self, transport: Any) -> None:
        """The answer's body is about to be delivered."""
        self._transport = transport

    def connectionMade(self) -> None:
        """No-op: a part of the interface."""

    def dataReceived(self, data: bytes) -> None:
        """A part of the answer's body came."""
        self._length += len(data)
        if self._length > self._client.max_body:
            self._stop(self._cut())
        elif self._parts is None:
            self._parts = [data]
        else:
            self._parts.append(data)

    def connectionLost(self, reason: Failure) -> None:
        """The answer's body is over."""
        if self.outcome is not None:
            return
        response: Any = self._response
        outcome: Answer | CallbackFailed
        if isinstance(reason.value, _COMPLETE):
            outcome = Answer(response.code, response.headers, b"".join(self._parts) if self._parts else b"")
        elif isinstance(reason.value, BodyCut):
            outcome = self._cut()
        else:
            outcome = NoAnswer(f"the answer was cut short: {reason.getErrorMessage()}")
        self._client.ended(self, outcome)
        if self._rest is not None:
            self._rest.callback(outcome if isinstance(outcome, Answer) else Failure(outcome))

    def _cut(self) -> Answer:
        """:returns: the answer whose body is too long: what it is for decides whether that matters"""
        response: Any = self._response
        return Answer(response.code, response.headers, b"", self._client.max_body)

    # The end before the end

    def expire(self) -> None:
        """Its time is over."""
        self.timer = None
        self.expired = True
        if self._response is None:
            (self.answering or self).cancel()
        else:
            self._stop(TimedOut("no complete answer in time"))

    def _stop(self, outcome: Answer | CallbackFailed) -> None:
        """Wait for no more, and end the connection: what still comes must not be taken for another answer."""
        if self.outcome is not None:
            return
        self._client.ended(self, outcome)
        self._parts = None
        self._transport.loseConnection()
        if self._rest is not None:
            self._rest.callback(outcome if isinstance(outcome, Answer) else Failure(outcome))


class CallLog:
    """Writes a line at DEBUG for each call, which is named by its ``Ws-Id``, and the id of its trace if it has one.

    Neither its other headers nor any body.
    """

    _log = Logger()

    def __init__(self) -> None:
        #: Those without an outcome: method, name and trace.
        self._open: dict[_Call, tuple[str, str, str]] = {}

    def begin(self, call: _Call, method: str, headers: Headers | None) -> None:
        """A call is about to be made."""
        lines = getattr(headers, "encoded", None) or b""
        named, traced = _ID.search(lines), _TRACE.search(lines)
        trace = "" if traced is None else f", trace {traced[1].decode('ascii')}"
        self._open[call] = (method, "-" if named is None else named[1].decode("ascii"), trace)

    def end(self, call: _Call, outcome: Answer | CallbackFailed, seconds: float) -> None:
        """It has its outcome."""
        opened = self._open.pop(call, None)
        if opened is None:
            return
        method, name, trace = opened
        # The name is the tag, then the number of the call.
        tag, _, number = name.rpartition("-")
        if isinstance(outcome, Answer):
            status, received, why = str(outcome.status), len(outcome.body), ""
        else:
            status, received, why = outcome.kind, 0, f": {outcome.reason}"
        self._log.debug(
            "{tag} {method} {number}: {status} in {milliseconds} ms, {sent} bytes out, {received} back{trace}{why}",
            tag=tag,
            number=number,
            method=method,
            status=status,
            milliseconds=round(seconds * 1000, 1),
            sent=call.length,
            received=received,
            trace=trace,
            why=why,
        )


class ApiClient(HTTPClient):
    """Calls the API.

    :param agent: sends requests
    :param clock: for the time limit
    :param timeout: seconds for one call, connecting and the answer's body included
    :param max_body: bytes of an answer's body that are accepted; of a longer one only status and headers count
    :param uri: ``API_URI``
    :param shows: whether each call is logged, at DEBUG
    """

    def __init__(
        self, agent: IAgent, clock: IReactorTime, timeout: float, max_body: int, uri: str = "", *, shows: bool = False
    ) -> None:
        super().__init__(agent)
        self.clock = clock
        self.max_body = max_body
        #: Where callbacks go; set before the first call where it is not known from the start.
        self.uri = uri
        self._timeout = timeout
        #: Calls without an outcome. All have the same time limit, so that the first to begin is the first to end.
        self._open: dict[_Call, None] = {}
        self._timer: IDelayedCall | None = None
        #: Decided once: a line that is filtered out costs as much as a tenth of a call.
        self._shown = CallLog() if shows else None
        #: What came of all attempts, by method.
        self.attempts = attempts()

    if TYPE_CHECKING:
        # As they are with this request(): treq's own return a response whose body is still to be read.

        def post(self, url: str, data: bytes, *, headers: Headers, timeout: float | None = None) -> Deferred[Answer]:  # type: ignore[override]
            """Make a POST."""

        def put(self, url: str, data: bytes, *, headers: Headers, done: Done | None = None) -> Deferred[Any]:  # type: ignore[override]
            """Make a PUT."""

        def delete(self, url: str, *, headers: Headers) -> Deferred[Answer]:  # type: ignore[override]
            """Make a DELETE."""

    def request(  # type: ignore[override]  # fewer features on purpose; put() and the like still work
        self,
        method: str,
        url: str,
        *,
        headers: Headers | None = None,
        data: bytes | None = None,
        timeout: float | None = None,
        done: Done | None = None,
        _stacklevel: int = 0,
    ) -> Deferred[Any]:
        """Make one call.

        :param data: the body; :data:`None` for none at all
        :param timeout: seconds, if other than those of the client
        :param done: called with the outcome, for less than a callback of the Deferred costs, which then fires with
            what this returns
        :returns: fires with the complete :class:`~wsaas.net.http1.messages.Answer`; to cancel it gives the call up
        :raises NotSent: if the API cannot have seen it
        :raises NoAnswer: if no complete answer came, or not in time (:class:`~wsaas.errors.TimedOut`)
        :raises Unusable: if what came is no HTTP
        """
        call = _Call(self, self.attempts[method], data, done)
        if self._shown is not None:
            self._shown.begin(call, method, headers)
        if timeout is None or timeout == self._timeout:
            self._open[call] = None
            if self._timer is None:
                self._timer = self.clock.callLater(self._timeout, self._expire)
        else:
            call.timer = self.clock.callLater(timeout, call.expire)
        agent = self._agent
        body = None if data is None and not getattr(agent, "takes_exchanges", False) else call
        try:
            answering = agent.request(_ascii(method), _ascii(url), headers, body)
        except Exception:  # noqa: BLE001 - whatever it is, there will be no answer
            answering = fail()
        if answering is call:
            # Without a response and callbacks, which take as long as the rest of a call.
            if call.claim():
                return call
        else:
            call.answering = answering
        return answering.addCallbacks(call.read, call.failed)

    def ended(self, call: _Call, outcome: Answer | CallbackFailed) -> None:
        """A call has its outcome: count it, and wait for it no longer."""
        call.outcome = outcome
        if call.timer is None:
            self._open.pop(call, None)
            if not self._open and self._timer is not None:
                self._timer.cancel()
                self._timer = None
        else:
            call.timer.cancel()
            call.timer = None
        seconds = self.clock.seconds() - call.began
        if isinstance(outcome, Answer):
            call.counted.answered(outcome.status, seconds)
        else:
            call.counted.failed(outcome, seconds)
        if self._shown is not None:
            self._shown.end(call, outcome, seconds)

    def _expire(self) -> None:
        self._timer = None
        now = self.clock.seconds()
        expired = list(takewhile(lambda call: call.began + self._timeout <= now, self._open))
        for call in expired:
            del self._open[call]
        # Before anything is told: who waits for one of them may make another call at once, which must not be taken for
        # the first to end.
        if self._open:
            self._timer = self.clock.callLater(next(iter(self._open)).began + self._timeout - now, self._expire)
        for call in expired:
            # One of them may have cancelled another.
            if call.outcome is None:
                call.expire()
