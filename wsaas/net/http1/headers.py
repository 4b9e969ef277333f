"""Header fields that become :class:`twisted.web.http_headers.Headers` when somebody looks at them as such.

To make ordinary ones of a dozen fields costs more than the request that they belong to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """Headers that become ordinary ones when somebody reads all of them, or changes one.

    Each public method of Twisted's passes on to the ordinary ones, which are made then.
    """

    __slots__ = ("_made",)

    #: The ordinary ones, once they are made.
    _made: Headers | None

    def _take_fields(self) -> Iterable[tuple[bytes, bytes]]:
        """:returns: the fields in the other form, which holds no more: they can be changed from now on"""
        return ()

    def ordinary(self) -> Headers:
        """:returns: the same fields as Twisted's own headers, which then count"""
        if self._made is None:
            headers = Headers()
            for field in self._take_fields():
                headers.addRawHeader(*field)
            self._made = headers
        return self._made

    def __repr__(self) -> str:
        return repr(self.ordinary())

    def __cmp__(self, other: object) -> Any:
        return self.ordinary().__cmp__(other.ordinary() if isinstance(other, _LateHeaders) else other)

    def copy(self) -> Headers:
        """:returns: the same fields once more, as ordinary ones"""
        return self.ordinary().copy()

    def hasHeader(self, name: Any) -> bool:
        """:returns: whether there is such a field"""
        return self.ordinary().hasHeader(name)

    def removeHeader(self, name: Any) -> None:
        """Remove all fields of a name."""
        self.ordinary().removeHeader(name)

    def setRawHeaders(self, name: Any, values: Any) -> None:
        """Replace all fields of a name."""
        self.ordinary().setRawHeaders(name, values)

    def addRawHeader(self, name: Any, value: Any) -> None:
        """Add a field."""
        self.ordinary().addRawHeader(name, value)

    def getRawHeaders(self, name: Any, default: Any = None) -> Any:
        """:returns: the values of all fields of this name, in any case, in order; else the default"""
        return self.ordinary().getRawHeaders(name, default)

    def getAllRawHeaders(self) -> Iterator[tuple[bytes, Sequence[bytes]]]:
        """:returns: names and values, in order"""
        return self.ordinary().getAllRawHeaders()


class EncodedHeaders(_LateHeaders):
    """The header fields of a request as lines that are ready for the wire.

    :param lines: each with its end; none of them ``Host`` or about the body
    """

    __slots__ = ("encoded",)

    def __init__(self, lines: bytes) -> None:
        self._made = None
        #: The lines, for agents that send them as they are; :data:`None` once the fields are ordinary.
        self.encoded: bytes | None = lines

    def _take_fields(self) -> Iterable[tuple[bytes, bytes]]:
        lines, self.encoded = self.encoded or b"", None
        for line in lines.splitlines():
            name, _, value = line.partition(b": ")
            yield name, value


def by_name(fields: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """:returns: the values of fields by their names in lower case, without those that are about the connection"""
    found: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        lower = name.lower()
        if lower not in _OF_THE_CONNECTION:
            found.setdefault(lower, []).append(value.strip(b" \t"))
    return found


class AnswerHeaders(_LateHeaders):
    """The header fields of an answer as the parser collected them, but for those about the connection.

    :param fields: names and values as they came
    :param known: what :func:`by_name` says of them, if that is known
    """

    __slots__ = ("_fields", "known_names")

    def __init__(self, fields: Sequence[tuple[bytes, bytes]], known: Mapping[bytes, list[bytes]] | None = None) -> None:
        self._made = None
        self._fields = fields
        #: The result of :func:`by_name`, once somebody asked; :data:`None` again once the fields are ordinary. Only to
        #: be read.
        self.known_names = known

    def getRawHeaders(self, name: Any, default: Any = None) -> Any:
        """:returns: the values of all fields of this name, in any case, in order; else the default"""
        known = self.known_names
        if known is None and self._made is None:
            known = self.known_names = by_name(self._fields)
        if known is not None and type(name) is bytes:
            return known.get(name.lower(), default)
        return super().getRawHeaders(name, default)

    def _take_fields(self) -> Iterable[tuple[bytes, bytes]]:
        known = self.known_names or by_name(self._fields)
        self._fields, self.known_names = (), None
        return [(name, value) for name, values in known.items() for value in values]


def has_any(headers: Headers, names: frozenset[bytes]) -> bool:
    """:returns: whether a field has one of these names, given in lower case"""
    known = getattr(headers, "known_names", None)
    if known is None:
        # Not hasHeader(), for which an answer's fields would become ordinary ones. By the first of these questions an
        # answer gets to know its names.
        for name in names:
            if headers.getRawHeaders(name) is not None:
                return True
            if (known := getattr(headers, "known_names", None)) is not None:
                break
        else:
            return False
    # However many names are asked for.
    return not names.isdisjoint(known)
