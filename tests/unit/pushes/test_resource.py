"""Requests to a ws_uri: every row of protocol §3, in its order."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import (
    BINARY,
    CLOSE,
    PING,
    PONG,
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
from wsaas.connections.outbox import Outbox
from wsaas.errors import PushRefused
from wsaas.pushes.resource import is_text

UNKNOWN = "/AAAAAAAAAAAAAAAAAAAAAAAA"


class PushTestCase(SynchronousTestCase):
    """One open WebSocket, and pushes to it."""

    def setUp(self) -> None:
        """Open it."""
        self.gate = Gate(WS_MAX_MESSAGE="1000", WS_MAX_BUFFER="2000")
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

    def test_no_encoding_in_a_list(self) -> None:
        """Its empty elements count for nothing (RFC 9110 §5.6.1.2)."""
        for value in ("", ",", " , ,"):
            self.assertEqual(self.ask("PUT", ("Content-Encoding", value), body=b"a").status, 200, value)
            self.assertEqual(self.frames(), [Frame(TEXT, b"a")])

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
            ("Content-Encoding", ",gzip"),
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
    """Method, key, length, type, what is asked for: on the head, before any of the body."""

    #: From the last check to the first: what each adds.
    STEPS = (
        (("Ws-Confirm", "0"), None, None, 400),
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


class TokenTests(PushTestCase):
    """``PUSH_TOKEN``: a push without one of its tokens has no effect, whomever it is for."""

    RIGHT = ("Authorization", "Bearer new-token")
    WRONG = (
        (),
        (("Authorization", "Bearer wrong"),),
        (("Authorization", "Bearer new-token2"),),
        (("Authorization", "Basic new-token"),),
        (("Authorization", ""),),
        (RIGHT, RIGHT),
        (RIGHT, ("authorization", "Bearer wrong")),
        (("X-Authorization", "Bearer new-token"),),
        (("Proxy-Authorization", "Bearer new-token"),),
    )

    def setUp(self) -> None:
        """Open a WebSocket."""
        self.gate = Gate(WS_MAX_MESSAGE="1000", WS_MAX_BUFFER="2000", PUSH_TOKEN="new-token old-token")
        self.wire = self.gate.open("/chat?room=7")
        self.target = f"/{self.gate.key}"

    def test_right_ones(self) -> None:
        """Each of them, in each method, again and again."""
        for _ in range(2):
            for value in ("Bearer new-token", "bearer old-token"):
                for method in ("PUT", "GET", "HEAD"):
                    answer = self.ask(method, ("Authorization", value), body=b"a" if method == "PUT" else None)
                    self.assertEqual(answer.status, 200)
                self.assertEqual(self.frames(), [Frame(TEXT, b"a")])
        self.assertEqual(self.ask("DELETE", ("authorization", "BEARER old-token")).status, 200)

    def test_wrong_ones(self) -> None:
        """401, and how to do better (RFC 9110 §11.6.1); the client gets nothing, and stays."""
        for _ in range(2):
            for headers in self.WRONG:
                for method, body in (("PUT", b"a"), ("PUT", None), ("DELETE", None), ("GET", None)):
                    answer = self.ask(method, *headers, body=body)
                    self.assert_refused(answer, 401, "UNAUTHORIZED")
                    self.assertEqual(answer.header("WWW-Authenticate"), "Bearer")
                self.assertEqual(self.ask("HEAD", *headers).status, 401)
        self.assertEqual(self.ask("PUT", self.RIGHT, body=b"a").status, 200)
        self.assertEqual(self.frames(), [Frame(TEXT, b"a")])

    def test_nothing_is_told_of_keys(self) -> None:
        """An open connection, one that is over and one that never was: the same bytes."""
        closed = self.gate.open()
        closed_target = f"/{self.gate.key}"
        closed.end()
        for headers in self.WRONG:
            for method, body in (("PUT", b"a"), ("DELETE", None), ("GET", None), ("HEAD", None)):
                answers = []
                for target in (self.target, closed_target, UNKNOWN):
                    wire = self.gate.connect()
                    wire.deliver(http_request(method, target, body, *headers))
                    answers.append(re.sub(rb"\r\nDate: [^\r]+", b"", wire.take()))
                self.assertEqual(len(set(answers)), 1, (method, headers))
                self.assertIn(b" 401 ", answers[0][:20])

    def test_in_its_place(self) -> None:
        """After the method, before the key, the length and the type; before ``100 Continue`` and any body."""
        faults = [("Content-Type", "text/plain; charset=latin-1"), ("Content-Length", "1001"), ("Ws-Confirm", "0")]
        for method, headers, status in (
            ("PUT", (), 401),
            ("PUT", (self.RIGHT,), 404),
            ("OPTIONS", (), 405),
            ("OPTIONS", (self.RIGHT,), 405),
        ):
            pusher = self.gate.connect()
            pusher.deliver(http_request(method, UNKNOWN, None, *faults, *headers, ("Expect", "100-continue")))
            answer, rest = read_answer(pusher.take())
            self.assertEqual((answer.status, rest), (status, b""))

    def test_one_connection(self) -> None:
        """A right token lets one push through, and not those behind it on the same connection."""
        pusher = self.gate.connect()
        pusher.deliver(http_request("PUT", self.target, b"a", self.RIGHT) + http_request("PUT", self.target, b"b"))
        self.assertEqual([answer.status for answer in read_answers(pusher.take())], [200, 401])
        self.assertEqual(self.frames(), [Frame(TEXT, b"a")])

    def test_handshakes_need_none(self) -> None:
        """Clients are the API's business."""
        self.assertEqual(self.gate.agent.methods, ["POST"])
        self.gate.open("/")


class IdempotencyTests(PushTestCase):
    """``Idempotency-Key``: a repeated push gets the earlier answer and sends nothing."""

    def put(self, key: str, body: bytes = b"a") -> HttpAnswer:
        """Push with a key."""
        return self.ask("PUT", ("Idempotency-Key", key), body=body)

    def test_repeated(self) -> None:
        """Whatever its body is: the key counts."""
        self.assertEqual(self.put("one").json, {"code": "OK"})
        self.assertEqual(self.frames(), [Frame(TEXT, b"a")])
        for body in (b"a", b"other", b"\xff"):
            answer = self.put("one", body)
            self.assertEqual((answer.status, answer.json), (200, {"code": "OK"}))
        self.assertEqual(self.frames(), [])
        self.put("two", b"b")
        self.ask("PUT", body=b"c")
        self.assertEqual(self.frames(), [Frame(TEXT, b"b"), Frame(TEXT, b"c")])

    def test_the_last_64(self) -> None:
        """Then it is forgotten."""
        for number in range(65):
            self.put(str(number))
        self.frames()
        self.put("1")
        self.assertEqual(self.frames(), [])
        self.put("0")
        self.assertEqual(self.frames(), [Frame(TEXT, b"a")])

    def test_each_connection_has_its_own(self) -> None:
        """The same key at another client is another push."""
        self.put("one")
        other = self.gate.open()
        self.gate.ask("PUT", f"/{self.gate.key}", b"a", ("Idempotency-Key", "one"))
        self.assertEqual(self.frames(other), [Frame(TEXT, b"a")])

    def test_failures_are_not_kept(self) -> None:
        """The next attempt is carried out."""
        self.assert_refused(self.put("one", b"\xff"), 400, "BAD_REQUEST")
        self.wire.stall()
        while self.ask("PUT", body=b"b" * 900).status == 200:
            pass
        self.assert_refused(self.put("one", b"a" * 900), 503, "TOO_SLOW")
        self.wire.flow()
        self.frames()
        self.assertEqual(self.put("one", b"c").status, 200)
        self.assertEqual(self.put("one", b"d").status, 200)
        self.assertEqual(self.frames(), [Frame(TEXT, b"c")])

    def test_during_the_handshake(self) -> None:
        """202 then, and later; the message goes out once."""
        wire = self.gate.begin()
        self.target = f"/{self.gate.key}"
        for _ in range(2):
            self.assertEqual(self.put("one").status, 202)
        self.gate.agent.last.answer()
        answer = self.put("one")
        self.assertEqual((answer.status, answer.json), (202, {"code": "OK"}))
        self.assertEqual(read_frames(read_answer(wire.take())[1]), [Frame(TEXT, b"a")])

    def test_404_at_the_end(self) -> None:
        """Of a connection that is closing nothing is known."""
        self.put("one")
        self.frames()
        self.wire.deliver(close_frame(1000))
        self.frames()
        self.assert_refused(self.put("one"), 404, "NOT_FOUND")

    def test_malformed(self) -> None:
        """400, on the head."""
        for headers in (
            (("Idempotency-Key", ""),),
            (("Idempotency-Key", "a" * 65),),
            (("Idempotency-Key", "a b"),),
            (("Idempotency-Key", "é"),),
            (("Idempotency-Key", "a"), ("idempotency-key", "a")),
        ):
            pusher = self.gate.connect()
            pusher.deliver(http_request("PUT", self.target, None, *headers, ("Content-Length", "5"), ("Expect", "100")))
            answer, rest = read_answer(pusher.take())
            self.assertEqual((answer.json["code"], rest), ("BAD_REQUEST", b""))
            self.assert_refused(answer, 400, "BAD_REQUEST")

    def test_other_methods(self) -> None:
        """They do not look at it."""
        self.put("one")
        for method in ("GET", "HEAD", "DELETE"):
            self.assertEqual(self.ask(method, ("Idempotency-Key", "one"), ("Ws-Confirm", "nonsense")).status, 200)
        self.assertEqual(self.frames()[1:], [Frame(CLOSE, close_payload(1000))])

    def test_in_progress(self) -> None:
        """The answer is not known yet: whoever repeats the push waits for it too, with a time of its own or without."""
        request = http_request("PUT", self.target, b"a", ("Idempotency-Key", "one"), ("Ws-Confirm", "1000"))
        plain = http_request("PUT", self.target, b"a", ("Idempotency-Key", "one"))
        pushers = [self.gate.connect() for _ in range(3)]
        for pusher, sent in zip(pushers, (request, request, plain), strict=True):
            pusher.deliver(sent)
            self.gate.clock.advance(0.3)
            self.assertEqual(pusher.take(), b"")
        message, ping = self.frames()
        self.assertEqual(message, Frame(TEXT, b"a"))
        pushers.pop(0).end()
        self.wire.deliver(frame(PONG, ping.payload))
        for pusher in pushers:
            self.assertEqual(read_answer(pusher.take())[0].status, 200)
        self.assertEqual(self.put("one").status, 200)
        self.assertEqual(self.frames(), [])

    def test_the_pusher_left_before_its_answer(self) -> None:
        """It may come back for it."""
        request = http_request("PUT", self.target, b"a", ("Idempotency-Key", "one"), ("Ws-Confirm", "1000"))
        pusher = self.gate.connect()
        pusher.deliver(request)
        pusher.end()
        self.gate.clock.advance(1)
        self.assertEqual(self.put("one").json["code"], "UNCONFIRMED")
        self.assertEqual(len(self.frames()), 2)


class ConfirmTests(PushTestCase):
    """``Ws-Confirm``: the answer waits for the client's pong."""

    def begin(self, time: int = 1000, body: bytes = b"a", *headers: tuple[str, str]) -> Wire:
        """:returns: a pusher that waits for its answer"""
        pusher = self.gate.connect()
        pusher.deliver(http_request("PUT", self.target, body, ("Ws-Confirm", str(time)), *headers))
        return pusher

    def ping(self) -> bytes:
        """:returns: what the ping behind a message carried"""
        message, ping = self.frames()
        self.assertEqual((message, ping.opcode), (Frame(TEXT, b"a"), PING))
        return ping.payload

    def pong(self, payload: bytes) -> None:
        """Answer a ping."""
        self.wire.deliver(frame(PONG, payload))

    def only(self, pusher: Wire) -> HttpAnswer:
        """:returns: the one answer that a pusher got"""
        answer, rest = read_answer(pusher.take())
        self.assertEqual(rest, b"")
        return answer

    def assert_unconfirmed(self, answer: HttpAnswer) -> None:
        """Sent, but not proven; in words."""
        self.assertEqual((answer.status, answer.json["code"]), (202, "UNCONFIRMED"))
        self.assertGreater(len(answer.json["message"]), 10)
        self.assertEqual(answer.header("Cache-Control"), "no-store")

    def test_confirmed(self) -> None:
        """200 when the pong is back, and not before."""
        pusher = self.begin()
        payload = self.ping()
        for other in (b"", b"unasked", payload[::-1], payload[:-1]):
            self.pong(other)
        self.assertEqual(pusher.take(), b"")
        self.pong(payload)
        answer = self.only(pusher)
        self.assertEqual((answer.status, answer.json), (200, {"code": "OK"}))

    def test_unconfirmed(self) -> None:
        """202 when the time is over; the connection stays as it is."""
        pusher = self.begin(250)
        payload = self.ping()
        self.gate.clock.advance(0.249)
        self.assertEqual(pusher.take(), b"")
        self.gate.clock.advance(0.001)
        self.assert_unconfirmed(self.only(pusher))
        self.pong(payload)
        self.assertEqual(pusher.take(), b"")
        self.assertEqual(self.ask("GET").json["messages_out"], 1)

    def test_binary(self) -> None:
        """The type counts as ever."""
        pusher = self.begin(1000, b"\xff", ("Content-Type", "image/png"))
        message, ping = self.frames()
        self.assertEqual((message, ping.opcode), (Frame(BINARY, b"\xff"), PING))
        self.pong(ping.payload)
        self.assertEqual(self.only(pusher).status, 200)

    def test_the_connection_ends(self) -> None:
        """202 at once: by a Close frame, by a close of ours, by TCP."""
        for end in ("client", "api", "tcp"):
            self.setUp()
            pusher = self.begin()
            self.ping()
            if end == "client":
                self.wire.deliver(close_frame(1000))
            elif end == "api":
                self.ask("DELETE")
                self.assertEqual(pusher.take(), b"")
                self.wire.deliver(close_frame(1000))
                self.gate.turn()
            else:
                self.wire.end()
            self.assert_unconfirmed(self.only(pusher))

    def test_confirmed_while_closing(self) -> None:
        """The pong comes before the client's answer to the Close frame."""
        pusher = self.begin()
        payload = self.ping()
        self.ask("DELETE")
        self.wire.deliver(frame(PONG, payload) + close_frame(1000))
        self.assertEqual(self.only(pusher).status, 200)

    def test_malformed(self) -> None:
        """400, on the head."""
        for value in ("", "0", "30001", "-1", "1.5", "a", "1 2", "1,2"):
            self.assert_refused(self.ask("PUT", ("Ws-Confirm", value), body=b"a"), 400, "BAD_REQUEST")
        twice = (("Ws-Confirm", "1"), ("Ws-Confirm", "1"))
        self.assert_refused(self.ask("PUT", *twice, body=b"a"), 400, "BAD_REQUEST")

    def test_refused(self) -> None:
        """As without it, at once, and no ping goes out."""
        confirm = ("Ws-Confirm", "1000")
        self.assert_refused(self.ask("PUT", confirm, body=b"\xff"), 400, "BAD_REQUEST")
        self.assert_refused(self.gate.ask("PUT", UNKNOWN, b"a", confirm), 404, "NOT_FOUND")
        self.wire.stall()
        while self.ask("PUT", body=b"b" * 900).status == 200:
            pass
        answer = self.ask("PUT", confirm, body=b"a" * 900)
        self.assert_refused(answer, 503, "TOO_SLOW")
        self.assertTrue((answer.header("Retry-After") or "").isdigit())
        self.wire.flow()
        self.assertNotIn(PING, [got.opcode for got in self.frames()])

    def test_404_when_it_closed_while_the_body_arrived(self) -> None:
        """The head was fine then."""
        pusher = self.gate.connect()
        pusher.deliver(http_request("PUT", self.target, b"12345", ("Ws-Confirm", "1"), ("Idempotency-Key", "a"))[:-1])
        self.wire.end()
        pusher.deliver(b"5")
        self.assertEqual(self.only(pusher).json["code"], "NOT_FOUND")

    def test_too_many(self) -> None:
        """So many wait for one client, whoever they are: 503, and the message is not sent."""
        pushers = [self.begin() for _ in range(64)]
        self.frames()
        answer = self.ask("PUT", ("Ws-Confirm", "1000"), body=b"a")
        self.assert_refused(answer, 503, "TOO_SLOW")
        self.assertIn("Ws-Confirm", answer.json["message"])
        self.assertTrue((answer.header("Retry-After") or "").isdigit())
        self.gate.clock.advance(1)
        for pusher in pushers:
            self.assert_unconfirmed(self.only(pusher))
        pusher = self.begin()
        self.pong(self.ping())
        self.assertEqual(self.only(pusher).status, 200)

    def test_the_pusher_leaves(self) -> None:
        """Nobody waits any more; what is left of it is freed at once."""
        pusher = self.begin()
        self.ping()
        reference = weakref.ref(pusher.protocol)
        before = len(self.gate.clock.getDelayedCalls())
        collecting = gc.isenabled()
        gc.disable()
        try:
            pusher.end()
            self.assertIsNone(reference())
        finally:
            if collecting:
                gc.enable()
        # Its wait; twisted.web's time for idle connections was not running.
        self.assertEqual(len(self.gate.clock.getDelayedCalls()), before - 1)
        self.gate.clock.advance(1)
        self.assertEqual(self.ask("GET").status, 200)

    def test_the_pusher_is_waited_for(self) -> None:
        """Longer than a request's head may take, and longer than an idle connection is kept."""
        self.setUp()
        pusher = self.begin(30000)
        payload = self.ping()
        self.gate.clock.pump([1.0] * 29)
        self.assertEqual(pusher.take(), b"")
        self.pong(payload)
        self.assertEqual(self.only(pusher).status, 200)
        pusher.deliver(http_request("PUT", self.target, b"a"))
        self.assertEqual(self.only(pusher).status, 200)

    def test_during_the_handshake(self) -> None:
        """It is waited for from now on; 200 once the client is there and has answered."""
        wire = self.gate.begin()
        self.target = f"/{self.gate.key}"
        pusher, late = self.begin(1000), self.begin(100)
        self.assertEqual(self.ask("PUT", body=b"b").status, 202)
        self.gate.clock.advance(0.1)
        self.assert_unconfirmed(self.only(late))
        self.assertEqual(pusher.take(), b"")
        self.gate.agent.last.answer()
        *messages, ping = read_frames(read_answer(wire.take())[1])
        self.assertEqual([message.payload for message in messages], [b"a", b"a", b"b"])
        wire.deliver(frame(PONG, ping.payload))
        self.assertEqual(self.only(pusher).status, 200)

    def test_during_a_handshake_that_is_refused(self) -> None:
        """202, at once; it is forgotten as other pushes are."""
        wire = self.gate.begin()
        self.target = f"/{self.gate.key}"
        pusher = self.begin()
        self.gate.agent.last.answer(403)
        self.assert_unconfirmed(self.only(pusher))
        self.assertEqual(read_answers(wire.take())[0].status, 403)

    def test_pipelined(self) -> None:
        """Answers keep the order of their requests; those behind wait, and not those of other pushers."""
        pusher = self.gate.connect()
        confirm = http_request("PUT", self.target, b"a", ("Ws-Confirm", "1000"))
        plain = http_request("PUT", self.target, b"b")
        gone = http_request("PUT", UNKNOWN, b"b")
        pusher.deliver(plain + confirm + plain + gone + confirm + plain)
        self.assertEqual([answer.status for answer in read_answers(pusher.take())], [200])
        *messages, ping = self.frames()
        self.assertEqual([message.payload for message in messages], [b"b", b"a"])
        self.assertEqual(self.ask("PUT", body=b"c").status, 200)
        self.pong(ping.payload)
        self.assertEqual([answer.status for answer in read_answers(pusher.take())], [200, 200, 404])
        *messages, ping = self.frames()
        self.assertEqual([message.payload for message in messages], [b"c", b"b", b"a"])
        self.gate.clock.advance(1)
        unconfirmed, last = read_answers(pusher.take())
        self.assert_unconfirmed(unconfirmed)
        self.assertEqual(last.status, 200)
        self.assertEqual([message.payload for message in self.frames()], [b"b"])

    def test_the_body_is_not_kept(self) -> None:
        """The message is sent; half a minute is long."""
        pusher = self.begin(30000, b"a" * 1000)
        channel = pusher.protocol
        self.assertEqual((channel._data, channel._out, channel._body), (b"", b"", None))

    def test_a_fault(self) -> None:
        """500, and it is logged; the other pushers are served."""
        faulty: Deferred[bool] = Deferred()
        self.patch(Outbox, "push_confirmed", lambda *_: faulty)
        pusher = self.begin()
        faulty.errback(ValueError("a fault"))
        self.assertEqual(self.only(pusher).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.ask("PUT", body=b"a").status, 200)

    def test_connection_close(self) -> None:
        """The answer, then the end."""
        pusher = self.begin(1000, b"a", ("Connection", "close"))
        self.assertFalse(pusher.disconnecting)
        self.pong(self.ping())
        self.assertEqual(self.only(pusher).header("Connection"), "close")
        self.gate.turn()
        self.assertTrue(pusher.over)


class AnyOrderTests(PushTestCase):
    """Pushers that wait, and everything that may happen meanwhile."""

    def begin(self, *headers: tuple[str, str]) -> None:
        """A push that is answered later."""
        pusher = self.gate.connect()
        self.pushers.append(pusher)
        pusher.deliver(http_request("PUT", self.target, b"a", *headers))

    def confirm(self) -> None:
        """One to be confirmed."""
        self.begin(("Ws-Confirm", "1000"))
        self.sent += 1

    def confirm_with_key(self) -> None:
        """The same one each time."""
        self.begin(("Ws-Confirm", "500"), ("Idempotency-Key", "same"))
        self.with_key = 1

    def plain(self) -> None:
        """One that is answered at once."""
        self.assertEqual(self.ask("PUT", body=b"a").status, 200)
        self.sent += 1

    def last_pong(self) -> None:
        """The most recent ping is answered."""
        if self.pings:
            self.wire.deliver(frame(PONG, self.pings[-1]))

    def first_pong(self) -> None:
        """The first is, once more or at last."""
        if self.pings:
            self.wire.deliver(frame(PONG, self.pings[0]))

    def wrong_pong(self) -> None:
        """One that nobody asked for."""
        self.wire.deliver(frame(PONG, b"x" * 16))

    def time(self) -> None:
        """Some time passes."""
        self.gate.clock.advance(0.3)

    def leave(self) -> None:
        """A pusher does not wait any longer."""
        if self.pushers:
            self.pushers.pop(0).end()

    def client_closes(self) -> None:
        """It says so."""
        self.wire.deliver(close_frame(1000))

    def client_is_lost(self) -> None:
        """It does not say so."""
        self.wire.end()

    def api_closes(self) -> None:
        """The client answers what it got, then closes too."""
        self.ask("DELETE")
        self.read()
        self.last_pong()
        self.client_closes()
        self.gate.turn()

    def nothing_more(self) -> None:
        """All times run out."""
        self.gate.clock.advance(1)

    def read(self) -> None:
        """Read what the client got."""
        for got in self.frames():
            if got.opcode == PING and got.payload:
                self.pings.append(got.payload)
            elif got.opcode == TEXT:
                self.received += 1

    @moderately
    @given(
        st.lists(
            st.sampled_from([confirm, confirm_with_key, plain, last_pong, first_pong, wrong_pong, time, leave]),
            max_size=20,
        ),
        st.sampled_from([client_closes, client_is_lost, api_closes, nothing_more]),
    )
    def test_any_order(self, events: list[Callable[[Any], None]], end: Callable[[Any], None]) -> None:
        """Every pusher that stays gets just one answer, OK or UNCONFIRMED, and every message goes out once."""
        self.setUp()
        self.pushers: list[Wire] = []
        self.pings: list[bytes] = []
        self.sent = self.with_key = self.received = 0
        for event in [*events, end]:
            event(self)
            self.read()
        self.assertEqual(self.received, self.sent + self.with_key)
        for pusher in self.pushers:
            (answer,) = read_answers(pusher.take())
            self.assertIn(answer.json["code"], ("OK", "UNCONFIRMED"))
            pusher.end()


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
                "user": None,
                "groups": [],
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
