"""
The yardstick: a WebSocket-to-HTTP gateway from stock parts, as any tutorial would write it.

Autobahn's ``WebSocketResource`` with an ``onConnect`` that waits, twisted.web and treq, each as it comes out of the
box; what it has beyond a first draft is what makes it comparable: callbacks of a client in order, connections to the
API that are kept, pings. Run by the benchmark::

    python -m bench.stock API_URI PUBLIC_URI ENDPOINT
"""

from __future__ import annotations

import json
import sys
from typing import Any
from uuid import uuid4

import treq
from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet import reactor
from twisted.internet.defer import DeferredLock, ensureDeferred
from twisted.internet.endpoints import serverFromString
from twisted.web.client import HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.resource import NoResource, Resource
from twisted.web.server import Request, Site

API_URI, PUBLIC_URI, ENDPOINT = sys.argv[1:4]
PING = 15  #: seconds between the pings of a client, and for its pong

clients: dict[bytes, Client] = {}
pool = HTTPConnectionPool(reactor)
pool.maxPersistentPerHost = 256
pool.retryAutomatically = False


class Client(WebSocketServerProtocol):
    """One client."""

    key = b""

    async def _call(self, method: str, body: bytes = b"", content_type: str = "text/plain") -> Any:
        """One callback after the other."""
        headers = Headers({"Ws-Uri": [self.ws_uri], "Content-Type": [content_type]})
        await self.lock.acquire()
        try:
            response = await treq.request(method, API_URI, data=body, headers=headers, pool=pool, timeout=30)
            return response, await response.content()
        finally:
            self.lock.release()

    async def onConnect(  # type: ignore[override]  # a coroutine is as good: Autobahn awaits it
        self, _request: ConnectionRequest
    ) -> None:
        """Ask the API."""
        key = uuid4().hex.encode()
        self.lock = DeferredLock()
        self.ws_uri = f"{PUBLIC_URI}/push/{key.decode()}"
        clients[key] = self
        body = json.dumps({"ws_uri": self.ws_uri}).encode()
        response, answer = await self._call("POST", body, "application/json")
        if response.code != 200 or json.loads(answer).get("code") != "OK":
            del clients[key]
            raise ConnectionDeny(403)
        self.key = key

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Tell the API, and send what it replies."""
        ensureDeferred(self._deliver(payload, isBinary)).addErrback(lambda failure: self.log.failure("PUT", failure))

    async def _deliver(self, payload: bytes, binary: bool) -> None:
        response, answer = await self._call("PUT", payload, "application/octet-stream" if binary else "text/plain")
        if response.headers.hasHeader("Ws-Reply"):
            self.sendMessage(answer)  # type: ignore[no-untyped-call]  # Autobahn's

    def onClose(self, *_: object) -> None:
        """Tell the API."""
        if clients.pop(self.key, None):
            ensureDeferred(self._call("DELETE")).addErrback(lambda failure: self.log.failure("DELETE", failure))


class Push(Resource):
    """``PUT`` sends a message, ``DELETE`` closes."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        """Answer at once."""
        client = clients.get(request.postpath[0]) if request.postpath else None
        if client is None:
            return bytes(NoResource().render(request))
        if request.method == b"PUT":
            assert request.content is not None
            client.sendMessage(request.content.read())  # type: ignore[no-untyped-call]  # Autobahn's
        elif request.method == b"DELETE":
            client.sendClose(1000)
        request.setHeader(b"Content-Type", b"application/json")
        return b'{"code": "OK"}'


factory = WebSocketServerFactory()
factory.protocol = Client
factory.setProtocolOptions(autoPingInterval=PING, autoPingTimeout=PING)
root = Resource()
root.putChild(b"ws", WebSocketResource(factory))
root.putChild(b"push", Push())  # type: ignore[no-untyped-call]  # Twisted's
serverFromString(reactor, ENDPOINT).listen(Site(root))
reactor.run()
