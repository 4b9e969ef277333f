"""An HTTP API on loopback that keeps every callback and answers as it was told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, HTTPFactory, Request

from tests.waiting import Condition, reactor
from tests.wire import Fields

OK = b'{"code": "OK"}'


@dataclass(frozen=True)
class Answer:
    """What the API says to a call."""

    status: int = 200
    body: bytes = OK
    headers: Fields = ()


class Call:
    """A callback that reached the API.

    :param request: as the server read it
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self.method = request.method.decode("ascii")
        self.target = request.uri.decode("ascii")
        self.version = request.clientproto
        self.headers = request.requestHeaders
        self.body: bytes = request.content.read()  # type: ignore[union-attr]  # a complete request has content
        #: The TCP connection that it came on; equal for calls that share one.
        self.connection: object = request.channel
        self.answered = False
        #: The status and the body of the answer, if it was an ordinary one.
        self.status: int | None = None
        self.said = b""

    def header(self, name: str) -> str | None:
        """:returns: the value of a header that is there at most once"""
        values = self.all(name)
        assert len(values) < 2, f"{name} stands there {len(values)} times"
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        """:returns: the values of a header, one for each line"""
        return list(self.headers.getRawHeaders(name, []))

    @cached_property
    def ws_uri(self) -> str:
        """The ``Ws-Uri``, which every callback has."""
        value = self.header("Ws-Uri")
        assert value is not None
        return value

    def answer(self, status: int = 200, body: bytes = OK, headers: Fields = ()) -> None:
        """Answer it."""
        self.answered = True
        self.status, self.said = status, body
        request = self._request
        request.setResponseCode(status)
        for name, value in headers:
            request.responseHeaders.addRawHeader(name, value)
        if status != 204:
            request.responseHeaders.setRawHeaders("Content-Length", [str(len(body))])
        request.write(body)
        request.finish()

    def write(self, data: bytes) -> None:
        """Write bytes in place of an answer."""
        self.answered = True
        channel: Any = self._request.channel
        channel.transport.write(data)

    def hang_up(self) -> None:
        """End the TCP connection, once everything is written."""
        self.answered = True
        channel: Any = self._request.channel
        channel.transport.loseConnection()


#: How a method is answered: with this, by that, or not until the test does.
Script = Answer | Callable[[Call], object] | None


class _ApiChannel(HTTPChannel):
    # As much as WS_MAX_TARGET and WS_MAX_HEADERS can ask of an API.
    MAX_LENGTH = totalHeadersSize = 1 << 16

    factory: Any

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.factory.api.forget(self)


class _ApiRequest(Request):
    def process(self) -> None:
        channel: Any = self.channel
        channel.factory.api.received(Call(self))


class _ApiFactory(HTTPFactory):
    noisy = False
    protocol = _ApiChannel  # type: ignore[assignment]  # no need for the one that finds out about HTTP/2

    def __init__(self, api: RecordingApi) -> None:
        super().__init__(reactor=reactor)
        self.api = api

    def buildProtocol(self, addr: Any) -> Any:
        channel: Any = super().buildProtocol(addr)
        channel.requestFactory = _ApiRequest
        self.api.channels.append(channel)
        self.api.connections += 1
        return channel

    def startFactory(self) -> None:
        """No access log."""

    def stopFactory(self) -> None:
        """No access log."""

    def log(self, request: object) -> None:
        """No access log."""


class RecordingApi:
    """The user's API: takes down every callback, and answers by a script for each method."""

    def __init__(self) -> None:
        #: All calls, in the order in which they were complete.
        self.calls: list[Call] = []
        #: What comes next is answered like this; a method that maps to None waits for :meth:`Call.answer`.
        self.script: dict[str, Script] = {"POST": Answer(), "PUT": Answer(), "DELETE": Answer()}
        self.channels: list[Any] = []
        #: How many TCP connections were ever made.
        self.connections = 0
        self._taken: list[Call] = []
        self._condition = Condition()
        self._port: Any = None

    def listen(self, context: Any = None, port: int = 0) -> None:
        """Listen.

        :param context: for TLS; without it plain HTTP
        :param port: as before, after :meth:`stop_listening`; else a free one
        """
        factory = _ApiFactory(self)
        self._port = (
            reactor.listenTCP(port, factory, interface="127.0.0.1")
            if context is None
            else reactor.listenSSL(port, factory, context, interface="127.0.0.1")
        )

    def listen_unix(self, path: str) -> None:
        """Listen on a UNIX socket.

        :param path: of its file
        """
        self._port = reactor.listenUNIX(path, _ApiFactory(self))

    @property
    def port(self) -> int:
        """The TCP port."""
        number: int = self._port.getHost().port
        return number

    def received(self, call: Call) -> None:
        """Take down a call, and answer it by the script."""
        self.calls.append(call)
        script = self.script[call.method]
        if isinstance(script, Answer):
            call.answer(script.status, script.body, script.headers)
        elif script is not None:
            script(call)
        self._condition.changed()

    def forget(self, channel: object) -> None:
        """A TCP connection is over."""
        self.channels.remove(channel)
        self._condition.changed()

    async def call(self, method: str, of: str | None = None) -> Call:
        """:returns: the first call of a method that was not taken by this method before; waits for it

        :param of: the ``ws_uri``, if there are several connections
        """

        def found() -> list[Call]:
            return [
                call
                for call in self.calls
                if call.method == method and call not in self._taken and of in (None, call.ws_uri)
            ]

        await self._condition.until(lambda: bool(found()), f"a {method} at the API; it got {self}")
        call = found()[0]
        self._taken.append(call)
        return call

    async def until(self, is_true: Callable[[], bool], what: str) -> None:
        """Wait until something is true of what was received."""
        await self._condition.until(is_true, what)

    def of(self, ws_uri: str) -> list[Call]:
        """:returns: all calls of one connection"""
        return [call for call in self.calls if call.ws_uri == ws_uri]

    def __str__(self) -> str:
        return ", ".join(f"{call.method} {call.header('Ws-Id')}" for call in self.calls) or "nothing"

    def release(self) -> None:
        """From now on say OK to everything, and hang up on what waits for an answer."""
        self.script = {"POST": Answer(), "PUT": Answer(), "DELETE": Answer()}
        for channel in list(self.channels):
            if any(not call.answered for call in self.calls if call.connection is channel):
                channel.transport.abortConnection()

    async def stop_listening(self) -> None:
        """Be unreachable: no new connections, and an end to those there are."""
        port, self._port = self._port, None
        if port is not None:
            await port.stopListening()
        for channel in list(self.channels):
            channel.transport.abortConnection()
        await self._condition.until(lambda: not self.channels, "the API's connections to end")
