"""What servers send, cut anywhere, means the same to our agent as to Twisted's, or is a failure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.agents import Network, Ours, Twisteds
from tests.properties import moderately
from tests.unit.net.http1.test_parser import slices

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
FAILED = "failed"


@dataclass(frozen=True)
class Exchange:
    """A request, what a server sends, in pieces, and how it ends the connection."""

    method: bytes
    stream: bytes
    cuts: Sequence[int] = ()
    clean: bool = True

    def outcome(self, kind: type[Ours]) -> object:
        """:returns: the answer as an agent sees it, or that it failed"""
        network = Network()
        answer = kind(network).ask(self.method, None if self.method == b"HEAD" else b"x")
        peer = network.accept()
        peer.send(*slices(self.stream, self.cuts))
        peer.end(ConnectionDone() if self.clean else ConnectionLost())
        results: list[object] = []
        answer.addBoth(lambda result: results.append(FAILED if isinstance(result, Failure) else result))
        assert len(results) == 1, "neither an answer nor a failure"
        return results[0]


TOKENS = st.sampled_from([b"Server", b"X-Long-Name", b"Ws-Close", b"ws-state", b"a", b"Content-Type", b"Date"])
VALUES = st.binary(max_size=12).map(
    lambda value: bytes(byte for byte in value if (byte >= 32 and byte != 127) or byte == 9)
)
FIELDS = st.lists(
    st.builds(
        lambda name, blank, value: b"%b:%b%b\r\n" % (name, blank, value),
        TOKENS,
        st.sampled_from([b"", b" ", b"\t "]),
        VALUES,
    ),
    max_size=4,
).map(b"".join)
INTERIM = st.lists(
    st.builds(
        lambda line, fields: b"HTTP/1.1 %b\r\n%b\r\n" % (line, fields),
        st.sampled_from([b"100 Continue", b"103 Early Hints", b"102 x"]),
        FIELDS,
    ),
    max_size=2,
).map(b"".join)
STATUS = st.sampled_from(
    [b"200 OK", b"201 ", b"202", b"204 No Content", b"304 Not Modified", b"404 Not Found", b"500 No \xff", b"999 Odd"]
)
CONNECTION = st.sampled_from([b"", b"", b"Connection: close\r\n", b"Connection: keep-alive\r\n"])
CHUNK = st.builds(
    lambda data, extension: b"%x%b\r\n%b\r\n" % (len(data), extension, data),
    st.binary(min_size=1, max_size=40),
    st.sampled_from([b"", b"", b";a", b";a=b", b';a="b c"']),
)
TRAILERS = st.sampled_from([b"", b"", b"Ws-Close: 1000\r\n", b"A: b\r\nContent-Type: x\r\n"])


def by_length(body: bytes) -> tuple[bytes, bytes]:
    """:returns: what the head says of a body, and the body"""
    return b"Content-Length: %d\r\n" % len(body), body


def by_chunks(chunks: list[bytes], trailers: bytes) -> tuple[bytes, bytes]:
    """:returns: the same, for a body in chunks"""
    return b"Transfer-Encoding: chunked\r\n", b"%b0\r\n%b\r\n" % (b"".join(chunks), trailers)


FRAMED = st.one_of(st.binary(max_size=60).map(by_length), st.builds(by_chunks, st.lists(CHUNK, max_size=4), TRAILERS))
UNFRAMED = st.binary(max_size=60).map(lambda body: (b"", body))


def whole(
    interim: bytes, version: bytes, status: bytes, fields: bytes, connection: bytes, framed: tuple[bytes, bytes]
) -> bytes:
    """:returns: an answer, with those before it"""
    framing, body = framed
    if status[:3] in (b"204", b"304"):
        body = b""
    return b"%bHTTP/%b %b\r\n%b%b%b\r\n%b" % (interim, version, status, fields, framing, connection, body)


def answers(framed: st.SearchStrategy[tuple[bytes, bytes]]) -> st.SearchStrategy[bytes]:
    """:returns: well-formed answers"""
    return st.builds(whole, INTERIM, st.sampled_from([b"1.1", b"1.1", b"1.0"]), STATUS, FIELDS, CONNECTION, framed)


CUTS = st.lists(st.integers(0, 1 << 16), max_size=8)
METHODS = st.sampled_from([b"PUT", b"PUT", b"DELETE"])
FRAGMENTS = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"\x00", b":", b",", b";", b"0", b"1", b"-", b"+", b"\xff",
     b"HTTP/1.1 200 OK\r\n", b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
     b"\r\n ", b"\r\nWs-Close: 1000", b"0\r\n\r\n", b"gzip, ", b"chunked", b"Content-Length: 0\r\n"]
)  # fmt: skip
EDITS = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 3), FRAGMENTS), min_size=1, max_size=3)


def edited(stream: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """:returns: the stream with bytes replaced"""
    for place, dropped, put in edits:
        at = place % (len(stream) + 1)
        stream = stream[:at] + put + stream[at + dropped :]
    return stream


#: Empty lines before an answer: the one tolerance of httptools that edits come upon.
EMPTY_LINES = re.compile(rb"(\A|\r\n\r\n)[\r\n]+(?=HTTP/)")
EMPTY = b"Content-Length: 0\r\n\r\n"
CODING = b"Transfer-Encoding: %b\r\n"
#: What our agent refuses on purpose: why, the stream, whether the connection ended as it should.
STRICTER = (
    ("lines end with CR LF (RFC 9112 §2.2)", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", True),
    ("so do chunks", CHUNKED + b"0\r\nA: b\n\r\n\r\n", True),
    ("folded fields (RFC 9112 §5.2)", OK + b"A: b\r\n c\r\n" + EMPTY, True),
    ("control characters in fields (RFC 9110 §5.5)", OK + b"A: \x00\r\n" + EMPTY, True),
    ("a bare CR in fields (RFC 9112 §2.2)", OK + b"A: b\rC: d\r\n" + EMPTY, True),
    ("a length that is said twice (RFC 9112 §6.3)", OK + b"Content-Length: 0\r\n" + EMPTY, True),
    ("so, too, in one field", OK + b"Content-Length: 0, 0\r\n\r\n", True),
    (
        "two ways to find the end (RFC 9112 §6.1)",
        OK + CODING % b"chunked" + EMPTY + b"0\r\n\r\n",
        True,
    ),
    (
        "two transfer codings, one of them not undone",
        OK + CODING % b"chunked" + CODING % b"gzip" + b"\r\n0\r\n\r\n",
        True,
    ),
    ("another protocol that nobody asked for", b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + OK + EMPTY, True),
    ("1xx from a server that closes, or is too old for them", b"HTTP/1.0 100 Continue\r\n\r\n" + OK + EMPTY, True),
    ("a status of other than three digits", b"HTTP/1.1 +200 OK\r\n" + EMPTY, True),
    ("a status below 100", b"HTTP/1.1 099 OK\r\n" + EMPTY, True),
    ("a version that there is not", b"HTTP/1.7 200 OK\r\n" + EMPTY, True),
    ("another protocol than HTTP", b"SIP/2.0 200 OK\r\n" + EMPTY, True),
    ("trailers that are no fields", CHUNKED + b"0\r\nno colon\r\n\r\n", True),
    ("trailers that speak of the length (RFC 9110 §6.5.1)", CHUNKED + b"0\r\nContent-Length: 1\r\n\r\n", True),
    ("chunk extensions that are none", CHUNKED + b"0;a b\r\n\r\n", True),
    ("a body that ended because the connection broke", OK + b"\r\nhalf of", False),
    ("a head that is too long in all, though no line is", OK + b"A: %b\r\n" % (b"a" * 16000) * 5 + EMPTY, True),
)
#: What Twisted's agent refuses and ours need not: why, and the stream.
MORE_TOLERANT = (
    ("empty lines before an answer", b"\r\n" + OK + EMPTY),
    ("a line of more than 16 KiB, within the bound of the head", OK + b"A: %b\r\n" % (b"a" * 20000) + EMPTY),
    ("long chunk extensions, within the bound", CHUNKED + b"0;%b\r\n\r\n" % (b"a" * 2000)),
)


class DifferentialTests(SynchronousTestCase):
    """Both agents, side by side."""

    def tearDown(self) -> None:
        # Twisted's agent logs some of what it meets.
        self.flushLoggedErrors()

    def check_equal(self, exchange: Exchange) -> object:
        """:returns: what both make of it"""
        reference = exchange.outcome(Twisteds)
        self.assertEqual(exchange.outcome(Ours), reference, exchange)
        return reference

    @moderately
    @given(
        stream=answers(FRAMED),
        cuts=CUTS,
        method=METHODS,
        clean=st.booleans(),
        surplus=st.sampled_from([b"", b"x", b"HTTP/1.1 200 OK\r\n", OK + b"Content-Length: 1\r\n\r\ny"]),
    )
    def test_framed(self, stream: bytes, cuts: list[int], method: bytes, clean: bool, surplus: bytes) -> None:
        """Well-formed answers that say where they end are the same to both, whatever follows."""
        self.assertNotEqual(self.check_equal(Exchange(method, stream + surplus, cuts, clean)), FAILED)

    @moderately
    @given(stream=answers(UNFRAMED), cuts=CUTS, method=METHODS)
    def test_unframed(self, stream: bytes, cuts: list[int], method: bytes) -> None:
        """So are those that end with the connection."""
        self.assertNotEqual(self.check_equal(Exchange(method, stream, cuts)), FAILED)

    @moderately
    @given(stream=answers(st.one_of(FRAMED, UNFRAMED)), cuts=CUTS)
    def test_head(self, stream: bytes, cuts: list[int]) -> None:
        """So are answers to HEAD, even with the body that does not belong there."""
        self.assertNotEqual(self.check_equal(Exchange(b"HEAD", stream, cuts)), FAILED)

    @moderately
    @given(stream=answers(st.one_of(FRAMED, UNFRAMED)), cuts=CUTS, end=st.integers(0, 1 << 16))
    def test_cut_short(self, stream: bytes, cuts: list[int], end: int) -> None:
        """What is cut short fails with both, or with neither."""
        self.check_equal(Exchange(b"PUT", stream[: end % (len(stream) + 1)], cuts))

    @moderately
    @given(stream=answers(st.one_of(FRAMED, UNFRAMED)), edits=EDITS, cuts=CUTS, clean=st.booleans())
    def test_edited(self, stream: bytes, edits: list[tuple[int, int, bytes]], cuts: list[int], clean: bool) -> None:
        """Whatever a server sends: an answer of our agent's is Twisted's answer. (It fails more often.)"""
        exchange = Exchange(b"PUT", edited(stream, edits), cuts, clean)
        ours = exchange.outcome(Ours)
        if ours != FAILED:
            reference = exchange.outcome(Twisteds)
            if reference == FAILED:
                reference = Exchange(b"PUT", EMPTY_LINES.sub(rb"\1", exchange.stream), (), clean).outcome(Twisteds)
            self.assertEqual(reference, ours, exchange)

    def test_stricter(self) -> None:
        """Where our agent fails and Twisted's does not: each time what came can be read in more than one way."""
        for why, stream, clean in STRICTER:
            exchange = Exchange(b"PUT", stream, (), clean)
            self.assertNotEqual(exchange.outcome(Twisteds), FAILED, why)
            self.assertEqual(exchange.outcome(Ours), FAILED, why)

    def test_more_tolerant(self) -> None:
        """Where Twisted's agent fails and ours does not: there is one way to read it, and it costs no more."""
        for why, stream in MORE_TOLERANT:
            exchange = Exchange(b"PUT", stream)
            self.assertEqual(exchange.outcome(Twisteds), FAILED, why)
            self.assertNotEqual(exchange.outcome(Ours), FAILED, why)
