"""What the API of these tests can be made to answer: by name, for each method."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from bench.faults.sockets import reset

OK_BODY = b'{"code": "OK"}'
ENDLESS_CHUNK = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"

#: What may stand in a script; ``delay:250`` and ``status:503`` stand for every number, ``retry:2`` for every second.
NAMES = (
    "ok",
    "echo",
    "refuse",
    "status:",
    "retry:",
    "delay:",
    "hang",
    "cut",
    "hang-up",
    "reset",
    "garbage",
    "endless",
)
#: Answers that tell the gateway that the call came, but are no use. Nothing says that it must try again.
UNUSABLE = ("garbage", "endless")


class Line(Protocol):
    """The TCP connection that a call came on."""

    transport: asyncio.Transport

    def answer(self, data: bytes) -> None:
        """Write an answer; the next call may be read then."""

    def flood(self, head: bytes, chunk: bytes) -> None:
        """Write for ever, as fast as it is read."""


@dataclass(frozen=True, slots=True)
class Call:
    """
    One call.

    :param method: POST, PUT or DELETE.
    :param binary: whether a PUT's message is binary.
    :param body: its body.
    :param reused: whether the connection carried a call before.
    :param client: its Ws-Path; ``/group/chat/alice`` lets a client join the group ``chat``, as the user ``alice``.
    """

    method: str
    binary: bool
    body: bytes
    reused: bool
    client: str = ""


def plain(status: int, body: bytes = b"", fields: str = "") -> bytes:
    """A whole answer."""
    return b"HTTP/1.1 %d -\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), fields.encode("ascii"), body)


_OK = plain(200, OK_BODY)
_EMPTY = plain(200)


def accepts(name: str, reused: bool) -> bool:
    """Whether an answer of this name is complete and positive."""
    return name in ("ok", "echo") or name.startswith("delay:") or (name == "hang-up" and not reused)


def settles(name: str, reused: bool) -> bool:
    """Whether an answer of this name settles a PUT: delivered, or refused for good."""
    return accepts(name, reused) or name in ("refuse", "status:500")


def refuses(name: str) -> bool:
    """Whether an answer of this name to a POST says that no DELETE is owed."""
    return name == "refuse"


def positive(call: Call, *, echo: bool = False) -> bytes:
    """The answer of an API that is well."""
    if call.method == "PUT":
        if not echo:
            return _EMPTY
        return plain(200, call.body, f"Ws-Reply: {'binary' if call.binary else 'text'}\r\n")
    if call.method != "POST":
        return _EMPTY
    kind, _, names = call.client.removeprefix("/").partition("/")
    if kind != "group":
        return _OK
    group, _, user = names.partition("/")
    return plain(200, OK_BODY, f"Ws-User: {user}\r\nWs-Join: {group}\r\n")


def give(name: str, call: Call, line: Line) -> None:
    """
    Answer a call, or do what an API does that is not well.

    :param name: one of :data:`NAMES`.
    """
    kind, _, value = name.partition(":")
    if kind in ("ok", "echo"):
        line.answer(positive(call, echo=kind == "echo"))
    elif kind in ("refuse", "status"):
        line.answer(plain(int(value or 403)))
    elif kind == "retry":
        line.answer(plain(503, b"", f"Retry-After: {value}\r\n"))
    elif kind == "delay":
        asyncio.get_running_loop().call_later(int(value) / 1000, line.answer, positive(call))
    elif not _break(kind, call, line):
        raise ValueError(f"{name!r} is not among {', '.join(NAMES)}")


def _break(kind: str, call: Call, line: Line) -> bool:
    """
    Give no whole answer.

    :returns: whether it knows how.
    """
    if kind == "cut":
        line.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbeginning")
        line.transport.close()
    elif kind == "hang-up":
        # As a server whose idle connections end just when the next call is on its way.
        if call.reused:
            line.transport.close()
        else:
            line.answer(positive(call))
    elif kind == "reset":
        reset(line.transport)
    elif kind == "garbage":
        line.transport.write(b"\x16\x03\x01\x00\xff" + bytes(range(256)) + b"\r\n\r\n")
        line.transport.close()
    elif kind == "endless":
        line.flood(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ENDLESS_CHUNK)
    return kind in ("cut", "hang-up", "reset", "garbage", "endless", "hang")


def check_script(script: Mapping[str, str]) -> None:
    """
    See whether a script can be followed.

    :raises ValueError: it cannot.
    """
    for method, name in script.items():
        kind, colon, value = name.partition(":")
        if method not in ("POST", "PUT", "DELETE") or kind + colon not in NAMES or bool(colon) != value.isdigit():
            raise ValueError(f"{method}: {name!r} is not among {', '.join(NAMES)}")
