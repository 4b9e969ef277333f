"""The parser of the API's answers: what counts as one, its bounds, and whether the connection may be used again."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from wsaas.net.http1.parser import MAX_HEAD, AnswerParser, MalformedAnswer

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH_0 = OK + b"Content-Length: 0\r\n\r\n"


def awaiting(*, head_only: bool = False, max_body: int = 1000) -> AnswerParser:
    """:returns: a parser that awaits an answer"""
    parser = AnswerParser()
    parser.expect(head_only, max_body)
    return parser


def slices(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """:returns: the data in pieces"""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in pairwise(places)]


def outcome(pieces: Sequence[bytes], *, head_only: bool = False, max_body: int = 1000) -> object:
    """:returns: the answer that the pieces make, "incomplete", "cut", or the type of the error"""
    parser = awaiting(head_only=head_only, max_body=max_body)
    try:
        for piece in pieces:
            if parser.feed(piece):
                return (
                    "cut"
                    if parser.cut
                    else (parser.status, list(parser.head().headers.getAllRawHeaders()), parser.body())
                )
    except MalformedAnswer as error:
        return type(error)
    return "incomplete"


STREAMS = [
    LENGTH_0,
    OK + b"Server: x\r\nContent-Length: 5\r\nWs-State: \r\n\r\nhello",
    CHUNKED + b"5\r\nhello\r\n1;a=b\r\n!\r\n0\r\nWs-Close: 1000\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nx",
    b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n",
    OK + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello",
    OK + b"\r\nuntil the end",
    OK + b"Content-Length: 2000\r\n\r\n" + b"x" * 2000,
]


class AnswersTests(SynchronousTestCase):
    """What is an answer."""

    @moderately
    @given(stream=st.sampled_from(STREAMS), cuts=st.lists(st.integers(0, 4000), max_size=12))
    def test_slices(self, stream: bytes, cuts: list[int]) -> None:
        """Where the network cuts an answer makes no difference."""
        self.assertEqual(outcome(slices(stream, cuts)), outcome([stream]))

    def test_bytewise(self) -> None:
        """Nor if it comes byte by byte."""
        for stream in STREAMS:
            self.assertEqual(outcome([stream[i : i + 1] for i in range(len(stream))]), outcome([stream]), stream)

    def test_content(self) -> None:
        """Status, fields and body are what was sent; empty fields stay apart from the next."""
        fields = [(b"Server", [b"x"]), (b"Ws-State", [b""])]
        self.assertEqual(outcome([STREAMS[1]]), (200, fields, b"hello"))

    def test_trailers(self) -> None:
        """Trailers are not headers: they ask for nothing."""
        self.assertEqual(outcome([STREAMS[2]]), (200, [], b"hello!"))

    def test_interim(self) -> None:
        """1xx are skipped, their fields, too."""
        self.assertEqual(outcome([STREAMS[3]]), (200, [], b"x"))

    def test_no_body(self) -> None:
        """204 and 304 have no body, whatever their head says."""
        for status in (b"204 No Content", b"304 Not Modified"):
            for field in (b"", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"):
                result = outcome([b"HTTP/1.1 " + status + b"\r\n" + field + b"\r\n"])
                self.assertIsInstance(result, tuple)

    def test_head(self) -> None:
        """An answer to HEAD ends with its head."""
        for head in (OK + b"Content-Length: 3\r\n\r\n", CHUNKED, OK + b"\r\n", b"HTTP/1.1 100 C\r\n\r\n" + CHUNKED):
            for pieces in ([head], [head[:20], head[20:]], [head + b"surplus"]):
                parser = awaiting(head_only=True)
                self.assertTrue([parser.feed(piece) for piece in pieces][-1], head)
                self.assertEqual((parser.status, parser.body(), parser.keep), (200, b"", False))

    def test_malformed(self) -> None:
        """What breaks HTTP's grammar is no answer."""
        for stream in (
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/1.1 99 X\r\n\r\n",
            b"HTTP/1.1 099 X\r\n\r\n",
            b"HTTP/1.1 1000 X\r\n\r\n",
            b"HTTP/1.1 +20 X\r\n\r\n",
            b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
            OK + b"A : b\r\nContent-Length: 0\r\n\r\n",
            OK + b"A: b\rWs-Close: 1000\r\nContent-Length: 0\r\n\r\n",
            OK + b"A: b\nWs-Close: 1000\r\nContent-Length: 0\r\n\r\n",
            OK + b"A: b\r\n\tfolded\r\nContent-Length: 0\r\n\r\n",
            OK + b"A: \x00\r\nContent-Length: 0\r\n\r\n",
            OK + b"no colon\r\n\r\n",
            OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
            OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na",
            OK + b"Content-Length: 1, 1\r\n\r\na",
            OK + b"Content-Length: -1\r\n\r\n",
            OK + b"Content-Length: 0x1\r\n\r\na",
            OK + b"Content-Length: " + b"9" * 40 + b"\r\n\r\na",
            OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            OK + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
            OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            OK + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            CHUNKED + b"x\r\n",
            CHUNKED + b"-1\r\n",
            CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
            CHUNKED + b"1\na\n0\n\n",
            CHUNKED + b"fffffffffffffffff\r\n",
            CHUNKED + b"0\r\nno colon\r\n\r\n",
            b"HTTP/1.1 101 X\r\n\r\n",
            b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ):
            self.assertIs(outcome([stream]), MalformedAnswer, stream)
            error = self.assertRaises(MalformedAnswer, awaiting().feed, stream)
            self.assertEqual(str(error), error.reason)
            self.assertTrue(error.reason)

    def test_reuse(self) -> None:
        """One parser reads a connection's answers, one after the other, and mixes nothing up."""
        parser = awaiting()
        self.assertTrue(parser.feed(STREAMS[2]))
        parser.expect(False, 1000)
        self.assertEqual((parser.status, parser.body()), (0, b""))
        self.assertTrue(parser.feed(STREAMS[1]))
        self.assertEqual((parser.head().headers.hasHeader(b"Ws-Close"), parser.body()), (False, b"hello"))

    def test_version(self) -> None:
        """The version is that of the answer."""
        parser = awaiting()
        parser.feed(b"HTTP/1.0 200 OK\r\n\r\n")
        self.assertEqual(parser.head().version, (b"HTTP", 1, 0))

    def test_no_garbage(self) -> None:
        """A parser that was closed goes at once, without the garbage collector."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        parser = awaiting()
        parser.feed(LENGTH_0)
        parser.close()
        del parser
        self.assertEqual([one for one in gc.get_objects() if isinstance(one, AnswerParser)], [])


class EndTests(SynchronousTestCase):
    """Answers that end where the connection ends."""

    def test_end(self) -> None:
        """A body of no stated length is complete when the connection ends as it should."""
        parser = awaiting()
        self.assertFalse(parser.feed(OK + b"\r\nall of "))
        self.assertFalse(parser.feed(b"it"))
        self.assertTrue(parser.end())
        self.assertEqual((parser.status, parser.body(), parser.open_ended), (200, b"all of it", True))

    def test_cut_short(self) -> None:
        """No other answer is."""
        for stream in (
            b"HTTP/1.1 200 OK",
            OK + b"A: b\r\n",
            OK + b"Content-Length: 3\r\n\r\nab",
            CHUNKED + b"1\r\na\r\n",
            CHUNKED + b"1\r\na\r\n0\r\n",
            OK + b"Transfer-Encoding: gzip\r\n\r\nab",
            OK + b"Transfer-Encoding: chunked, gzip\r\n\r\nab",
            b"HTTP/1.1 100 Continue\r\n\r\n",
        ):
            parser = awaiting()
            self.assertFalse(parser.feed(stream))
            self.assertFalse(parser.end(), stream)


class KeepTests(SynchronousTestCase):
    """Whether another request may go out on the connection."""

    def kept(self, stream: bytes) -> bool:
        """:returns: what the parser says after an answer"""
        parser = awaiting()
        self.assertTrue(parser.feed(stream), stream)
        return parser.keep

    def test_kept(self) -> None:
        """HTTP/1.1 keeps connections, HTTP/1.0 does when it says so."""
        for stream in (
            LENGTH_0,
            OK + b"Connection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
            CHUNKED + b"0\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        ):
            self.assertTrue(self.kept(stream), stream)

    def test_not_kept(self) -> None:
        """Nothing is sent after ``close``, to HTTP/1.0, or where a body may follow that does not belong there."""
        for stream in (
            OK + b"Connection: close\r\nContent-Length: 1\r\n\r\nx",
            OK + b"Connection: x, Close\r\nContent-Length: 1\r\n\r\nx",
            b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        ):
            self.assertFalse(self.kept(stream), stream)

    def test_surplus(self) -> None:
        """More than was asked for: the answer counts, the rest does not, and the connection is over."""
        for surplus in (b"H", b"x", b"HTTP/1.1 500 No\r\nContent-Length: 1\r\nWs-Close: 1000\r\n\r\ny", b"\x00"):
            parser = awaiting()
            self.assertTrue(parser.feed(OK + b"Content-Length: 1\r\n\r\nx" + surplus))
            self.assertEqual((parser.status, parser.body(), parser.keep), (200, b"x", False))
            self.assertFalse(parser.head().headers.hasHeader(b"Ws-Close"))

    def test_surplus_after_close(self) -> None:
        """So, too, behind an answer that closes."""
        self.assertFalse(self.kept(OK + b"Connection: close\r\nContent-Length: 1\r\n\r\nxy"))

    def test_surplus_in_later_slices(self) -> None:
        """So, too, if there is very much of it."""
        self.assertFalse(self.kept(OK + b"Content-Length: 1\r\n\r\nx" + b"\r\n" * MAX_HEAD))


class BoundsTests(SynchronousTestCase):
    """What an answer may cost at most."""

    def test_body(self) -> None:
        """A body may be as long as was said, and no longer, however it is framed."""
        for body in (b"Content-Length: 6\r\n\r\nabcdef", b"Transfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n0\r\n\r\n"):
            self.assertIsInstance(outcome([OK + body], max_body=6), tuple)
            self.assertEqual(outcome([OK + body], max_body=5), "cut")
        self.assertEqual(outcome([OK + b"\r\nabcdef"], max_body=5), "cut")

    def test_body_while_it_comes(self) -> None:
        """The end of a body that is too long is not waited for: the answer is its head, and the connection is over."""
        parser = awaiting(max_body=5)
        parser.feed(OK + b"Content-Length: 1000000\r\n\r\nabcd")
        self.assertTrue(parser.feed(b"ef"))
        self.assertEqual((parser.status, parser.cut, parser.keep, parser.body()), (200, True, False, b""))

    def test_head(self) -> None:
        """A head is bounded, at once and in pieces, with an end and without."""
        fits = OK + b"A: " + b"a" * (MAX_HEAD - 200) + b"\r\nContent-Length: 0\r\n\r\n"
        too_long = OK + b"A: " + b"a" * MAX_HEAD + b"\r\nContent-Length: 0\r\n\r\n"
        for size in (1000, MAX_HEAD - 1, MAX_HEAD, 1 << 20):
            self.assertIsInstance(outcome(slices(fits, range(0, len(fits), size))), tuple)
            self.assertIs(outcome(slices(too_long, range(0, len(too_long), size))), MalformedAnswer, size)
        self.assertIs(outcome([OK + b"A: " + b"a" * (1 << 20)]), MalformedAnswer)

    def test_long_bodies(self) -> None:
        """The bound of heads is none of bodies."""
        stream = OK + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1_000_000
        self.assertEqual(outcome([stream[:-1]], max_body=1_000_000), "incomplete")
        for pieces in ([stream], slices(stream, range(0, len(stream), 5000))):
            self.assertIsInstance(outcome(pieces, max_body=1_000_000), tuple)

    def test_small_chunks(self) -> None:
        """Nor of chunks, small as they may be."""
        stream = CHUNKED + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n"
        self.assertIsInstance(outcome(slices(stream, range(0, len(stream), 5000)), max_body=100_000), tuple)

    def test_endless(self) -> None:
        """What never comes to an end, and is no body, is given up."""
        for begin, more in (
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
            (b"", b"\r\n" * 500),
            (CHUNKED + b"1;", b"a" * 1000),
            (CHUNKED + b"0\r\nA: ", b"a" * 1000),
            (CHUNKED + b"0\r\n", b"A: b\r\n" * 200),
        ):
            self.assertIs(outcome([begin, *[more] * 100]), MalformedAnswer, begin)
