"""Heads of answers that were read before: a remembered answer is read as the parser would read it."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from tests.unit.net.http1.test_client_differential import EDITS, edited
from wsaas.errors import Unusable
from wsaas.net.http1.headers import AnswerHeaders
from wsaas.net.http1.known_heads import _MAX_REMEMBERED, _PAUSE, KnownAnswers
from wsaas.net.http1.parser import AnswerParser, MalformedAnswer

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nWs-State: a\r\n\r\nOK"
ANSWERS = [
    PLAIN,
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK",
    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nOK",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\r\n\r\n",
    b"HTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\n",
]

Read = tuple[int, list[tuple[bytes, Sequence[bytes]]], bytes]


def parsed(parser: AnswerParser, data: bytes) -> Read | None:
    """:returns: what a parser makes of an answer after which the connection is kept"""
    parser.expect(False, 1 << 20)
    try:
        complete = parser.feed(data)
    except (MalformedAnswer, Unusable):
        return None
    if not complete or not parser.keep:
        return None
    return (parser.status, list(parser.head().headers.getAllRawHeaders()), parser.body())


class KnownAnswersTests(SynchronousTestCase):
    """The memory of heads."""

    def setUp(self) -> None:
        self.known = KnownAnswers()

    def teach(self, data: bytes) -> Read | None:
        """Have a new parser read an answer, and remember it."""
        parser = AnswerParser()
        read = parsed(parser, data)
        if read is not None:
            self.known.learn(data, parser, parser.head())
        return read

    def read(self, data: bytes) -> Read | None:
        """:returns: what is remembered of an answer"""
        found = self.known.read(data)
        return (
            None
            if found is None
            else (found[0].status, list(AnswerHeaders(found[0].fields).getAllRawHeaders()), found[1])
        )

    def test_the_same_head_again(self) -> None:
        """With the body that comes with it now."""
        self.assertIsNone(self.read(PLAIN))
        self.teach(PLAIN)
        self.assertEqual(self.read(PLAIN[:-2] + b"no"), (200, [(b"Ws-State", [b"a"])], b"no"))

    def test_only_a_whole_answer_and_nothing_more(self) -> None:
        """A part of it, or a byte behind it, is the parser's."""
        self.teach(PLAIN)
        for data in (PLAIN[:-1], PLAIN[:-2], PLAIN[:20], b"", PLAIN + b"\r", PLAIN + PLAIN):
            self.assertIsNone(self.read(data))

    def test_what_is_not_remembered(self) -> None:
        """A length must say where the answer ends."""
        for data in ANSWERS[3:7]:
            self.teach(data)
            self.assertIsNone(self.read(data), data)

    def test_long_heads_are_not_remembered(self) -> None:
        """They would be much memory."""
        data = PLAIN.replace(b"a\r\n", b"a" * 1100 + b"\r\n")
        self.assertIsNotNone(self.teach(data))
        self.assertIsNone(self.read(data))

    def test_bounded(self) -> None:
        """When there are too many, it begins anew; if none of them ever came again, it waits for a while."""
        for number in range(_MAX_REMEMBERED):
            self.teach(PLAIN.replace(b"a", b"%d" % number))
        self.teach(PLAIN)
        self.assertIsNone(self.read(PLAIN.replace(b"a", b"1")))
        for _ in range(_PAUSE):
            self.assertIsNone(self.read(PLAIN))
            self.teach(PLAIN)
        self.teach(PLAIN)
        self.assertIsNotNone(self.read(PLAIN))

    def test_heads_that_come_again_are_worth_it(self) -> None:
        """A new Date each second does not make it stop."""
        for number in range(3 * _MAX_REMEMBERED):
            data = PLAIN.replace(b"a", b"%d" % number)
            self.teach(data)
            self.assertIsNotNone(self.read(data), number)

    @moderately
    @given(st.sampled_from(ANSWERS), st.one_of(st.just([]), EDITS), st.sampled_from(ANSWERS))
    def test_as_the_parser_reads(self, first: bytes, edits: list[tuple[int, int, bytes]], second: bytes) -> None:
        """Whatever came before: what is remembered of an answer is what a parser says of it."""
        self.known = KnownAnswers()
        altered = edited(first, edits)
        self.teach(altered)
        for data in (altered, first, second, altered + second):
            read = self.read(data)
            if read is not None:
                self.assertEqual(read, parsed(AnswerParser(), data))
