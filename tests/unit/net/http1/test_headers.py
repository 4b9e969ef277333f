"""Header fields in another form: ordinary Headers to all who look, ready bytes to those who know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from tests.properties import moderately
from wsaas.net.http1.headers import AnswerHeaders, EncodedHeaders, by_name, encode_headers, has_any

FIELDS = [(b"Ws-Id", b"a-1"), (b"X-Tenant", b"a"), (b"WS-ID", b"a-2"), (b"Empty", b"")]
#: What may be done to headers, and what is seen.
LOOKS: list[Callable[[Headers], Any]] = [
    lambda headers: headers.hasHeader(b"ws-id"),
    lambda headers: headers.hasHeader("nothing"),
    lambda headers: has_any(headers, frozenset({b"nothing", b"ws-id"})),
    lambda headers: has_any(headers, frozenset({b"nothing", b"ws-state"})),
    lambda headers: headers.getRawHeaders(b"ws-id"),
    lambda headers: headers.getRawHeaders("Ws-Id"),
    lambda headers: headers.getRawHeaders(b"nothing", [b"default"]),
    lambda headers: list(headers.getAllRawHeaders()),
    lambda headers: list(headers.copy().getAllRawHeaders()),
    lambda headers: headers.copy() == headers,
    lambda headers: headers == ordinary(),
    lambda headers: ordinary() == headers,
    lambda headers: repr(headers).partition("(")[2],
    lambda headers: headers.addRawHeader(b"Ws-Id", b"a-3"),
    lambda headers: headers.setRawHeaders(b"X-Tenant", [b"b"]),
    lambda headers: headers.removeHeader(b"empty"),
    lambda headers: hasattr(headers, "nothing"),
]


def ordinary() -> Headers:
    """:returns: what they should look like"""
    headers = Headers()
    for field in FIELDS:
        headers.addRawHeader(*field)
    return headers


class LookTests(SynchronousTestCase):
    """Whatever is done to them, and in whichever order."""

    @moderately
    @given(st.lists(st.sampled_from(LOOKS), max_size=6))
    def test_as_ordinary_ones(self, looks: list[Callable[[Headers], Any]]) -> None:
        """They are as ordinary ones; a template of which they are a copy stays as it was."""
        lines = b"".join([b"%b: %b\r\n" % field for field in FIELDS])
        fields = [*FIELDS, (b"Content-Length", b"5"), (b"connection", b"close")]
        known = by_name(fields)
        for headers in (EncodedHeaders(lines), EncodedHeaders(lines).copy(), AnswerHeaders(fields, known)):
            expected = ordinary()
            for look in looks:
                self.assertEqual(look(headers), look(expected))
        self.assertEqual(AnswerHeaders(fields, known), ordinary())


class EncodedHeadersTests(SynchronousTestCase):
    """The header fields of a request."""

    def test_encoded(self) -> None:
        """As they were given, until somebody changes them."""
        headers = EncodedHeaders(b"ws-id: a\r\n")
        self.assertEqual(headers.encoded, b"ws-id: a\r\n")
        headers.addRawHeader(b"B", b"c")
        self.assertIsNone(headers.encoded)
        self.assertEqual(encode_headers(headers), b"Ws-Id: a\r\nB: c\r\n")

    def test_encode_headers(self) -> None:
        """Headers become lines; none of them can become two."""
        headers = Headers({b"A": [b"1", b"2"], b"B": [b"x\r\nWs-Close: 1000"]})
        self.assertEqual(encode_headers(headers), b"A: 1\r\nA: 2\r\nB: x Ws-Close: 1000\r\n")


class AnswerHeadersTests(SynchronousTestCase):
    """The header fields of an answer."""

    def test_fields(self) -> None:
        """Fields are found in any case, without the blanks around their values; repeated ones in order."""
        fields = AnswerHeaders([(b"Ws-Close", b"1000 \t"), (b"A", b""), (b"WS-CLOSE", b"4000")])
        self.assertEqual(fields.getRawHeaders(b"ws-Close"), [b"1000", b"4000"])
        self.assertEqual(fields.getRawHeaders(b"A"), [b""])
        self.assertEqual(fields.getRawHeaders(b"Ws-Clos", [b"default"]), [b"default"])
        self.assertEqual((fields.hasHeader(b"a"), fields.hasHeader(b"b")), (True, False))

    def test_any(self) -> None:
        """Whether one of several is there is told alike before and after anybody has looked, for known heads too."""
        lines = [(b"A", b"b"), (b"Ws-Close", b"1000")]
        for fields in (AnswerHeaders(lines), AnswerHeaders(lines, by_name(lines))):
            for _ in range(2):
                self.assertTrue(has_any(fields, frozenset({b"ws-close", b"ws-reply"})))
                self.assertFalse(has_any(fields, frozenset({b"ws-clos", b"content-length"})))
                self.assertTrue(fields.hasHeader(b"A"))

    def test_about_the_connection(self) -> None:
        """What Twisted's Agent does not show is not there."""
        fields = AnswerHeaders([(b"Content-Length", b"5"), (b"Keep-Alive", b"timeout=5"), (b"A", b"b")])
        self.assertIsNone(fields.getRawHeaders(b"content-length"))
        self.assertEqual(list(fields.getAllRawHeaders()), [(b"A", [b"b"])])
        self.assertEqual(AnswerHeaders([]).getRawHeaders(b"A", []), [])
