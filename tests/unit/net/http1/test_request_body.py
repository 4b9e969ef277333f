"""Bodies of requests: in memory, and bounded while they arrive."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import http_request, read_answers
from tests.properties import moderately
from tests.unit.net.http1.test_server import MAX_BODY, ChannelTestCase
from wsaas.net.http1.messages import FAULT, RequestFields, RequestHead
from wsaas.net.http1.request_body import RequestBody, read_chunks

#: Of which chunked bodies are made, well or badly.
PIECES = (
    b"3\r\nabc\r\n",
    b"00A\r\n0123456789\r\n",
    b"0\r\n",
    b"\r\n",
    b"1;a\r\n!\r\n",
    b"f\r\n",
    b"-1\r\n",
    b"T: x\r\n",
    b"\n",
    b"0",
)


class WholeTests(SynchronousTestCase):
    """Chunked bodies that have come as a whole."""

    def test_usual(self) -> None:
        """One chunk or several, and where the next request begins."""
        for stream, content in (
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
            (b"a\r\n0123456789\r\n1\r\n!\r\n0\r\n\r\n", b"0123456789!"),
            (b"0\r\n\r\n", b""),
        ):
            self.assertEqual(read_chunks(b"head" + stream + b"PUT", 4, 11), (content, 4 + len(stream)))

    def test_unusual(self) -> None:
        """Not whole, too long, with extensions or trailers, or malformed: all of that is read as it comes."""
        for stream in (
            b"",
            b"5\r\nhello\r\n0\r\n\r",
            b"5\r\nhello\r\n",
            b"c\r\n0123456789!!\r\n0\r\n\r\n",
            b"5;a=b\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhello\r\n0\r\nA: b\r\n\r\n",
            b"5\nhello\n0\n\n",
            b"4\r\nhello\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"000000005\r\nhello\r\n0\r\n\r\n",
        ):
            self.assertIsNone(read_chunks(stream, 0, 11), stream)

    @moderately
    @given(st.lists(st.sampled_from(PIECES), max_size=8), st.integers(0, 30))
    def test_as_twisted_reads(self, pieces: list[bytes], limit: int) -> None:
        """What is read at once is what is read as it comes."""
        stream = b"".join(pieces)
        whole = read_chunks(stream, 0, limit)
        if whole is not None:
            head = RequestHead(b"PUT", b"/", b"HTTP/1.1", RequestFields([(b"Transfer-Encoding", b"chunked")]))
            head.fields.length = None
            body = RequestBody(head, FAULT, limit)
            self.assertEqual((body.take(stream, 0), body.content, body.is_too_long), (whole[1], whole[0], False))


class BodyTests(ChannelTestCase):
    """Bodies are bounded while they arrive."""

    CHUNKED = http_request("PUT", "/x", None, ("Transfer-Encoding", "chunked"))

    def test_chunked_body(self) -> None:
        """Its chunks are put together, its trailers ignored."""
        wire = self.connect()
        wire.deliver(self.CHUNKED + b"5\r\nhello\r\n1;ext=1\r\n!\r\n0\r\nTrailer: x\r\n\r\n")
        self.assertEqual(self.only(wire).body, b"hello!")

    def test_chunked_body_of_just_the_limit(self) -> None:
        """The limit is inclusive."""
        wire = self.connect()
        wire.deliver(self.CHUNKED + b"64\r\n" + b"a" * MAX_BODY + b"\r\n0\r\n\r\n")
        self.assertEqual(self.only(wire).body, b"a" * MAX_BODY)

    def test_chunked_body_is_cut_at_the_limit(self) -> None:
        """It is not awaited, and nothing of it is used."""
        wire = self.connect()
        wire.deliver(self.CHUNKED + b"fffffff\r\n" + b"a" * MAX_BODY)
        self.assertEqual(wire.take(), b"")
        wire.deliver(b"a")
        answer = self.only(wire)
        self.assertEqual((answer.status, answer.json["code"]), (413, "MESSAGE_TOO_LONG"))
        self.assertIn("WS_MAX_MESSAGE", answer.json["message"])
        self.assertEqual(self.rules.bodies, [])
        self.assert_leaves(wire)

    def test_chunked_body_over_the_limit_that_came_whole(self) -> None:
        """One answer, then the end."""
        wire = self.connect()
        chunk = b"33\r\n" + b"a" * 51 + b"\r\n"
        wire.deliver(self.CHUNKED + chunk * 3 + b"0\r\n\r\n" + http_request("PUT", "/x", b"next"))
        self.assertEqual(self.only(wire).status, 413)
        self.assertEqual(self.rules.bodies, [])
        self.assert_leaves(wire)

    def test_chunks_behind_the_limit_are_not_looked_at(self) -> None:
        """Even where they are malformed, there is one answer."""
        wire = self.connect()
        wire.deliver(self.CHUNKED + b"65\r\n" + b"a" * 101 + b"\r\nnonsense\r\n")
        self.assertEqual(self.only(wire).status, 413)
        self.assert_leaves(wire)

    def test_a_run_of_chunked_bodies(self) -> None:
        """One ends where the next request begins, wherever segments end."""
        stream = (self.CHUNKED + b"5\r\nhello\r\n0\r\n\r\n") * 3
        for cut in range(len(stream)):
            wire = self.connect()
            wire.deliver(stream[:cut])
            wire.deliver(stream[cut:])
            self.assertEqual([answer.body for answer in read_answers(wire.take())], [b"hello"] * 3)

    def test_malformed_chunks(self) -> None:
        """400, and nothing of the body is used."""
        wire = self.connect()
        wire.deliver(self.CHUNKED + b"5\r\nhello\r\nnonsense\r\n")
        self.assertEqual(self.only(wire).status, 400)
        self.assertEqual(self.rules.bodies, [])
        self.assert_leaves(wire)

    def test_too_long_for_head(self) -> None:
        """The answer to HEAD has no body, whatever it is."""
        wire = self.connect()
        wire.deliver(self.CHUNKED.replace(b"PUT", b"HEAD") + b"65\r\n" + b"a" * 101)
        self.assertEqual(self.only(wire, head_only=True).status, 413)

    def test_a_body_in_many_pieces(self) -> None:
        """As one."""
        wire = self.connect()
        for byte in http_request("PUT", "/x", b"hello") * 2:
            wire.deliver(bytes([byte]))
        self.assertEqual([answer.body for answer in read_answers(wire.take())], [b"hello"] * 2)
