"""HTTP answers out of bytes: httptools, with what it does not look at. No I/O.

httptools (llhttp) is strict about lines, fields, lengths and chunks. It does not see, and this module does: a body that
ends with the connection, answers to HEAD, ``1xx`` before the answer, transfer codings other than ``chunked``, and any
bound. Its callbacks only collect; nothing is passed on before ``feed_data`` has returned.
"""

from __future__ import annotations

from typing import Any

from httptools import HttpParserError, HttpResponseParser
from twisted.web._newclient import ParseError  # what Agent fails with; twisted.web.client does not export it

from wsaas.net.http1.messages import AnswerHead

#: Bytes of an answer's head, of everything before the answer, and of its trailers.
MAX_HEAD = 1 << 16
#: Framing is at most so much longer than what it frames: a chunk of one byte needs five around it.
_MAX_FRAMING = 8
_SWITCHING_PROTOCOLS = 101
_NO_BODY = (204, 304)


class MalformedAnswer(ParseError):
    """What came is not an HTTP answer to what was asked.

    :param reason: why, for the log
    """

    def __init__(self, reason: str) -> None:
        Exception.__init__(self, reason)
        self.data = b""
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class _Stop(Exception):
    """Parse no further."""


class AnswerParser:
    """Reads the answers of one connection, one after the other.

    Only httptools calls the methods named ``on_…``.
    """

    __slots__ = (
        "_chunked",
        "_collected",
        "_fault",
        "_feed",
        "_head_only",
        "_max_body",
        "_parser",
        "_parts",
        "_size",
        "complete",
        "fields",
        "keep",
        "open_ended",
        "received",
        "status",
    )

    def __init__(self) -> None:
        self._parser: Any = HttpResponseParser(self)
        self._feed: Any = self._parser.feed_data
        self._collected: list[tuple[bytes, bytes]] = []
        #: Whether the answer ended with the connection, and nothing says that this was meant to be.
        self.open_ended = False
        self.expect(False, 0)

    def close(self) -> None:
        """Let go of httptools' parser, which holds this one: no garbage is left to the collector."""
        self._parser = self._feed = None

    def expect(self, head_only: bool, max_body: int) -> None:
        """An answer will come.

        :param head_only: the request is a HEAD
        :param max_body: bytes of its body that are accepted
        """
        self._head_only = head_only
        self._max_body = max_body
        self._size = 0
        self._chunked = False
        self._fault: Exception | None = None
        #: Bytes that came before the last ones.
        self.received = 0
        #: Its status; 0 until its head is complete.
        self.status = 0
        self._parts: list[bytes] = []
        self.complete = False
        #: Whether the connection may be used again after it.
        self.keep = False
        #: Its header fields, as they came.
        self.fields: list[tuple[bytes, bytes]] = []

    @property
    def plain_length(self) -> int | None:
        """Bytes of the body of a complete answer that says how many they are; :data:`None` if it was chunked."""
        return None if self._chunked else self._size

    @property
    def cut(self) -> bool:
        """Whether the body is longer than is accepted: the answer ends there, without a body."""
        return self._size > self._max_body

    def head(self) -> AnswerHead:
        """:returns: the head of a complete answer"""
        major, minor = self._parser.get_http_version().split(".")
        return AnswerHead(self.status, (b"HTTP", int(major), int(minor)), self.fields)

    def _values(self, name: bytes) -> list[bytes]:
        """:returns: the values of a field, of those about the connection, too"""
        return [value.strip(b" \t") for key, value in self.fields if key.lower() == name]

    def body(self) -> bytes:
        """:returns: all of its body"""
        parts = self._parts
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def feed(self, data: bytes) -> bool:
        """Read what came.

        :returns: whether the answer is complete
        :raises MalformedAnswer: if it is not one
        """
        if len(data) > MAX_HEAD:
            return self._feed_slices(data)
        try:
            self._feed(data)
        except HttpParserError as error:
            if not self.complete:
                raise self._fault or MalformedAnswer(str(error)) from None
            # The answer is whole, or cut; what follows was not asked for.
            self.keep = False
            return True
        if self.complete:
            return True
        self.received = received = self.received + len(data)
        if received > MAX_HEAD and (not self.status or received - self._size > MAX_HEAD + _MAX_FRAMING * self._size):
            raise MalformedAnswer(f"more than {MAX_HEAD} bytes of head, chunk extensions or trailers")
        return False

    def _feed_slices(self, data: bytes) -> bool:
        for start in range(0, len(data), MAX_HEAD):
            if self.feed(data[start : start + MAX_HEAD]):
                self.keep = self.keep and start + MAX_HEAD >= len(data)
                return True
        return False

    def end(self) -> bool:
        """The connection ended, and the other side meant it to.

        :returns: whether that was the end of the answer (RFC 9112 §6.3, rule 8)
        """
        if self.status and not self.complete:
            framed = self._values(b"content-length") or self._values(b"transfer-encoding")
            self.complete = self.open_ended = not framed
        return self.complete

    def on_message_begin(self) -> None:
        """The first byte of an answer."""
        if self.complete:
            raise _Stop
        # The trailers of the answer before, which are not what a head says (RFC 9110 §6.5.1), end here.
        self._collected.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field, of the head or of the trailers."""
        self._collected.append((name, value))

    def on_headers_complete(self) -> None:
        """The end of a head."""
        status = self._parser.get_status_code()
        fields, self._collected = self._collected, []
        if status < 200:
            if status < 100 or status == _SWITCHING_PROTOCOLS:
                self._stop(MalformedAnswer(f"status {status} was not asked for"))
            return
        if self.received and sum(len(name) + len(value) for name, value in fields) > MAX_HEAD:
            self._stop(MalformedAnswer(f"more than {MAX_HEAD} bytes of head"))
        self.fields = fields
        self.status = status
        self.keep = self._parser.should_keep_alive()
        if self._head_only:
            # httptools would wait for the body that the head describes.
            self.keep = False
            self.complete = True
            raise _Stop

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        if not self._chunked:
            self._chunked = True
            codings = self._values(b"transfer-encoding")
            if len(codings) != 1 or codings[0].lower() != b"chunked":
                self._stop(MalformedAnswer("a transfer coding other than chunked"))

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._size += len(data)
        if self._size > self._max_body:
            # Who reads the answer may need no more of it than its head.
            self._parts.clear()
            self.complete = True
            raise _Stop
        self._parts.append(data)

    def on_message_complete(self) -> None:
        """The end of an answer, or of a ``1xx`` before it."""
        status = self.status
        if status:
            self.complete = True
            if status in _NO_BODY and self._is_framed():
                self.keep = False

    def _is_framed(self) -> bool:
        """:returns: whether the head of an answer without a body speaks of one, which may follow all the same"""
        lengths = self._values(b"content-length")
        return any(length.strip(b"0") for length in lengths) or bool(self._values(b"transfer-encoding"))

    def _stop(self, fault: Exception) -> None:
        self._fault = fault
        raise _Stop
