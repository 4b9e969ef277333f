"""The client that calls the API: treq's, less what a browser does, with one complete answer or a reason for each call.

treq gives the client, its verbs (``put()`` and the like) and its seam: the Agent below may be any. What its own
``request()`` does besides stays out: the cookie jar would be a leak between clients, ``gzip`` without a limit a bomb,
redirects a way around ``API_URI``, and to parse the URL at every call a waste.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IConsumer, IDelayedCall, IProtocol, IReactorTime
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from wsaas.callbacks.failures import why
from wsaas.counts import Attempts, attempts
from wsaas.errors import CallbackFailed, NoAnswer, TimedOut, Unusable
from wsaas.net.http1.messages import Answer

#: How a complete body ends. PotentialDataLoss: where the connection did, as HTTP/1.0 and PHP's built-in server do it.
_COMPLETE = (ResponseDone, PotentialDataLoss)


@implementer(IBodyProducer)
class Content:
    """A request's whole body.

    :param content: its bytes, which are bounded by ``WS_MAX_MESSAGE``
    """

    __slots__ = ("_content", "length", "started")

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length = len(content)
        #: Whether an Agent took it, so that the API may have it unless the Agent says otherwise.
        self.started = False

    @property
    def content(self) -> bytes:
        """All of it, for an Agent that sends a request in one piece."""
        self.started = True
        return self._content

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write all of it."""
        consumer.write(self.content)
        return succeed(None)

    def stopProducing(self) -> None:
        """No-op: nothing is left to stop, to pause or to resume."""

    pauseProducing = resumeProducing = stopProducing


@implementer(IProtocol)
class _Call:
    """A call that has no outcome yet: its time limit, and the body of its answer, bounded while it arrives.

    :param client: makes it
    :param counted: where its outcome is counted
    :param body: of the request
    """

    __slots__ = (
        "_answering",
        "_body",
        "_client",
        "_counted",
        "_length",
        "_outcome",
        "_parts",
        "_response",
        "_rest",
        "_transport",
        "began",
        "deadline",
        "expired",
        "timer",
    )

    def __init__(self, client: ApiClient, counted: Attempts, body: Content | None) -> None:
        self._client = client
        self._counted = counted
        self._body = body
        self._answering: Deferred[Any] | None = None
        self._response: IResponse | None = None
        self._transport: Any = None
        self._parts: list[bytes] = []
        self._length = 0
        #: Fires when the rest of the body has come, if it did not come with the head.
        self._rest: Deferred[Answer] | None = None
        self._outcome: Answer | CallbackFailed | None = None
        self.began = client.clock.seconds()
        self.deadline = 0.0
        self.expired = False
        #: Its own, if its time limit is another than that of most.
        self.timer: IDelayedCall | None = None

    @property
    def over(self) -> bool:
        """Whether it has its outcome."""
        return self._outcome is not None

    def begin(self, answering: Deferred[IResponse]) -> Deferred[Answer]:
        """Wait for the answer.

        :param answering: what the Agent returned
        :returns: fires with it
        """
        self._answering = answering
        return answering.addCallbacks(self._read, self._failed)

    # The answer

    def _read(self, response: IResponse) -> Answer | Deferred[Answer] | Failure:
        self._response = response
        try:
            response.deliverBody(self)
        except Exception:  # noqa: BLE001 - whatever it is, there will be no answer
            return self._failed(Failure())
        outcome = self._outcome
        if outcome is None:
            self._rest = Deferred(lambda _: self._stop(NoAnswer("the call was cancelled")))
            return self._rest
        return Failure(outcome) if isinstance(outcome, CallbackFailed) else outcome

    def _failed(self, failure: Failure) -> Failure:
        error = why(failure, self.expired, self._body is None or self._body.started)
        self._end(error)
        return Failure(error)

    def makeConnection(self, transport: Any) -> None:
        """The body is about to be delivered."""
        self._transport = transport

    def connectionMade(self) -> None:
        """No-op: a part of the interface."""

    def dataReceived(self, data: bytes) -> None:
        """A part of the body came."""
        self._length += len(data)
        if self._length > self._client.max_body:
            self._stop(Unusable(f"the answer's body is longer than {self._client.max_body} bytes"))
        elif self._outcome is None:
            self._parts.append(data)

    def connectionLost(self, reason: Failure) -> None:
        """The body is over."""
        if self._outcome is not None:
            return
        if isinstance(reason.value, _COMPLETE):
            response: Any = self._response
            self._end(Answer(response.code, response.headers, b"".join(self._parts)))
        else:
            self._end(NoAnswer(f"the answer was cut short: {reason.getErrorMessage()}"))

    # The end

    def expire(self) -> None:
        """Its time is over."""
        self.timer = None
        self.expired = True
        if self._response is None:
            assert self._answering is not None  # noqa: S101 - for the type checker
            self._answering.cancel()
        else:
            self._stop(TimedOut("no complete answer in time"))

    def _stop(self, error: CallbackFailed) -> None:
        """Give up, and the connection too: what still comes must not be taken for another answer."""
        if self._outcome is None:
            self._outcome = error
            self._parts.clear()
            self._transport.loseConnection()
            self._end(error)

    def _end(self, outcome: Answer | CallbackFailed) -> None:
        self._outcome = outcome
        client, rest = self._client, self._rest
        client.forget(self)
        seconds = client.clock.seconds() - self.began
        if isinstance(outcome, CallbackFailed):
            self._counted.failed(outcome, seconds)
            if rest is not None:
                rest.errback(outcome)
        else:
            self._counted.answered(outcome.status, seconds)
            if rest is not None:
                rest.callback(outcome)


class ApiClient(HTTPClient):
    """Calls the API.

    :param agent: sends requests
    :param clock: for the time limit
    :param timeout: seconds for one call, connecting and the answer's body included
    :param max_body: bytes of an answer's body that are accepted
    :param uri: ``API_URI``
    """

    def __init__(self, agent: IAgent, clock: IReactorTime, timeout: float, max_body: int, uri: str = "") -> None:
        super().__init__(agent)
        self.clock = clock
        self.max_body = max_body
        #: Where callbacks go; set before the first call where it is not known from the start.
        self.uri = uri
        self._timeout = timeout
        #: Calls without an outcome. All have the same time limit, so that the first to begin is the first to end.
        self._open: dict[_Call, None] = {}
        self._timer: IDelayedCall | None = None
        #: What came of all attempts, by method.
        self.attempts = attempts()

    if TYPE_CHECKING:
        # As they are with this request(): treq's own return a response whose body is still to be read.

        def post(self, url: str, data: bytes, *, headers: Headers, timeout: float | None = None) -> Deferred[Answer]:  # type: ignore[override]
            """Make a POST."""

        def put(self, url: str, data: bytes, *, headers: Headers) -> Deferred[Answer]:  # type: ignore[override]
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
        **_unused: Any,
    ) -> Deferred[Answer]:
        """Make one call.

        :param data: the body; :data:`None` for none at all
        :param timeout: seconds, if other than those of the client
        :returns: fires with the complete answer; to cancel it gives the call up
        :raises NotSent: if the API cannot have seen it
        :raises NoAnswer: if no complete answer came, or not in time (:class:`~wsaas.errors.TimedOut`)
        :raises Unusable: if what came is no HTTP, or too long
        """
        body = None if data is None else Content(data)
        call = _Call(self, self.attempts[method], body)
        if timeout is None or timeout == self._timeout:
            call.deadline = call.began + self._timeout
            self._open[call] = None
            if self._timer is None:
                self._timer = self.clock.callLater(self._timeout, self._expire)
        else:
            call.timer = self.clock.callLater(timeout, call.expire)
        try:
            answering = self._agent.request(method.encode("ascii"), url.encode("ascii"), headers, body)
        except Exception:  # noqa: BLE001 - whatever it is, there will be no answer
            answering = fail()
        return call.begin(answering)

    def forget(self, call: _Call) -> None:
        """A call is over."""
        if call.timer is not None:
            call.timer.cancel()
            call.timer = None
            return
        self._open.pop(call, None)
        if not self._open and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        now = self.clock.seconds()
        expired = list(takewhile(lambda call: call.deadline <= now, self._open))
        for call in expired:
            del self._open[call]
        # Before anything is told: who waits for one of them may make another call at once, which must not be taken for
        # the first to end.
        if self._open:
            self._timer = self.clock.callLater(next(iter(self._open)).deadline - now, self._expire)
        for call in expired:
            # One of them may have cancelled another.
            if not call.over:
                call.expire()
