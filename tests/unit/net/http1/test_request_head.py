"""Request heads: which are read, and what they say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from wsaas.net.http1.messages import MAX_SWALLOWED, RequestFields, Response
from wsaas.net.http1.request_head import (
    MAX_HEAD,
    MAX_LINES,
    REQUEST_LINE,
    KnownFields,
    read_block,
    read_fields,
    refuse_part,
)


def fields_of(*lines: bytes) -> RequestFields | None:
    """:returns: what header lines say; :data:`None` if they are malformed"""
    return read_fields(b"".join(line + b"\r\n" for line in lines))


class LineTests(SynchronousTestCase):
    """Request lines (RFC 9112 §3)."""

    def test_lines(self) -> None:
        """Any method, any target without blanks, two versions."""
        for line in (
            b"GET /a?b=c HTTP/1.1",
            b"put * HTTP/1.0",
            b"BREW http://h/a HTTP/1.1",
            b"!#$%&'*+.^_`|~-9z h:443 HTTP/1.1",
            b"GET /\x7f\x80\xb0 HTTP/1.1",
        ):
            match = REQUEST_LINE.fullmatch(line + b"\r\n")
            assert match is not None, line
            self.assertEqual(list(match.groups()), line.split(b" "))

    def test_malformed(self) -> None:
        """The slightest deviation; httptools would take some."""
        for line in (
            b"",
            b"GET",
            b"GET /",
            b"GET / ",
            b"GET  / HTTP/1.1",
            b"GET /  HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b" GET / HTTP/1.1",
            b"\r\nGET / HTTP/1.1",
            b"GET\t/ HTTP/1.1",
            b"GET /a b HTTP/1.1",
            b"GET /\t HTTP/1.1",
            b"GET /\x00 HTTP/1.1",
            b"GET /\xb1 HTTP/1.1",
            b"G\xe9T / HTTP/1.1",
            b"G(T / HTTP/1.1",
            b"GET / HTTP/1.2",
            b"GET / HTTP/2.0",
            b"GET / HTTP/0.9",
            b"GET / HTTP/1.10",
            b"GET / http/1.1",
            b"GET / ICE/1.0",
            b"GET / RTSP/1.0",
            b"GET / HTTP/1.1\n",
        ):
            self.assertIsNone(REQUEST_LINE.fullmatch(line + b"\r\n"), line)


class FieldsTests(SynchronousTestCase):
    """Header lines."""

    def test_values(self) -> None:
        """In their order, without the blanks around them, by names in any case."""
        fields = fields_of(b"Host:h", b"X: \ta b\t ", b"x: 2", b"Empty:", b"Latin: \xe9")
        assert fields is not None
        self.assertEqual((fields.all(b"X"), fields.all(b"EMPTY"), fields.all(b"Y")), ([b"a b", b"2"], [b""], []))
        self.assertEqual(fields.all(b"latin"), [b"\xe9"])
        none = read_fields(b"")
        assert none is not None
        self.assertEqual((none.by_name, none.length, none.is_plain), ({}, 0, True))

    def test_tokens(self) -> None:
        """Elements of lists over several lines, in lower case; empty ones do not count."""
        fields = fields_of(b"A: Close", b"B: a , B,,c", b"B: D", b"C:", b"D: ,")
        assert fields is not None
        found = [fields.tokens(name) for name in (b"A", b"B", b"C", b"D", b"E")]
        self.assertEqual(found, [[b"close"], [b"a", b"b", b"c", b"d"], [], [], []])

    def test_lengths(self) -> None:
        """One, of digits, not too many of them; or chunks, and nothing else."""
        for lines, length in (
            ((b"Content-Length: 5",), 5),
            ((b"content-length:\t0005 ",), 5),
            ((b"Content-Length: " + b"9" * 18,), 10**18 - 1),
            ((b"Transfer-Encoding: CHUNKED",), None),
        ):
            fields = fields_of(*lines)
            assert fields is not None, lines
            self.assertEqual(fields.length, length)
        for value in (b"", b"+5", b"-5", b"5 5", b"5,5", b"5, 5", b"0x5", b"5_0", b"5.0", b"a", b"9" * 19, b"9" * 5000):
            self.assertIsNone(fields_of(b"Content-Length: " + value), value[:20])
        several: tuple[tuple[bytes, ...], ...] = (
            (b"Content-Length: 5", b"content-length: 5"),
            (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
            (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: gzip, chunked",),
            (b"Transfer-Encoding: chunked, chunked",),
            (b"Transfer-Encoding: chunked, identity",),
            (b"Transfer-Encoding: identity",),
            (b"Transfer-Encoding: gzip",),
            (b"Transfer-Encoding:",),
        )
        for each in several:
            self.assertIsNone(fields_of(*each), each)

    def test_malformed(self) -> None:
        """Names are tokens, values have no control characters, ends are CR LF, nothing is folded (RFC 9110 §5.5)."""
        for line in (
            b" folded",
            b"\tfolded: a",
            b"A: b\r\n c",
            b"A: b\r\n\tc",
            b"A: b\r\n ",
            b"no colon",
            b"no-colon",
            b": no name",
            b":",
            b"Host : a",
            b"A b: c",
            b"A: \x00",
            b"A: \x0b",
            b"A: \x7f",
            b"A: b\rC: d",
            b"A: b\nC: d",
            b"A: b\n",
            b"A: b\r",
            b"\xc4: b",
            b"",
            b"\n",
        ):
            self.assertIsNone(fields_of(b"Host: h", line, b"C: d"), line)

    def test_upgrades(self) -> None:
        """httptools tells of them in its own way."""
        fields = fields_of(b"Upgrade: websocket", b"Connection: Upgrade", b"Content-Length: 3")
        assert fields is not None
        self.assertEqual((fields.tokens(b"Upgrade"), fields.length), ([b"websocket"], 3))

    def test_plain(self) -> None:
        """What is simply answered when its body is there."""
        for line, plain in (
            (b"Connection: keep-alive", True),
            (b"Connection: te, Close", False),
            (b"Expect: 100-continue", False),
            (b"Content-Length: %d" % MAX_SWALLOWED, True),
            (b"Content-Length: %d" % (MAX_SWALLOWED + 1), False),
            (b"Transfer-Encoding: chunked", False),
        ):
            fields = fields_of(b"Host: h", line)
            assert fields is not None
            self.assertEqual(fields.is_plain, plain, line)

    @moderately
    @given(st.lists(st.sampled_from([b"Host", b":", b" ", b"\r", b"\n", b"\r\n", b"5", b"Content-Length: 5\r\n"])))
    def test_anything(self, parts: list[bytes]) -> None:
        """What is read is what stands there, and says one length at most."""
        block = b"".join(parts) + b"\r\n"
        fields = read_fields(block)
        # An empty line is where a head ends, so that there is none.
        if fields is not None and b"\r\n\r\n" not in b"\r\n" + block:
            stood: dict[bytes, list[bytes]] = {}
            for line in block.split(b"\r\n")[:-1]:
                name, _, value = line.partition(b":")
                stood.setdefault(name.lower(), []).append(value.strip())
            self.assertEqual(fields.by_name, stood)
            self.assertLessEqual(len(fields.all(b"Content-Length")), 1)


class SizeTests(SynchronousTestCase):
    """Heads that are too long, complete or not."""

    LINE = b"GET / HTTP/1.1\r\n"

    def status(self, part: bytes, known: int = 0) -> int | None:
        """:returns: how a head is refused"""
        refusal = refuse_part(part, known)
        return None if refusal is None else refusal.status

    def test_so_far_so_good(self) -> None:
        """Wherever it is cut."""
        head = self.LINE + b"Host: h\r\nContent-Length: 5\r\n"
        for end in range(len(head) + 1):
            self.assertIsNone(self.status(head[:end]), end)

    def test_lines(self) -> None:
        """A request line: 414; its end does not count."""
        line = b"GET /" + b"a" * (MAX_HEAD - 14) + b" HTTP/1.1"
        self.assertEqual(len(line), MAX_HEAD)
        for end in (b"", b"\r", b"\r\n", b"\r\n\r"):
            self.assertIsNone(self.status(line + end), end)
        for part in (b"a" + line, b"a" + line + b"\r", b"a" + line + b"\r\n", b"a" * 20000):
            self.assertEqual(self.status(part), 414)

    def test_heads(self) -> None:
        """All lines together, or their number: 431."""
        field = b"A: " + b"a" * (MAX_HEAD - len(self.LINE) + 2 - 3)
        for end in (b"", b"\r", b"\r\n"):
            self.assertIsNone(self.status(self.LINE + field + end))
            self.assertEqual(self.status(self.LINE + field + b"a" + end), 431)
        self.assertIsNone(self.status(self.LINE + b"a:\r\n" * MAX_LINES))
        self.assertEqual(self.status(self.LINE + b"a:\r\n" * (MAX_LINES + 1)), 431)

    def test_another_bound(self) -> None:
        """Of one line and of all, complete or not; how many lines there may be stays."""
        for most in (9000, 57_344):
            line = b"GET /" + b"a" * (most - 14) + b" HTTP/1.1"
            field = b"A: " + b"a" * (most - len(self.LINE) + 2 - 3) + b"\r\n"
            self.assertIsNone(refuse_part(line, 0, most))
            self.assertIsNone(refuse_part(self.LINE + field, 0, most))
            self.assertIsInstance(read_block(self.LINE + field, len(self.LINE), most), RequestFields)
            for part, status, name in (
                (b"a" + line, 414, b"WS_MAX_TARGET"),
                (b"G" + self.LINE + field, 431, b"WS_MAX_HEADERS"),
            ):
                refusal = refuse_part(part, 0, most)
                assert refusal is not None
                self.assertEqual((refusal.status, name in refusal.body), (status, True))
            read = read_block(b"G" + self.LINE + field, len(self.LINE) + 1, most)
            assert isinstance(read, Response)
            self.assertEqual(read.status, 431)
            many = self.LINE + b"a:\r\n" * (MAX_LINES + 1)
            refusal = refuse_part(many, 0, most)
            assert refusal is not None
            self.assertEqual((refusal.status, b"500 lines" in refusal.body), (431, True))

    def test_what_is_wrong_first(self) -> None:
        """Decides, wherever segments end."""
        long = b"A: " + b"a" * MAX_HEAD + b"\r\n"
        for head, status in (
            (self.LINE + b"no colon\r\n" + long, 400),
            (self.LINE + long + b"no colon\r\n", 431),
            (self.LINE + b"a:\r\n" * MAX_LINES + b"a:\r\nno colon\r\n", 431),
            (b"nonsense\r\n" + long, 400),
        ):
            self.assertEqual(self.status(head), status)
            found = known = 0
            for end in range(1, len(head) + 1, 50):
                found = found or self.status(head[:end], known) or 0
                known = end
            self.assertEqual(found or self.status(head, known), status)

    def test_complete(self) -> None:
        """The same of a complete one."""
        for head, status in (
            (self.LINE + b"A: " + b"a" * MAX_HEAD + b"\r\n", 431),
            (self.LINE + b"no colon\r\n", 400),
            (self.LINE + b"no colon\r\n" + b"a:\r\n" * MAX_LINES, 400),
        ):
            read = read_block(head, len(self.LINE))
            assert isinstance(read, Response)
            self.assertEqual(read.status, status)
        read = read_block(self.LINE + b"A: b\r\n", len(self.LINE))
        assert isinstance(read, RequestFields)
        self.assertEqual(read.all(b"A"), [b"b"])


class KnownTests(SynchronousTestCase):
    """The memory of header lines."""

    def test_bounds(self) -> None:
        """Not too many, none that is long."""
        known, fields = KnownFields(), RequestFields()
        known.add(b"a" * 4097, fields)
        self.assertEqual(len(known), 0)
        for number in range(1000):
            known.add(b"%d" % number, fields)
            self.assertLessEqual(len(known), 512)
        self.assertIs(known.get(b"999"), fields)
        self.assertIsNone(known.get(b"0"))
