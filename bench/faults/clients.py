"""Honest WebSocket clients, cheap enough for ten thousand in one process (RFC 6455 by hand, in asyncio)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from time import monotonic

from bench.faults.sockets import reset

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10  #: opcodes

NO_CODE = 1005  #: a Close frame without a code
LOST = 1006  #: TCP ended without a Close frame
AT_ONCE = 64  #: handshakes at a time, below any backlog
PATIENCE = 30.0  #: seconds for a handshake or a close
SOURCES = 16  #: addresses that clients come from: one has 28,000 ports

_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
_NO_MASK = bytes(4)  #: a mask of zeros is a mask (RFC 6455 §5.3), and costs nothing


class RefusedError(Exception):
    """
    A handshake brought no 101.

    :param status: the HTTP status, 0 if TCP ended before.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"refused with {status}")
        self.status = status


def frame(opcode: int, payload: bytes, *, final: bool = True, reserved: int = 0) -> bytes:
    """A masked frame."""
    first, size = (0x80 if final else 0) | reserved << 4 | opcode, len(payload)
    if size < 126:
        return b"%c%c%b%b" % (first, 0x80 | size, _NO_MASK, payload)
    if size < 65536:
        return struct.pack("!BBH", first, 0xFE, size) + _NO_MASK + payload
    return struct.pack("!BBQ", first, 0xFF, size) + _NO_MASK + payload


def handshake(path: str, extensions: str = "") -> bytes:
    """A whole handshake."""
    more = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {_KEY}\r\n{more}\r\n"
    ).encode("ascii")


def numbered(number: int, size: int = 0) -> bytes:
    """The payload of a numbered message, as the ledger reads it, filled up to a size."""
    return b"%d:" % number + b"." * (size - len(str(number)) - 1)


class Client(asyncio.Protocol):
    """
    One client. It answers pings and Close frames, and counts.

    :param path: by which the ledger knows it.
    :param extensions: that it offers.
    """

    transport: asyncio.Transport

    def __init__(self, path: str, extensions: str = "") -> None:
        self.path = path
        self.sent = 0  #: numbered messages
        self.received = 0  #: messages
        self.code: int | None = None  #: how it ended: a close code
        self.closed_by_us = False  #: whether it was this client that closed first
        self.on_message: Callable[[bytes], None] | None = None
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[int] = loop.create_future()
        self._writable = asyncio.Event()
        self._writable.set()
        self._extensions = extensions
        self._data = bytearray()
        self._is_open = False

    @property
    def is_open(self) -> bool:
        """Whether nothing has ended it, not even a Close frame of its own."""
        return self._is_open and not self.closed_by_us and self.code is None and not self.over.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP is there: shake hands."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(handshake(self.path, self._extensions))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """TCP is over."""
        if not self.opened.done():
            self.opened.set_exception(RefusedError(0))
            self.opened.exception()  # Looked at here, in case that nobody else does.
        if self.code is None:
            self.code = LOST
        if not self.over.done():
            self.over.set_result(self.code)
        self._writable.set()
        self.on_message = None

    def pause_writing(self) -> None:
        """The gateway does not read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It does again."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """The answer to the handshake, then frames."""
        self._data += data
        if not self._is_open and not self._answered():
            return
        while len(self._data) >= 2:
            size, start = self._data[1] & 127, 2
            if size == 126:
                size, start = int.from_bytes(self._data[2:4]), 4
            elif size == 127:
                size, start = int.from_bytes(self._data[2:10]), 10
            if len(self._data) < start + size:
                return
            opcode, payload = self._data[0] & 15, bytes(self._data[start : start + size])
            del self._data[: start + size]
            self._frame(opcode, payload)

    def _answered(self) -> bool:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return False
        status = int(self._data[9:12])
        del self._data[: end + 4]
        if status != 101:
            if not self.opened.done():
                self.opened.set_exception(RefusedError(status))
            self.transport.close()
            return False
        self._is_open = True
        if not self.opened.done():
            self.opened.set_result(None)
        return True

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.transport.write(frame(PONG, payload))
        elif opcode == CLOSE:
            if self.code is None:
                self.code = int.from_bytes(payload[:2]) if payload else NO_CODE
                if not self.closed_by_us:
                    self.transport.write(frame(CLOSE, payload[:2]))
        elif opcode in (TEXT, BINARY, 0):
            self.received += 1
            if self.on_message is not None:
                self.on_message(payload)

    async def send(self, count: int = 1, size: int = 0) -> None:
        """
        Send the next numbered messages, as far as the gateway reads.

        :param size: bytes of each.
        """
        for _ in range(count):
            if not self._writable.is_set():
                await self._writable.wait()
            if not self.is_open:
                return
            self.sent += 1
            self.transport.write(frame(TEXT, numbered(self.sent, size)))

    def write(self, data: bytes) -> None:
        """Write bytes of one's own."""
        self.transport.write(data)

    async def close(self, code: int = 1000) -> int:
        """
        Close in order.

        :returns: the code with which it ended.
        """
        if self.is_open:
            self.closed_by_us = True
            self.transport.write(frame(CLOSE, struct.pack("!H", code)))
        return await self.ended()

    def drop(self) -> None:
        """Be gone, without a word."""
        self.closed_by_us = True
        reset(self.transport)

    async def ended(self, timeout: float = PATIENCE) -> int:
        """
        Wait for the end.

        :param timeout: seconds; then TCP is cut.
        :returns: the code with which it ended.
        """
        _, waiting = await asyncio.wait([self.over], timeout=timeout)
        if waiting:
            self.transport.abort()
        return await self.over


async def connect(port: int, path: str, *, source: int = 0, extensions: str = "", timeout: float = PATIENCE) -> Client:
    """
    Open a WebSocket.

    :param source: any number; chooses the address that it comes from.
    :param timeout: seconds.
    :raises RefusedError: the gateway does not want it.
    """
    client = Client(path, extensions)
    await asyncio.get_running_loop().create_connection(
        lambda: client, "127.0.0.1", port, local_addr=(f"127.0.0.{2 + source % SOURCES}", 0)
    )
    try:
        await asyncio.wait_for(asyncio.shield(client.opened), timeout)
    except TimeoutError:
        client.drop()
        raise RefusedError(0) from None
    except BaseException:
        client.transport.close()
        raise
    return client


async def connect_all(
    port: int, paths: Sequence[str], *, at_once: int = AT_ONCE, timeout: float = PATIENCE
) -> list[Client]:
    """
    Open many WebSockets.

    :param paths: one for each.
    :param at_once: handshakes at a time.
    :raises RefusedError: one was not wanted.
    """
    found: list[Client] = []
    numbers = iter(enumerate(paths))

    async def some() -> None:
        for number, path in numbers:
            found.append(await connect(port, path, source=number, timeout=timeout))

    await asyncio.gather(*(some() for _ in range(min(at_once, len(paths)))))
    return found


async def close_all(clients: Sequence[Client], *, at_once: int = 256) -> None:
    """Close those that are open, and wait until all are over."""
    remaining = iter(clients)

    async def some() -> None:
        for client in remaining:
            await client.close()

    await asyncio.gather(*(some() for _ in range(at_once)))


@asynccontextmanager
async def sending(clients: Sequence[Client], rate: float, size: int = 0) -> AsyncIterator[None]:
    """
    Have clients send numbered messages meanwhile.

    :param rate: messages a second of each.
    :param size: bytes of each.
    """
    over = False

    async def send(client: Client) -> None:
        due = monotonic()
        while not over and client.is_open:
            await client.send(1, size)
            due += 1 / rate
            # Those that could not be sent in time are not made up for: one that was held up is a client like others.
            due = max(due, monotonic() - 0.1)
            await asyncio.sleep(max(0.0, due - monotonic()))

    tasks = [asyncio.ensure_future(send(client)) for client in clients]
    try:
        yield
    finally:
        over = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
