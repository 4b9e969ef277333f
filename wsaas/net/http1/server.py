"""HTTP/1.1 on our listeners: a channel of our own for twisted.web.

It reads a request's head, asks the site's routes once what the request is, and has it answered: by value, by who takes
the socket over, or by a Resource of twisted.web's. The head is judged before ``100 Continue`` is sent and before any of
the body is read: a request that cannot succeed is answered at once and its body thrown away; a body that may be read is
bounded while it arrives.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from wsaas.limits import OVERHEAD
from wsaas.net.http1.connection import (
    ANSWERING,
    LEAVING,
    MAX_EARLY,
    PER_TURN,
    READING,
    REFUSED,
    WAITING,
    HttpConnection,
)
from wsaas.net.http1.forwarded import believed
from wsaas.net.http1.messages import (
    FAULT,
    MAX_SWALLOWED,
    RequestHead,
    Response,
    client_of,
    json_response,
    text_response,
)
from wsaas.net.http1.page import PageRequest
from wsaas.net.http1.request_body import RequestBody
from wsaas.net.http1.request_head import REQUEST_LINE, read_block, refuse_part
from wsaas.net.http1.route import ByValue, HandOver, Page, Route

_CLIENT_ERROR = 400

_MALFORMED = text_response(400, "malformed request")
_OVERLOADED = json_response(
    503, "OVERLOADED", "too many pushes are on their way at once; push again later", retry_after=1
)
_HANDSHAKE_FAULT = text_response(500, "a fault of the gateway")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_log = Logger()


@implementer(IProtocol)
class Channel(HttpConnection):
    """One connection from a client or a pusher, until it is closed or its socket is given away.

    Each site makes a class of its own of it.
    """

    __slots__ = ()

    # Bytes

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""
        state = self._state
        if state == LEAVING:
            return
        self._data = self._data + data if self._data else data
        if state == WAITING or self._busy:
            return
        self._in_turn = 0
        self._only_refused = True
        if state == READING:
            self._read()
        elif len(self._data) > MAX_EARLY:
            self._pause()

    def _read(self) -> None:
        """Answer what has come, request by request, until more must come, or an answer, or somebody else's turn."""
        self._busy = True
        while self._read_head() if self._body is None else self._read_body():
            if self._at == len(self._data):
                self._data = b""
                self._at = 0
                break
            if self._state != READING:
                break
            if self._in_turn >= PER_TURN:
                self._wait_turn()
                break
        self._busy = False
        state = self._state
        if state == LEAVING:
            return
        if self._at:
            self._data = self._data[self._at :]
            self._at = 0
        out = self._out
        if out:
            self._out = b""
            if not self._is_registered:
                self._register()
            self.transport.write(out)
        queue = self._queue
        if queue is self.site.idle and state == READING and not self._data and self._body is None:
            queue.renew(self)
        else:
            self._look_what_follows()

    def _look_what_follows(self) -> None:
        site = self.site
        if self._state == ANSWERING:
            if len(self._data) > MAX_EARLY:
                self._pause()
        elif self._state == READING and (self._data or self._body is not None):
            # A request has begun and is not complete.
            if self._queue is not site.awaiting:
                self._move(site.awaiting)
        elif self._state != LEAVING and self._queue is not site.awaiting:
            # Between two requests there is no deadline. (After an empty line alone that of the first head goes on.)
            self._move(site.idle)

    def _read_head(self) -> bool:
        """Read a head, and have its request answered if all of it is there.

        :returns: whether what follows may be read
        """
        data, at, site = self._data, self._at, self.site
        if data.startswith(b"\r", at) and data[at + 1 : at + 2] in (b"", b"\n"):
            return self._skip_line()
        seen = self._known
        end = data.find(b"\r\n\r\n", at + seen - 3 if seen > 3 else at, at + site.searched)
        line = REQUEST_LINE.match(data, at, end + 2) if end >= 0 else None
        if line is None:
            return self._read_part(data[at:] if end < 0 else data[at : end + 2])
        method, target, version = line.groups()
        block = data[line.end() : end + 2]
        fields = known = site.known.get(block)
        if fields is None or end - at > site.max_head:
            read = read_block(data[at : end + 2], line.end() - at, site.max_head)
            if isinstance(read, Response):
                self._turn_away(read)
                return False
            fields = read
        head = RequestHead(method, target, version, fields)
        if self._queue is site.awaiting:
            # The body has the same time again.
            self._move(None)
        self._is_first_line = True
        self._known = 0
        self._persistent = persistent = version == b"HTTP/1.1" and not fields.closes
        after = end + 4 + (fields.length or 0)
        route: Route = FAULT
        answer: Response | Deferred[Response] | None = None
        try:
            route = site.decide(head)
            if type(route) is ByValue and fields.is_plain and persistent and after <= len(data):
                self._at = after
                answer = route.answers.respond(head, data[end + 4 : after])
        except Exception:  # noqa: BLE001 - whatever it is, it is logged, and the peer is owed an answer
            _log.failure("a fault of the gateway")
            answer = None if route is FAULT else FAULT
        going = True
        if answer is None:
            self._at = end + 4
            going = self._read_slowly(route, head)
        elif type(answer) is Response and answer.status < _CLIENT_ERROR and answer.encoded and method != b"HEAD":
            # The usual case, of what _take_answer() does with any.
            self._in_turn += 1
            self._only_refused = False
            self._out += answer.encoded
        else:
            self._take_answer(route, head, answer)
        if known is None and fields.keep:
            site.known.add(block, fields)
        return going

    def _read_part(self, part: bytes) -> bool:
        """Refuse a head that is malformed, or remember that its rest is to come."""
        known, most = self._known, self.site.max_head
        self._known = len(part)
        if known and len(part) <= most and b"\n" not in part[known:]:
            # No line has ended since: a head that comes byte by byte is not counted again for each.
            return False
        refusal = refuse_part(part, known, most)
        if refusal is not None:
            self._turn_away(refusal)
        return False

    def _skip_line(self) -> bool:
        """Pass over one empty line, which some send behind a body, and no other (RFC 9112 §2.2)."""
        if len(self._data) == self._at + 1:
            return False
        if not self._is_first_line:
            self._turn_away(_MALFORMED)
            return False
        self._is_first_line = False
        self._at += 2
        return True

    def _judge(self, route: Route, head: RequestHead) -> Response | None:
        if isinstance(route, Response):
            return route
        if isinstance(route, ByValue):
            try:
                return route.answers.judge(head)
            except Exception:  # noqa: BLE001 - as above
                _log.failure("a fault of the gateway")
                return FAULT
        return None

    def _read_slowly(self, route: Route, head: RequestHead) -> bool:
        """Judge a head before its body is read."""
        length, site = head.fields.length, self.site
        if length == 0 and isinstance(route, HandOver | Page) and not head.fields.expects:
            self._carry_out(route, head, b"")
            return True
        refusal = self._judge(route, head)
        if refusal is not None and refusal is route and route is not FAULT:
            self._tell(refusal, head)
        limit = site.max_body
        if isinstance(route, ByValue) and route.max_body is not None:
            limit = route.max_body
        body = RequestBody(head, None if refusal else route, limit)
        if refusal is None and length != 0:
            if site.bodies.exhausted:
                refusal = _OVERLOADED
                body.route = None
                self._tell(refusal, head, route)
            else:
                body.reserved = (limit if length is None else length) + OVERHEAD
                site.bodies.used += body.reserved
        if refusal is not None:
            return self._refuse(head, refusal, body)
        if head.fields.expects and head.all(b"Expect")[0].lower() == b"100-continue" and head.version == b"HTTP/1.1":
            self._out += _CONTINUE
        if length == 0:
            self._carry_out(route, head, b"")
        else:
            self._body = body
        return True

    def _refuse(self, head: RequestHead, refusal: Response, body: RequestBody) -> bool:
        """Answer a request by its head.

        :param body: what is thrown away
        :returns: whether what follows may be read
        """
        length = head.fields.length
        head_only = head.method == b"HEAD"
        if length is None or length > MAX_SWALLOWED or (length and head.fields.expects) or not self._persistent:
            self._leave(refusal, head_only=head_only)
            return False
        # The body is short: it is cheaper to read past it than to lose the connection.
        self.site.refused[refusal.status] += 1
        self._out += refusal.encode(head_only=head_only)
        self._in_turn += REFUSED
        if length:
            self._body = body
        return True

    def _read_body(self) -> bool:
        """:returns: whether the body is complete"""
        body = self._body
        assert body is not None  # noqa: S101 - for the type checker
        try:
            end = body.take(self._data, self._at)
        except ValueError:
            end = -1
            if not body.is_too_long:
                if body.route is None:
                    # It is refused already.
                    self._leave(_MALFORMED)
                else:
                    self._turn_away(_MALFORMED, body.head, body.route)
                return False
        if body.is_too_long:
            refusal = body.route.too_long if isinstance(body.route, ByValue) else None
            self._turn_away(refusal or self.site.too_long(), body.head, body.route)
            return False
        self._at = len(self._data) if end < 0 else end
        if end < 0:
            return False
        self._release()
        if self._queue is self.site.awaiting:
            self._move(None)
        if body.route is not None:
            self._carry_out(body.route, body.head, body.content)
        return True

    # Answers

    def _carry_out(self, route: Route, head: RequestHead, body: bytes) -> None:
        if isinstance(route, ByValue):
            self._respond(route, head, body)
        elif isinstance(route, HandOver):
            self._attempt(route, head)
        elif isinstance(route, Page):
            self._render(route, head, body)

    def _respond(self, route: ByValue, head: RequestHead, body: bytes) -> None:
        """Have a request answered by value."""
        try:
            answer = route.answers.respond(head, body)
        except Exception:  # noqa: BLE001 - as above; and the answers stay in their order
            _log.failure("a fault of the gateway")
            answer = FAULT
        self._take_answer(route, head, answer)

    def _take_answer(self, route: Route, head: RequestHead, answer: Response | Deferred[Response]) -> None:
        """Give an answer, now or when it is known."""
        if isinstance(answer, Response):
            refused = answer.status >= _CLIENT_ERROR
            if refused:
                self.site.refused[answer.status] += 1
            trusted = refused and isinstance(route, ByValue) and route.answers.is_trusted(head)
            self._give(answer, head, refused and not trusted)
            return
        self._state = ANSWERING
        self._move(None)
        self._answering = answer
        self.head = head
        answer.addCallbacks(self.answer, self._failed)

    def _give(self, response: Response, head: RequestHead, refused: bool) -> None:
        """Write an answer, with others that go out in one go."""
        if refused:
            self._in_turn += REFUSED
        else:
            self._in_turn += 1
            self._only_refused = False
        head_only = head.method == b"HEAD"
        self._out += response.encode(head_only=head_only, close=not self._persistent)
        if not self._persistent:
            self.loseConnection()

    def answer(self, response: Response) -> None:
        """Answer the request that is being answered, with what took a while."""
        head = self.head
        if self._state != ANSWERING or head is None:
            return
        self._answering = self.head = None
        self._state = READING
        self._give(response, head, response.status >= _CLIENT_ERROR)
        self._go_on()

    def _failed(self, failure: Failure) -> None:
        if self._state == ANSWERING:
            _log.failure("a fault of the gateway", failure)
            self.answer(FAULT)

    def _go_on(self) -> None:
        """A request is answered; what came behind it is next, now or later."""
        if self._state != READING or self._busy:
            return
        self._resume()
        if not self._data:
            self._flush()
            self._look_what_follows()
        elif self._in_turn >= PER_TURN:
            self._flush()
            self._wait_turn()
            self._look_what_follows()
        else:
            self._read()

    def _attempt(self, route: HandOver, head: RequestHead) -> None:
        """Have a handshake decided about."""
        self._name_peer(head)
        self.head = head
        self._state = ANSWERING
        self._move(None)
        try:
            attempt = route.handshakes.attempt(self)
            if isinstance(attempt, Response):
                self.answer(attempt)
            else:
                self._answering = attempt
                attempt.begin()
        except Exception:  # noqa: BLE001 - as above
            _log.failure("a fault of the gateway")
            self.answer(_HANDSHAKE_FAULT)

    def _name_peer(self, head: RequestHead) -> None:
        head.secure = self.isSecure()
        head.client = client_of(self.transport.getPeer())
        if self.site.proxies:
            head.client, head.secure = believed(self.site.proxies, head)

    def detach(self) -> tuple[Any, bytes]:
        """Give the socket away: the one way out of HTTP.

        :returns: the transport, without a producer, and what arrived behind the request
        """
        self._flush()
        transport, early = self.transport, self._data[self._at :]
        self._forget()
        self._unregister()
        if self._is_paused:
            # By early bytes or by a full buffer.
            transport.resumeProducing()
        self.transport = None
        return transport, early

    # What twisted.web's Request asks of its channel

    def _render(self, route: Page, head: RequestHead, body: bytes) -> None:
        """Have a Resource answer."""
        self._name_peer(head)
        self._flush()
        self._register()
        self._state = ANSWERING
        self._move(None)
        request: PageRequest = vars(self.site)["requestFactory"](self)
        request.head, request.root = head, route.resource
        request.requestHeaders = head.fields.headers
        if not self._persistent:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        self._answering = request
        request.parseCookies()  # type: ignore[no-untyped-call]  # as above
        request.gotLength(len(body))
        request.handleContentChunk(body)  # type: ignore[no-untyped-call]  # as above
        request.requestReceived(head.method, head.target, head.version)  # type: ignore[no-untyped-call]  # as above

    def requestDone(self, request: PageRequest) -> None:
        """A Resource has answered."""
        if self._state != ANSWERING:
            self._answering = None
            return
        self._answering = None
        self._state = READING
        if request.code >= _CLIENT_ERROR:
            self._in_turn += REFUSED
        else:
            self._in_turn += 1
            self._only_refused = False
        if self._persistent:
            self._go_on()
        else:
            self.loseConnection()
