"""The head of a request and a whole response, as values: what twisted.web's objects are reduced to for decisions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from socket import AF_INET, inet_pton
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.web.http import Request
from twisted.web.http_headers import Headers

from wsaas.net.http1.headers import AnswerHeaders

#: Bytes of a refused body beyond which a connection is not worth keeping for the next request.
MAX_SWALLOWED = 1 << 17


class RequestFields:
    """The header fields of a request, and what they say about its body and its connection.

    :param lines: name and value of each line, without blanks around values
    """

    __slots__ = ("by_name", "closes", "expects", "is_plain", "keep", "length", "note")

    def __init__(self, lines: Iterable[tuple[bytes, bytes]] = ()) -> None:
        #: The values of each, by its name in lower case.
        self.by_name: dict[bytes, list[bytes]] = {}
        for name, value in lines:
            self.add(name, value)
        #: The body's length in bytes; :data:`None` if it is chunked.
        self.length: int | None = 0
        #: Whether the connection is to be closed (RFC 9112 §9.6).
        self.closes = False
        #: Whether the body may wait for ``100 Continue``.
        self.expects = False
        #: Whether the body has a length, is not long, and nothing has to be done before it or behind it.
        self.is_plain = False
        #: What was found out about these fields by who answers them, and for nobody else.
        self.note: Any = None
        #: Whether they are worth remembering, for other requests that have the same.
        self.keep = False

    def add(self, name: bytes, value: bytes) -> None:
        """Add a line."""
        name = name.lower()
        if name in self.by_name:
            self.by_name[name].append(value)
        else:
            self.by_name[name] = [value]

    def plus(self, name: bytes, value: bytes) -> RequestFields:
        """Make the same fields with another one, which is not about the body or the connection.

        :param name: in lower case
        :returns: these with it and the same note; they are not worth remembering
        """
        more = RequestFields()
        more.by_name = {**self.by_name, name: [value]}
        return self._like(more)

    def minus(self, name: bytes) -> RequestFields:
        """:returns: the same fields without one, which is not about the body or the connection, and the same note"""
        fewer = RequestFields()
        fewer.by_name = {other: values for other, values in self.by_name.items() if other != name}
        return self._like(fewer)

    def _like(self, other: RequestFields) -> RequestFields:
        other.length = self.length
        other.closes = self.closes
        other.expects = self.expects
        other.is_plain = self.is_plain
        other.note = self.note
        return other

    @classmethod
    def of(cls, headers: Headers) -> RequestFields:
        """:returns: the fields of a request of twisted.web's"""
        fields = cls((name, value) for name, values in headers.getAllRawHeaders() for value in values)
        lengths = fields.all(b"Content-Length")
        fields.length = None if fields.all(b"Transfer-Encoding") else int(lengths[0]) if lengths else 0
        return fields

    @property
    def headers(self) -> Headers:
        """The same as twisted.web has them, names in their usual case."""
        headers = Headers()
        for name, values in self.by_name.items():
            for value in values:
                headers.addRawHeader(name, value)
        return headers

    def __repr__(self) -> str:
        """Without values, which may be secrets."""
        return f"<{type(self).__name__} {len(self.by_name)}>"

    def all(self, name: bytes) -> list[bytes]:
        """:returns: the values of a field, one for each line it stands in"""
        return self.by_name.get(name.lower(), [])

    def tokens(self, name: bytes) -> list[bytes]:
        """:returns: the elements of a list, in lower case (RFC 9110 §5.6.1)"""
        values = self.by_name.get(name.lower(), ())
        if len(values) == 1 and b"," not in values[0]:
            # Values have no blanks around them.
            return [values[0].lower()] if values[0] else []
        return [token.strip().lower() for value in values for token in value.split(b",") if token.strip()]


@dataclass(slots=True, eq=False)
class RequestHead:
    """The head of a request, before any of its body is read.

    :param method: as sent
    :param target: path and query, as sent
    :param version: such as ``b"HTTP/1.1"``
    :param fields: its header fields
    :param secure: whether it came over TLS; told for what is not answered by value
    :param client: the peer's IP address, if it has one; told likewise
    """

    method: bytes
    # What may hold a key or a token is not in its repr, which may get into a log.
    target: bytes = field(repr=False)
    version: bytes
    fields: RequestFields = field(repr=False)
    secure: bool = False
    client: str | None = None

    @property
    def length(self) -> int | None:
        """The body's length in bytes; :data:`None` if it is chunked."""
        return self.fields.length

    def all(self, name: bytes) -> list[bytes]:
        """:returns: the values of a header, one for each line it stands in"""
        return self.fields.by_name.get(name.lower(), [])

    @property
    def path(self) -> bytes:
        """The target without its query."""
        return self.target.partition(b"?")[0]


def head_of(request: Request) -> RequestHead:
    """:returns: the head of a complete request of twisted.web's, whatever server it came through"""
    head = getattr(request, "head", None)
    if isinstance(head, RequestHead):
        return head
    fields = RequestFields.of(request.requestHeaders)
    client = client_of(request.getClientAddress())
    return RequestHead(request.method, request.uri, request.clientproto, fields, bool(request.isSecure()), client)


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
    :param headers: all of its fields but ``Content-Length`` and ``Retry-After``
    :param body: all of its body
    :param retry_after: seconds after which the request may be repeated
    """

    status: int
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""
    retry_after: int | None = None
    #: What :meth:`encode` has made of it.
    encoded: bytes = field(default=b"", init=False, repr=False, compare=False)

    @property
    def accepted(self) -> bool:
        """Whether it reports success."""
        return self.status < HTTPStatus.BAD_REQUEST

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Its header fields but ``Content-Length``."""
        retry = [] if self.retry_after is None else [(b"Retry-After", b"%d" % self.retry_after)]
        return [*self.headers, *retry]

    def write_to(self, request: Request) -> None:
        """Answer a request with it, and finish."""
        request.setResponseCode(self.status, phrase(self.status).encode("ascii"))
        for name, value in self.fields:
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
        usual = not head_only and not close
        if usual and self.encoded:
            return self.encoded
        lines = [b"HTTP/1.1 %d %s" % (self.status, phrase(self.status).encode("ascii"))]
        lines += [name + b": " + value for name, value in self.fields]
        lines.append(b"Content-Length: %d" % len(self.body))
        if close:
            lines.append(b"Connection: close")
        data = b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if head_only else self.body)
        if usual:
            # Nearly every push is answered by the same few responses.
            object.__setattr__(self, "encoded", data)
        return data


#: What a browser would make of an answer by looking into it is not for it to say (the Fetch standard, §3.6).
_AS_DECLARED = (b"X-Content-Type-Options", b"nosniff")


def json_response(
    status: int,
    code: str,
    message: str | None = None,
    headers: Sequence[tuple[bytes, bytes]] = (),
    retry_after: int | None = None,
    **more: Any,
) -> Response:
    """Make an answer to the API (protocol §3).

    :param code: the word for programs
    :param message: one sentence a person can act on
    :param retry_after: seconds
    :param more: further members of the JSON object
    """
    value = {"code": code, **({} if message is None else {"message": message}), **more}
    # In an answer that is a code and nothing else, as to nearly every push, there is nothing to misread.
    declared = () if len(value) == 1 else (_AS_DECLARED,)
    return Response(
        status,
        ((b"Content-Type", b"application/json"), (b"Cache-Control", b"no-store"), *declared, *headers),
        json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n",
        retry_after,
    )


#: The answer where the gateway failed; what happened is for its log alone.
FAULT = json_response(500, "FAULT", "a fault of the gateway")


def text_response(
    status: int, message: str, headers: Sequence[tuple[bytes, bytes]] = (), retry_after: int | None = None
) -> Response:
    """Make an answer to a client that got no WebSocket."""
    return Response(
        status,
        ((b"Content-Type", b"text/plain; charset=utf-8"), (b"Cache-Control", b"no-store"), _AS_DECLARED, *headers),
        message.encode("utf-8", "replace") + b"\n",
        retry_after,
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


class BodyCut(Exception):
    """The body of an answer is longer than is accepted: what came of it was dropped, and its rest not waited for."""


@dataclass(slots=True, eq=False)
class Answer:
    """A complete answer of the API.

    :param status: the HTTP status
    :param headers: its header fields, trailers not included
    :param body: its body, within ``WS_MAX_MESSAGE``; empty if it was cut
    :param cut: how many bytes were accepted, if its body has more; :data:`None` if it is whole
    """

    status: int
    headers: Headers
    body: bytes
    cut: int | None = None


class AnswerHead:
    """The head of a complete answer. Answers whose heads have the same bytes share one: it is only to be read.

    :param status: the HTTP status
    :param version: of HTTP
    :param fields: its header fields, as they came
    """

    __slots__ = ("_bare", "fields", "headers", "status", "version")

    def __init__(self, status: int, version: tuple[bytes, int, int], fields: Sequence[tuple[bytes, bytes]]) -> None:
        self.status = status
        self.version = version
        self.fields = fields
        #: The same fields, but for those about the connection.
        self.headers = AnswerHeaders(fields)
        #: The answer that is this head and nothing more, once there was one.
        self._bare: Answer | None = None

    def with_body(self, body: bytes | None, accepted: int) -> Answer:
        """Make an answer, or return the one that was made before if it has no body.

        :param body: :data:`None` if it is longer than is accepted
        :param accepted: bytes of a body that are
        """
        if body:
            return Answer(self.status, self.headers, body)
        if body is None:
            return Answer(self.status, self.headers, b"", accepted)
        bare = self._bare
        if bare is None:
            bare = self._bare = Answer(self.status, self.headers, b"")
        return bare
