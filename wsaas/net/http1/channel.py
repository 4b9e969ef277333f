"""HTTP/1.1 on our listeners: twisted.web's channel, with the head judged before a body is read.

twisted.web answers ``100 Continue`` and stores the whole body before a resource sees the request. Here the head goes to
a *judge* first; a request that cannot succeed is answered at once and its body thrown away, and a body that may be read
is bounded while it arrives.

Private names of :class:`twisted.web.http.HTTPChannel` stand in this module and in :mod:`.turns`, and nowhere else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IDelayedCall, IProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, TimeoutMixin
from twisted.python.failure import Failure

from wsaas.limits import OVERHEAD
from wsaas.net.http1.forwarded import believed
from wsaas.net.http1.judged_request import JudgedRequest
from wsaas.net.http1.messages import ACCEPTED, FAULT, RequestHead, Response, client_of, json_response, text_response
from wsaas.net.http1.turns import TakingTurns

if TYPE_CHECKING:
    from wsaas.net.http1.site import ClientSite, Lane

#: Seconds for which what a refused peer still sends is read and thrown away, so that it sees the answer.
LINGER = 2.0
#: Bytes of a request's body beyond which a connection is not worth keeping for the next request.
_MAX_SWALLOWED = 1 << 17
#: Seconds after which another push moves a connection to the end of those that are kept for the next request.
_MOVED_AFTER = 1.0
#: Digits of a Content-Length. Python refuses to read thousands of them, with an exception that nobody expects.
_MAX_LENGTH_DIGITS = 18
#: What a line of a head begins with that goes on with the one before it.
_FOLDS = (b" ", b"\t")


def hand_over(transport: Any, protocol: IProtocol) -> None:
    """Let another protocol have what comes from a transport; who calls has to connect it.

    :param transport: a socket's, or TLS or PROXY around one
    """
    if isinstance(transport, ProtocolWrapper):
        transport.wrappedProtocol = protocol
    else:
        transport.protocol = protocol


_OVERLOADED = json_response(
    503, "OVERLOADED", "too many pushes are on their way at once; push again later", [(b"Retry-After", b"1")]
)


class Channel(TakingTurns):
    """One connection from a client or a pusher, until it is closed or becomes a WebSocket."""

    site: ClientSite
    transport: Any
    _networkProducer: Any
    requestFactory = JudgedRequest
    _log = Logger()
    _deadline: IDelayedCall | None = None
    _TimeoutMixin__timeoutCall: IDelayedCall | None
    _lingering = False
    #: When a push last went through the fast lane.
    _pushed_at = float("-inf")
    _adopted = False
    #: A push for the fast lane of which more is to come, and how much.
    _pieces: list[bytes] = []
    _missing = 0
    #: What the site's budget knows of the body that is awaited.
    _reserved = 0

    def connectionMade(self) -> None:
        """Begin to wait for a request: from here the head has a deadline, however slowly it trickles."""
        super().connectionMade()
        if not self._adopted:
            self._expect_head()

    def adopt(self, transport: Any, left: float | None) -> None:
        """Go on with a connection that began elsewhere, at the beginning of a request.

        :param transport: connected, with no producer
        :param left: seconds in which a head must be complete; :data:`None`: none is awaited, as between two requests
        """
        hand_over(transport, self)
        self._adopted = True
        self.makeConnection(transport)
        if left is not None:
            self._deadline = self.callLater(left, self._too_late)
            self.site.queue.enter(self)
        else:
            self.site.idle.enter(self)

    def _expect_head(self) -> None:
        if self._deadline is None and self.site.head_timeout:
            self._deadline = self.callLater(self.site.head_timeout, self._too_late)
            self.site.idle.leave(self)
            self.site.queue.enter(self)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            self.site.queue.leave(self)

    def dawdles(self) -> None:
        """There are too many whose requests are awaited, or that are kept for another, and this one is the eldest."""
        self.transport.abortConnection()

    def _reserve(self, size: int) -> bool:
        """:returns: whether a body of so many bytes may be kept while it arrives"""
        bodies = self.site.bodies
        if size:
            if bodies.exhausted:
                return False
            self._reserved = size + OVERHEAD
            bodies.used += self._reserved
        return True

    def _release(self) -> None:
        if self._reserved:
            self.site.bodies.used -= self._reserved
            self._reserved = 0

    def _too_late(self) -> None:
        self._deadline = None
        self.site.queue.leave(self)
        if self.requests and self.requests[-1].answered:
            # What is late is the rest of a refused body; a second answer would be taken for the next request's.
            self._say_and_leave(None)
        else:
            self._say_and_leave(text_response(408, "the request was not complete in time"))

    def timeoutConnection(self) -> None:
        """Nothing came for a while, which ends idle connections only: requests have their deadline."""
        period = self.timeOut
        left = 0.0 if period is None else self._pushed_at + period - self.site.reactor.seconds()
        if left > 0:
            self.setTimeout(left)
            self.timeOut = period
        elif self._deadline is None:
            super().timeoutConnection()

    def _stay_open(self) -> None:
        """Begin the idle time-out anew. To note the time costs less than to move its timer, which waits for its end."""
        now = self.site.reactor.seconds()
        if now - self._pushed_at >= _MOVED_AFTER:
            self.site.idle.leave(self)
        self.site.idle.enter(self)
        self._pushed_at = now
        if self._TimeoutMixin__timeoutCall is None:
            self.setTimeout(self.timeOut)

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""
        if self._lingering:
            return
        if self.waits:
            self.wait_with(data)
            return
        # A request that ends gives what is behind it to this very method, which keeps it for the call further up.
        nested = self._busyReceiving
        if not nested:
            self.begin_turn()
        lane = self.site.lane
        # The lane is for whole requests from their first byte on: nothing half read, nothing being answered.
        if lane is not None and (
            self._pieces or (not self.requests and self.line_mode and self.persistent and not self._buffer)
        ):
            data = self._through(lane, data)
            if not data:
                return
        super().dataReceived(data)
        if nested:
            return
        self._look_what_follows()

    def _look_what_follows(self) -> None:
        if self._handlingRequest or self._lingering:
            return
        if self.requests or self._buffer:
            # A request has begun and is not complete, be it the first of these bytes or the last of them. (Between
            # two requests only the idle time-out runs.)
            self._expect_head()
        elif self._deadline is None and self.persistent:
            self.site.idle.enter(self)

    def _through(self, lane: Lane, data: bytes) -> bytes:
        """:returns: what the fast lane leaves to twisted.web"""
        if self._pieces:
            self._pieces.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                self.resetTimeout()
                return b""
            data = b"".join(self._pieces)
            self._pieces = []
            self._release()
        run, used, whole, refused = lane.take(data)
        answers = run
        # The refused one is the last of its run.
        while refused and used < len(data) and not self.is_turn_over(run.startswith(ACCEPTED), refused):
            run, further, whole, refused = lane.take(data[used:])
            answers, used = answers + run, used + further
        if used:
            # What twisted.web does after each request: none is awaited in time any more, the idle time-out runs (it may
            # have run out while the body was on its way), and an empty line may follow.
            self._stop_deadline()
            self._stay_open()
            self._HTTPChannel__first_line = 1
            self.transport.write(answers)
        rest = data[used:]
        if whole:
            if not self._reserve(whole):
                self._say_and_leave(_OVERLOADED)
                return b""
            self._pieces = [rest]
            self._missing = whole - len(rest)
            # The body has the same time again.
            self._stop_deadline()
            self._expect_head()
            return b""
        if refused and rest:
            self.wait_with(rest)
            return b""
        return rest

    def pauseProducing(self) -> None:
        """The transport has enough to write. Whoever does not read its answers is not read either.

        twisted.web forgets it if that happens while a request is being answered, and the answers to all that follow
        would pile up.
        """
        super().pauseProducing()
        self._networkProducer.pauseProducing()

    def loseConnection(self) -> None:
        """Close once everything is written. Whoever reads nothing, or does not end TLS, is cut off after a while."""
        self._stop_deadline()
        self.stop_waiting()
        self._lingering = True
        # Not in the queue of those who linger: most of these are gone in the reactor's next turn.
        self._deadline = self.callLater(LINGER, self.linger_no_longer)
        super().loseConnection()

    def lineReceived(self, line: bytes) -> None:
        """A line of a head. A folded one is refused (RFC 9112 §5.2): a proxy in front may read it in another way."""
        if line[:1] in _FOLDS:
            self._respondToBadRequestAndDisconnect()
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002 - LineReceiver's signature
        """A line is longer than a whole head may be; twisted.web would only close."""
        self._say_and_leave(text_response(431 if self.requests else 414, "the request's head is too long"))

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Answer what twisted.web cannot read."""
        if self._lingering:
            return
        if self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders:
            response = text_response(431, "the request's head is too long")
        else:
            response = text_response(400, "malformed request")
        self._say_and_leave(response)

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if header == b"Content-Length" and len(data) > _MAX_LENGTH_DIGITS:
            return self._failChooseTransferDecoder()
        if header == b"Transfer-Encoding" and data.lower() != b"chunked":
            # twisted.web passes over "identity", which RFC 9112 §6.1 does not have any more: what stands beside it is
            # then counted differently by others.
            return self._failChooseTransferDecoder()
        return bool(super()._maybeChooseTransferDecoder(header, data))

    def checkPersistence(self, request: JudgedRequest, version: bytes) -> bool:
        """Tell whether the connection is kept; twisted.web misses a ``close`` among other options (RFC 9112 §9.3)."""
        if version == b"HTTP/1.1" and b"close" not in request.head.tokens(b"Connection"):
            return True
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return False

    def allHeadersReceived(self) -> None:
        """Have the head judged, before ``100 Continue`` is sent."""
        # The body has the same time again; see dataReceived().
        self._stop_deadline()
        self.site.idle.leave(self)
        request: JudgedRequest = self.requests[-1]
        length = self.length
        request.site = self.site
        request.head = RequestHead(
            self._command,
            self._path,
            self._version,
            request.requestHeaders,
            length,
            self.isSecure(),
            client_of(self.getPeer()),
        )
        if self.site.proxies:
            client, secure = believed(self.site.proxies, request.head)
            request.head = replace(request.head, client=client, secure=secure)
        try:
            refusal = self.site.judge(request.head)
        except Exception:  # noqa: BLE001 - whatever it is, it is logged, and the peer is owed an answer
            self._log.failure("a fault of the gateway")
            refusal = FAULT
        if refusal is None and not self._reserve(self.site.max_body if length is None else length):
            refusal = _OVERLOADED
        if refusal is None:
            super().allHeadersReceived()
            return
        self.persistent = self.checkPersistence(request, self._version)
        request.gotLength(length)
        request.answered = True
        expects = request.requestHeaders.hasHeader(b"Expect")
        if length is None or length > _MAX_SWALLOWED or (length and expects) or not self.persistent:
            self.refuse(request, refusal)
        else:
            # The body is short: it is cheaper to read past it than to lose the connection.
            self.site.refused[refusal.status] += 1
            self.transport.write(refusal.encode(head_only=self._command == b"HEAD"))

    def refuse(self, request: JudgedRequest, response: Response) -> None:
        """Answer a request whose body will not be read, and end the connection in an orderly way."""
        self._say_and_leave(response, head_only=request.head.method == b"HEAD")

    def allContentReceived(self) -> None:
        """The request is complete."""
        # The deadline of a channel that lingers is the end of that.
        if not self._lingering:
            self._stop_deadline()
            self._release()
            super().allContentReceived()

    def requestDone(self, request: JudgedRequest) -> None:
        """The request is answered; what came behind it has its turn, now or later."""
        super().requestDone(request)
        if not self._busyReceiving and not self.waits:
            self._look_what_follows()

    def _say_and_leave(self, response: Response | None, *, head_only: bool = False) -> None:
        """Answer, if there is anything to say, then close, giving the peer time to read the answer.

        Closing while it still sends would reset the connection, and a reset destroys what was not read yet
        (RFC 9112 §9.6).
        """
        self._stop_deadline()
        self.stop_waiting()
        self.site.idle.leave(self)
        self._lingering = True
        self.setTimeout(None)
        # What is still to come is neither a request nor a body.
        self.persistent = False
        self.clearLineBuffer()
        self._dataBuffer = []
        self._pieces = []
        self._release()
        if response is not None:
            self.site.refused[response.status] += 1
            self.transport.write(response.encode(head_only=head_only, close=True))
        self._networkProducer.unregisterProducer()
        self.transport.resumeProducing()
        half_close = getattr(self.transport, "loseWriteConnection", None)
        if half_close is None or self.isSecure():
            self.transport.loseConnection()
        else:
            half_close()
        self._deadline = self.callLater(LINGER, self.linger_no_longer)
        self.site.lingering.enter(self)

    def linger_no_longer(self) -> None:
        """There was time enough to read the answer, or there are too many others."""
        self._stop_lingering()
        self.transport.abortConnection()

    def _stop_lingering(self) -> None:
        self.site.lingering.leave(self)
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The transport is gone."""
        if self._lingering:
            self._stop_lingering()
        self._stop_deadline()
        self.stop_waiting()
        self.site.idle.leave(self)
        self._release()
        super().connectionLost(reason)
        # The channel and its request name each other, the decoder of a body names both, and the transport names the
        # channel: cycles.
        self.requests = []
        self._transferDecoder = None
        self._pieces = []

    def detach(self, request: JudgedRequest) -> tuple[Any, bytes]:
        """Give the transport away.

        :param request: the one that is being answered
        :returns: the transport, without a producer, and what arrived behind the request
        """
        self._stop_deadline()
        TimeoutMixin.setTimeout(self, None)
        transport = self.transport
        early = b"".join(self._dataBuffer) + self.clearLineBuffer()
        self._dataBuffer = []
        self._networkProducer.unregisterProducer()
        # It may have been paused, by early bytes or by a full buffer.
        self._networkProducer.resumeProducing()
        self.requests = []
        self.transport = None
        request.transport = None
        del request.channel
        return transport, early
