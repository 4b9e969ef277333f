"""treq without the browser: one request, one complete answer, nothing remembered and nothing followed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any, cast
from typing import Protocol as TypingProtocol

from OpenSSL.SSL import Error as TLSError
from service_identity import VerificationError
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web._newclient import ParseError  # what is no HTTP; twisted.web.client does not export it
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from wsaas.counts import Attempts, attempts
from wsaas.errors import CallbackFailed, NoAnswer, NotSent, NotVerified, TimedOut, Unusable
from wsaas.net.client_tls import NoHandshake, Untrusted
from wsaas.net.http1.messages import Answer, decode_headers

#: How an API says that it does not accept our certificate, or that there is none. With TLS 1.3 it does so when a
#: request may be on its way, which then nobody reads (RFC 8446 §4.4.2.4).
_OURS_REFUSED = re.compile(
    "alert (bad certificate|unsupported certificate|certificate (required|revoked|expired|unknown)|unknown ca)"
)


@implementer(IBodyProducer)
class Body:
    """A request's body that remembers whether its request went out.

    :param content: the whole body
    """

    def __init__(self, content: bytes) -> None:
        self.length = len(content)
        self.started = False
        self._content = content

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write all of it; bodies are bounded by ``WS_MAX_MESSAGE``."""
        self.started = True
        consumer.write(self._content)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def stopProducing(self) -> None:
        """Nothing is left to stop."""

    def pauseProducing(self) -> None:
        """Nothing is left to pause."""

    def resumeProducing(self) -> None:
        """Nothing is left to resume."""


class PlainClient(HTTPClient):
    """treq's client, less what a browser does.

    treq's own ``request`` keeps cookies in a jar shared by all calls, adds ``Accept-Encoding: gzip`` and inflates
    without a limit, and parses the URL at every call. Between a gateway and its API the first is a leak between
    clients, the second a bomb, the third a waste.
    """

    def request(  # type: ignore[override]  # fewer features on purpose; get(), put() and the like still work
        self,
        method: str,
        url: str,
        *,
        headers: Headers | None = None,
        data: IBodyProducer | None = None,
        **_unused: Any,
    ) -> Deferred[IResponse]:
        """Send one request.

        :returns: fires with the head of the response; its body is still to be delivered
        """
        return self._agent.request(method.encode("ascii"), url.encode("ascii"), headers, data)


class _BoundedBody(Protocol):
    """Collects a response's body, up to a limit."""

    def __init__(self, limit: int, done: Deferred[bytes]) -> None:
        self._limit = limit
        self._done: Deferred[bytes] | None = done
        self._parts: list[bytes] = []
        self._length = 0

    def dataReceived(self, data: bytes) -> None:
        self._length += len(data)
        if self._length > self._limit:
            self.stop(Unusable(f"the answer's body is longer than {self._limit} bytes"))
        else:
            self._parts.append(data)

    def stop(self, error: CallbackFailed) -> None:
        """Give up, and the connection too: what still comes must not be taken for another answer."""
        done, self._done = self._done, None
        self._parts.clear()
        if done is not None:
            cast(Any, self.transport).loseConnection()
            done.errback(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        # PotentialDataLoss: the body ended where the connection did, as HTTP/1.0 and PHP's built-in server do it.
        if reason.check(ResponseDone, PotentialDataLoss):
            done.callback(b"".join(self._parts))
        else:
            done.errback(NoAnswer(f"the answer was cut short: {reason.getErrorMessage()}"))


class CallsApi(TypingProtocol):
    """What calls the API: :class:`ApiClient`, or :class:`wsaas.callbacks.client.FastApiClient`."""

    uri: str
    #: What came of all attempts, by method.
    attempts: defaultdict[str, Attempts]

    def call(
        self, method: str, headers: Headers | bytes, content: bytes | None, timeout: float | None = None
    ) -> Deferred[Answer]:
        """Make one call; see :meth:`ApiClient.call`."""

    def put(self, head: bytes, content: bytes, done: Callable[[Answer | Failure], object]) -> None:
        """Make a PUT; see :meth:`ApiClient.put`."""


class ApiClient:
    """Calls the API.

    :param http: sends requests
    :param clock: for the time limit
    :param uri: ``API_URI``
    :param timeout: seconds for one call, connecting and the answer's body included
    :param max_body: bytes of an answer's body that are accepted
    """

    def __init__(self, http: HTTPClient, clock: IReactorTime, uri: str, timeout: float, max_body: int) -> None:
        self._http = http
        self._clock = clock
        #: ``API_URI``; set before the first call where it is not known from the start.
        self.uri = uri
        self._timeout = timeout
        self._max_body = max_body
        #: What came of all attempts, by method.
        self.attempts = attempts()

    def call(
        self, method: str, headers: Headers | bytes, content: bytes | None, timeout: float | None = None
    ) -> Deferred[Answer]:
        """Make one call.

        :param headers: as such, or as lines
        :param content: the body; :data:`None` for none at all
        :param timeout: seconds, if other than ``API_TIMEOUT``
        :returns: fires with the complete answer
        :raises NotSent: if the API cannot have seen it
        :raises NoAnswer: if no complete answer came, or not in time (:class:`~wsaas.errors.TimedOut`)
        :raises Unusable: if the answer is too long or no HTTP
        """
        body = None if content is None else Body(content)
        if isinstance(headers, bytes):
            headers = decode_headers(headers)
        timed_out = False
        reading: _BoundedBody | None = None

        def give_up() -> None:
            nonlocal timed_out
            timed_out = True
            if reading is None:
                answering.cancel()
            else:
                reading.stop(TimedOut("no complete answer in time"))

        def read(response: IResponse) -> Deferred[Answer]:
            nonlocal reading
            done: Deferred[bytes] = Deferred()
            reading = _BoundedBody(self._max_body, done)
            response.deliverBody(reading)
            return done.addCallback(lambda content: Answer(response.code, response.headers, content))

        def failed(failure: Failure) -> Failure:
            return Failure(why(failure, timed_out, body is None or body.started))

        def finished(result: Answer | Failure) -> Answer | Failure:
            if timer.active():
                timer.cancel()
            seconds = self._clock.seconds() - began
            if isinstance(result, Failure):
                self.attempts[method].failed(result.value, seconds)
            else:
                self.attempts[method].answered(result.status, seconds)
            return result

        began = self._clock.seconds()
        timer = self._clock.callLater(self._timeout if timeout is None else timeout, give_up)
        answering: Deferred[IResponse] = maybeDeferred(
            cast(Any, self._http.request), method, self.uri, headers=headers, data=body
        )
        return answering.addCallback(read).addErrback(failed).addBoth(finished)

    def put(self, head: bytes, content: bytes, done: Callable[[Answer | Failure], object]) -> None:
        """Make a PUT, of which there are many: whoever waits needs no Deferred for it.

        :param head: header lines
        :param content: the body
        :param done: called once, with the complete answer or one of the failures of :meth:`call`
        """
        self.call("PUT", head, content).addBoth(done)


def _causes(failure: Failure) -> list[Failure]:
    """:returns: a failure and those it wraps"""
    return [failure, *(inner for reason in getattr(failure.value, "reasons", ()) for inner in _causes(reason))]


def _words(causes: list[Failure]) -> str:
    """:returns: what went wrong, for the log, without anything of what the API sent"""
    said = []
    for cause in causes:
        error = cause.value
        if isinstance(error, ParseError):
            # The bytes that could not be parsed stand behind the reason.
            said.append(str(error.args[0]) if error.args and isinstance(error.args[0], str) else "malformed")
        elif isinstance(error, ValueError):
            said.append("malformed")
        elif not getattr(error, "reasons", ()):
            said.append(cause.getErrorMessage())
    return "; ".join(said[-2:])


def why(failure: Failure, timed_out: bool, started: bool) -> CallbackFailed:
    """Sort out what an Agent may fail with."""
    error = failure.value
    if isinstance(error, CallbackFailed):
        return error
    causes = _causes(failure)
    said = _words(causes)
    unverified = next((cause for cause in causes if _is_verification(cause.value)), None)
    if unverified is not None:
        # Bytes may have been written into the TLS buffer, but none left it.
        return NotVerified(f"the API's certificate was not accepted: {unverified.getErrorMessage()}")
    unshaken = next((cause for cause in causes if _is_handshake(cause.value)), None)
    if unshaken is not None:
        return NotSent(f"no TLS with the API: {unshaken.getErrorMessage()}")
    if failure.check(ConnectError, DNSLookupError, ConnectingCancelledError) or not started:
        return NotSent("no connection to the API in time" if timed_out else f"no connection to the API: {said}")
    if timed_out or failure.check(CancelledError):
        return TimedOut("no complete answer in time")
    # What twisted.web raises for lengths and codings that it cannot read is a ValueError.
    if any(cause.check(ParseError, ValueError) for cause in causes):
        return Unusable(f"the answer is not HTTP: {said}")
    return NoAnswer(f"the connection ended before the answer was complete: {said}")


def _is_handshake(error: BaseException | None) -> bool:
    return isinstance(error, NoHandshake) or (isinstance(error, TLSError) and bool(_OURS_REFUSED.search(str(error))))


def _is_verification(error: BaseException | None) -> bool:
    if isinstance(error, TLSError) and any("verify failed" in str(part) for part in error.args):
        return True
    return isinstance(error, Untrusted | VerificationError)
