"""Requests that a Resource of twisted.web's renders."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import Request

from wsaas.net.http1.messages import FAULT, RequestHead

if TYPE_CHECKING:
    from wsaas.net.http1.server import Channel

_log = Logger()


class PageRequest(Request):
    """A whole request, which a Resource answers.

    Its body is kept in memory, and is never longer than the site allows.
    """

    channel: Channel  # type: ignore[assignment]  # Twisted's own two channels have no common base
    content: Any
    head: RequestHead
    #: What renders it, or the root of a tree in which that is.
    root: IResource

    def gotLength(self, length: int | None) -> None:  # noqa: ARG002 - the channel has seen to it
        """Keep the body in memory; twisted.web would put a longer one into a file."""
        self.content = BytesIO()

    def __repr__(self) -> str:
        """Without the target, which may hold a key or a client's token: what twisted.web logs may name a request."""
        return f"<{type(self).__name__} {self.method!r}>"

    def setHeader(self, name: str | bytes, value: str | bytes) -> None:
        """Set a header of the answer, but not the one in which twisted.web tells its version."""
        if name != b"Server":
            super().setHeader(name, value)  # type: ignore[no-untyped-call]  # Twisted's

    def processingFailed(self, reason: Failure) -> Failure:
        """A resource failed: the log says how, the answer only that."""
        _log.failure("a fault of the gateway", failure=reason)
        if self.finished or self.channel is None:
            return reason
        if self.startedWriting:
            # A part of an answer is out.
            self.channel.loseConnection()
            return reason
        # Of what the resource may have set, nothing holds.
        closing = self.responseHeaders.getRawHeaders(b"Connection")
        self.responseHeaders = Headers({} if closing is None else {b"Connection": closing})
        FAULT.write_to(self)
        return reason
