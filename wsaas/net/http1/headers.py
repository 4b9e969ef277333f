"""Header fields that become :class:`twisted.web.http_headers.Headers` when somebody looks at them as such.

To make ordinary ones of a dozen fields costs more than the request that they belong to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from twisted.web.http_headers import Headers

#: About the connection, not about the answer (RFC 9110 §7.6.1); Twisted's Agent leaves them out, too.
_OF_THE_CONNECTION = frozenset(
    {
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailers",
        b"transfer-encoding",
        b"upgrade",
    }
)


def encode_headers(headers: Headers) -> bytes:
    """:returns: header lines, each with its end"""
    return b"".join([b"%b: %b\r\n" % (name, value) for name, values in headers.getAllRawHeaders() for value in values])


class _LateHeaders(Headers):
    """Headers for which ``Headers.__init__`` runs at the first look at what it sets.

    Python asks ``__getattr__`` for what is not there, which is what Headers keeps, and only before that look.
    """

    __slots__ = ()

    def _take_fields(self) -> Iterable[tuple[bytes, bytes]]:
        """:returns: the fields in the other form, which holds no more: they can be changed from now on"""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        if name not in Headers.__slots__:
            raise AttributeError(name)
        Headers.__init__(self)
        for field in self._take_fields():
            self.addRawHeader(*field)
        return getattr(self, name)


class EncodedHeaders(_LateHeaders):
    """The header fields of a request as lines that are ready for the wire.

    :param lines: each with its end; none of them ``Host`` or about the body
    """

    __slots__ = ("_lines",)

    def __init__(self, lines: bytes) -> None:
        self._lines: bytes | None = lines

    @property
    def encoded(self) -> bytes:
        """The lines, for agents that send them as they are."""
        return encode_headers(self) if self._lines is None else self._lines

    def copy(self) -> Headers:
        """:returns: the same fields once more"""
        return EncodedHeaders(self.encoded)

    def _take_fields(self) -> Iterable[tuple[bytes, bytes]]:
        lines, self._lines = self.encoded, None
        for line in lines.splitlines():
            name, _, value = line.partition(b": ")
            yield name, value


class AnswerHeaders(_LateHeaders):
    """The header fields of an answer as the parser collected them, but for those about the connection.

    :param fields: names and values as they came
    """

    __slots__ = ("_by_name", "_fields")

    def __init__(self, fields: Sequence[tuple[bytes, bytes]]) -> None:
        self._fields = fields
        #: Values by names in lower case, once somebody asked; :data:`None` again once the fields are ordinary.
        self._by_name: dict[bytes, list[bytes]] | None = None

    def again(self) -> AnswerHeaders:
        """:returns: the same for another answer with the same head, with what is known of these"""
        same = AnswerHeaders(self._fields)
        same._by_name = self._by_name or self._index()
        return same

    def copy(self) -> Headers:
        """:returns: the same fields once more"""
        return Headers(dict(self.getAllRawHeaders()))

    def getRawHeaders(self, name: Any, default: Any = None) -> Any:
        """:returns: the values of all fields of this name, in any case, in order; else the default"""
        by_name = self._by_name
        if by_name is None:
            if not self._fields:
                return super().getRawHeaders(name, default)
            by_name = self._index()
        if type(name) is bytes:
            return by_name.get(name.lower(), default)
        return super().getRawHeaders(name, default)

    def _index(self) -> dict[bytes, list[bytes]]:
        by_name: dict[bytes, list[bytes]] = {}
        for name, value in self._fields:
            lower = name.lower()
            if lower not in _OF_THE_CONNECTION:
                by_name.setdefault(lower, []).append(value.strip(b" \t"))
        self._by_name = by_name
        return by_name

    def _take_fields(self) -> Iterable[tuple[bytes, bytes]]:
        by_name = self._by_name or self._index()
        self._fields, self._by_name = (), None
        return [(name, value) for name, values in by_name.items() for value in values]
