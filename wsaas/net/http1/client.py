"""One request and its answer on a connection of the pool."""

from __future__ import annotations

from typing import Any, NamedTuple

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
from wsaas.net.http1.messages import AnswerHead, BodyCut
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


@implementer(IClientRequest)
class SentRequest(NamedTuple):
    """What was asked.

    :param method: of the request
    :param absoluteURI: of the request
    :param headers: those that the caller gave
    """

    method: bytes
    absoluteURI: bytes
    headers: Headers


@implementer(IResponse)
class CompleteResponse:
    """An answer whose body has been read, so that :meth:`deliverBody` delivers all of it before it returns.

    :param asked: method, URI and header fields of the request, as the caller gave them
    :param head: its head, of which this has header fields of its own: they may be changed
    :param body: all of the body; :data:`None` if it is longer than is accepted
    :param open_ended: whether the connection's end was the end of the body
    """

    __slots__ = (
        "_asked",
        "_body",
        "_delivered",
        "_open_ended",
        "code",
        "headers",
        "length",
        "previousResponse",
        "version",
    )

    def __init__(
        self,
        asked: tuple[bytes, bytes, Headers | None],
        head: AnswerHead,
        body: bytes | None,
        open_ended: bool,
    ) -> None:
        self._asked = asked
        self.code = head.status
        self.version = head.version
        self.headers: Headers = AnswerHeaders(head.fields, head.headers.known_names)
        self.previousResponse: IResponse | None = None
        self._body = body
        self._open_ended = open_ended
        self._delivered = False
        #: Bytes of the body; no property, as wrappers that decode it set it.
        self.length: Any = UNKNOWN_LENGTH if body is None else len(body)

    @property
    def request(self) -> SentRequest:
        """What was asked; made when somebody wants to know."""
        method, uri, headers = self._asked
        return SentRequest(method, uri, Headers() if headers is None else headers)

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


class Exchange(Deferred[IResponse]):
    """A request, and the Deferred of its answer; see :class:`wsaas.net.http1.pool.Call`.

    One object for the two: that saves a tenth of what a call costs. Who calls :meth:`.PersistentAgent.request` may
    bring it along: a subclass that is the producer of the request's body as well saves another object. What a kept
    connection swallowed is sent once more on a fresh one, whatever its method: a server may close an idle connection at
    the very moment at which a request is sent on it (protocol §2.3).
    """

    # Defaults of the class: to set them for each exchange takes time.
    _connecting: Deferred[PooledConnection] | None = None
    #: Why the kept connection ended on which this was sent first.
    _swallowed: Failure | None = None
    connection: PooledConnection | None = None
    head_only = False
    #: Tells that the producer of a body is one of these: of Deferreds it takes long to ask for their class.
    carries = True
    #: The request's body, if this is its producer.
    content: bytes | None = None
    #: All of the request, ready for the wire, once it is known.
    data = b""
    #: Whether the answer is nobody's but this object's: see :meth:`claim`.
    claimed = False

    def __init__(self) -> None:
        # A function, not a method of this object, which would be a cycle.
        Deferred.__init__(self, Exchange._give_up)  # type: ignore[arg-type]  # it gets this very Deferred

    def send(self, origin: Origin, data: bytes, asked: tuple[bytes, bytes, Headers | None], max_body: int) -> None:
        """Send the request. Only once: there is but one Deferred.

        :param origin: where it goes
        :param data: all of it, ready for the wire
        :param asked: method, URI and header fields, as the caller gave them
        :param max_body: bytes of the answer's body that are accepted; of a longer one nothing is delivered
        """
        self._origin = origin
        self.data = data
        self._asked = asked
        self.max_body = max_body
        if asked[0] == b"HEAD":
            self.head_only = True
        origin.send(self)

    def claim(self) -> bool:
        """Have a subclass take the answer as it comes, for a third of what a response and callbacks cost.

        For who has brought this Deferred along, and has it back from :meth:`.PersistentAgent.request`.

        :returns: whether that will be; not if an Agent in between has added callbacks of its own, or it has fired
        """
        if self._callbacks or self.called:
            return False
        self.claimed = True
        return True

    def connect(self) -> None:
        """Send it on a fresh connection."""
        self._connecting = connecting = self._origin.connect()
        connecting.addCallbacks(self._connected, self._not_connected)

    def _connected(self, connection: PooledConnection) -> None:
        self._connecting = None
        if self.called:
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

    def _give_up(self) -> None:
        """Wait no longer, and end the connection: the Deferred was cancelled."""
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
            if self.connection is not None:
                # The endpoint made it all the same.
                self.connection.abort()
            self._fail(cancelled)

    def answered(self, head: AnswerHead, body: bytes | None, open_ended: bool) -> None:
        """The answer is complete."""
        self.connection = None
        if not self.called:
            self.callback(CompleteResponse(self._asked, head, body, open_ended))

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
        self.connection = None
        if not self.called:
            self.broke(error if isinstance(error, Failure) else Failure(error))

    def broke(self, failure: Failure) -> None:
        """There will be no answer."""
        self.errback(failure)
