"""Clients and pushers on loopback: bytes as a test likes them, and Autobahn, which knows how they ought to be."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from autobahn.twisted.websocket import WebSocketClientProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from tests.waiting import Condition

#: Opcodes of RFC 6455 §5.2.
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

Fields = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Reply:
    """A whole HTTP response."""

    status: int
    phrase: str
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """:returns: the value of a header that is there at most once"""
        values = self.headers.getRawHeaders(name, [])
        assert len(values) < 2, f"{name} stands there {len(values)} times"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


class Frame(NamedTuple):
    """A WebSocket frame, unmasked."""

    opcode: int
    payload: bytes
    first: int = 0x80  #: the upper half of the first byte: FIN and the reserved bits

    @property
    def code(self) -> int | None:
        """The close code."""
        return struct.unpack(">H", self.payload[:2])[0] if self.payload else None

    @property
    def reason(self) -> str:
        """The close reason."""
        return self.payload[2:].decode("utf-8")


def frame(opcode: int, payload: bytes = b"", first: int = 0x80, mask: bytes | None = b"\x01\x02\x03\x04") -> bytes:
    """:returns: a frame's bytes (RFC 6455 §5.2)

    :param first: the upper half of the first byte: FIN and the reserved bits
    :param mask: a client's has one
    """
    length, bit = len(payload), 0x80 if mask else 0
    if length < 126:
        head = struct.pack(">BB", first | opcode, bit | length)
    elif length < 1 << 16:
        head = struct.pack(">BBH", first | opcode, bit | 126, length)
    else:
        head = struct.pack(">BBQ", first | opcode, bit | 127, length)
    if not mask:
        return head + payload
    repeated = mask * (length // 4 + 1)
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(repeated[:length], "big")
    return head + mask + masked.to_bytes(length, "big")


def close_payload(code: int | None = None, reason: str = "") -> bytes:
    """:returns: what a Close frame carries (RFC 6455 §5.5.1)"""
    return b"" if code is None else struct.pack(">H", code) + reason.encode("utf-8")


def handshake(
    path: str = "/",
    headers: Fields = (),
    *,
    host: str = "gateway.example",
    without: Iterable[str] = (),
    method: str = "GET",
    version: str = "HTTP/1.1",
) -> bytes:
    """:returns: a client's request to connect (RFC 6455 §4.1)

    :param headers: more fields, at the end
    :param without: fields to leave out
    """
    left_out = {name.lower() for name in without}
    fields = [
        ("Host", host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", b64encode(b"the sample nonce").decode("ascii")),
        ("Sec-WebSocket-Version", "13"),
    ]
    lines = [f"{method} {path} {version}"]
    lines += [f"{name}: {value}" for name, value in fields if name.lower() not in left_out]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


#: Has the shape of a key, and is none.
NOBODY = "A" * 24


class Wire(Protocol):
    """One connection to the gateway, read piece by piece."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.ended = False
        #: How the connection ended.
        self.reason: Failure | None = None
        self._condition = Condition()

    def dataReceived(self, data: bytes) -> None:
        """Keep what came."""
        self.received += data
        self._condition.changed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Remember that it is over."""
        self.ended = True
        self.reason = reason
        self._condition.changed()

    # Writing

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.transport.write(data)

    def send_text(self, text: str) -> None:
        """Send a text message."""
        self.send(frame(TEXT, text.encode("utf-8")))

    def send_binary(self, payload: bytes) -> None:
        """Send a binary message."""
        self.send(frame(BINARY, payload))

    def send_close(self, code: int | None = None, reason: str = "") -> None:
        """Send a Close frame."""
        self.send(frame(CLOSE, close_payload(code, reason)))

    def stop_reading(self) -> None:
        """Leave what comes in the kernel's buffers."""
        self.transport.pauseProducing()

    def read_on(self) -> None:
        """Read again."""
        self.transport.resumeProducing()

    def drop(self) -> None:
        """End the TCP connection without another word."""
        self.transport.abortConnection()

    # Reading

    async def _have(self, length: int, what: str) -> None:
        await self._condition.until(lambda: len(self.received) >= length or self.ended, what)
        assert len(self.received) >= length, f"the connection ended instead of {what}: {self.received!r}"

    def _take(self, length: int) -> bytes:
        taken, self.received = self.received[:length], self.received[length:]
        return taken

    async def reply(self, *, head_only: bool = False) -> Reply:
        """:returns: the next HTTP response

        :param head_only: it answers a HEAD
        """
        end = b"\r\n\r\n"
        await self._condition.until(lambda: end in self.received or self.ended, "an HTTP response")
        assert end in self.received, f"the connection ended instead of an HTTP response: {self.received!r}"
        first, *lines = self._take(self.received.index(end) + 4).decode("latin-1").split("\r\n")[:-2]
        _, status, phrase = first.split(" ", 2)
        headers = Headers()
        for line in lines:
            name, _, value = line.partition(":")
            headers.addRawHeader(name, value.strip())
        length = int(headers.getRawHeaders("Content-Length", ["0"])[0])
        if head_only or status.startswith("1"):
            length = 0
        await self._have(length, "the rest of an HTTP response")
        return Reply(int(status), phrase, headers, self._take(length))

    async def frame(self, *, pings: bool = False) -> Frame:
        """:returns: the next frame

        :param pings: return pings too; they are passed over otherwise
        """
        while True:
            await self._have(2, "a frame")
            first, second = self.received[:2]
            assert not second & 0x80, "a server's frames are not masked (RFC 6455 §5.1)"
            kind, size = {126: (">H", 2), 127: (">Q", 8)}.get(second, ("", 0))
            await self._have(2 + size, "a frame's head")
            length = struct.unpack(kind, self.received[2 : 2 + size])[0] if size else second
            await self._have(2 + size + length, "a frame's payload")
            payload = self._take(2 + size + length)[2 + size :]
            if pings or first & 0x0F != PING:
                return Frame(first & 0x0F, payload, first & 0xF0)

    async def closed(self, code: int | None = None, reason: str = "") -> Frame:
        """Read the gateway's Close frame, and answer it.

        :returns: the Close frame
        """
        got = await self.frame()
        assert got.opcode == CLOSE, f"{got} in place of a Close frame"
        self.send(frame(CLOSE, got.payload))
        return got

    async def end(self) -> bytes:
        """:returns: what came before the end of the connection; waits for it"""
        await self._condition.until(lambda: self.ended, f"the end of the connection, after {self.received[:200]!r}")
        return self._take(len(self.received))


class AutobahnClient(WebSocketClientProtocol):
    """A WebSocket client that knows the protocol better than we do, and fails on whatever breaks it."""

    transport: Any

    def __init__(self) -> None:
        super().__init__()
        #: Messages received: whether it is binary, and the payload.
        self.messages: list[tuple[bool, bytes]] = []
        self.opened = False
        #: Whether the end was clean, its code, its reason.
        self.ended: tuple[bool, int | None, str | None] | None = None
        self._condition = Condition()

    def onOpen(self) -> None:
        """The handshake is done."""
        self.opened = True
        self._condition.changed()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Keep a message."""
        self.messages.append((isBinary, payload))
        self._condition.changed()

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Keep how it ended."""
        self.ended = wasClean, code, reason
        self._condition.changed()

    async def until(self, is_true: Callable[[AutobahnClient], object], what: str) -> None:
        """Wait until something is true of it."""
        await self._condition.until(lambda: bool(is_true(self)), what)
