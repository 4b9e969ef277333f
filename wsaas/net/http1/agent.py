"""An Agent over httptools and a pool of kept connections, with complete and bounded answers."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IConsumer, IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web.client import URI, RequestGenerationFailed
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from wsaas.net.http1.client import Exchange
from wsaas.net.http1.headers import encode_headers
from wsaas.net.http1.pool import Origin, Pool, endpoint_for, unix_endpoint
from wsaas.net.unix_uri import as_http, is_unix, split_unix

#: How many URIs are remembered in parsed form.
_MAX_TARGETS = 64
#: What a method and a URI may consist of, so that neither can end its line (RFC 9110 §5.6.2, RFC 3986 §2).
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VISIBLE = re.compile(rb"[\x21-\x7e]+")


def _checked_uri(uri: bytes) -> bytes:
    if not _VISIBLE.fullmatch(uri):
        raise ValueError(f"not a URI: {uri!r}")
    return uri


class Target:
    """A URI, taken apart once.

    :param origin: the way there
    :param uri: all of it
    :raises ValueError: if it cannot stand in a request
    """

    __slots__ = ("_host", "_path", "beginnings", "origin")

    def __init__(self, origin: Origin, uri: URI) -> None:
        self.origin = origin
        self._path = _checked_uri(uri.originForm)
        host = b"[%b]" % uri.host if b":" in uri.host else uri.host
        default = (uri.scheme, uri.port) in ((b"http", 80), (b"https", 443))
        self._host = b"Host: %b\r\n" % (host if default else b"%b:%d" % (host, uri.port))
        #: Request line and ``Host``, by method.
        self.beginnings: dict[bytes, bytes] = {}

    def encode(self, method: bytes, headers: Headers | None, body: bytes | None) -> bytes:
        """Put a request together.

        :param method: of the request
        :param headers: its fields; those that are ``encoded`` name no ``Host``
        :param body: :data:`None` for none at all
        :raises ValueError: if there is no such method
        """
        beginning = self.beginnings.get(method)
        if beginning is None:
            beginning = self.beginnings[method] = self._line(method) + self._host
        lines: bytes | None = getattr(headers, "encoded", None)
        if lines is None:
            lines = b"" if headers is None else encode_headers(headers)
            if headers is not None and headers.hasHeader(b"Host"):
                beginning = self._line(method)
        if body is not None:
            return beginning + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body
        # Where a body is usual its absence is said (RFC 9110 §8.6).
        return beginning + lines + (b"Content-Length: 0\r\n\r\n" if method in (b"PUT", b"POST") else b"\r\n")

    def _line(self, method: bytes) -> bytes:
        if not _METHOD.fullmatch(method):
            raise ValueError(f"not a method: {method!r}")
        return b"%b %b HTTP/1.1\r\n" % (method, self._path)


@implementer(IConsumer)
class _Collector:
    """Takes a request's body, and then has it ready."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        #: All of it, once it is complete.
        self.content: bytes | None = None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """No-op: it may be produced as fast as it can be."""

    def unregisterProducer(self) -> None:
        """No-op, as above."""

    def write(self, data: bytes) -> None:
        """Take a part."""
        self._parts.append(data)

    def end(self, length: object) -> Any:
        """All of it has come.

        :returns: this
        :raises RequestGenerationFailed: if that is not as much as was promised
        """
        body = self.content = b"".join(self._parts)
        if length not in (len(body), UNKNOWN_LENGTH):
            raise RequestGenerationFailed([Failure(ValueError(f"a body of {len(body)} bytes instead of {length!r}"))])
        return self


def _whole_body(producer: IBodyProducer) -> Deferred[IBodyProducer]:
    """Let a producer that has no ``content`` produce its body.

    :returns: fires with what has it ready; to cancel it stops the producer
    """
    collector = _Collector()
    whole: Deferred[IBodyProducer] = Deferred(lambda _: producer.stopProducing())
    producing: Deferred[Any] = producer.startProducing(collector)
    producing.addCallbacks(
        lambda _: collector.end(producer.length),
        lambda failure: Failure(RequestGenerationFailed([failure])),
    ).addBoth(lambda result: None if whole.called else whole.callback(result))
    return whole


@implementer(IAgent)
class PersistentAgent:
    """Sends requests on persistent connections (RFC 9112 §9.3); answers are complete when they are handed on.

    It takes what any Agent takes, and is quick with headers that are ``encoded``
    (:class:`~wsaas.net.http1.headers.EncodedHeaders`) and a body producer that has its ``content`` ready; quicker if
    that is an :class:`~wsaas.net.http1.client.Exchange` that was not sent yet, which then is the Deferred that is
    returned.

    :param reactor: for connections, names and timers
    :param trust: for ``https``
    :param max_idle: how many idle connections are kept for each scheme, host and port, or UNIX socket
    :param timeout: seconds for one connection to be made
    :param max_body: bytes of an answer's body that are accepted
    """

    #: Whether an exchange may be given for a request without a body, too. Others would take it for the producer of one.
    takes_exchanges = True

    def __init__(self, reactor: Any, trust: IPolicyForHTTPS, max_idle: int, timeout: float, max_body: int) -> None:
        self._reactor = reactor
        self._trust = trust
        self._timeout = timeout
        self._max_body = max_body
        self._pool = Pool(reactor, max_idle)
        #: One for each scheme, host and port, or UNIX socket that was ever asked for.
        self._origins: dict[tuple[bytes, bytes, int], Origin] = {}
        self._targets: dict[bytes, Target] = {}

    def target(self, uri: bytes) -> Target:
        """Take a URI apart.

        :raises ValueError: if it cannot be used
        :raises SchemeNotSupported: unless it is ``http`` or ``https``, or of a UNIX socket (``unix:/socket:/path``)
        """
        text = _checked_uri(uri.strip()).decode("ascii")
        parsed = URI.fromBytes(as_http(text).encode("ascii"))
        socket = split_unix(text).socket if is_unix(text) else None
        key = (parsed.scheme, parsed.host, parsed.port) if socket is None else (b"unix", socket.encode("ascii"), 0)
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origins[key] = Origin(self._pool, self._endpoint(parsed, socket))
            self._pool.origins.append(origin)
        return Target(origin, parsed)

    def _endpoint(self, uri: URI, socket: str | None) -> IStreamClientEndpoint:
        if socket is not None:
            return unix_endpoint(self._reactor, socket, self._timeout)
        if uri.scheme not in (b"http", b"https"):
            raise SchemeNotSupported(f"Unsupported scheme: {uri.scheme!r}")
        return endpoint_for(self._reactor, self._trust, uri, self._timeout)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Send one request; see :class:`twisted.web.iweb.IAgent`. Time limits are the caller's: it cancels.

        A body is collected before it is sent, and has a length: it is never chunked.

        :returns: fires with a :class:`~wsaas.net.http1.client.CompleteResponse`
        :raises NotSent: if there is no connection, and neither of the next
        :raises ConnectError: so, too; or :class:`~twisted.internet.error.DNSLookupError`
        :raises ResponseNeverReceived: if no byte of an answer came
        :raises ResponseFailed: if not all of it came, or what came is no HTTP
        :raises Unusable: if its body is too long
        """
        target = self._targets.get(uri)
        if target is None:
            try:
                target = self.target(uri)
            except SchemeNotSupported:
                return fail()
            if len(self._targets) >= _MAX_TARGETS:
                self._targets.clear()
            self._targets[uri] = target
        content: bytes | None = getattr(bodyProducer, "content", None)
        given: Any = bodyProducer if getattr(bodyProducer, "carries", False) else None
        if content is None and given is None and bodyProducer is not None:
            return _whole_body(bodyProducer).addCallback(partial(self.request, method, uri, headers))
        data = target.encode(method, headers, content)
        exchange: Exchange = Exchange() if given is None or given.data else given
        exchange.send(target.origin, data, (method, uri, headers), self._max_body)
        return exchange

    def renew(self) -> None:
        """Send nothing more on the connections that are there, but let those in use end their requests."""
        self._pool.renew()

    def close(self) -> Deferred[None]:
        """Close the idle connections, and keep none from now on."""
        return self._pool.close()
