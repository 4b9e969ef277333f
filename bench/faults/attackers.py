"""
Hostile clients, a program of its own: ``python -m bench.faults.attackers KIND COUNT PORT SECONDS``.

Whoever is thrown out comes back soon, until the time is over. The last line it prints is JSON: connections made,
bytes sent, and how connections ended.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import sys
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from time import monotonic

from bench.faults.clients import CLOSE, PING, PONG, SOURCES, TEXT, frame, handshake
from bench.machine import raise_file_limit

FRAGMENTED = 131072  #: bytes of a message whose frames have one byte each
BOMB = 64 * 2**20  #: bytes that a message inflates to; deflated it is within WS_MAX_MESSAGE
SMALL_BUFFER = 4096  #: bytes that the kernel may keep for a client that does not read
PAUSE = (0.2, 1.8)  #: seconds before one that was thrown out comes back
ARRIVALS = 2000  #: a second at most, in the beginning

_OPEN_LIMIT = 20.0


class Attack:
    """
    What the attackers of one process did.

    :param port: of the gateway.
    :param seconds: how long they go on.
    """

    def __init__(self, port: int, seconds: float) -> None:
        self.port = port
        self.deadline = monotonic() + seconds
        self.connections = 0
        self.bytes = 0
        self.ends: Counter[str] = Counter()

    async def connect(
        self, number: int, *, buffer: int | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a TCP connection."""
        channel = socket.socket()
        channel.setblocking(False)
        if buffer:
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        channel.bind((f"127.0.0.{2 + number % SOURCES}", 0))
        loop = asyncio.get_running_loop()
        await asyncio.wait_for(loop.sock_connect(channel, ("127.0.0.1", self.port)), _OPEN_LIMIT)
        self.connections += 1
        return await asyncio.open_connection(sock=channel, limit=2 * SMALL_BUFFER)

    async def websocket(
        self, number: int, *, path: str = "/attacker", extensions: str = "", buffer: int | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """
        Open a WebSocket.

        :param path: what the number is added to.
        """
        reader, writer = await self.connect(number, buffer=buffer)
        writer.write(handshake(f"{path}/{number}", extensions))
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _OPEN_LIMIT)
        if not answer.startswith(b"HTTP/1.1 101"):
            self.ends[answer[9:12].decode()] += 1
            writer.close()
            raise ConnectionRefusedError
        return reader, writer

    async def write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        """Send, as fast as it is read."""
        self.bytes += len(data)
        writer.write(data)
        await writer.drain()

    async def end(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read to the end, and note what was said last."""
        last = b""
        try:
            while data := await reader.read(65536):
                last = data[-200:]
        except OSError:
            last = last or b"reset"
        self.ends[_read_end(last)] += 1
        writer.close()


def _read_end(data: bytes) -> str:
    if data.startswith(b"HTTP/1.1 "):
        return data[9:12].decode("latin-1")
    close = data.rfind(bytes([0x80 | CLOSE]))
    if close >= 0 and len(data) >= close + 4:
        return str(int.from_bytes(data[close + 2 : close + 4]))
    return "reset" if data == b"reset" else "end"


async def silent(attack: Attack, number: int) -> None:
    """Connect and say nothing."""
    await attack.end(*await attack.connect(number))


async def mute(attack: Attack, number: int) -> None:
    """Open a WebSocket and say nothing, not even a pong."""
    await attack.end(*await attack.websocket(number))


async def dripping(attack: Attack, number: int) -> None:
    """A byte a second: every other one of a request's head, every other one of a message."""
    reader, writer = await (attack.connect(number) if number % 2 else attack.websocket(number))
    data = handshake("/attacker/drip") if number % 2 else frame(TEXT, bytes(65536))
    ending = asyncio.ensure_future(attack.end(reader, writer))
    for byte in data:
        if ending.done():
            return
        await attack.write(writer, bytes([byte]))
        await asyncio.wait([ending], timeout=1.0)
    await ending


async def fragmenting(attack: Attack, number: int) -> None:
    """One message after the other, each in frames of one byte."""
    reader, writer = await attack.websocket(number)
    middle = frame(0, b"x", final=False)
    data = frame(TEXT, b"x", final=False) + middle * (FRAGMENTED - 2) + frame(0, b"x")
    ending = asyncio.ensure_future(attack.end(reader, writer))
    while not ending.done():
        for start in range(0, len(data), 65536):
            await attack.write(writer, data[start : start + 65536])
    await ending


async def flooding(attack: Attack, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], data: bytes) -> None:
    """Send the same again and again, as fast as it is read, and read what comes."""
    reader, writer = streams
    ending = asyncio.ensure_future(attack.end(reader, writer))
    try:
        while not ending.done():
            await attack.write(writer, data)
    except OSError:
        pass  # thrown out: what was said is read by the other
    await ending


async def pinging(attack: Attack, number: int) -> None:
    """Pings without a pause, each of which wants its pong."""
    await flooding(attack, await attack.websocket(number), frame(PING, b"") * 10_000)


async def ponging(attack: Attack, number: int) -> None:
    """Pongs that nobody asked for, without a pause."""
    await flooding(attack, await attack.websocket(number), frame(PONG, b"") * 10_000)


async def lingering(attack: Attack, number: int) -> None:
    """Break the protocol, and go on with messages, whatever is said about it."""
    await flooding(attack, await attack.websocket(number), frame(0, b"") + frame(TEXT, b"") * 10_000)


async def requesting(attack: Attack, number: int) -> None:
    """Requests one behind the other that are neither handshakes nor pushes."""
    await flooding(attack, await attack.connect(number), b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n" * 2000)


async def guessing(attack: Attack, number: int) -> None:
    """Pushes, one behind the other, to connections that are not there."""
    head = b"PUT /%024d HTTP/1.1\r\nHost: gateway\r\nContent-Length: 1\r\n\r\nx"
    dice = random.Random(number)  # nosec B311  # for a load, not for secrets
    data = b"".join(head % dice.randrange(10**24) for _ in range(1000))
    await flooding(attack, await attack.connect(number), data)


async def bombing(attack: Attack, number: int) -> None:
    """A message that inflates to far more than any may have (RFC 7692)."""
    reader, writer = await attack.websocket(number, extensions="permessage-deflate")
    await attack.write(writer, frame(TEXT, _bomb(), reserved=4))
    await attack.end(reader, writer)


def _bomb(cache: list[bytes] = []) -> bytes:  # noqa: B006 - made once
    if not cache:
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        data = deflate.compress(bytes(BOMB)) + deflate.flush(zlib.Z_SYNC_FLUSH)
        cache.append(data[:-4])
    return cache[0]


async def heading(attack: Attack, number: int) -> None:
    """A request's head without an end."""
    reader, writer = await attack.connect(number)
    await attack.write(writer, b"GET / HTTP/1.1\r\nHost: gateway\r\n")
    ending = asyncio.ensure_future(attack.end(reader, writer))
    try:
        while not ending.done():
            await attack.write(writer, b"X-More: %b\r\n" % (b"x" * 1000))
    except OSError:
        pass  # thrown out: what was said is read by the other
    await ending


async def deaf(attack: Attack, number: int, path: str = "/attacker") -> None:
    """Open a WebSocket and read nothing. What the gateway is told of the end is not looked at either."""
    _, writer = await attack.websocket(number, path=path, buffer=SMALL_BUFFER)
    assert isinstance(writer.transport, asyncio.Transport)
    writer.transport.pause_reading()
    await asyncio.sleep(max(0.0, attack.deadline - monotonic()))


async def member(attack: Attack, number: int) -> None:
    """Be in a group, and read nothing of what is published to it."""
    await deaf(attack, number, "/group/crowd")


async def ignoring(attack: Attack, number: int) -> None:
    """Send messages, each of which the API answers with as much, and read nothing."""
    reader, writer = await attack.websocket(number, buffer=SMALL_BUFFER)
    transport = writer.transport
    assert isinstance(transport, asyncio.Transport)
    transport.pause_reading()
    data = frame(TEXT, b"x" * 4096)
    try:
        while monotonic() < attack.deadline:
            await attack.write(writer, data)
    except OSError:
        pass
    try:
        transport.resume_reading()
    except RuntimeError:
        pass  # it is over already
    await attack.end(reader, writer)


KINDS: dict[str, Callable[[Attack, int], Awaitable[None]]] = {
    kind.__name__: kind
    for kind in (
        silent,
        mute,
        dripping,
        fragmenting,
        pinging,
        ponging,
        lingering,
        requesting,
        guessing,
        bombing,
        heading,
        deaf,
        member,
        ignoring,
    )
}


async def run(kind: str, count: int, port: int, seconds: float) -> Attack:
    """
    Attack until the time is over.

    :param kind: one of :data:`KINDS`.
    """
    attack = Attack(port, seconds)

    async def one(number: int) -> None:
        # Not all in one moment: a backlog that is full would make some wait for a second.
        await asyncio.sleep(random.uniform(0, max(1.0, count / ARRIVALS)))  # nosec B311  # for a load, not for secrets
        while monotonic() < attack.deadline:
            try:
                await KINDS[kind](attack, number)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                attack.ends["refused"] += 1
            await asyncio.sleep(random.uniform(*PAUSE))  # nosec B311  # for a load, not for secrets

    tasks = [asyncio.ensure_future(one(number)) for number in range(count)]
    await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return attack


def main() -> None:
    """Do what the command line says."""
    kind, count, port, seconds = sys.argv[1:]
    raise_file_limit()
    print(json.dumps({"began": True}), flush=True)
    attack = asyncio.run(run(kind, int(count), int(port), float(seconds)))
    print(json.dumps({"connections": attack.connections, "bytes": attack.bytes, "ends": attack.ends}), flush=True)


if __name__ == "__main__":
    main()
