"""Handshakes: every row of protocol §2.2, and those of §4 that are about handshakes."""

from __future__ import annotations

import gc
import weakref
from sys import getrefcount
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived

from tests.gate import (
    CLOSE,
    TEXT,
    WEBSOCKET_ACCEPT,
    ApiCall,
    Frame,
    Gate,
    HttpAnswer,
    SecureWire,
    Wire,
    close_payload,
    frame,
    handshake_request,
    http_request,
    read_answer,
    read_answers,
    read_frames,
)
from tests.properties import moderately
from wsaas.callbacks.calls import ApiCalls
from wsaas.connections.connection import Connection
from wsaas.logs import MOST, LogLimit, format_json
from wsaas.net.http1.connection import REFUSED_PAUSE


class UpgradeTestCase(SynchronousTestCase):
    """A gateway in memory, and what it logs."""

    def setUp(self) -> None:
        """Set it up."""
        self.gate = self.make()
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def make(self, **settings: str) -> Gate:
        """:returns: a gateway"""
        return Gate(None, **settings)

    @property
    def log(self) -> list[str]:
        """What was logged."""
        return [formatEvent(event) for event in self.events]

    def only(self, wire: Wire) -> HttpAnswer:
        """:returns: the one answer that has come"""
        (answer,) = read_answers(wire.take())
        return answer

    def refuse(self, *headers: tuple[str, str], target: str = "/", without: tuple[str, ...] = ()) -> HttpAnswer:
        """:returns: the answer to a handshake that the API is not asked about"""
        wire = self.gate.connect()
        wire.deliver(handshake_request(target, *headers, without=without))
        self.assertEqual(self.gate.agent.calls, [])
        self.assertEqual(len(self.gate.registry), 0)
        return self.only(wire)


class GrantTests(UpgradeTestCase):
    """2xx with ``"code": "OK"``: the client gets its 101."""

    def test_101(self) -> None:
        """As RFC 6455 §4.2.2 has it, not before the API has spoken."""
        wire = self.gate.begin()
        self.assertEqual(wire.take(), b"")
        self.gate.agent.last.answer()
        answer, rest = read_answer(wire.take())
        self.assertEqual((answer.status, rest), (101, b""))
        self.assertEqual((answer.header("Upgrade") or "").lower(), "websocket")
        self.assertEqual((answer.header("Connection") or "").lower(), "upgrade")
        self.assertEqual(answer.header("Sec-WebSocket-Accept"), WEBSOCKET_ACCEPT)
        self.assertIsNone(answer.header("Sec-WebSocket-Protocol"))
        self.assertIsNone(answer.header("Sec-WebSocket-Extensions"))

    def test_any_2xx_and_any_type(self) -> None:
        """Its Content-Type is not looked at, nor are other members."""
        for status, body, headers in (
            (200, b'{"code": "OK"}', ()),
            (201, b' {"code":"OK","message":"welcome"}\n', (("Content-Type", "text/html"),)),
            (299, b'{"a": [1], "code": "OK"}', (("Content-Encoding", "identity"),)),
        ):
            wire = self.gate.begin()
            self.gate.agent.last.answer(status, body, *headers)
            self.assertTrue(wire.take().startswith(b"HTTP/1.1 101 "))

    def test_subprotocols(self) -> None:
        """The API's choice; without it the only one offered, and none of several."""
        choice = ("Sec-WebSocket-Protocol", "b")
        for offered, chosen, used in (
            (["a"], (), "a"),
            (["a, b"], (), None),
            (["a, b"], (choice,), "b"),
            (["a", "b"], (choice,), "b"),
            (["a"], (("Sec-WebSocket-Protocol", ""),), "a"),
            ([], (), None),
        ):
            wire = self.gate.begin("/", *(("Sec-WebSocket-Protocol", value) for value in offered))
            self.gate.agent.last.answer(200, b'{"code": "OK"}', *chosen)
            self.assertEqual(read_answer(wire.take())[0].header("Sec-WebSocket-Protocol"), used, (offered, chosen))

    def test_no_choice_among_several_is_warned_of(self) -> None:
        """Browsers then drop the connection; the warning says what to do."""
        self.gate.begin("/", ("Sec-WebSocket-Protocol", "chat.v1, chat.v2"))
        self.gate.agent.last.answer()
        (warning,) = [formatEvent(event) for event in self.events if event["log_level"] is LogLevel.warn]
        self.assertIn("Sec-WebSocket-Protocol", warning)
        self.assertIn("one of the 2", warning)
        # Some clients have no better place for a token.
        self.assertNotIn("chat.v", warning)

    def test_accept_then_close(self) -> None:
        """Ws-Close on the POST: 101, what was pushed meanwhile, then the Close frame."""
        wire = self.gate.begin()
        self.gate.ask("PUT", f"/{self.gate.key}", b"before")
        self.gate.agent.last.answer(200, b'{"code": "OK"}', ("Ws-Close", "4003 not%20today"))
        answer, rest = read_answer(wire.take())
        self.assertEqual(answer.status, 101)
        self.assertEqual(read_frames(rest), [Frame(TEXT, b"before"), Frame(CLOSE, close_payload(4003, "not today"))])

    def test_accept_then_close_as_nobody_can(self) -> None:
        """An invalid Ws-Close: 101, then 1011."""
        for value in ("1005", "soon", "4000 %FF", "4000 " + "a" * 124):
            wire = self.gate.begin()
            self.gate.agent.last.answer(200, b'{"code": "OK"}', ("Ws-Close", value))
            answer, rest = read_answer(wire.take())
            self.assertEqual((answer.status, read_frames(rest)), (101, [Frame(CLOSE, close_payload(1011))]))
            wire.end()
            self.assertEqual(self.gate.agent.last.header("Ws-Closed-By"), "error")

    def test_early_bytes(self) -> None:
        """What the client sends before its 101 is not lost: behind the handshake, and while the API thinks."""
        wire = self.gate.connect()
        wire.deliver(handshake_request() + frame(TEXT, b"one") + frame(TEXT, b"two")[:4])
        wire.deliver(frame(TEXT, b"two")[4:])
        self.assertEqual(self.gate.agent.methods, ["POST"])
        self.gate.agent.last.answer()
        self.assertEqual((self.gate.agent.last.method, self.gate.agent.last.body), ("PUT", b"one"))
        self.gate.agent.last.answer(200, b"")
        self.assertEqual((self.gate.agent.last.method, self.gate.agent.last.body), ("PUT", b"two"))

    def test_early_bytes_when_the_api_answers_at_once(self) -> None:
        """They are still in the line buffer then."""
        self.gate.agent.react = lambda call: call.answer(200, b'{"code": "OK"}') if call.method == "POST" else None
        wire = self.gate.connect()
        wire.deliver(handshake_request() + frame(TEXT, b"a\r\n\r\nb"))
        self.assertEqual(self.gate.agent.last.body, b"a\r\n\r\nb")

    def test_behind_other_requests(self) -> None:
        """On a connection that has carried HTTP before, pipelined too."""
        wire = self.gate.connect()
        wire.deliver(http_request("GET", "/") + http_request("PUT", "/x", b"a") + handshake_request())
        self.gate.clock.advance(REFUSED_PAUSE)
        self.gate.agent.last.answer()
        statuses, rest = [], wire.take()
        while rest:
            answer, rest = read_answer(rest)
            statuses.append(answer.status)
        self.assertEqual(statuses, [426, 404, 101])

    def test_a_second_handshake_behind_the_first(self) -> None:
        """It is no HTTP any more: bytes of a WebSocket, and broken ones; the API is asked once."""
        wire = self.gate.connect()
        wire.deliver(handshake_request() + handshake_request())
        self.gate.agent.last.answer()
        _, rest = read_answer(wire.take())
        self.assertEqual(read_frames(rest)[0].payload[:2], close_payload(1002))
        self.assertEqual(self.gate.agent.methods.count("POST"), 1)

    def test_secure(self) -> None:
        """Over TLS it is wss."""
        self.gate.begin(kind=SecureWire)
        self.assertEqual(self.gate.agent.last.header("Ws-Scheme"), "wss")
        self.assertEqual(self.gate.agent.last.header("X-Forwarded-Proto"), "https")


class RefusalTests(UpgradeTestCase):
    """What the client gets when the API does not grant it, and whether a DELETE is owed then (§2.1)."""

    def answer(self, *arguments: Any, **more: Any) -> tuple[HttpAnswer, list[str]]:
        """:returns: what the client gets for an answer of the API, and the methods of all calls"""
        before = len(self.gate.agent.calls)
        wire = self.gate.begin("/", ("Sec-WebSocket-Protocol", "a, b"))
        self.gate.agent.last.answer(*arguments, **more)
        return self.only(wire), self.gate.agent.methods[before:]

    def fail(self, error: Exception) -> tuple[HttpAnswer, list[str]]:  # type: ignore[override]  # not the assertion
        """:returns: what the client gets when the call fails so, and the methods of all calls"""
        before = len(self.gate.agent.calls)
        wire = self.gate.begin()
        self.gate.agent.last.fail(error)
        return self.only(wire), self.gate.agent.methods[before:]

    def test_another_code(self) -> None:
        """403; it is a refusal, so no DELETE follows."""
        for body in (
            b'{"code": "NO"}',
            b'{"code": "ok"}',
            b'{"code": ["OK"]}',
            b'{"code": true}',
            b'["OK"]',
            b'"OK"',
            b"OK",
            b"",
            b"\xff",
            b"[" * 100_000,
            b'{"code": "OK"',
        ):
            answer, methods = self.answer(200, body)
            self.assertEqual((answer.status, methods), (403, ["POST"]), body[:40])

    def test_4xx(self) -> None:
        """The status, and no DELETE; of its headers only two."""
        for status in (400, 401, 403, 404, 408, 410, 418, 425, 429, 451, 499):
            answer, methods = self.answer(status, b"secret", ("X-Secret", "1"), ("Set-Cookie", "a=b"))
            self.assertEqual((answer.status, methods), (status, ["POST"]))
            self.assertNotIn(b"secret", answer.body)
            self.assertEqual({"x-secret", "set-cookie"} & set(answer.headers), set())

    def test_headers_that_pass_through(self) -> None:
        """WWW-Authenticate, repeated if it was, and Retry-After."""
        answer, _ = self.answer(
            401, b"", ("WWW-Authenticate", "Basic"), ("WWW-Authenticate", 'Bearer realm="x"'), ("Retry-After", "7")
        )
        self.assertEqual(answer.headers["www-authenticate"], ["Basic", 'Bearer realm="x"'])
        self.assertEqual(answer.header("Retry-After"), "7")

    def test_502_owes_a_delete(self) -> None:
        """3xx, 5xx, malformed, oversized, an unusable subprotocol or Ws-State."""
        ok = b'{"code": "OK"}'
        for arguments in (
            (301, b"", ("Location", "http://elsewhere.test/")),
            (304, b""),
            (500, ok),
            (502, ok),
            (503, ok),
            (599, ok),
            (200, b"a" * 131073),
            (200, ok, ("Content-Encoding", "gzip")),
            (200, ok, ("Sec-WebSocket-Protocol", "c")),
            (200, ok, ("Sec-WebSocket-Protocol", "A")),
            (200, ok, ("Sec-WebSocket-Protocol", "a, b")),
            (200, ok, ("Sec-WebSocket-Protocol", "a"), ("Sec-WebSocket-Protocol", "b")),
            (200, ok, ("Ws-State", "a" * 1025)),
            (200, ok, ("Ws-State", "\u00fc")),
            (200, ok, ("Ws-State", "a\tb")),
        ):
            answer, methods = self.answer(*arguments)
            self.assertEqual((answer.status, methods), (502, ["POST", "DELETE"]), arguments)
            self.gate.agent.last.answer(200, b"")
            self.assertEqual(len(self.gate.registry), 0)

    def test_broken_off(self) -> None:
        """502, and a DELETE: the API may have accepted."""
        answer, methods = self.answer(200, b'{"code": "OK"}', ending=ConnectionLost())
        self.assertEqual((answer.status, methods), (502, ["POST", "DELETE"]))
        answer, methods = self.fail(ResponseNeverReceived([Failure(ConnectionLost())]))
        self.assertEqual((answer.status, methods), (502, ["POST", "DELETE"]))

    def test_no_connection(self) -> None:
        """503 with Retry-After; the API never saw it, so nothing is owed."""
        answer, methods = self.fail(ConnectError())
        self.assertEqual((answer.status, methods), (503, ["POST"]))
        self.assertTrue((answer.header("Retry-After") or "").isdigit())

    def test_no_slot(self) -> None:
        """503 with Retry-After once API_TIMEOUT is over; it was never sent."""
        self.gate = self.make(API_MAX_REQUESTS="1", API_TIMEOUT="3000")
        self.gate.slots.acquire("POST")
        wire = self.gate.begin()
        self.gate.clock.advance(2.9)
        self.assertEqual(wire.take(), b"")
        self.gate.clock.advance(0.1)
        answer = self.only(wire)
        self.assertEqual(answer.status, 503)
        self.assertTrue((answer.header("Retry-After") or "").isdigit())
        self.gate.slots.release("POST")
        self.assertEqual(self.gate.agent.calls, [])
        self.assertEqual((self.gate.slots.held, len(self.gate.registry)), (0, 0))

    def test_504(self) -> None:
        """No complete answer within API_TIMEOUT, not even a part of one in time; a DELETE is owed."""
        self.gate = self.make(API_TIMEOUT="3000")
        silent, slow = self.gate.begin(), self.gate.begin()
        self.gate.agent.last.answer(200, b'{"code":', complete=False)
        self.gate.clock.advance(2.9)
        self.assertEqual((silent.take(), slow.take()), (b"", b""))
        self.gate.clock.advance(0.1)
        self.assertEqual((self.only(silent).status, self.only(slow).status), (504, 504))
        self.assertEqual(self.gate.agent.methods, ["POST", "POST", "DELETE", "DELETE"])
        for disconnect in self.gate.agent.calls[2:]:
            self.assertEqual(disconnect.header("Ws-Closed-By"), "unreachable")
            self.assertEqual(disconnect.header("Ws-Close-Code"), "1013")

    def test_http_goes_on(self) -> None:
        """A refusal is ordinary HTTP: the connection may carry the next handshake."""
        wire = self.gate.begin()
        self.gate.agent.last.answer(401, b"")
        self.assertEqual(self.only(wire).status, 401)
        wire.deliver(handshake_request())
        self.gate.agent.last.answer()
        self.assertTrue(wire.take().startswith(b"HTTP/1.1 101 "))

    def test_a_fault_of_our_own(self) -> None:
        """500, logged, and a DELETE: the API may have seen the POST."""
        acquire = self.gate.slots.try_acquire

        def broken(method: str) -> bool:
            if method == "POST":
                raise ZeroDivisionError
            return acquire(method)

        self.gate.slots.try_acquire = broken  # type: ignore[method-assign]  # breaks, for once
        self.assertEqual(self.only(self.gate.begin()).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.gate.agent.methods, ["DELETE"])
        self.assertEqual(self.gate.agent.last.header("Ws-Closed-By"), "error")


class AnyAnswerTests(UpgradeTestCase):
    """Nothing is assumed of what the API says."""

    @moderately
    @given(st.integers(100, 999), st.binary(max_size=30), st.text(max_size=10), st.text(max_size=10))
    def test_any_answer(self, status: int, body: bytes, state: str, close: str) -> None:
        """Whatever an HTTP answer can say, the client gets one answer, and not more than one DELETE follows."""
        assume(b'"OK"' not in body)
        names = [("Ws-State", state), ("Ws-Close", close)]
        headers = [(name, value.replace("\n", "").replace("\r", "")) for name, value in names]
        before = len(self.gate.agent.calls)
        wire = self.gate.begin()
        self.gate.agent.last.answer(status, body, *headers)
        answer, _ = read_answer(wire.take())
        self.assertEqual(answer.status, status if 400 <= status < 500 else 403 if 200 <= status < 300 else 502)
        self.assertLessEqual(len(self.gate.agent.calls) - before, 2)
        wire.end()


class LeavingTests(UpgradeTestCase):
    """The client leaves while the API thinks."""

    def leave(self) -> ApiCall:
        """:returns: the POST, whose client has gone"""
        wire = self.gate.begin()
        call = self.gate.agent.last
        wire.end()
        self.assertFalse(call.cancelled)
        self.assertEqual(self.gate.agent.methods, ["POST"])
        return call

    def test_granted(self) -> None:
        """A DELETE follows, once the answer is there."""
        self.leave().answer(200, b'{"code": "OK"}', ("Ws-State", "s"))
        self.assertEqual(self.gate.agent.methods, ["POST", "DELETE"])
        disconnect = self.gate.agent.last
        self.assertEqual(
            [disconnect.header(f"Ws-{name}") for name in ("Close-Code", "Closed-By", "State")], ["1006", "client", "s"]
        )
        disconnect.answer()
        self.assertEqual(len(self.gate.registry), 0)

    def test_refused(self) -> None:
        """Nothing is owed."""
        self.leave().answer(403)
        self.assertEqual(self.gate.agent.methods, ["POST"])
        self.assertEqual(len(self.gate.registry), 0)

    def test_unknown(self) -> None:
        """A DELETE follows; the first cause counts, which is the client."""
        self.leave()
        self.gate.clock.advance(self.gate.settings.api.timeout)
        self.assertEqual(self.gate.agent.methods, ["POST", "DELETE"])
        self.assertEqual(self.gate.agent.last.header("Ws-Closed-By"), "client")

    def test_pushes_do_not_find_it(self) -> None:
        """404 from the moment at which it left."""
        self.leave()
        self.assertEqual(self.gate.ask("PUT", f"/{self.gate.key}", b"a").status, 404)

    def test_no_errors_in_the_log(self) -> None:
        """It is nothing unusual."""
        self.leave().answer()
        self.assertEqual([event for event in self.events if event["log_level"] > LogLevel.warn], [])


class HandshakeTests(UpgradeTestCase):
    """Protocol §4: what is refused without asking the API."""

    def test_malformed(self) -> None:
        """400."""
        key = "Sec-WebSocket-Key"
        for headers, without in (
            ((), ("Sec-WebSocket-Key",)),
            (((key, "bm90IDE2IGJ5dGVz"),), (key,)),
            (((key, "not base64!"),), (key,)),
            (((key, ""),), (key,)),
            (((key, "dGhlIHNhbXBsZSBub25jZQ=="),), ()),
            ((), ("Connection",)),
            ((("Connection", "keep-alive"),), ("Connection",)),
            ((), ("Sec-WebSocket-Version",)),
            ((("Sec-WebSocket-Version", "13"),), ()),
            ((), ("Host",)),
            ((("Host", "twice.test"),), ()),
            ((("Host", ""),), ("Host",)),
            ((("Origin", "http://a.test"), ("Origin", "http://a.test")), ()),
            ((("Origin", "http://a.test/\xfc"),), ()),
            ((("Authorization", "Bearer a"), ("Authorization", "Bearer b")), ()),
            ((("Sec-WebSocket-Protocol", "a b"),), ()),
            ((("Sec-WebSocket-Protocol", "a, a"),), ()),
            ((("Sec-WebSocket-Protocol", "a"), ("Sec-WebSocket-Protocol", "a")), ()),
            ((("Sec-WebSocket-Protocol", "a,, b c"),), ()),
        ):
            self.assertEqual(self.refuse(*headers, without=without).status, 400, (headers, without))

    def test_targets(self) -> None:
        """400 for what is not a path in visible ASCII, 414 for what is longer than 2048 bytes."""
        for target in ("/\x80", "http://elsewhere.test/", "*"):
            self.assertEqual(self.refuse(target=target).status, 400, target)
        self.assertEqual(self.refuse(target="/" + "a" * 2048).status, 414)
        self.gate.open("/" + "a" * 2047)

    def test_http_1_0(self) -> None:
        """RFC 6455 §4.2.1 asks for 1.1."""
        wire = self.gate.connect()
        wire.deliver(handshake_request().replace(b"HTTP/1.1", b"HTTP/1.0"))
        self.assertEqual(self.only(wire).status, 400)

    def test_unknown_version(self) -> None:
        """426, naming the one that is spoken."""
        for version in ("8", "14", "13, 8", "x"):
            version_header = ("Sec-WebSocket-Version", version)
            answer = self.refuse(version_header, without=("Sec-WebSocket-Version",))
            self.assertEqual((answer.status, answer.header("Sec-WebSocket-Version")), (426, "13"))

    def test_forwarded_headers_are_bounded(self) -> None:
        """431 over 6 KiB of those that are forwarded; others do not count."""
        self.assertEqual(self.refuse(("Authorization", "a" * 6144)).status, 431)
        self.gate.open("/", ("Authorization", "a" * (6144 - len("Authorization"))), ("X-Other", "a" * 7000))

    def test_origin(self) -> None:
        """403, naming the setting in the log."""
        self.gate = self.make(WS_ORIGINS="https://good.test")
        self.assertEqual(self.refuse(("Origin", "https://evil.test")).status, 403)
        self.assertIn("WS_ORIGINS", self.log[-1])
        self.gate.open("/", ("Origin", "https://good.test"))
        self.gate.open("/")

    def test_declined_offers_of_compression(self) -> None:
        """They refuse nobody, whether compression is spoken or not (RFC 7692 §5.1)."""
        offer = ("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=99")
        self.gate.open("/", offer)
        self.gate = self.make(WS_COMPRESSION="on")
        self.gate.open("/", offer)

    def test_head_not_complete_in_time(self) -> None:
        """408 after WS_TIMEOUT."""
        self.gate = self.make(WS_TIMEOUT="7000")
        wire = self.gate.connect()
        wire.deliver(handshake_request()[:-1])
        self.gate.clock.advance(7)
        self.assertEqual(self.only(wire).status, 408)


class DrainTests(UpgradeTestCase):
    """Nobody new is let in when the process stops."""

    def test_a_handshake_that_comes_then(self) -> None:
        """503 with Retry-After, without asking the API, whatever it is like."""
        self.gate.upgrade.draining = True
        for without in ((), ("Sec-WebSocket-Key",)):
            answer = self.refuse(without=without)
            self.assertEqual(answer.status, 503)
            self.assertTrue((answer.header("Retry-After") or "").isdigit())

    def test_a_handshake_that_the_api_thinks_about(self) -> None:
        """503 when the grant comes, and a DELETE that says why."""
        wire = self.gate.begin()
        self.gate.upgrade.draining = True
        for connection in self.gate.registry:
            connection.shut_down()
        self.gate.agent.last.answer()
        answer = self.only(wire)
        self.assertEqual(answer.status, 503)
        self.assertTrue((answer.header("Retry-After") or "").isdigit())
        disconnect = self.gate.agent.last
        self.assertEqual((disconnect.method, disconnect.header("Ws-Close-Code")), ("DELETE", "1001"))
        self.assertEqual(disconnect.header("Ws-Closed-By"), "shutdown")

    def test_pushes_go_on(self) -> None:
        """Those who are still here can be reached."""
        self.gate.open()
        self.gate.upgrade.draining = True
        self.assertEqual(self.gate.ask("PUT", f"/{self.gate.key}", b"a").status, 200)


class LogTests(UpgradeTestCase):
    """Log lines name the tag of a connection, never its key or what may hold a token."""

    def test_no_key_and_no_query(self) -> None:
        """Of connections that open and close, are refused, break, and are pushed to."""
        keys = []
        wire = self.gate.open("/chat?token=SECRET", ("Authorization", "Bearer SECRET"))
        keys.append(self.gate.key)
        tag = self.gate.connection.identity.tag
        self.gate.ask("PUT", f"/{self.gate.key}", b"SECRET")
        wire.deliver(frame(TEXT, b"SECRET"))
        self.gate.agent.last.answer(403, b"SECRET")
        wire.end()
        self.gate.agent.last.answer(500, b"SECRET")
        for status in (401, 500):
            self.gate.begin("/chat?token=SECRET")
            keys.append(self.gate.key)
            self.gate.agent.last.answer(status, b"SECRET")
        wire = self.gate.connect()
        wire.deliver(handshake_request("/chat?token=SECRET", without=("Host",)))
        log = "\n".join(self.log)
        self.assertIn(f"{tag} opened: 192.0.2.1 /chat", log)
        self.assertIn(f"{tag} closed: 1006 by client", log)
        self.assertIn("refused with 401", log)
        self.assertIn("refused with 400: 192.0.2.1 GET /chat: no Host", log)
        for event in [*self.log, *(str(event) for event in self.events)]:
            self.assertNotIn("token=SECRET", event)
            for key in keys:
                self.assertNotIn(key, event)
        self.assertNotIn("SECRET", log)

    def test_one_line(self) -> None:
        """For a handshake that brought nothing, whatever the cause; "closed" is for what was open."""
        for status, level, said in (
            (
                403,
                LogLevel.info,
                "refused with 403: 192.0.2.1 GET /chat: the API answered 403 (no Content-Type, 4 bytes)",
            ),
            (
                500,
                LogLevel.warn,
                "refused with 502: 192.0.2.1 GET /chat: the API answered 500 (no Content-Type, 4 bytes)",
            ),
        ):
            self.events.clear()
            self.gate.begin("/chat")
            self.gate.agent.last.answer(status, b"body")
            self.gate.turn()
            if self.gate.agent.last.method == "DELETE":
                self.gate.agent.last.answer()
            (line,) = self.log
            self.assertTrue(line.endswith(said), line)
            self.assertIs(self.events[0]["log_level"], level)

    def test_one_line_of_who_left(self) -> None:
        """Once it is known what the answer would have been."""
        for status, level, said in (
            (200, LogLevel.info, "it would have been let in"),
            (403, LogLevel.info, "the API answered 403 (no Content-Type, 14 bytes)"),
            (500, LogLevel.warn, "the API answered 500 (no Content-Type, 14 bytes)"),
        ):
            self.events.clear()
            self.gate.begin("/chat?token=SECRET").end()
            self.assertEqual(self.log, [])
            self.gate.agent.last.answer(status)
            if self.gate.agent.last.method == "DELETE":
                self.gate.agent.last.answer()
            (line,) = self.log
            self.assertTrue(line.endswith(f" left before the answer: 192.0.2.1 GET /chat: {said}"), line)
            self.assertIs(self.events[0]["log_level"], level)

    def test_the_origin(self) -> None:
        """That was refused, if it is one."""
        self.gate = self.make(WS_ORIGINS="same")
        for origin, shown in (
            ("https://Evil.example:8443", "https://Evil.example:8443"),
            ("null", "null"),
            ("https://user:secret@evil.example", "(malformed)"),
            ("https://evil.example/?token=secret", "(malformed)"),
            (f"https://{'x' * 200}", "(malformed)"),
        ):
            self.assertEqual(self.refuse(("Origin", origin)).status, 403)
            self.assertTrue(self.log[-1].endswith(f": the Origin {shown} may not connect (WS_ORIGINS)"), self.log[-1])

    def test_no_key_in_a_path(self) -> None:
        """Nor a part of one, however long the path is that a client puts before it."""
        self.gate.open()
        key = self.gate.key
        for before in ("/", "/folder/", f"/{'a' * 185}/", f"/{'a' * 300}/"):
            self.gate.open(before + key)
            wire = self.gate.connect()
            wire.deliver(handshake_request(before + key, without=("Host",)))
        self.assertNotIn(key[:10], "\n".join(line for line in self.log if before in line or "/" in line))
        self.assertLess(max(map(len, self.log)), 400)

    def test_few_lines(self) -> None:
        """Whatever comes of handshakes, those that bring nothing have only so many lines in a second."""
        for kind in ("malformed", 403, 500, "left"):
            passed: list[LogEvent] = []
            observer: Any = passed.append
            limit = LogLimit(observer)
            self.events.clear()
            for _ in range(2 * MOST):
                if kind == "malformed":
                    self.refuse(without=("Sec-WebSocket-Key",))
                    continue
                wire = self.gate.begin()
                if isinstance(kind, int):
                    self.gate.agent.last.answer(kind)
                else:
                    wire.end()
                    self.gate.agent.last.answer(404)
                if self.gate.agent.last.method == "DELETE":
                    self.gate.agent.last.answer()
            for event in self.events:
                limit({**event, "log_time": 1.0})
            self.assertLessEqual(len(passed), 3 * MOST, kind)
            self.assertGreaterEqual(len(self.events), 2 * MOST if kind != "left" else 0, kind)

    def test_short_lines(self) -> None:
        """However long what a client sends: a log must not be filled more than a line at a time."""
        self.gate = self.make(WS_COMPRESSION="on")
        names = [f"protocol-{number}" for number in range(300)]
        self.refuse(("Sec-WebSocket-Version", "1" * 7000))
        self.refuse(("Origin", "x" * 7000))
        self.gate.open("/", ("Sec-WebSocket-Extensions", f"permessage-deflate; {'x' * 7000}"))
        self.gate.open("/" + "x" * 2000, ("Sec-WebSocket-Protocol", ", ".join(names)))
        self.gate.open("/", ("Sec-WebSocket-Protocol", "x" * 5000), ("User-Agent", "x" * 2000))
        self.assertGreater(len(self.events), 5)
        for event in self.events:
            self.assertLess(len(format_json(event)), 1000)

    def test_an_api_that_cannot_even_be_asked(self) -> None:
        """A fault of ours is answered, and nothing stays counted: those who come later would pay for it."""
        self.gate = self.make(WS_MAX_PER_ADDRESS="1")

        def connect(_: object) -> None:
            raise RuntimeError("a fault")

        self.patch(ApiCalls, "connect", connect)
        for _ in range(2):
            wire = self.gate.connect()
            wire.deliver(handshake_request())
            self.assertEqual(self.only(wire).status, 500)
            # It may be that the API was asked all the same.
            self.assertEqual(self.gate.agent.last.method, "DELETE")
            self.gate.agent.last.answer()
            self.assertEqual((self.gate.totals.asking, len(self.gate.registry)), (0, 0))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_a_takeover_that_fails(self) -> None:
        """It is a fault of ours: logged, the TCP connection ends, and the API hears of it."""

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        self.gate.factory.take_over = broken  # type: ignore[method-assign,assignment]  # breaks, for once
        wire = self.gate.begin()
        self.gate.agent.last.answer()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        disconnect = self.gate.agent.last
        self.assertEqual((disconnect.method, disconnect.header("Ws-Close-Code")), ("DELETE", "1011"))
        self.assertEqual(disconnect.header("Ws-Closed-By"), "error")
        self.gate.turn()
        self.assertTrue(wire.over)


class MemoryTests(UpgradeTestCase):
    """What is over is freed at once."""

    def test_freed(self) -> None:
        """Refused, or gone while the API was asked: nothing is left, with the collector off."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        before = self.count()
        for leaves_first in (False, True):
            wire = self.gate.begin()
            # A channel has its request, and an arrival is one itself.
            (visitor,) = getattr(wire.protocol, "requests", [wire.protocol])
            request = weakref.ref(visitor)
            del visitor
            self.assertEqual(self.count(), before + 1)
            if leaves_first:
                wire.end()
            self.gate.agent.calls.pop().answer(403)
            wire.end()
            del wire
            self.events.clear()
            self.assertEqual(self.count(), before)
            self.assertIsNone(request())

    def test_subprotocols_are_forgotten(self) -> None:
        """Thousands that were offered would stay as long as the connection."""
        wire = self.gate.begin("/", ("Sec-WebSocket-Protocol", ", ".join(f"offered-{number}" for number in range(9))))
        protocols = self.gate.connection.handshake.protocols
        self.assertEqual(len(protocols), 9)
        self.gate.agent.last.answer(200, b'{"code": "OK"}', ("Sec-WebSocket-Protocol", "offered-1"))
        self.assertTrue(wire.take().startswith(b"HTTP/1.1 101 "))
        self.events.clear()
        gc.collect()
        # Our name, and the one of who counts.
        self.assertLess(getrefcount(protocols), 3)

    @staticmethod
    def count() -> int:
        """:returns: how many connections there are in memory"""
        return sum(isinstance(thing, Connection) for thing in gc.get_objects())
