"""Request heads: from bytes to :class:`.RequestHead`, each parsed once.

The request line is read here, as strictly as RFC 9112 §3 has it; header lines are read by httptools. Pushers send the
same header lines again and again: those that were read before are not read again.
"""

from __future__ import annotations

import re

from httptools import HttpParserError, HttpRequestParser

from wsaas.net.http1.messages import MAX_SWALLOWED, RequestFields, Response, text_response

#: Bytes of a head, the ends of its lines not counted, and of its first line, unless a site is told otherwise; and how
#: many header lines it may have.
MAX_HEAD = 16384
MAX_LINES = 500
#: Bytes of the ends of so many lines: how much further the end of a head is looked for.
ENDS = 2 * (MAX_LINES + 2)
#: How many different blocks of header lines are remembered, and how long one may be.
_MAX_REMEMBERED, _MAX_BLOCK = 512, 4096
#: Digits of a Content-Length. Python refuses to read thousands of them.
_MAX_LENGTH_DIGITS = 18

#: A request line with its end. httptools takes some that nobody may send: two blanks, ICE/1.0, empty lines before it.
REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++) ([\x21-\xb0]++) (HTTP/1\.[01])\r\n")

_MALFORMED = text_response(400, "malformed request")
_LINE_TOO_LONG = text_response(414, "the request's head is too long (WS_MAX_TARGET)")
_HEAD_TOO_LONG = text_response(431, "the request's head is too long (WS_MAX_HEADERS)")
_TOO_MANY_LINES = text_response(431, f"the request's head is over {MAX_LINES} lines")


class _ParsedFields(RequestFields):
    """Fields that httptools reads."""

    __slots__ = ()
    #: What it calls for each; and what it looks for and need not call.
    on_header = RequestFields.add
    on_message_begin = on_url = on_status = on_headers_complete = on_body = on_message_complete = None
    on_chunk_header = on_chunk_complete = None


def _read_length(fields: RequestFields) -> int | None:
    """:returns: the body's length; :data:`None` if it is chunked

    :raises ValueError: if two readers could differ about it (RFC 9112 §6.3)
    """
    encodings, lengths = fields.by_name.get(b"transfer-encoding"), fields.by_name.get(b"content-length")
    if encodings:
        if lengths or len(encodings) > 1 or encodings[0].lower() != b"chunked":
            raise ValueError("not the one coding that is read")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not lengths[0].isdigit() or len(lengths[0]) > _MAX_LENGTH_DIGITS:
        raise ValueError("not one length")
    return int(lengths[0])


def read_fields(block: bytes) -> RequestFields | None:
    """Read header lines.

    :param block: all of a head's, each with its end
    :returns: :data:`None` if they are malformed
    """
    fields: RequestFields = _ParsedFields()
    parser = HttpRequestParser(fields)
    try:
        # One more name has the last field told, and the head goes on: at its end httptools would raise an exception
        # if an upgrade is asked for. What it looks at there is looked at below.
        parser.feed_data(b"PUT / HTTP/1.1\r\n" + block + b"A:")
    except HttpParserError:
        return None
    if b" \r\n" in block or b"\t\r\n" in block:
        # httptools leaves blanks behind values, which hardly anybody sends.
        fields = RequestFields(
            (name, value.strip(b" \t")) for name, values in fields.by_name.items() for value in values
        )
    try:
        length = fields.length = _read_length(fields)
    except ValueError:
        return None
    by_name = fields.by_name
    fields.closes = b"connection" in by_name and b"close" in fields.tokens(b"Connection")
    fields.expects = b"expect" in by_name
    fields.is_plain = length is not None and length <= MAX_SWALLOWED and not fields.closes and not fields.expects
    return fields


class KnownFields:
    """Blocks of header lines that were read before, and are worth remembering (:attr:`.RequestFields.keep`)."""

    __slots__ = ("_known", "get")

    def __init__(self) -> None:
        self._known: dict[bytes, RequestFields] = {}
        #: Takes as long for nearly a right token in a block as for any other: found by its hash, which nobody outside
        #: knows.
        self.get = self._known.get

    def __len__(self) -> int:
        """:returns: how many there are"""
        return len(self._known)

    def add(self, block: bytes, fields: RequestFields) -> None:
        """Remember a block, if it is not too long."""
        if len(block) <= _MAX_BLOCK:
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            self._known[block] = fields


def _excess(size: int, ends: int, most: int) -> Response | None:
    """:returns: the refusal of a head that has too many bytes or lines

    :param size: its bytes
    :param ends: how many ends of lines there are
    :param most: bytes that it may have
    """
    if size - 2 * ends > most:
        return _HEAD_TOO_LONG
    return _TOO_MANY_LINES if ends - 1 > MAX_LINES else None


def _end_of_allowed(part: bytes, most: int) -> int:
    """:returns: where those lines end that are not too many and not too long"""
    size = at = 0
    for _ in range(MAX_LINES + 1):
        end = part.find(b"\r\n", at)
        size += end - at
        if end < 0 or size > most:
            break
        at = end + 2
    return at


def refuse_part(part: bytes, known: int = 0, most: int = MAX_HEAD) -> Response | None:
    """Look whether a head can be refused, complete or not: for the first thing that is wrong with it.

    :param part: from the beginning of its first line
    :param known: so many bytes were looked at before: a head that trickles is not parsed again for each byte
    :param most: bytes that it may have
    """
    size = len(part) - part.endswith(b"\r")
    end = part.find(b"\r\n")
    if end < 0:
        return _LINE_TOO_LONG if size > most else None
    if end > most:
        return _LINE_TOO_LONG
    excess = _excess(size, part.count(b"\r\n"), most)
    last = part.rfind(b"\r\n") + 2 if excess is None else _end_of_allowed(part, most)
    if last > known and (REQUEST_LINE.match(part) is None or read_fields(part[end + 2 : last]) is None):
        return _MALFORMED
    return excess


def read_block(head: bytes, begin: int, most: int = MAX_HEAD) -> RequestFields | Response:
    """Read the header lines of a complete head that are not known.

    :param head: all of it but the empty line
    :param begin: where they begin
    :param most: bytes that it may have
    :returns: what they say, or why they are refused
    """
    # A line has four bytes at least.
    if len(head) > 4 * MAX_LINES and (excess := _excess(len(head), head.count(b"\r\n"), most)) is not None:
        return refuse_part(head, 0, most) or excess
    fields = read_fields(head[begin:])
    return _MALFORMED if fields is None else fields
