"""Requests: their bodies are kept in memory and bounded while they arrive."""

from __future__ import annotations

from tests.gate import http_request
from tests.unit.net.http1.test_channel import MAX_BODY, ChannelTestCase


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

    def test_body_stays_in_memory(self) -> None:
        """twisted.web would write a body of over 100,000 bytes into a file."""
        self.site.max_body = 200_000
        self.rules.judge = lambda head: None  # type: ignore[method-assign]  # this test needs no rules
        self.site.judge = self.rules.judge
        wire = self.connect()
        wire.deliver(http_request("PUT", "/wait", b"a" * 200_000))
        (request,) = self.rules.waiting
        self.assertEqual(type(request.content).__name__, "BytesIO")
