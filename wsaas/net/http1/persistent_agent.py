"""The HTTP client below treq: connections to the API, and their reuse."""

from __future__ import annotations

from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web._newclient import RequestNotSent  # Agent fails with it, but twisted.web.client does not export it
from twisted.web.client import URI, Agent, HTTPConnectionPool, RequestTransmissionFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from wsaas.errors import NoAnswer, TimedOut
from wsaas.net.client_tls import Untrusted
from wsaas.net.host_names import NamedEndpoint

#: Seconds for which an idle connection is kept: shorter than what common servers keep theirs.
KEEP_IDLE = 1.5
#: Seconds between attempts at a name's addresses (RFC 8305 §5 allows down to 0.01): "localhost" is often ::1 first,
#: with nobody there.
_ATTEMPT_DELAY = 0.05


def is_cancelled(failure: Failure) -> bool:
    """:returns: whether a request failed because its Deferred was cancelled; Twisted wraps that"""
    return failure.check(CancelledError) is not None or any(
        reason.check(CancelledError) is not None for reason in getattr(failure.value, "reasons", ())
    )


def _after_all_sent(failure: Failure) -> Failure:
    """The first attempt may have reached the API, so no failure of the second may say that nothing was sent."""
    if failure.check(CancelledError, ConnectingCancelledError):
        return Failure(TimedOut("no complete answer in time"))
    tls = [reason for reason in getattr(failure.value, "reasons", ()) if reason.check(SSL.Error, Untrusted)]
    if tls or failure.check(ConnectError, DNSLookupError):
        return Failure(NoAnswer(f"a kept connection ended, and there was no other: {failure.getErrorMessage()}"))
    return failure


def endpoint_for(reactor: Any, trust: IPolicyForHTTPS, uri: URI, timeout: float) -> IStreamClientEndpoint:
    """Find the way to an ``http`` or ``https`` URI's server.

    :param trust: for ``https``
    :param timeout: seconds for one connection to be made
    """
    host = uri.host.decode("ascii")
    endpoint: Any
    # A literal needs no resolver, which is a thread and its queue.
    if isIPAddress(host):
        endpoint = TCP4ClientEndpoint(reactor, host, uri.port, timeout)
    elif isIPv6Address(host):
        endpoint = TCP6ClientEndpoint(reactor, host, uri.port, timeout)
    else:
        endpoint = NamedEndpoint(reactor, uri.host, uri.port, timeout=timeout, attemptDelay=_ATTEMPT_DELAY)
    if uri.scheme == b"https":
        endpoint = wrapClientTLS(trust.creatorForNetloc(uri.host, uri.port), endpoint)
    return cast(IStreamClientEndpoint, endpoint)


@implementer(IStreamClientEndpoint)
class _NoticedEndpoint:
    """An endpoint that tells when a connection is made, so that a reused one can be told from a fresh one."""

    def __init__(self, endpoint: IStreamClientEndpoint, noticed: list[bool]) -> None:
        self._endpoint = endpoint
        self._noticed = noticed

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        self._noticed.append(True)
        return self._endpoint.connect(protocolFactory)


@implementer(IAgentEndpointFactory)
class _Endpoints:
    def __init__(self, reactor: Any, trust: IPolicyForHTTPS, timeout: float) -> None:
        self._reactor = reactor
        self._trust = trust
        self._timeout = timeout
        #: One entry for each connection that was begun.
        self.begun: list[bool] = []

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        endpoint = endpoint_for(self._reactor, self._trust, uri, self._timeout)
        return cast(IStreamClientEndpoint, _NoticedEndpoint(endpoint, self.begun))


@implementer(IAgent)
class PersistentAgent:
    """Twisted's Agent over a pool of kept connections, repeating once what a kept connection swallowed.

    A server may close an idle connection at the very moment at which a request is sent on it. That request, whatever
    its method, is sent again at once on a fresh connection (protocol §2.3): it carries the same ``Ws-Id``.

    :param reactor: for connections, names and timers
    :param trust: for ``https``
    :param max_idle: how many idle connections are kept
    :param timeout: seconds for one connection to be made
    """

    def __init__(self, reactor: Any, trust: IPolicyForHTTPS, max_idle: int, timeout: float) -> None:
        self._reactor = reactor
        self._max_idle = max_idle
        self._endpoints = _Endpoints(reactor, trust, timeout)
        self._pool, self._kept = self._pooled()
        self._fresh = Agent.usingEndpointFactory(reactor, self._endpoints, HTTPConnectionPool(reactor, False))

    def _pooled(self) -> tuple[HTTPConnectionPool, Agent]:
        """:returns: a pool, and an agent over it"""
        pool = HTTPConnectionPool(self._reactor, persistent=True)
        pool.maxPersistentPerHost = self._max_idle
        pool.cachedConnectionTimeout = cast(Any, KEEP_IDLE)
        # Twisted's own repetition leaves out POST and PUT.
        pool.retryAutomatically = False
        return pool, Agent.usingEndpointFactory(self._reactor, self._endpoints, pool)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Send one request; see :class:`twisted.web.iweb.IAgent`."""
        self._endpoints.begun.clear()
        answer: Deferred[IResponse] = self._kept.request(method, uri, headers, bodyProducer)
        # Agent asks the pool, and the pool the endpoint, before it returns.
        if not self._endpoints.begun:
            answer.addErrback(self._repeat, method, uri, headers, bodyProducer)
        return answer

    def _repeat(
        self,
        failure: Failure,
        method: bytes,
        uri: bytes,
        headers: Headers | None,
        bodyProducer: IBodyProducer | None,
    ) -> Deferred[IResponse] | Failure:
        if failure.check(RequestNotSent, RequestTransmissionFailed, ResponseNeverReceived) is None or is_cancelled(
            failure
        ):
            return failure
        repeated: Deferred[IResponse] = self._fresh.request(method, uri, headers, bodyProducer)
        return repeated.addErrback(_after_all_sent)

    def renew(self) -> None:
        """Send nothing more on the connections that are there, but let those in use end their requests."""
        old = self._pool
        self._pool, self._kept = self._pooled()
        # What comes back to it goes at once.
        old.cachedConnectionTimeout = 0
        old.closeCachedConnections()

    def close(self) -> Deferred[None]:
        """Close the idle connections."""
        return cast("Deferred[None]", self._pool.closeCachedConnections())
