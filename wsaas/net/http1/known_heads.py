"""Heads of answers that were read before.

An API answers most messages alike. A head that is, byte for byte, one that the parser has read means what it meant
then; so an answer with such a head, a ``Content-Length``, and exactly that many bytes behind it is not parsed again.
"""

from __future__ import annotations

from wsaas.net.http1.messages import AnswerHead
from wsaas.net.http1.parser import AnswerParser

#: How many heads are remembered, and how long one may be.
_MAX_REMEMBERED, _MAX_HEAD = 256, 1024
#: How many answers are parsed without a look, where heads differ from answer to answer and looking is a waste.
_PAUSE = 4096
#: No head: no answer has as many bytes.
_NONE = (b"", 0, -1, AnswerHead(0, (b"HTTP", 1, 1), ()))


class KnownAnswers:
    """The memory of heads. ``Date`` makes each a new one every second, so it is emptied now and then."""

    __slots__ = ("_hits", "_known", "_last", "_paused")

    def __init__(self) -> None:
        #: What each means, and how many bytes its body has.
        self._known: dict[bytes, tuple[AnswerHead, int]] = {}
        #: The one that was read last, which often is the next one, too: its bytes, how many these are, how many all of
        #: the answer has, and what they mean.
        self._last: tuple[bytes, int, int, AnswerHead] = _NONE
        self._hits = 0
        self._paused = 0

    def read(self, data: bytes) -> tuple[AnswerHead, bytes] | None:
        """Read one complete answer with a known head.

        :param data: everything that has come since the request was sent
        :returns: the head, and the body; :data:`None` if the answer must be parsed
        """
        lines, size, length, head = self._last
        if len(data) == length and data.startswith(lines):
            self._hits += 1
            return head, data[size:]
        if self._paused:
            return None
        size = data.find(b"\r\n\r\n", 0, _MAX_HEAD) + 4
        lines = data[:size]
        known = self._known.get(lines)
        if known is None or len(data) != size + known[1]:
            return None
        self._hits += 1
        self._last = lines, size, len(data), known[0]
        return known[0], data[size:]

    def learn(self, data: bytes, parser: AnswerParser, head: AnswerHead) -> None:
        """Remember the head of an answer.

        :param data: everything that has come since the request was sent
        :param parser: has just read that, and nothing else: an answer, complete, after which the connection is kept
        :param head: what it made of the head
        """
        if self._paused:
            self._paused -= 1
            return
        size = data.find(b"\r\n\r\n", 0, _MAX_HEAD) + 4
        length = parser.plain_length
        # A 1xx before it, or anything else that the end of the head does not show, makes the sum wrong.
        if size < 4 or length is None or size + length != len(data):
            return
        if len(self._known) >= _MAX_REMEMBERED:
            if self._hits < _MAX_REMEMBERED:
                self._paused = _PAUSE
            self._known.clear()
            self._last = _NONE
            self._hits = 0
        self._known[data[:size]] = head, length
