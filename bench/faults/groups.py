"""Groups as a scenario uses them: back ends that ask by name, and members that know what they must have seen."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bench.faults.clients import Client

TOKEN = "Vb3xW8nJrQ0tYk5sMd7H"  # nosec B105  # lets nobody in anywhere else
SETTINGS = {"PUBLISH_TOKEN": TOKEN}
GROUP = "crowd"
BEHIND = 8  #: publishes that honest members may be behind before the next begins: less than any buffer


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What a request came to.

    :param status: of HTTP.
    :param values: the JSON of its body.
    """

    status: int
    values: dict[str, Any]


def request(method: str, path: str, body: bytes = b"", key: str = "") -> bytes:
    """A whole request of one that may publish."""
    more = f"Idempotency-Key: {key}\r\n" if key else ""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {TOKEN}\r\n{more}"
        f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


class Pusher:
    """
    A back end's keep-alive connection.

    :param reader: of it.
    :param writer: ditto.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, method: str, path: str, body: bytes = b"", key: str = "") -> Answer:
        """
        Send a request and wait for its answer.

        :param key: its ``Idempotency-Key``, if it has one.
        :raises OSError: the connection ended; or :exc:`asyncio.IncompleteReadError`.
        """
        (answer,) = await self.ask_all([request(method, path, body, key)])
        return answer

    async def ask_all(self, requests: Sequence[bytes]) -> list[Answer]:
        """
        Send requests, one behind the other, and wait for all answers.

        :raises OSError: the connection ended; or :exc:`asyncio.IncompleteReadError`.
        """
        self._writer.write(b"".join(requests))
        return [await self._answer() for _ in requests]

    async def _answer(self) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next(line for line in head.lower().split("\r\n") if line.startswith("content-length:"))
        body = await self._reader.readexactly(int(length.partition(":")[2]))
        return Answer(int(head[9:12]), json.loads(body))

    def close(self) -> None:
        """End the connection."""
        self._writer.close()


@asynccontextmanager
async def pushers(port: int, count: int = 1) -> AsyncIterator[list[Pusher]]:
    """Some connections to the gateway, closed at the end."""
    found: list[Pusher] = []
    try:
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            found.append(Pusher(reader, writer))
        yield found
    finally:
        for one in found:
            one.close()


class Members:
    """
    What the members of a group have seen of messages that are numbered as they were published: 1, 2, 3 …

    :param clients: the members, before anything is published.
    """

    def __init__(self, clients: Sequence[Client]) -> None:
        self.clients = clients
        self.seen = [0] * len(clients)
        self.received = 0
        self.problems: list[str] = []
        for place, client in enumerate(clients):
            client.on_message = lambda payload, place=place: self._take(place, payload)

    def _take(self, place: int, payload: bytes) -> None:
        number, expected = int(payload.partition(b":")[0]), self.seen[place] + 1
        if number != expected:
            self.problems.append(f"{self.clients[place].path}: message {number} where {expected} is due")
        self.seen[place] = number
        self.received += 1

    async def have(self, number: int, timeout: float) -> bool:
        """
        Wait until all of them have seen a message.

        :param timeout: seconds.
        :returns: whether they have.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while self.received < number * len(self.clients):
            if loop.time() > deadline:
                return False
            await asyncio.sleep(0.005)
        return True


def counts_that_differ(answers: Iterable[Answer]) -> list[str]:
    """Those answers to publishes whose counts do not add up."""
    parts = ("sent", "held", "skipped", "closed", "except")
    return [
        f"counts do not add up: {answer.values}"
        for answer in answers
        if answer.status == 200 and answer.values["members"] != sum(answer.values[part] for part in parts)
    ]


def statuses(answers: Iterable[Answer]) -> Counter[int]:
    """How often each status was the answer."""
    return Counter(answer.status for answer in answers)
