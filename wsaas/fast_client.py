"""Calls to the API on the fast road: :class:`wsaas.client.ApiClient` for bytes.

The two do the same and are tested by the same tests; this one makes no objects of twisted.web and one timer for all of
its calls, where the other makes some thirty objects and a timer for each.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from wsaas.answers import Answer
from wsaas.client import PlainClient, why
from wsaas.exchange import encode_headers
from wsaas.fast_agent import FastAgent, Target


class FastClient(PlainClient):
    """treq's client with a way past its requests and responses.

    :param agent: sends encoded calls
    """

    def __init__(self, agent: FastAgent) -> None:
        super().__init__(agent)
        self.target = agent.target
        self.call = agent.call


class _Timed:
    """A call with a time limit."""

    __slots__ = ("deadline", "deferred", "expired")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.deferred: Deferred[Any] | None = None
        self.expired = False

    def failed(self, failure: Failure) -> Failure:
        return Failure(why(failure, self.expired, True))


class FastApiClient:
    """Calls the API; see :class:`wsaas.client.ApiClient`.

    :param http: sends requests
    :param clock: for the time limit
    :param uri: ``API_URI``
    :param timeout: seconds for one call, connecting and the answer's body included
    :param max_body: bytes of an answer's body that are accepted
    """

    def __init__(self, http: FastClient, clock: IReactorTime, uri: str, timeout: float, max_body: int) -> None:
        self._http = http
        self._clock = clock
        self._uri = uri
        self._target: Target | None = None
        self._timeout = timeout
        self._max_body = max_body
        #: All with the same time limit, so that the first to begin is the first to end.
        self._open: dict[_Timed, None] = {}
        self._timer: IDelayedCall | None = None

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
        """Make one call; see :meth:`wsaas.client.ApiClient.call`."""
        head = headers if isinstance(headers, bytes) else encode_headers(headers)
        deferred: Deferred[Answer] = maybeDeferred(self._send, method.encode("ascii"), head, content)
        if deferred.called:
            return deferred.addErrback(lambda failure: Failure(why(failure, False, True)))
        if timeout is not None and timeout != self._timeout:
            return self._alone(deferred, timeout)
        timed = _Timed(self._clock.seconds() + self._timeout)
        timed.deferred = deferred
        self._open[timed] = None
        if self._timer is None:
            self._timer = self._clock.callLater(self._timeout, self._expire)
        return deferred.addErrback(timed.failed).addBoth(self._finished, timed)

    def _send(self, method: bytes, head: bytes, content: bytes | None) -> Deferred[Answer]:
        if self._target is None:
            self._target = self._http.target(self._uri.encode("ascii"))
        return self._http.call(method, self._target, head, content, self._max_body)

    def _alone(self, deferred: Deferred[Answer], timeout: float) -> Deferred[Answer]:
        """A call with another time limit has a timer of its own."""
        timed = _Timed(0)
        timed.deferred = deferred

        def expire() -> None:
            timed.expired = True
            deferred.cancel()

        def finished(result: Answer | Failure) -> Answer | Failure:
            if timer.active():
                timer.cancel()
            return result

        timer = self._clock.callLater(timeout, expire)
        return deferred.addErrback(timed.failed).addBoth(finished)

    def _finished(self, result: Answer | Failure, timed: _Timed) -> Answer | Failure:
        timed.deferred = None
        self._open.pop(timed, None)
        if not self._open and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return result

    def _expire(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        expired = list(takewhile(lambda timed: timed.deadline <= now, self._open))
        for timed in expired:
            del self._open[timed]
        # Before anybody is told: whoever waits for one of them may make another call at once, which must not be taken
        # for the first to end.
        if self._open:
            self._timer = self._clock.callLater(next(iter(self._open)).deadline - now, self._expire)
        for timed in expired:
            # Or it may cancel another one.
            if timed.deferred is not None:
                timed.expired = True
                timed.deferred.cancel()
