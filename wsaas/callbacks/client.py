"""Calls to the API on the fast road: :class:`wsaas.callbacks.treq_client.ApiClient` for bytes.

The two do the same and are tested by the same tests; this one makes no objects of twisted.web and one timer for all of
its calls, where the other makes some thirty objects and a timer for each.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from wsaas.callbacks.treq_client import PlainClient, why
from wsaas.counts import Attempts, attempts
from wsaas.net.http1.client import FastAgent, PendingCall, Target
from wsaas.net.http1.messages import Answer, encode_headers
from wsaas.net.http1.pool import Origin


class FastClient(PlainClient):
    """treq's client with a way past its requests and responses.

    :param agent: knows the way to the API
    """

    def __init__(self, agent: FastAgent) -> None:
        super().__init__(agent)
        self.target = agent.target


class _TimedCall(PendingCall):
    """A call with a time limit."""

    __slots__ = ("_attempts", "_client", "began", "deadline", "expired", "timer")

    def __init__(
        self,
        client: FastApiClient,
        origin: Origin,
        data: bytes,
        head_only: bool,
        done: Callable[[Any], object],
        attempts: Attempts,
    ) -> None:
        PendingCall.__init__(self, origin, data, head_only, client.max_body, done)
        self._client = client
        self._attempts = attempts
        self.began = client.clock.seconds()
        self.deadline = 0.0
        self.expired = False
        #: Its own, if its time limit is another than that of most.
        self.timer: IDelayedCall | None = None

    def answered(self, answer: Answer) -> None:
        """The answer is complete."""
        done, self.done, self.connection = self.done, None, None
        if done is not None:
            client = self._client
            client.forget(self)
            self._attempts.answered(answer.status, client.clock.seconds() - self.began)
            done(answer)

    def _fail(self, error: Exception | Failure) -> None:
        done, self.done, self.connection = self.done, None, None
        if done is not None:
            self._client.forget(self)
            failure = error if isinstance(error, Failure) else Failure(error)
            said = why(failure, self.expired, True)
            self._attempts.failed(said, self._client.clock.seconds() - self.began)
            done(Failure(said))

    def expire(self) -> None:
        """Its time is over."""
        self.timer = None
        self.expired = True
        self.cancel()


class FastApiClient:
    """Calls the API; see :class:`wsaas.callbacks.treq_client.ApiClient`.

    :param http: knows the way to the API
    :param clock: for the time limit
    :param uri: ``API_URI``
    :param timeout: seconds for one call, connecting and the answer's body included
    :param max_body: bytes of an answer's body that are accepted
    """

    def __init__(self, http: FastClient, clock: IReactorTime, uri: str, timeout: float, max_body: int) -> None:
        self._http = http
        self.clock = clock
        self._uri = uri
        self._target: Target | None = None
        self._timeout = timeout
        self.max_body = max_body
        #: All with the same time limit, so that the first to begin is the first to end.
        self._open: dict[_TimedCall, None] = {}
        self._timer: IDelayedCall | None = None
        #: What came of all attempts, by method.
        self.attempts = attempts()

    @property
    def uri(self) -> str:
        """``API_URI``; set before the first call where it is not known from the start."""
        return self._uri

    @uri.setter
    def uri(self, uri: str) -> None:
        self._uri, self._target = uri, None

    def call(
        self, method: str, headers: Headers | bytes, content: bytes | None, timeout: float | None = None
    ) -> Deferred[Answer]:
        """Make one call; see :meth:`wsaas.callbacks.treq_client.ApiClient.call`."""
        head = headers if isinstance(headers, bytes) else encode_headers(headers)
        calls: list[_TimedCall] = []
        deferred: Deferred[Answer] = Deferred(lambda _: calls[0].cancel())
        try:
            calls.append(self._prepare(method, head, content, timeout, deferred.callback))
        except Exception:  # noqa: BLE001 - whatever it is, there will be no answer
            deferred.callback(Failure(why(Failure(), False, True)))
        else:
            calls[0].begin()
        return deferred

    def put(self, head: bytes, content: bytes, done: Callable[[Answer | Failure], object]) -> None:
        """Make a PUT; see :meth:`wsaas.callbacks.treq_client.ApiClient.put`."""
        try:
            call = self._prepare("PUT", head, content, None, done)
        except Exception:  # noqa: BLE001 - as above
            done(Failure(why(Failure(), False, True)))
        else:
            call.begin()

    def _prepare(
        self, method: str, head: bytes, content: bytes | None, timeout: float | None, done: Callable[[Any], object]
    ) -> _TimedCall:
        target = self._target
        if target is None:
            target = self._target = self._http.target(self._uri.encode("ascii"))
        data = target.encode(method, head, content)
        call = _TimedCall(self, target.origin, data, method == "HEAD", done, self.attempts[method])
        if timeout is not None and timeout != self._timeout:
            call.timer = self.clock.callLater(timeout, call.expire)
            return call
        call.deadline = call.began + self._timeout
        self._open[call] = None
        if self._timer is None:
            self._timer = self.clock.callLater(self._timeout, self._expire)
        return call

    def forget(self, call: _TimedCall) -> None:
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
        # Before anybody is told: whoever waits for one of them may make another call at once, which must not be taken
        # for the first to end.
        if self._open:
            self._timer = self.clock.callLater(next(iter(self._open)).deadline - now, self._expire)
        for call in expired:
            # One of them may have cancelled another.
            if call.done is not None:
                call.expire()
