"""A request on our listeners: answered by its head, or read into memory within the site's bound.

It is :class:`wsaas.net.http1.channel.Channel` that has the head judged.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.server import Request

from wsaas.net.http1.messages import FAULT, RequestHead, Response, text_response
from wsaas.websocket.handshake import is_handshake

if TYPE_CHECKING:
    from wsaas.net.http1.channel import Channel
    from wsaas.net.http1.site import ClientSite


class JudgedRequest(Request):
    """A request whose head has been judged.

    Its body is kept in memory, and is never longer than the site allows.
    """

    site: ClientSite
    channel: Channel
    content: Any
    head: RequestHead
    #: It was answered by its head; its body is thrown away.
    answered = False
    _received = 0

    def gotLength(self, length: int | None) -> None:  # noqa: ARG002 - the channel has seen to it
        """Keep the body in memory; twisted.web would put a longer one into a file."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a part of the body."""
        if self.answered:
            return
        self._received += len(data)
        if self._received > self.site.max_body:
            self.answered = True
            self.channel.refuse(self, self.site.too_long())
        else:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The body is complete."""
        if self.answered:
            self.content.close()
            self.channel.requestDone(self)
        else:
            super().requestReceived(command, path, version)

    def __repr__(self) -> str:
        """Without the target, which may hold a key or a client's token: what twisted.web logs may name a request."""
        return f"<{type(self).__name__} {self.method!r}>"

    def setHeader(self, name: str | bytes, value: str | bytes) -> None:
        """Set a header of the answer, but not the one in which twisted.web tells its version."""
        if name != b"Server":
            super().setHeader(name, value)

    def processingFailed(self, reason: Failure) -> Failure:
        """A resource failed: the log says how, the answer only that."""
        self._log.failure("a fault of the gateway", failure=reason)
        if self.channel is None or self.finished:
            return reason
        if self.startedWriting:
            # A part of an answer is out.
            self.channel.loseConnection()
            return reason
        # Of what the resource may have set, nothing holds.
        closing = self.responseHeaders.getRawHeaders(b"Connection")
        self.responseHeaders = Headers({} if closing is None else {b"Connection": closing})
        self.answer(text_response(500, "a fault of the gateway") if is_handshake(self.head) else FAULT)
        return reason

    def answer(self, response: Response) -> None:
        """Answer it."""
        response.write_to(self)

    def detach(self) -> tuple[Any, bytes]:
        """Give the transport away; see :meth:`Channel.detach`."""
        return self.channel.detach(self)
