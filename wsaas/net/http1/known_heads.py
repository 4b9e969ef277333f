"""Heads of answers that were read before.

An API answers most messages alike. A head that is, byte for byte, one that the parser has read means what it meant
then; so an answer with such a head, a ``Content-Length``, and exactly that many bytes behind it is not parsed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from wsaas.net.http1.headers import by_name
from wsaas.net.http1.parser import AnswerParser

#: How many heads are remembered, and how long one may be.
_MAX_REMEMBERED, _MAX_HEAD = 256, 1024
#: How many answers are parsed without a look, where heads differ from answer to answer and looking is a waste.
_PAUSE = 4096


class KnownHead(NamedTuple):
    """What the head of a complete answer says, after which the connection is kept.

    :param status: the HTTP status
    :param version: of HTTP
    :param fields: its header fields, as they came
    :param by_name: the same, as :class:`~wsaas.net.http1.headers.AnswerHeaders` have them
    :param length: bytes of the body
    """

    status: int
    version: tuple[bytes, int, int]
    fields: Sequence[tuple[bytes, bytes]]
    by_name: Mapping[bytes, list[bytes]]
    length: int


class KnownAnswers:
    """The memory of heads. ``Date`` makes each a new one every second, so it is emptied now and then."""

    __slots__ = ("_hits", "_known", "_last", "_paused")

    def __init__(self) -> None:
        self._known: dict[bytes, KnownHead] = {}
        #: The one that was read last, which often is the next one, too: its bytes, how many these are, what they mean.
        self._last: tuple[bytes, int, KnownHead] | None = None
        self._hits = 0
        self._paused = 0

    def read(self, data: bytes) -> tuple[KnownHead, bytes] | None:
        """Read one complete answer with a known head.

        :param data: everything that has come since the request was sent
        :returns: what the head says, and the body; :data:`None` if the answer must be parsed
        """
        last = self._last
        if last is not None and len(data) == last[1] + last[2].length and data.startswith(last[0]):
            self._hits += 1
            return last[2], data[last[1] :]
        if self._paused:
            return None
        body = data.find(b"\r\n\r\n", 0, _MAX_HEAD) + 4
        head = data[:body]
        known = self._known.get(head)
        if known is None or len(data) != body + known.length:
            return None
        self._hits += 1
        self._last = head, body, known
        return known, data[body:]

    def learn(self, data: bytes, parser: AnswerParser) -> None:
        """Remember the head of an answer.

        :param data: everything that has come since the request was sent
        :param parser: has just read that, and nothing else: an answer, complete, after which the connection is kept
        """
        if self._paused:
            self._paused -= 1
            return
        end = data.find(b"\r\n\r\n", 0, _MAX_HEAD) + 4
        length = parser.plain_length
        # A 1xx before it, or anything else that the end of the head does not show, makes the sum wrong.
        if end < 4 or length is None or end + length != len(data):
            return
        if len(self._known) >= _MAX_REMEMBERED:
            if self._hits < _MAX_REMEMBERED:
                self._paused = _PAUSE
            self._known.clear()
            self._last = None
            self._hits = 0
        self._known[data[:end]] = KnownHead(
            parser.status, parser.version, parser.fields, by_name(parser.fields), length
        )
