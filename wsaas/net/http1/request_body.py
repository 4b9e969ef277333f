"""Request bodies, while they arrive."""

from __future__ import annotations

import re

from twisted.web.http import _ChunkedTransferDecoder, _MalformedChunkedDataError

from wsaas.net.http1.messages import RequestHead
from wsaas.net.http1.route import Route

#: The size of a chunk without extensions.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")


def read_chunks(data: bytes, at: int, limit: int) -> tuple[bytes, int] | None:
    """Read a chunked body that is there as a whole and has neither extensions nor trailers, as most.

    :param at: where in what came it begins
    :param limit: bytes that it may have
    :returns: it, and where it ends; :data:`None` if it is to be read as it comes
    """
    parts: list[bytes] = []
    while (size := _SIZE.match(data, at)) is not None:
        at = size.end()
        end = at + int(size[1], 16)
        if data[end : end + 2] != b"\r\n":
            return None
        if end == at:
            content = parts[0] if len(parts) == 1 else b"".join(parts)
            return (content, end + 2) if len(content) <= limit else None
        parts.append(data[at:end])
        at = end + 2
    return None


class RequestBody:
    """The body of one request, in memory.

    :param head: of the request
    :param route: what it is; :data:`None` if it was refused, and its body is thrown away
    :param limit: bytes that a chunked one may have
    """

    __slots__ = ("_decoder", "_missing", "_parts", "_rest", "head", "limit", "reserved", "route", "size")

    def __init__(self, head: RequestHead, route: Route | None, limit: int) -> None:
        self.head = head
        self.route = route
        self.limit = limit
        #: Bytes that a budget has for it.
        self.reserved = 0
        #: Bytes that are there.
        self.size = 0
        self._parts: list[bytes] = []
        # Twisted's decoder names lists only, so that no cycle is left of it.
        self._rest: list[bytes] = []
        self._missing = head.length or 0
        self._decoder: _ChunkedTransferDecoder | None = None
        if head.length is None:
            self._decoder = _ChunkedTransferDecoder(self._parts.append, self._rest.append)

    @property
    def is_too_long(self) -> bool:
        """Whether a chunked one outgrew its limit."""
        return self._decoder is not None and self.size > self.limit

    def take(self, data: bytes, at: int) -> int:
        """Take what came.

        :param at: where in it the body goes on
        :returns: where the body ends; negative if it does not yet
        :raises ValueError: if its chunks are malformed
        """
        if self._decoder is not None:
            return self._decode(self._decoder, data, at)
        end = at + self._missing
        part = data[at:end]
        self._missing -= len(part)
        self.size += len(part)
        if self.route is not None:
            self._parts.append(part)
        return -1 if self._missing else end

    def _decode(self, decoder: _ChunkedTransferDecoder, data: bytes, at: int) -> int:
        known = len(self._parts)
        try:
            decoder.dataReceived(data[at:])
        except _MalformedChunkedDataError as error:
            raise ValueError("malformed chunks") from error
        finally:
            self.size += sum(map(len, self._parts[known:]))
        return len(data) - len(self._rest[0]) if self._rest else -1

    @property
    def content(self) -> bytes:
        """All of it."""
        return b"".join(self._parts)
