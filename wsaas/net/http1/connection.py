"""One HTTP connection: what is written to it, who waits with it, whether its peer reads, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from OpenSSL.SSL import Error as SslError
from twisted.internet._producer_helpers import _PullToPush
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, ISSLTransport, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from zope.interface import implementer

from wsaas.net.http1.forwarded import believed
from wsaas.net.http1.messages import RequestHead, Response, client_of, text_response
from wsaas.net.http1.page import PageRequest
from wsaas.net.http1.refusals import REFUSALS
from wsaas.net.http1.request_body import RequestBody
from wsaas.net.http1.route import Attempt, ByValue
from wsaas.net.server_tls import why_no_tls

if TYPE_CHECKING:
    from wsaas.net.http1.deadlines import Deadlines
    from wsaas.net.http1.site import ClientSite

#: Seconds for which what a refused peer still sends is read and thrown away, so that it sees the answer.
LINGER = 2.0
#: How much of one connection is answered in a turn of the loop; what came behind it waits. A request counts 1, and as
#: many as this if it was refused. That takes no credentials: so a connection with nothing but such requests waits for
#: some time after each turn (seconds), or a hundred of them would take all of the loop.
PER_TURN, REFUSED = 64, 32
REFUSED_PAUSE = 0.2
#: Bytes behind a request that is being answered beyond which the connection is not read any more.
MAX_EARLY = 0x4000

#: What a connection does: reads requests; has one answered; waits for its next turn; is about to end, or given away.
READING, ANSWERING, WAITING, LEAVING = range(4)

_TOO_LATE = text_response(408, "the request was not complete in time")


@implementer(IPushProducer)
class HttpConnection:
    """A connection and what it waits for.

    For each transport it is a producer: one that is not to produce more answers reads no more requests.
    """

    __slots__ = (
        "__weakref__",
        "_answering",
        "_at",
        "_body",
        "_busy",
        "_data",
        "_in_turn",
        "_is_first_line",
        "_is_paused",
        "_is_registered",
        "_is_unread",
        "_known",
        "_only_refused",
        "_out",
        "_persistent",
        "_producer",
        "_queue",
        "_state",
        "_turn",
        "head",
        "transport",
    )

    site: ClientSite
    factory: ClientSite
    transport: Any
    #: Of the request that is being answered.
    head: RequestHead | None

    def __init__(self) -> None:
        self._state = READING
        #: What has come and is not read, and from where on.
        self._data = b""
        self._at = 0
        #: How much of an incomplete head was looked at.
        self._known = 0
        #: Answers that go out in one go.
        self._out = b""
        #: What is being read behind a head.
        self._body: RequestBody | None = None
        #: What is awaited of who answers.
        self._answering: Deferred[Response] | PageRequest | Attempt | None = None
        self.head = None
        #: Whether the connection is kept behind the request that is being answered.
        self._persistent = True
        #: Whether an empty line may come before the next request.
        self._is_first_line = True
        self._in_turn = 0
        #: Whether nothing but refusals were answered in this turn.
        self._only_refused = True
        self._turn: IDelayedCall | None = None
        #: Whether bytes are being read, further up in the stack.
        self._busy = False
        self._is_paused = False
        #: Whether the peer does not read its answers.
        self._is_unread = False
        self._is_registered = False
        self._producer: Any = None
        #: Among whom it waits for something, or is waited for.
        self._queue: Deadlines | None = None
        self.transport = None

    def makeConnection(self, transport: Any) -> None:
        """It is made: from here the first head has a deadline, however slowly it trickles."""
        self.transport = transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        self._move(self.site.awaiting)

    def connectionMade(self) -> None:
        """Nothing more than :meth:`makeConnection`; a part of the interface."""

    def _move(self, queue: Deadlines | None) -> None:
        """Wait among others, at the end, or among nobody."""
        if self._queue is not None:
            self._queue.leave(self)
        self._queue = queue
        if queue is not None:
            queue.enter(self)

    def _read(self) -> None:
        """Answer what has come: :class:`.Channel` does."""

    def _release(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            self.site.bodies.used -= body.reserved

    def _forget(self) -> None:
        """Nothing that has come is a request any more."""
        self._state = LEAVING
        self._move(None)
        self._release()
        self._data = b""
        self._at = 0
        self._answering = None
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    # The end

    def _tell(self, response: Response, head: RequestHead | None = None, route: object = None) -> None:
        """Log that a request is refused; if it is a push, have it counted."""
        if isinstance(route, ByValue) and head is not None:
            route.answers.missed(head, response)
            return
        client = client_of(self.transport.getPeer())
        if head is not None and self.site.proxies:
            client, _ = believed(self.site.proxies, head)
        REFUSALS.request(response, client, head, self._data[self._at : self._at + 2])

    def _turn_away(self, response: Response, head: RequestHead | None = None, route: object = None) -> None:
        """Refuse a request, and read no others."""
        self._tell(response, head, route)
        self._leave(response, head_only=head is not None and head.method == b"HEAD")

    def _leave(self, response: Response | None, *, head_only: bool = False) -> None:
        """Answer, if there is anything to say, then close, giving the peer time to read the answer.

        Closing while it still sends would reset the connection, and a reset destroys what was not read yet
        (RFC 9112 §9.6).
        """
        self._forget()
        if response is not None:
            self.site.refused[response.status] += 1
            self._out += response.encode(head_only=head_only, close=True)
        self._flush()
        self._unregister()
        transport = self.transport
        transport.resumeProducing()
        half_close = getattr(transport, "loseWriteConnection", None)
        if half_close is None or self.isSecure():
            transport.loseConnection()
        else:
            half_close()
        self._move(self.site.lingering)

    def loseConnection(self) -> None:
        """Close once everything is written. Whoever reads nothing, or does not end TLS, is cut off after a while."""
        if self._state == LEAVING:
            return
        answering = self._answering
        self._flush()
        self._forget()
        # A page that was begun is told of the end.
        self._answering = answering
        self._unregister()
        self._move(self.site.closing)
        self.transport.loseConnection()

    def evict(self) -> None:
        """Over the limit: of those whose request is awaited, or that are kept for another, this one is the eldest."""
        self._queue = None
        self.transport.abortConnection()

    def too_late(self) -> None:
        """A request was not complete in time."""
        self._queue = None
        body = self._body
        if body is None:
            self._turn_away(_TOO_LATE)
        elif body.route is not None:
            self._turn_away(_TOO_LATE, body.head, body.route)
        else:
            # The rest of a refused body is late; a second answer would be taken for the next request's.
            self._leave(None)

    def idle_too_long(self) -> None:
        """No other request came for a while."""
        self._queue = None
        self.loseConnection()

    def cut_off(self) -> None:
        """There was time enough to read the answer, or there are too many others."""
        self._queue = None
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The transport is gone."""
        # The channel and who answers name each other, and the transport names the channel: cycles.
        answering = self._answering
        if type(reason.value) is SslError:
            REFUSALS.tls(client_of(self.transport.getPeer()), why_no_tls(reason.value))
        self._forget()
        self.unregisterProducer()
        self.transport = None
        if isinstance(answering, Deferred):
            answering.cancel()
        elif isinstance(answering, PageRequest):
            answering.connectionLost(reason)  # type: ignore[no-untyped-call]  # Twisted's
        elif answering is not None:
            answering.left()

    # Turns, and peers that do not read

    def _wait_turn(self) -> None:
        """Have what has come wait for a later turn."""
        self._state = WAITING
        self._pause()
        if self._turn is None:
            self._turn = self.site.clock.callLater(REFUSED_PAUSE if self._only_refused else 0, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        # As long as the peer does not read its answers, there are no more of them.
        if not self._is_unread:
            self._state = READING
            self._in_turn = 0
            self._only_refused = True
            self._resume()
            self._read()

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self.transport.pauseProducing()

    def _resume(self) -> None:
        if self._is_paused and not self._is_unread:
            self._is_paused = False
            self.transport.resumeProducing()

    def pauseProducing(self) -> None:
        """The transport has enough to write. Whoever does not read its answers is not read either."""
        self._is_unread = True
        if self._producer is not None:
            self._producer.pauseProducing()
        if self._state != LEAVING:
            self._pause()

    def resumeProducing(self) -> None:
        """The transport has room again. Before more is read, what waits has its turn."""
        self._is_unread = False
        if self._producer is not None:
            self._producer.resumeProducing()
        if self._state == WAITING:
            if self._turn is None:
                self._turn = self.site.clock.callLater(0, self._take_turn)
        elif self._state == READING or len(self._data) <= MAX_EARLY:
            self._resume()

    def stopProducing(self) -> None:
        """The transport is gone."""
        if self._producer is not None:
            self._producer.stopProducing()

    def _register(self) -> None:
        if not self._is_registered:
            self._is_registered = True
            self.transport.registerProducer(self, True)

    def _unregister(self) -> None:
        if self._is_registered:
            self._is_registered = False
            self.transport.unregisterProducer()

    def _flush(self) -> None:
        out, self._out = self._out, b""
        if out:
            self._register()
            self.transport.write(out)

    # What twisted.web's Request asks of its channel

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Write the head of an answer."""
        lines = [version, b" ", code, b" ", reason, b"\r\n"]
        for name, values in headers.getAllRawHeaders():
            for value in values:
                lines += (name, b": ", value, b"\r\n")
        lines.append(b"\r\n")
        self.transport.writeSequence(lines)

    def write(self, data: bytes) -> None:
        """Write a part of an answer."""
        self.transport.write(data)

    def writeSequence(self, data: list[bytes]) -> None:
        """Write parts of an answer."""
        self.transport.writeSequence(data)

    def getPeer(self) -> Any:
        """:returns: the other end's address"""
        return self.transport.getPeer()

    def getHost(self) -> Any:
        """:returns: this end's address"""
        return self.transport.getHost()

    def isSecure(self) -> bool:
        """:returns: whether it is TLS"""
        return bool(ISSLTransport.providedBy(self.transport))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Have an answer produced piece by piece, as fast as the peer reads."""
        if self._producer is not None:
            raise RuntimeError("there is a producer already")
        self._producer = producer if streaming else _PullToPush(producer, self)
        if not streaming:
            self._producer.startStreaming()

    def unregisterProducer(self) -> None:
        """All of an answer is produced."""
        producer, self._producer = self._producer, None
        if isinstance(producer, _PullToPush):
            producer.stopStreaming()
