"""An API in memory: the other end of an agent's connections."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from twisted.internet.error import ConnectionRefusedError as RefusedError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from tests.gate import NOW, Wire


@dataclass
class ReceivedRequest:
    """A request as it was on the wire. Names of headers in lower case."""

    line: str
    headers: dict[str, list[str]] = field(default_factory=dict)
    body: bytes = b""

    @property
    def method(self) -> str:
        """Its method."""
        return self.line.partition(" ")[0]


def read_requests(data: bytes) -> list[ReceivedRequest]:
    """Parse complete requests, none of them chunked."""
    requests = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        if not end:
            raise AssertionError(f"no whole head: {head!r}")
        line, *lines = head.decode("latin-1").split("\r\n")
        request = ReceivedRequest(line)
        for text in lines:
            name, _, value = text.partition(":")
            request.headers.setdefault(name.lower(), []).append(value.strip())
        if "transfer-encoding" in request.headers:
            raise AssertionError("a callback is never chunked")
        length = int(request.headers.get("content-length", ["0"])[0])
        request.body, data = data[:length], data[length:]
        if len(request.body) != length:
            raise AssertionError("a body is cut short")
        requests.append(request)
    return requests


def answer_bytes(status: int = 200, body: bytes = b"", *headers: str) -> bytes:
    """:returns: an answer with ``Content-Length``"""
    lines = [f"HTTP/1.1 {status} -", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class MemoryApi:
    """Accepts or refuses the connections of an agent.

    :ivar reactor: for the agent
    """

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        self.reactor.advance(NOW)

    @property
    def attempts(self) -> list[tuple[str, int]]:
        """Host and port of the connections that are being made."""
        return [(host, port) for host, port, *_ in self.reactor.tcpClients]

    def _next(self) -> Any:
        self.reactor.connectors.pop(0)
        return self.reactor.tcpClients.pop(0)[2]

    def accept(self) -> Wire:
        """Let the first attempt succeed."""
        wire = Wire(self.reactor)
        return wire.attach(self._next().buildProtocol(None))

    def refuse(self) -> None:
        """Let the first attempt fail."""
        self._next().clientConnectionFailed(None, Failure(RefusedError()))

    def turn(self, count: int = 4) -> None:
        """Let the reactor take some turns, without time passing."""
        for _ in range(count):
            self.reactor.advance(0)
