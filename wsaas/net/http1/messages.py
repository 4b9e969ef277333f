"""The head of a request and a whole response, as values: what twisted.web's objects are reduced to for decisions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from socket import AF_INET, inet_pton
from typing import Any, NamedTuple, Protocol

from twisted.internet.interfaces import IAddress
from twisted.web.http import Request
from twisted.web.http_headers import Headers


class Head(Protocol):
    """What is read of a request's head: a :class:`RequestHead`, or :class:`.PlainHead`."""

    @property
    def method(self) -> bytes:
        """As sent."""

    @property
    def target(self) -> bytes:
        """Path and query, as sent."""

    @property
    def version(self) -> bytes:
        """Such as ``b"HTTP/1.1"``."""

    @property
    def length(self) -> int | None:
        """The body's length in bytes; :data:`None` if it is chunked."""

    @property
    def secure(self) -> bool:
        """Whether it came over TLS."""

    @property
    def client(self) -> str | None:
        """The peer's IP address, if it has one."""

    @property
    def path(self) -> bytes:
        """The target without its query."""

    def all(self, name: bytes) -> list[bytes]:
        """:returns: the values of a header, one for each line it stands in"""

    def tokens(self, name: bytes) -> list[bytes]:
        """:returns: the elements of a list header, in lower case"""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The head of a request, before any of its body is read.

    :param method: as sent
    :param target: path and query, as sent
    :param version: such as ``b"HTTP/1.1"``
    :param headers: its fields
    :param length: the body's length in bytes; :data:`None` if it is chunked
    :param secure: whether it came over TLS
    :param client: the peer's IP address, if it has one
    """

    method: bytes
    # What may hold a key or a token is not in its repr, which may get into a log.
    target: bytes = field(repr=False)
    version: bytes
    headers: Headers = field(repr=False)
    length: int | None
    secure: bool
    client: str | None

    def all(self, name: bytes) -> list[bytes]:
        """:returns: the values of a header, one for each line it stands in"""
        return list(self.headers.getRawHeaders(name, []))

    def tokens(self, name: bytes) -> list[bytes]:
        """:returns: the elements of a list header, in lower case (RFC 9110 §5.6.1)"""
        return [token.strip().lower() for value in self.all(name) for token in value.split(b",") if token.strip()]

    @property
    def path(self) -> bytes:
        """The target without its query."""
        return self.target.partition(b"?")[0]


def phrase(status: int) -> str:
    """:returns: the reason phrase of a status; twisted.web has none for some"""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response.

    :param status: the HTTP status
    :param headers: all of its fields but ``Content-Length``
    :param body: all of its body
    """

    status: int
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""

    @property
    def accepted(self) -> bool:
        """Whether it reports success."""
        return self.status < HTTPStatus.BAD_REQUEST

    def write_to(self, request: Request) -> None:
        """Answer a request with it, and finish."""
        request.setResponseCode(self.status, phrase(self.status).encode("ascii"))
        for name, value in self.headers:
            request.responseHeaders.addRawHeader(name, value)
        request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(self.body)])
        if request.method != b"HEAD":
            request.write(self.body)
        request.finish()

    def encode(self, *, head_only: bool = False, close: bool = False) -> bytes:
        """:returns: its bytes on the wire

        :param head_only: without the body, as the answer to ``HEAD``
        :param close: the connection ends with it
        """
        lines = [b"HTTP/1.1 %d %s" % (self.status, phrase(self.status).encode("ascii"))]
        lines += [name + b": " + value for name, value in self.headers]
        lines.append(b"Content-Length: %d" % len(self.body))
        if close:
            lines.append(b"Connection: close")
        return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if head_only else self.body)


#: What a browser would make of an answer by looking into it is not for it to say (the Fetch standard, §3.6).
_AS_DECLARED = (b"X-Content-Type-Options", b"nosniff")


def json_response(
    status: int, code: str, message: str | None = None, headers: Sequence[tuple[bytes, bytes]] = (), **more: Any
) -> Response:
    """Make an answer to the API (protocol §3).

    :param code: the word for programs
    :param message: one sentence a person can act on
    :param more: further members of the JSON object
    """
    value = {"code": code, **({} if message is None else {"message": message}), **more}
    # In an answer that is a code and nothing else, as to nearly every push, there is nothing to misread.
    declared = () if len(value) == 1 else (_AS_DECLARED,)
    return Response(
        status,
        ((b"Content-Type", b"application/json"), (b"Cache-Control", b"no-store"), *declared, *headers),
        json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n",
    )


#: How answers begin to pushes that were not refused: 200, 202.
ACCEPTED = b"HTTP/1.1 20"
#: The answer where the gateway failed; what happened is for its log alone.
FAULT = json_response(500, "FAULT", "a fault of the gateway")


def text_response(status: int, message: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> Response:
    """Make an answer to a client that got no WebSocket."""
    return Response(
        status,
        ((b"Content-Type", b"text/plain; charset=utf-8"), (b"Cache-Control", b"no-store"), _AS_DECLARED, *headers),
        message.encode("utf-8", "replace") + b"\n",
    )


def client_of(address: IAddress) -> str | None:
    """:returns: a peer's IP address; an IPv4 address that came through an IPv6 socket as the IPv4 address it is"""
    host = getattr(address, "host", None)
    return plain_address(host) if isinstance(host, str) else None


def plain_address(host: str) -> str | None:
    """:returns: an IP address in its usual form, without a zone, and as IPv4 if it is mapped to IPv6; else nothing"""
    try:
        # Takes IPv4 in its usual form only, and tells so twenty times as fast.
        inet_pton(AF_INET, host)
    except (OSError, ValueError):
        pass
    else:
        return host
    try:
        parsed = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(parsed)


class Answer(NamedTuple):
    """A complete answer of the API.

    :param status: the HTTP status
    :param headers: its header fields, trailers not included
    :param body: its body, within ``WS_MAX_MESSAGE``
    """

    status: int
    headers: Headers
    body: bytes
