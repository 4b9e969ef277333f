"""Requests and responses as :class:`twisted.web.iweb.IAgent` has them, over the parser of the fast agent."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProtocol
from twisted.python.failure import Failure
from twisted.web._newclient import WrongBodyLength  # Agent fails with it, but twisted.web.client does not export it
from twisted.web.client import RequestGenerationFailed, ResponseDone, ResponseFailed
from twisted.web.http import RESPONSES, PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer, IClientRequest, IResponse
from zope.interface import implementer

from wsaas.net.http1.parser import AnswerParser

#: About the connection, not about the answer (RFC 9110 §7.6.1); Agent leaves them out, too.
_OF_THE_CONNECTION = frozenset(
    {
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailers",
        b"transfer-encoding",
        b"upgrade",
    }
)


@implementer(IConsumer)
class _Collector:
    """Takes a request's body."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self.length = 0
        self.parts: list[bytes] = []

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Whoever produces may do so as fast as it likes."""

    def unregisterProducer(self) -> None:
        """Nothing is held."""

    def write(self, data: bytes) -> None:
        """Take a part."""
        self.length += len(data)
        if self._limit is not None and self.length > self._limit:
            self.parts.clear()
        else:
            self.parts.append(data)


def whole_body(producer: IBodyProducer) -> Deferred[bytes]:
    """Let a producer produce all of a request's body.

    :returns: fires with it; a cancelled one stops the producer
    :raises RequestGenerationFailed: if that fails, or makes another length than was said
    """
    length = None if producer.length is UNKNOWN_LENGTH else cast(int, producer.length)
    collector = _Collector(length)

    def check(_: object) -> bytes:
        if length is not None and collector.length != length:
            error = WrongBodyLength(f"{collector.length} bytes were produced where {length} were promised")
            raise RequestGenerationFailed([Failure(error)])
        return b"".join(collector.parts)

    def failed(failure: Failure) -> Failure:
        return failure if failure.check(RequestGenerationFailed) else Failure(RequestGenerationFailed([failure]))

    whole: Deferred[bytes] = Deferred(lambda _: producer.stopProducing())
    producer.startProducing(collector).addCallback(check).addErrback(failed).addBoth(
        lambda result: None if whole.called else whole.callback(result)
    )
    return whole


@implementer(IClientRequest)
class SentRequest:
    """What was asked.

    :param method: of the request
    :param absoluteURI: of the request
    :param headers: those that the caller gave
    """

    def __init__(self, method: bytes, absoluteURI: bytes, headers: Headers) -> None:
        self.method = method
        self.absoluteURI = absoluteURI
        self.headers = headers


class _BodyTransport:
    """A connection as the protocol sees it that takes a body: until the body is over, and no longer."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.paused = False

    def pauseProducing(self) -> None:
        """No more for now."""
        if self._transport is not None:
            self.paused = True
            self._transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on."""
        if self._transport is not None:
            self.paused = False
            self._transport.resumeProducing()

    def abortConnection(self) -> None:
        """No more at all. What still comes must not be taken for another answer, so the connection goes, too."""
        if self._transport is not None:
            self._transport.abortConnection()

    loseConnection = stopProducing = abortConnection

    def detach(self) -> None:
        """The body is over; the connection may carry another call."""
        if self.paused:
            self.resumeProducing()
        self._transport = None


@implementer(IResponse)
class StreamedResponse:
    """An answer whose body may still be on its way.

    Nothing is read from the connection until :meth:`deliverBody` says where the body is to go.

    :param parser: has read the head
    :param request: what was asked
    :param transport: the connection
    """

    def __init__(self, parser: AnswerParser, request: SentRequest, transport: Any) -> None:
        self.version = parser.version
        self.code = parser.status
        #: The registered phrase (RFC 9110 §15.1: what the server says there is to be ignored).
        self.phrase = RESPONSES.get(self.code, b"")
        self.request = request
        self.previousResponse: IResponse | None = None
        self.headers = Headers()
        self.length: Any = UNKNOWN_LENGTH
        of_head = request.method == b"HEAD"
        for name, value in parser.fields.pairs():
            lower = name.lower()
            if lower == b"content-length":
                # Python refuses to read thousands of digits, zeros though they be.
                self.length = int(value.lstrip(b"0") or b"0")
            if lower not in _OF_THE_CONNECTION or (of_head and lower == b"content-length"):
                self.headers.addRawHeader(name, value)
        if of_head or self.code in (204, 304):
            self.length = 0
        self._transport = _BodyTransport(transport)
        self._protocol: IProtocol | None = None
        self._parts: list[bytes] = []
        self._reason: Failure | None = None

    def setPreviousResponse(self, response: IResponse) -> None:
        """A redirection led here."""
        self.previousResponse = response

    def deliverBody(self, protocol: IProtocol) -> None:
        """Hand the body to a protocol, which is told of its end by ``connectionLost``.

        The reason is :class:`~twisted.web.client.ResponseDone`; :class:`~twisted.web.http.PotentialDataLoss` if the
        body ended where the connection did; :class:`~twisted.web.client.ResponseFailed` if it is not complete.

        :raises RuntimeError: the second time
        """
        if self._protocol is not None:
            raise RuntimeError("the body has been delivered already")
        self._protocol = protocol
        protocol.makeConnection(cast(Any, self._transport))
        self._flush()
        if self._reason is None:
            self._transport.resumeProducing()

    def pause(self) -> None:
        """Read no more until the body can be delivered."""
        self._transport.pauseProducing()

    def received(self, parts: list[bytes]) -> None:
        """A part of the body came."""
        self._parts.extend(parts)
        self._flush()

    def finished(self, parts: list[bytes], *, certain: bool) -> None:
        """The body is over.

        :param certain: whether the answer said where; else it ended with the connection
        """
        self._parts.extend(parts)
        self._end(ResponseDone("the body is complete") if certain else PotentialDataLoss())

    def broken(self, reason: Failure) -> None:
        """The body will not be complete."""
        self._end(ResponseFailed([reason], self))

    def _end(self, reason: Exception) -> None:
        self._reason = Failure(reason)
        self._transport.detach()
        self._flush()

    def _flush(self) -> None:
        protocol = self._protocol
        if protocol is None:
            return
        parts, self._parts = self._parts, []
        for part in parts:
            protocol.dataReceived(part)
        if self._reason is not None:
            protocol.connectionLost(self._reason)
