"""
The API of these tests, a program of its own: ``python -m bench.faults.api``.

It obeys lines of JSON on its standard input and answers each with one: ``script``, ``down``, ``up``, ``counts``,
``accounts`` (into a file), ``forget``. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.faults.answers import UNUSABLE, Call, accepts, check_script, give, refuses, settles
from bench.faults.ledger import Account, Ledger
from bench.faults.sockets import reset

HEAD_LIMIT = 65536  #: bytes
WELL = {"POST": "ok", "PUT": "ok", "DELETE": "ok"}

_FIELD = re.compile(rb"\r\n(Content-Length|Content-Type|Ws-[A-Za-z-]+): ([^\r]*)")


class Line(asyncio.Protocol):
    """
    One TCP connection of the gateway's.

    :param api: whose connection it is.
    """

    transport: asyncio.Transport

    def __init__(self, api: Api) -> None:
        self._api = api
        self._data = bytearray()
        self._waiting = False  #: a call has no answer yet; HTTP/1.1 without pipelining
        self._served = 0
        self._flood: bytes | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._api.connections += 1
        self._api.lines.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """It is over."""
        self._flood = None
        self._api.lines.discard(self)

    def data_received(self, data: bytes) -> None:
        """A part of a call, a whole one, or more."""
        self._data += data
        self._read()

    def _read(self) -> None:
        while not self._waiting and not self.transport.is_closing():
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                if len(self._data) > HEAD_LIMIT:
                    self.transport.abort()
                return
            head = bytes(self._data[: end + 2])
            fields = {name.decode().lower(): value.decode("latin-1") for name, value in _FIELD.findall(head)}
            start = end + 4
            stop = start + int(fields.get("content-length", "0"))
            if len(self._data) < stop:
                return
            body = bytes(self._data[start:stop])
            del self._data[:stop]
            self._waiting = True
            self._api.take(head.partition(b" ")[0].decode("latin-1"), fields, body, self._served > 0, self)
            self._served += 1

    def answer(self, data: bytes) -> None:
        """Write an answer."""
        if not self.transport.is_closing():
            self.transport.write(data)
        self._waiting = False
        if self._data:
            self._read()

    def flood(self, head: bytes, chunk: bytes) -> None:
        """Write for ever, as fast as it is read."""
        self._flood = chunk
        self.transport.write(head)
        self._pour()

    def _pour(self) -> None:
        if self._flood is not None and not self.transport.is_closing():
            self.transport.write(self._flood)
            # Not in a loop: others are served meanwhile.
            if self.transport.get_write_buffer_size() == 0:
                asyncio.get_running_loop().call_soon(self._pour)

    def resume_writing(self) -> None:
        """There is room again."""
        self._pour()


class Api:
    """The API: what comes goes into the ledger, and is answered by the script."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.script: dict[str, str] = dict(WELL)
        self.connections = 0
        self.lines: set[Line] = set()
        self.port = 0
        self._server: asyncio.Server | None = None

    async def up(self) -> None:
        """Listen, on the port of the first time."""
        if self._server is None:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            self.port = listener.getsockname()[1]
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: Line(self), sock=listener, backlog=1024)

    async def down(self) -> None:
        """Refuse connections, and reset those there are."""
        if self._server is not None:
            server, self._server = self._server, None
            server.close()
        for line in list(self.lines):
            reset(line.transport)

    def take(self, method: str, fields: Mapping[str, str], body: bytes, reused: bool, line: Line) -> None:
        """A call came."""
        ledger, name = self.ledger, self.script.get(method, "ok")
        uri, client = fields.get("ws-uri", ""), fields.get("ws-path", "")
        number = fields.get("ws-id", "").rpartition("-")[2]
        call = Call(method, fields.get("content-type", "").startswith("application/octet"), body, reused, client)
        if method == "POST":
            if client.startswith("/refused"):
                name = "refuse"
            self._asked(ledger.post(uri, number, client), name, reused)
        elif method == "PUT":
            account = ledger.put(uri, number, client, body)
            if number.isdigit():
                if settles(name, reused):
                    ledger.settle(account, number)
                elif name in UNUSABLE:
                    ledger.confuse(account, number)
        elif method == "DELETE":
            ledger.delete(uri, number, client, fields)
        give(name, call, line)

    def _asked(self, account: Account, name: str, reused: bool) -> None:
        if accepts(name, reused):
            self.ledger.grant(account)
        elif refuses(name):
            self.ledger.refuse(account)

    async def obey(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """
        Do what a line asks for.

        :returns: what is said about it.
        """
        match order["do"]:
            case "script":
                check_script(order["script"])
                self.script = WELL | order["script"]
            case "down":
                await self.down()
            case "up":
                await self.up()
            case "counts":
                return asdict(self.ledger.counts(self.connections))
            case "accounts":
                accounts = self.ledger.accounts.values()
                if order.get("open"):
                    accounts = [account for account in accounts if not account.disconnects]  # type: ignore[assignment]
                Path(order["file"]).write_text(json.dumps([account.as_json() for account in accounts]), "utf-8")
            case "forget":
                self.ledger.forget()
            case other:
                raise ValueError(f"what is {other!r}?")
        return {}


async def serve() -> None:
    """Serve until the end of the standard input."""
    api = Api()
    await api.up()
    print(json.dumps({"port": api.port}), flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(json.dumps(await api.obey(json.loads(line))), flush=True)
    await api.down()


if __name__ == "__main__":
    asyncio.run(serve())
