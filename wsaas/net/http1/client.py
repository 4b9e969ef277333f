"""One request and its answer on a connection of the pool."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IProtocol, IPushProducer
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http import RESPONSES, PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IClientRequest, IResponse
from zope.interface import implementer

from wsaas.errors import CallbackFailed, NotSent
from wsaas.net.http1.headers import AnswerHeaders
from wsaas.net.http1.messages import BodyCut
from wsaas.net.http1.pool import Origin, PooledConnection


class RepeatFailed(Exception):
    """A request that a kept connection swallowed was repeated, and the repeat failed as well."""


@implementer(IPushProducer)
class _NoTransport:
    """The transport of a body that has been read: nothing is left to pause or to stop, and no connection to lose."""

    def pauseProducing(self) -> None:
        """No-op: all of the body is delivered at once."""

    resumeProducing = stopProducing = loseConnection = abortConnection = pauseProducing


_NO_TRANSPORT: Any = _NoTransport()
_BODY_DONE = Failure(ResponseDone("the body is complete"))


@implementer(IResponse)
class CompleteResponse:
    """An answer whose body has been read, so that :meth:`deliverBody` delivers all of it before it returns.

    :param request: what was asked
    :param code: the status
    :param version: of HTTP
    :param headers: the header fields
    :param body: all of the body; :data:`None` if it is longer than is accepted
    :param open_ended: whether the connection's end was the end of the body
    """

    __slots__ = (
        "_body",
        "_delivered",
        "_open_ended",
        "code",
        "headers",
        "length",
        "previousResponse",
        "request",
        "version",
    )

    def __init__(
        self,
        request: IClientRequest,
        code: int,
        version: tuple[bytes, int, int],
        headers: Headers,
        body: bytes | None,
        open_ended: bool,
    ) -> None:
        self.request = request
        self.code = code
        self.version = version
        self.headers = headers
        self.previousResponse: IResponse | None = None
        self._body = body
        self._open_ended = open_ended
        self._delivered = False
        #: Bytes of the body; no property, as wrappers that decode it set it.
        self.length: Any = UNKNOWN_LENGTH if body is None else len(body)

    @property
    def phrase(self) -> bytes:
        """The registered phrase (RFC 9110 §15.1: what the server says there is to be ignored)."""
        return RESPONSES.get(self.code, b"")

    def setPreviousResponse(self, response: IResponse) -> None:
        """A redirection led here."""
        self.previousResponse = response

    def deliverBody(self, protocol: IProtocol) -> None:
        """Hand the body to a protocol, which is told of its end by ``connectionLost``.

        The reason is :class:`~twisted.web.client.ResponseDone`; :class:`~twisted.web.http.PotentialDataLoss` if the
        body ended where the connection did; :class:`~wsaas.net.http1.messages.BodyCut` if it is too long,
        and nothing of it is delivered.

        :raises RuntimeError: the second time
        """
        if self._delivered:
            raise RuntimeError("the body has been delivered already")
        self._delivered = True
        protocol.makeConnection(_NO_TRANSPORT)
        if self._body:
            protocol.dataReceived(self._body)
        if self._body is None:
            protocol.connectionLost(Failure(BodyCut("the body is longer than is accepted")))
        else:
            protocol.connectionLost(Failure(PotentialDataLoss()) if self._open_ended else _BODY_DONE)


@implementer(IClientRequest)
class Exchange:
    """A request, and what becomes of it; see :class:`wsaas.net.http1.pool.Call`.

    What a kept connection swallowed is sent once more on a fresh one, whatever its method: a server may close an idle
    connection at the very moment at which a request is sent on it (protocol §2.3).

    :param origin: where it goes
    :param data: all of it, ready for the wire
    :param request: method, URI and header fields, as the caller gave them
    :param max_body: bytes of the answer's body that are accepted; of a longer one nothing is delivered
    """

    __slots__ = (
        "_connecting",
        "_origin",
        "_request",
        "_swallowed",
        "connection",
        "data",
        "done",
        "head_only",
        "max_body",
    )

    def __init__(
        self, origin: Origin, data: bytes, request: tuple[bytes, bytes, Headers | None], max_body: int
    ) -> None:
        self._request = request
        self.head_only = request[0] == b"HEAD"
        self.data = data
        self.max_body = max_body
        self._origin = origin
        self._connecting: Deferred[PooledConnection] | None = None
        #: Why the kept connection ended on which this was sent first.
        self._swallowed: Failure | None = None
        self.connection: PooledConnection | None = None
        #: Fires with the answer; :data:`None` once it has.
        self.done: Deferred[IResponse] | None = Deferred(self.cancel)

    @property
    def method(self) -> bytes:
        """Of the request."""
        return self._request[0]

    @property
    def absoluteURI(self) -> bytes:
        """Of the request."""
        return self._request[1]

    @property
    def headers(self) -> Headers:
        """Those that the caller gave."""
        return self._request[2] or Headers()

    def connect(self) -> None:
        """Send it on a fresh connection."""
        self._connecting = connecting = self._origin.connect()
        connecting.addCallbacks(self._connected, self._not_connected)

    def _connected(self, connection: PooledConnection) -> None:
        self._connecting = None
        if self.done is None:
            connection.abort()
        else:
            connection.send(self)

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        if self._swallowed is not None:
            self._fail(self._never_received(failure))
        elif failure.check(ConnectError, ConnectingCancelledError, DNSLookupError, CancelledError):
            self._fail(failure)
        else:
            self._fail(NotSent(f"no connection to the API: {failure.getErrorMessage()}"))

    def _never_received(self, reason: Failure) -> ResponseNeverReceived:
        if self._swallowed is None:
            return ResponseNeverReceived([reason])
        # It was sent once: a reader of the reasons must not conclude from the second one that it never was.
        said = f"and when it was repeated: {reason.getErrorMessage()}"
        return ResponseNeverReceived([self._swallowed, Failure(RepeatFailed(said))])

    def cancel(self, _: Deferred[IResponse]) -> None:
        """Wait no longer, and end the connection."""
        connecting, connection = self._connecting, self.connection
        cancelled = Failure(CancelledError())
        if connection is not None:
            heard = connection.heard
            connection.abort()
            self._fail(ResponseFailed([cancelled]) if heard else self._never_received(cancelled))
        elif connecting is not None:
            if self._swallowed is not None:
                self._fail(self._never_received(cancelled))
            connecting.cancel()
            self.done = None
            if self.connection is not None:
                # The endpoint made it all the same.
                self.connection.abort()

    def answered(
        self, status: int, version: tuple[bytes, int, int], headers: AnswerHeaders, body: bytes | None, open_ended: bool
    ) -> None:
        """The answer is complete."""
        done, self.done, self.connection = self.done, None, None
        if done is not None:
            done.callback(CompleteResponse(self, status, version, headers, body, open_ended))

    def lost(self, reason: Failure, heard: bool, kept: bool) -> None:
        """There will be no more of it; see :class:`wsaas.net.http1.pool.Call`."""
        self.connection = None
        if kept and not heard:
            self._swallowed = reason
            self.connect()
        elif reason.check(CallbackFailed) is not None:
            self._fail(reason)
        else:
            self._fail(ResponseFailed([reason]) if heard else self._never_received(reason))

    def _fail(self, error: Exception | Failure) -> None:
        done, self.done, self.connection = self.done, None, None
        if done is not None:
            done.errback(error if isinstance(error, Failure) else Failure(error))
