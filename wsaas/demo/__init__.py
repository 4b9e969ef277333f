"""The demo: a small chat API behind the gateway, and a web page that shows the HTTP requests between the two."""

from __future__ import annotations

from collections.abc import Callable
from random import Random, SystemRandom
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamServerEndpoint
from twisted.web.http import Request
from twisted.web.resource import IResource
from twisted.web.server import Site

from wsaas.connections.registry import Registry
from wsaas.demo.chat import ChatApi
from wsaas.demo.pages import demo_pages
from wsaas.demo.pushes import RecordedNamed, RecordedPushes
from wsaas.demo.traffic import Traffic
from wsaas.groups.home import Home
from wsaas.limits import Budget
from wsaas.pushes.named import NamedResource
from wsaas.pushes.resource import PushResource
from wsaas.pushes.settings import PushSettings
from wsaas.pushes.tokens import PushTokens

__all__ = ["Demo"]


class _ApiSite(Site):
    """A site without an access log, as the page shows each call."""

    noisy = False

    def log(self, request: Request) -> None:
        """No-op: no access log."""


class Demo:
    """The chat API, the page, and the record of HTTP exchanges between gateway and API.

    :param reactor: opens the API's port, and is the clock
    :param now: tells the time of day, in Unix seconds
    :param endpoint: where the chat API listens; a free port on the loopback interface if not given
    :param random: for the names of the chat's members
    """

    def __init__(
        self,
        reactor: Any,  # of several interfaces at once: IReactorTCP and IReactorTime
        now: Callable[[], float],
        *,
        endpoint: IStreamServerEndpoint | None = None,
        random: Random | None = None,
    ) -> None:
        self._endpoint = endpoint or TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        self._port: IListeningPort | None = None
        self._traffic = Traffic(reactor, now)
        self._site = _ApiSite(ChatApi(self._traffic, random or SystemRandom()), reactor=reactor)
        #: The pages that the gateway serves for requests that are neither a handshake nor a push.
        self.pages: IResource = demo_pages(self._traffic)

    def start(self) -> Deferred[str]:
        """Listen for the gateway's callbacks.

        :returns: fires with the ``API_URI`` that the gateway is to call
        """

        def listening(port: IListeningPort) -> str:
            self._port = port
            address: Any = port.getHost()  # IPv4Address, as the endpoint is TCP
            return f"http://{address.host}:{address.port}/chat"

        return self._endpoint.listen(self._site).addCallback(listening)

    def pushes(self, registry: Registry, max_message: int, seconds: Callable[[], float] | None = None) -> PushResource:
        """Make the resource that answers pushes and records them for the pages.

        :param registry: finds connections by their keys
        :param max_message: bytes of the longest message
        :param seconds: the clock, if pushes are logged
        :returns: a replacement for the gateway's own :class:`~wsaas.pushes.resource.PushResource`
        """
        return RecordedPushes(registry, max_message, self._traffic, seconds)

    def named(
        self,
        registry: Registry,
        home: Home,
        tokens: PushTokens,
        settings: PushSettings,
        clock: IReactorTime,
        bodies: Budget,
    ) -> NamedResource:
        """Make the resource that answers requests by name and records them for the pages.

        :returns: in place of the :class:`~wsaas.pushes.named.NamedResource` whose parameters it has
        """
        named = RecordedNamed(registry, home, tokens, settings, clock, bodies)
        named.traffic = self._traffic
        return named

    def stop(self) -> Deferred[None]:
        """Stop listening, and end the streams of all pages.

        Call it after the gateway's last callback.

        :returns: fires when the port is closed
        """
        self._traffic.close()
        port, self._port = self._port, None
        if port is None:
            return succeed(None)
        return maybeDeferred(port.stopListening).addCallback(lambda _: None)
