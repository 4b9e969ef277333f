"""An Agent on httptools: the fast road below the gateway's calls.

It does what :class:`.PersistentAgent` does and fails as that fails; :meth:`FastAgent.call` does it with encoded
 bytes and complete, bounded answers, without the objects of twisted.web.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web._newclient import _ensureValidMethod, _ensureValidURI  # Agent's own rules, not exported
from twisted.web.client import URI, ResponseFailed, ResponseNeverReceived
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from wsaas.errors import CallbackFailed, NotSent
from wsaas.net.http1.agent import SentRequest, StreamedResponse, whole_body
from wsaas.net.http1.messages import Answer, encode_headers
from wsaas.net.http1.persistent_agent import endpoint_for
from wsaas.net.http1.pool import Connection, Origin, Pool

#: How many URIs are remembered in parsed form.
_MAX_TARGETS = 64
_ENDLESS = 1 << 62


class RepeatFailed(Exception):
    """A call that a kept connection swallowed was repeated, and the repeat failed as well."""


class Target:
    """A URI, taken apart once.

    :param origin: the way there
    :param uri: all of it
    :raises ValueError: if it cannot stand in a request
    """

    __slots__ = ("_host", "_path", "_prefixes", "origin")

    def __init__(self, origin: Origin, uri: URI) -> None:
        self.origin = origin
        self._path = _ensureValidURI(uri.originForm)
        host = b"[%b]" % uri.host if b":" in uri.host else uri.host
        default = (uri.scheme, uri.port) in ((b"http", 80), (b"https", 443))
        self._host = host if default else b"%b:%d" % (host, uri.port)
        self._prefixes: dict[str, bytes] = {}

    def encode(self, method: str, head: bytes, body: bytes | None) -> bytes:
        """Put a request together.

        :param method: of the request
        :param head: lines, each with its end; none of them ``Host`` or about the body
        :param body: :data:`None` for none at all
        """
        prefix = self._prefixes.get(method)
        if prefix is None:
            line = (_ensureValidMethod(method.encode("ascii")), self._path, self._host)
            prefix = self._prefixes[method] = b"%b %b HTTP/1.1\r\nHost: %b\r\n" % line
        return _frame(method, prefix, head, body)

    def encode_for_host(self, method: str, headers: Headers, body: bytes | None) -> bytes:
        """Put a request together that names its ``Host`` itself."""
        return _frame(
            method, b"%b %b HTTP/1.1\r\n" % (method.encode("ascii"), self._path), encode_headers(headers), body
        )


def _frame(method: str, prefix: bytes, head: bytes, body: bytes | None) -> bytes:
    if body is not None:
        return b"".join((prefix, head, b"Content-Length: %d\r\n\r\n" % len(body), body))
    # Where a body is usual its absence is said (RFC 9110 §8.6).
    return b"%b%b%b" % (prefix, head, b"Content-Length: 0\r\n\r\n" if method in ("PUT", "POST") else b"\r\n")


class PendingCall:
    """A request whose answer is collected; see :class:`wsaas.net.http1.pool.Call`.

    :param origin: where it goes
    :param data: all of it
    :param head_only: whether it is a HEAD
    :param max_body: bytes of the answer's body that are accepted
    :param done: called once, with the answer or a failure
    """

    __slots__ = ("_connecting", "_origin", "_swallowed", "connection", "data", "done", "head_only", "max_body")

    collects = True

    def __init__(
        self, origin: Origin, data: bytes, head_only: bool, max_body: int, done: Callable[[Any], object]
    ) -> None:
        self._origin = origin
        self._connecting: Deferred[Connection] | None = None
        #: Why the kept connection ended on which this was sent first.
        self._swallowed: Failure | None = None
        self.data = data
        self.head_only = head_only
        self.max_body = max_body
        self.connection: Connection | None = None
        #: Who waits for it; :data:`None` once told.
        self.done: Callable[[Any], object] | None = done

    def begin(self) -> None:
        """Send it."""
        self._origin.send(self)

    def connect(self) -> None:
        """Send it on a fresh connection."""
        self._connecting = connecting = self._origin.connect()
        connecting.addCallbacks(self._connected, self._not_connected)

    def _connected(self, connection: Connection) -> None:
        self._connecting = None
        if self.done is None:
            connection.abort()
        else:
            connection.send(self)

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        if self._swallowed is None:
            self._fail(self._why_not(failure))
        else:
            self._fail(self._never_received(failure))

    def _why_not(self, failure: Failure) -> Exception | Failure:
        if failure.check(ConnectError, ConnectingCancelledError, DNSLookupError, CancelledError):
            return failure
        return NotSent(f"no connection to the API: {failure.getErrorMessage()}")

    def _never_received(self, reason: Failure) -> ResponseNeverReceived:
        if self._swallowed is None:
            return ResponseNeverReceived([reason])
        # It was sent once. Whoever looks at the reasons must not conclude from the second one that it never was.
        said = f"and when it was repeated: {reason.getErrorMessage()}"
        return ResponseNeverReceived([self._swallowed, Failure(RepeatFailed(said))])

    def cancel(self) -> None:
        """Wait no longer."""
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

    def progressed(self, connection: Connection) -> None:
        """Wait for the rest of the answer."""

    def completed(self, connection: Connection) -> None:
        """All of the answer is there."""
        parser = connection.parser
        self.answered(Answer(parser.status, parser.fields, parser.body()))

    def answered(self, answer: Answer) -> None:
        """So is it here."""
        done, self.done, self.connection = self.done, None, None
        if done is not None:
            done(answer)

    def lost(self, reason: Failure, heard: bool, kept: bool) -> None:
        """There will be no more of it; see :class:`wsaas.net.http1.pool.Call`."""
        self.connection = None
        if kept and not heard:
            # The server closed an idle connection at the very moment (protocol §2.3).
            self._swallowed = reason
            self.connect()
        elif reason.check(CallbackFailed) is not None:
            self._fail(reason)
        else:
            self._fail(ResponseFailed([reason]) if heard else self._never_received(reason))

    def _fail(self, error: Exception | Failure) -> None:
        done, self.done, self.connection = self.done, None, None
        if done is not None:
            done(error if isinstance(error, Failure) else Failure(error))


class _StreamedCall(PendingCall):
    """A request whose answer is handed on while it arrives."""

    __slots__ = ("_request", "_response")

    collects = False

    def __init__(self, origin: Origin, data: bytes, request: SentRequest, done: Callable[[Any], object]) -> None:
        super().__init__(origin, data, request.method == b"HEAD", _ENDLESS, done)
        self._request = request
        self._response: StreamedResponse | None = None

    def _why_not(self, failure: Failure) -> Exception | Failure:
        return failure

    def progressed(self, connection: Connection) -> None:
        parser = connection.parser
        if self._response is not None:
            self._response.received(parser.take())
        elif parser.status:
            response = self._begin(connection)
            response.received(parser.take())
            response.pause()
            self._give(response)

    def completed(self, connection: Connection) -> None:
        self.connection = None
        parser = connection.parser
        response = self._response or self._begin(connection)
        response.finished(parser.take(), certain=not parser.open_ended)
        self._give(response)

    def lost(self, reason: Failure, heard: bool, kept: bool) -> None:
        if self._response is None:
            super().lost(reason, heard, kept)
        else:
            self.connection = None
            self._response.broken(reason)

    def _begin(self, connection: Connection) -> StreamedResponse:
        self._response = response = StreamedResponse(connection.parser, self._request, connection.transport)
        return response

    def _give(self, response: StreamedResponse) -> None:
        done, self.done = self.done, None
        if done is not None:
            done(response)


@implementer(IAgent)
class FastAgent:
    """Sends requests on kept connections, repeating once what a kept connection swallowed.

    See :class:`wsaas.net.http1.persistent_agent.PersistentAgent` for the reason of that.

    :param reactor: for connections, names and timers
    :param trust: for ``https``
    :param max_idle: how many idle connections are kept for each scheme, host and port
    :param timeout: seconds for one connection to be made
    """

    def __init__(self, reactor: Any, trust: IPolicyForHTTPS, max_idle: int, timeout: float) -> None:
        self._reactor = reactor
        self._trust = trust
        self._timeout = timeout
        self._pool = Pool(reactor, max_idle)
        #: One for each scheme, host and port that was ever asked for.
        self._origins: dict[tuple[bytes, bytes, int], Origin] = {}
        self._targets: dict[bytes, Target] = {}

    def target(self, uri: bytes) -> Target:
        """Take a URI apart, for :meth:`call`.

        :raises ValueError: if it cannot be used
        :raises SchemeNotSupported: unless it is ``http`` or ``https``
        """
        parsed = URI.fromBytes(_ensureValidURI(uri.strip()))
        key = (parsed.scheme, parsed.host, parsed.port)
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origins[key] = Origin(self._pool, self._endpoint(parsed))
            self._pool.origins.append(origin)
        return Target(origin, parsed)

    def _endpoint(self, uri: URI) -> IStreamClientEndpoint:
        if uri.scheme not in (b"http", b"https"):
            raise SchemeNotSupported(f"Unsupported scheme: {uri.scheme!r}")
        return endpoint_for(self._reactor, self._trust, uri, self._timeout)

    def call(self, method: bytes, target: Target, head: bytes, body: bytes | None, max_body: int) -> Deferred[Answer]:
        """Send one request and wait for its whole answer. Time-outs are the caller's: it cancels.

        :param target: where to, from :meth:`target`
        :param head: header lines, each with its end, that can be trusted; ``Host`` and what the body needs are added
        :param body: :data:`None` for none at all
        :param max_body: bytes of the answer's body that are accepted
        :returns: fires with the answer; its ``headers`` are :class:`~wsaas.net.http1.parser.Fields`
        :raises NotSent: if there is no connection, and neither of the next
        :raises ConnectError: so, too; or :class:`~twisted.internet.error.DNSLookupError`
        :raises ResponseNeverReceived: if no byte of an answer came
        :raises ResponseFailed: if not all of it came, or what came is no HTTP
        :raises Unusable: if its body is too long
        """
        deferred: Deferred[Answer] = Deferred(lambda _: call.cancel())
        data = target.encode(method.decode("ascii"), head, body)
        call = PendingCall(target.origin, data, method == b"HEAD", max_body, deferred.callback)
        call.begin()
        return deferred

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Send one request; see :class:`twisted.web.iweb.IAgent`.

        A body is collected before it is sent, and has a length: it is never chunked.
        """
        target = self._targets.get(uri)
        if target is None:
            try:
                target = self.target(uri)
            except SchemeNotSupported:
                return fail(Failure())
            if len(self._targets) >= _MAX_TARGETS:
                self._targets.clear()
            self._targets[uri] = target
        request = SentRequest(_ensureValidMethod(method), uri, Headers() if headers is None else headers)
        if bodyProducer is None:
            return self._send(None, target, request)
        return whole_body(bodyProducer).addCallback(self._send, target, request)

    def _send(self, body: bytes | None, target: Target, request: SentRequest) -> Deferred[IResponse]:
        headers, origin = request.headers, target.origin
        if headers.hasHeader(b"Host"):
            data = target.encode_for_host(request.method.decode("ascii"), headers, body)
        else:
            data = target.encode(request.method.decode("ascii"), encode_headers(headers), body)
        deferred: Deferred[IResponse] = Deferred(lambda _: call.cancel())
        call = _StreamedCall(origin, data, request, deferred.callback)
        call.begin()
        return deferred

    def renew(self) -> None:
        """Send nothing more on the connections that are there, but let those in use end their requests."""
        self._pool.renew()

    def close(self) -> Deferred[None]:
        """Close the idle connections, and keep none from now on."""
        return self._pool.close()
