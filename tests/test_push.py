"""Requests to a ws_uri: every row of protocol §3, in its order."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import (
    BINARY,
    CLOSE,
    TEXT,
    Frame,
    Gate,
    HttpAnswer,
    Wire,
    close_frame,
    close_payload,
    frame,
    handshake_request,
    http_request,
    read_answer,
    read_answers,
    read_frames,
)
from tests.properties import moderately
from wsaas.errors import PushRefused
from wsaas.push import is_text

UNKNOWN = "/AAAAAAAAAAAAAAAAAAAAAAAA"


class PushTestCase(SynchronousTestCase):
    """One open WebSocket, and pushes to it."""

    #: Which road the pushes take; tests of the fast lane run all of this again.
    fast_lanes = "off"

    def setUp(self) -> None:
        """Open it."""
        self.gate = Gate(WS_MAX_MESSAGE="1000", WS_MAX_BUFFER="2000", FAST_LANES=self.fast_lanes)
        self.wire = self.gate.open("/chat?room=7")
        self.target = f"/{self.gate.key}"

    def frames(self, wire: Wire | None = None) -> list[Frame]:
        """:returns: what the client got"""
        return read_frames((wire or self.wire).take())

    def ask(self, method: str, *headers: tuple[str, str], body: bytes | None = None, query: str = "") -> HttpAnswer:
        """Push to the open WebSocket."""
        return self.gate.ask(method, self.target + query, body, *headers)

    def assert_refused(self, answer: HttpAnswer, status: int, code: str) -> None:
        """It was refused, in words; and nothing went to the client."""
        self.assertEqual((answer.status, answer.json["code"]), (status, code))
        self.assertGreater(len(answer.json["message"]), 10)
        self.assertEqual(answer.header("Cache-Control"), "no-store")
        self.assertEqual(answer.header("Content-Type"), "application/json")
        self.assertEqual(self.frames(), [])


class PutTests(PushTestCase):
    """``PUT ws_uri`` is one message to the client."""

    def test_ok(self) -> None:
        """200, in JSON that nobody may keep."""
        answer = self.ask("PUT", body="héllo".encode())
        self.assertEqual((answer.status, answer.json), (200, {"code": "OK"}))
        self.assertEqual(answer.header("Cache-Control"), "no-store")
        self.assertEqual(answer.header("Content-Type"), "application/json")
        self.assertEqual(self.frames(), [Frame(TEXT, "héllo".encode())])

    def test_text_types(self) -> None:
        """text/*, JSON in all its forms, what curl sends if not told otherwise, and no type."""
        for kind in (
            "text/plain",
            "TEXT/HTML; charset=UTF-8",
            'text/plain;charset="utf-8"',
            "text/plain; charset=us-ascii",
            "application/json",
            "application/json; charset=utf8",
            "application/ld+json",
            "application/x-www-form-urlencoded",
            "",
        ):
            self.assertEqual(self.ask("PUT", ("Content-Type", kind), body=b"{}").status, 200)
            self.assertEqual(self.frames(), [Frame(TEXT, b"{}")], kind)

    def test_binary_types(self) -> None:
        """Any other type, byte for byte."""
        for kind in ("application/octet-stream", "image/png", "application/jsonx", "nonsense"):
            self.assertEqual(self.ask("PUT", ("Content-Type", kind), body=b"\xff\x00").status, 200)
            self.assertEqual(self.frames(), [Frame(BINARY, b"\xff\x00")], kind)

    def test_empty_body(self) -> None:
        """An empty message, with a length or without."""
        for body in (b"", None):
            self.assertEqual(self.ask("PUT", body=body).status, 200)
            self.assertEqual(self.frames(), [Frame(TEXT, b"")])

    def test_longest_message(self) -> None:
        """The limit is inclusive."""
        self.assertEqual(self.ask("PUT", body=b"a" * 1000).status, 200)
        self.assertEqual(self.frames(), [Frame(TEXT, b"a" * 1000)])

    def test_chunked(self) -> None:
        """A body whose length nobody knew."""
        wire = self.gate.connect()
        wire.deliver(http_request("PUT", self.target, None, ("Transfer-Encoding", "chunked")))
        wire.deliver(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")
        self.assertEqual(read_answer(wire.take())[0].status, 200)
        self.assertEqual(self.frames(), [Frame(TEXT, b"hello")])

    def test_what_stands_before_the_key_is_not_compared(self) -> None:
        """It is the operator's WS_HOSTNAME."""
        self.assertEqual(self.gate.ask("PUT", f"/some/where{self.target}", b"a").status, 200)
        self.assertEqual(self.frames(), [Frame(TEXT, b"a")])

    def test_order_on_one_connection(self) -> None:
        """Pipelined pushes leave in their order."""
        wire = self.gate.connect()
        wire.deliver(b"".join(http_request("PUT", self.target, b"%d" % number) for number in range(20)))
        self.assertEqual([answer.status for answer in read_answers(wire.take())], [200] * 20)
        self.assertEqual(self.frames(), [Frame(TEXT, b"%d" % number) for number in range(20)])

    def test_during_the_handshake(self) -> None:
        """202, and it is the first that the client gets; not before the 101."""
        wire = self.gate.begin()
        answer = self.gate.ask("PUT", f"/{self.gate.key}", b"early")
        self.assertEqual((answer.status, answer.json), (202, {"code": "OK"}))
        self.assertEqual(wire.take(), b"")
        self.gate.agent.last.answer()
        switched, rest = read_answer(wire.take())
        self.assertEqual((switched.status, read_frames(rest)), (101, [Frame(TEXT, b"early")]))

    def test_during_a_handshake_that_is_refused(self) -> None:
        """It is forgotten."""
        wire = self.gate.begin()
        self.assertEqual(self.gate.ask("PUT", f"/{self.gate.key}", b"early").status, 202)
        self.gate.agent.last.answer(403)
        self.assertEqual(read_answers(wire.take())[0].status, 403)
        self.assertEqual(self.gate.ask("PUT", f"/{self.gate.key}", b"late").status, 404)


class AnyPutTests(PushTestCase):
    """Whatever is put."""

    @moderately
    @given(st.binary(max_size=1000))
    def test_any_bytes(self, body: bytes) -> None:
        """Binary arrives as it was sent; text too, or is refused for not being UTF-8."""
        self.assertEqual(self.ask("PUT", ("Content-Type", "application/octet-stream"), body=body).status, 200)
        self.assertEqual(self.frames(), [Frame(BINARY, body)])
        try:
            body.decode("utf-8")
        except UnicodeDecodeError:
            self.assert_refused(self.ask("PUT", body=body), 400, "BAD_REQUEST")
        else:
            self.assertEqual(self.ask("PUT", body=body).status, 200)
            self.assertEqual(self.frames(), [Frame(TEXT, body)])

    @moderately
    @given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=40))
    def test_any_type(self, kind: str) -> None:
        """Whatever stands there, it is text, binary, or a charset that is not taken."""
        try:
            is_text(kind)
        except PushRefused as refused:
            self.assertEqual((refused.status, refused.code), (415, "UNSUPPORTED"))


class RefusalTests(PushTestCase):
    """What has no effect, and why."""

    def test_404(self) -> None:
        """Nobody there, whatever the method, and whether it looks like a key or not."""
        for target in (UNKNOWN, "/", "/x", f"{self.target}/", f"{self.target}x"):
            for method in ("PUT", "DELETE"):
                self.assert_refused(self.gate.ask(method, target), 404, "NOT_FOUND")
        self.assert_refused(self.gate.ask("GET", UNKNOWN), 404, "NOT_FOUND")

    def test_404_when_the_client_closed(self) -> None:
        """From the moment at which its Close came, while its messages are still being delivered."""
        self.wire.deliver(frame(TEXT, b"undelivered") + close_frame(1000))
        self.frames()
        self.assert_refused(self.ask("PUT", body=b"a"), 404, "NOT_FOUND")
        self.assert_refused(self.ask("GET"), 404, "NOT_FOUND")
        self.assert_refused(self.ask("DELETE"), 404, "NOT_FOUND")

    def test_404_when_it_closed_while_the_body_arrived(self) -> None:
        """The head was fine then."""
        pusher = self.gate.connect()
        pusher.deliver(http_request("PUT", self.target, b"12345")[:-1])
        self.wire.end()
        pusher.deliver(b"5")
        self.assertEqual(read_answer(pusher.take())[0].json["code"], "NOT_FOUND")

    def test_405(self) -> None:
        """With what is allowed; OPTIONS too: pushes are not for browsers."""
        for method in ("POST", "PATCH", "OPTIONS", "TRACE", "put"):
            answer = self.ask(method)
            self.assert_refused(answer, 405, "METHOD_NOT_ALLOWED")
            self.assertEqual(answer.header("Allow"), "GET, HEAD, PUT, DELETE")
            self.assertEqual([name for name in answer.headers if name.startswith("access-control")], [])

    def test_413(self) -> None:
        """Announced, or found out while it arrives."""
        self.assert_refused(self.ask("PUT", body=b"a" * 1001), 413, "MESSAGE_TOO_LONG")
        self.assert_refused(self.ask("DELETE", body=b"a" * 1001), 413, "MESSAGE_TOO_LONG")
        pusher = self.gate.connect()
        pusher.deliver(http_request("PUT", self.target, None, ("Transfer-Encoding", "chunked")))
        pusher.deliver(b"ffff\r\n" + b"a" * 1001)
        self.assert_refused(read_answer(pusher.take())[0], 413, "MESSAGE_TOO_LONG")

    def test_415(self) -> None:
        """What would have to be decoded."""
        for header in (
            ("Content-Encoding", "gzip"),
            ("Content-Encoding", "identity"),
            ("Content-Type", "text/plain; charset=iso-8859-1"),
            ("Content-Type", 'application/json;charset="utf-16"'),
        ):
            self.assert_refused(self.ask("PUT", header, body=b"a"), 415, "UNSUPPORTED")

    def test_400_for_text_that_is_not_utf_8(self) -> None:
        """Surrogates and cut characters too."""
        for body in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80"):
            self.assert_refused(self.ask("PUT", body=body), 400, "BAD_REQUEST")
            self.assert_refused(self.ask("PUT", ("Content-Type", "application/json"), body=body), 400, "BAD_REQUEST")

    def test_503(self) -> None:
        """A client that does not read, once its buffer is full; with Retry-After. Later it is fine again."""
        self.wire.stall()
        self.assertEqual(self.ask("PUT", body=b"a" * 900).status, 200)
        self.assertEqual(self.ask("PUT", body=b"a" * 900).status, 200)
        answer = self.ask("PUT", body=b"a" * 900)
        self.assert_refused(answer, 503, "TOO_SLOW")
        self.assertTrue((answer.header("Retry-After") or "").isdigit())
        self.wire.flow()
        self.frames()
        self.assertEqual(self.ask("PUT", body=b"a" * 900).status, 200)

    def test_503_during_the_handshake(self) -> None:
        """What waits for its end is bounded too."""
        self.gate.begin()
        target = f"/{self.gate.key}"
        answers = [self.gate.ask("PUT", target, b"a" * 900).status for _ in range(3)]
        self.assertEqual(answers, [202, 202, 503])


class OrderTests(PushTestCase):
    """Method, key, length, type: on the head, before any of the body."""

    #: From the last check to the first: what each adds.
    STEPS = (
        (("Content-Type", "text/plain; charset=latin-1"), None, None, 415),
        (("Content-Length", "1001"), None, None, 413),
        (None, UNKNOWN, None, 404),
        (None, None, "OPTIONS", 405),
    )

    def test_the_first_fault_counts(self) -> None:
        """Each step adds a fault that is found before those of the steps behind it; no body is ever sent."""
        headers: list[tuple[str, str]] = []
        target, method = self.target, "PUT"
        for header, other_target, other_method, status in self.STEPS:
            headers += [header] if header else []
            target, method = other_target or target, other_method or method
            if not any(name == "Content-Length" for name, _ in headers):
                pending = [*headers, ("Content-Length", "5")]
            else:
                pending = headers
            pusher = self.gate.connect()
            pusher.deliver(http_request(method, target, None, *pending, ("Expect", "100-continue")))
            answer, rest = read_answer(pusher.take())
            self.assertEqual((answer.status, rest), (status, b""))


class DeleteTests(PushTestCase):
    """``DELETE ws_uri`` closes."""

    def assert_closed(self, query: str, code: int, reason: str = "") -> None:
        """200, and the Close frame says what was asked for."""
        self.setUp()
        answer = self.ask("DELETE", query=query)
        self.assertEqual((answer.status, answer.json), (200, {"code": "OK"}))
        self.assertEqual(self.frames(), [Frame(CLOSE, close_payload(code, reason))])

    def test_default(self) -> None:
        """1000, without a reason."""
        self.assert_closed("", 1000)
        self.assert_closed("?", 1000)
        self.assert_closed("?reason=", 1000)

    def test_code_and_reason(self) -> None:
        """The reason is percent-encoded UTF-8."""
        self.assert_closed("?code=4001&reason=auf%20Wiedersehen+%C3%BC", 4001, "auf Wiedersehen ü")
        self.assert_closed("?reason=bye", 1000, "bye")
        self.assert_closed("?code=1008", 1008)
        self.assert_closed(f"?reason={'%C3%BC' * 61}a", 1000, "ü" * 61 + "a")

    def test_after_what_was_pushed(self) -> None:
        """In the order of the pushes; and no push comes behind it."""
        self.ask("PUT", body=b"last")
        self.ask("DELETE")
        self.assertEqual(self.frames(), [Frame(TEXT, b"last"), Frame(CLOSE, close_payload(1000))])
        self.assert_refused(self.ask("DELETE"), 404, "NOT_FOUND")
        self.assert_refused(self.ask("PUT", body=b"a"), 404, "NOT_FOUND")

    def test_during_the_handshake(self) -> None:
        """Accepted then too: the client gets its 101, what was pushed, and the Close."""
        wire = self.gate.begin()
        self.gate.ask("PUT", f"/{self.gate.key}", b"early")
        self.assertEqual(self.gate.ask("DELETE", f"/{self.gate.key}?code=4000").status, 200)
        self.gate.agent.last.answer()
        switched, rest = read_answer(wire.take())
        self.assertEqual(switched.status, 101)
        self.assertEqual(read_frames(rest), [Frame(TEXT, b"early"), Frame(CLOSE, close_payload(4000))])

    def test_400(self) -> None:
        """Bad codes, reasons and parameters; the connection stays."""
        for query in (
            "?code=",
            "?code=999",
            "?code=1002",
            "?code=1004",
            "?code=1005",
            "?code=1006",
            "?code=1010",
            "?code=1015",
            "?code=2999",
            "?code=5000",
            "?code=+1000",
            "?code=01000",
            "?code=1000.0",
            "?code=%D9%A1%D9%A0%D9%A0%D9%A0",
            "?code=1000&code=1001",
            "?reason=a&reason=b",
            "?Code=1000",
            "?code=1000&force=1",
            "?code",
            "?code=1000&",
            f"?reason={'a' * 124}",
            f"?reason={'%C3%BC' * 62}",
            "?reason=%FF",
            "?reason=%ED%A0%80",
            "?reason=\x80",
        ):
            self.assert_refused(self.ask("DELETE", query=query), 400, "BAD_REQUEST")
        self.assertEqual(self.ask("GET").status, 200)

    @moderately
    @given(
        st.integers(0, 70000).map(str) | st.text(max_size=6),
        st.text(max_size=130),
    )
    def test_any_code_and_reason(self, code: str, reason: str) -> None:
        """What is answered with 200 is what the client gets; the rest is a bad request and has no effect."""
        allowed = {"1000", "1001", "1003", "1007", "1008", "1009", "1011", "1012", "1013", "1014"}
        good = code in allowed or (code.isascii() and code.isdigit() and len(code) == 4 and 3000 <= int(code) <= 4999)
        good = good and len(reason.encode("utf-8", "replace")) <= 123
        wire = self.gate.open()
        target = f"/{self.gate.key}?code={quote(code, errors='replace')}&reason={quote(reason, errors='replace')}"
        answer = self.gate.ask("DELETE", target)
        self.assertEqual(answer.status, 200 if good else 400)
        expected = [Frame(CLOSE, close_payload(int(code), reason))] if good else []
        self.assertEqual(self.frames(wire), expected)
        wire.end()

    @moderately
    @given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40))
    def test_any_query(self, query: str) -> None:
        """Nothing that a request line can hold raises."""
        wire = self.gate.open()
        self.assertIn(self.gate.ask("DELETE", f"/{self.gate.key}?{query}").status, (200, 400))
        wire.end()


class GetTests(PushTestCase):
    """``GET ws_uri`` tells what is known, ``HEAD`` whether it is alive."""

    def test_fields(self) -> None:
        """All of protocol §3's, and no others."""
        self.gate.clock.advance(1.5)
        self.wire.deliver(frame(TEXT, b"12345"))
        self.gate.agent.last.answer(200, b"", ("Ws-State", "user=7"))
        self.ask("PUT", body=b"123")
        self.ask("PUT", body=b"")
        answer = self.ask("GET")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.header("Cache-Control"), "no-store")
        self.assertEqual(
            answer.json,
            {
                "code": "OK",
                "ws_uri": f"http://gateway.test/{self.gate.key}",
                "path": "/chat?room=7",
                "client": "192.0.2.1",
                "protocol": None,
                "connected_at": "2023-11-14T22:13:20.000Z",
                "last_seen_at": "2023-11-14T22:13:21.500Z",
                "state": "user=7",
                "messages_in": 1,
                "messages_out": 2,
                "bytes_in": 5,
                "bytes_out": 3,
                "buffered": 0,
            },
        )

    def test_during_the_handshake(self) -> None:
        """It is not connected yet; what was pushed waits."""
        self.gate.begin("/", ("Sec-WebSocket-Protocol", "a, b"))
        self.gate.ask("PUT", f"/{self.gate.key}", b"123")
        answer = self.gate.ask("GET", f"/{self.gate.key}").json
        self.assertEqual((answer["connected_at"], answer["buffered"], answer["protocol"]), (None, 3, None))
        self.gate.agent.last.answer(200, b'{"code": "OK"}', ("Sec-WebSocket-Protocol", "b"), ("Ws-State", "s"))
        answer = self.gate.ask("GET", f"/{self.gate.key}").json
        self.assertEqual((answer["buffered"], answer["protocol"], answer["state"]), (0, "b", "s"))
        self.assertIsNotNone(answer["connected_at"])

    def test_buffered(self) -> None:
        """What the client has not taken."""
        self.wire.stall()
        self.ask("PUT", body=b"a" * 500)
        self.assertGreaterEqual(self.ask("GET").json["buffered"], 500)

    def test_head(self) -> None:
        """200 or 404, without a body; the length is that of GET's."""
        answer = self.ask("HEAD")
        self.assertEqual(
            (answer.status, answer.header("Content-Length")), (200, self.ask("GET").header("Content-Length"))
        )
        self.assertEqual(self.gate.ask("HEAD", UNKNOWN).status, 404)
        self.ask("DELETE")
        self.assertEqual(self.ask("HEAD").status, 404)

    def test_client_addresses(self) -> None:
        """IPv6 as it is, IPv4 through an IPv6 socket as IPv4, no zone, nothing on a UNIX socket."""
        for address, shown in (
            (IPv6Address("TCP", "2001:db8::1", 1), "2001:db8::1"),
            (IPv6Address("TCP", "::ffff:192.0.2.7", 1), "192.0.2.7"),
            (IPv6Address("TCP", "fe80::1%eth0", 1), "fe80::1"),
            (UNIXAddress(b""), None),
        ):
            wire = self.gate.connect(peer=address)
            wire.deliver(handshake_request())
            call = self.gate.agent.last
            call.answer()
            self.assertEqual(self.gate.ask("GET", f"/{self.gate.key}").json["client"], shown)
            self.assertEqual(call.header("Ws-Client"), shown)

    def test_get_with_a_body(self) -> None:
        """It has no meaning and does no harm."""
        self.assertEqual(self.ask("GET", body=b"12345").status, 200)
