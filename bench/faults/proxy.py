"""A TCP proxy that does to connections what bad networks do."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Self

from bench.faults.sockets import reset

CHUNK = 65536  #: bytes read at a time
TURNS = 50  #: portions a second of a limited bandwidth


class Then(Enum):
    """What becomes of a connection that has carried its share."""

    END = "end"  #: an orderly end (FIN)
    RESET = "reset"  #: RST
    SILENCE = "silence"  #: nothing more goes through, and nobody is told: half-open


@dataclass(frozen=True, slots=True)
class Fault:
    """
    What is wrong with the network; by default nothing.

    :param latency: seconds that bytes take, in each direction.
    :param slices: whether each byte travels by itself.
    :param bandwidth: bytes a second, in each direction of each connection; 0: no limit.
    :param hole: whether nothing goes through until it is over. What one end has given up meanwhile never does.
    :param share: between how many bytes and how many each connection carries before ``then``.
    :param then: what follows.
    """

    latency: float = 0.0
    slices: bool = False
    bandwidth: int = 0
    hole: bool = False
    share: tuple[int, int] | None = None
    then: Then = Then.END


WELL = Fault()


class _Link:
    """Both directions of one connection."""

    def __init__(self, writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
        self.writers = writers
        self.share: int | None = None  #: bytes that may still pass; not known before the first fault that has one
        self.silent = False

    def end(self, then: Then) -> None:
        for writer in self.writers:
            if then is Then.RESET:
                reset(writer.transport)
            else:
                writer.close()


class Proxy:
    """
    A proxy in front of one port of loopback. A context: left, all its connections are reset.

    :param target: the port.
    :param seed: of its dice.
    """

    def __init__(self, target: int, seed: int = 0) -> None:
        self.port = 0
        self.fault = WELL
        self.ended = 0  #: connections that a fault ended
        self._target = target
        self._random = random.Random(seed)  # nosec B311  # for a load, not for secrets
        self._healed = asyncio.Event()
        self._healed.set()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for link in list(self._links):
            link.end(Then.RESET)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def set(self, fault: Fault) -> None:
        """From now on this is wrong, with the connections that there are too."""
        self.fault = fault
        if fault.hole:
            self._healed.clear()
        else:
            self._healed.set()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            reset(writer.transport)
            return
        link = _Link((writer, far_writer))
        self._links.add(link)
        try:
            await asyncio.gather(
                self._carry(link, reader, far_writer), self._carry(link, far_reader, writer), return_exceptions=True
            )
        finally:
            self._links.discard(link)
            link.end(Then.RESET)

    async def _carry(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction, until its end."""
        try:
            while data := await reader.read(CHUNK):
                if not self._healed.is_set() and not await self._keep(reader):
                    link.end(Then.RESET)
                    return
                if not link.silent:
                    await self._forward(link, data, writer)
            if not link.silent and writer.can_write_eof():
                writer.write_eof()
        except OSError:
            if not link.silent:
                link.end(Then.RESET)

    async def _keep(self, reader: asyncio.StreamReader) -> bool:
        """
        Keep what came until the hole is over.

        :returns: whether it may go on; not if the end that sent it gave up.
        """
        while not self._healed.is_set():
            if reader.at_eof() or reader.exception() is not None:
                return False
            try:
                await asyncio.wait_for(self._healed.wait(), 0.05)
            except TimeoutError:
                pass  # look again whether the sender is still there
        return not reader.at_eof() and reader.exception() is None

    async def _forward(self, link: _Link, data: bytes, writer: asyncio.StreamWriter) -> None:
        fault = self.fault
        last = False
        if fault.share is not None:
            if link.share is None:
                link.share = self._random.randint(*fault.share)
            data, last = data[: link.share], len(data) >= link.share
            link.share -= len(data)
        if fault.latency:
            await asyncio.sleep(fault.latency)
        if fault.slices:
            for i in range(len(data)):
                writer.write(data[i : i + 1])
                await asyncio.sleep(0)
        elif fault.bandwidth:
            portion = max(1, fault.bandwidth // TURNS)
            for i in range(0, len(data), portion):
                writer.write(data[i : i + portion])
                await asyncio.sleep(1 / TURNS)
        else:
            writer.write(data)
        await writer.drain()
        if last:
            self.ended += 1
            if fault.then is Then.SILENCE:
                link.silent = True
            else:
                link.end(fault.then)
