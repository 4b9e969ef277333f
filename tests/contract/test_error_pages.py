"""What answers that are no success say about the inside: nothing. Every listener."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import Gate, HttpAnswer, handshake_request, http_request, read_answer
from tests.wire import NOBODY
from wsaas.connections.connection import Connection
from wsaas.connections.outbox import Outbox
from wsaas.demo.pages import demo_pages
from wsaas.demo.traffic import Traffic
from wsaas.net.http1.page import PageRequest
from wsaas.net.http1.site import ClientSite
from wsaas.operations.admin import HEAD_TIMEOUT, Readiness, admin_site

#: Stands in every request where it can, and in every exception; no answer repeats it.
MARK = "m4rk"
#: Names and shapes that would tell what is inside, and where.
TELLING = re.compile(
    rb"twisted|autobahn|python|treq|openssl|wsaas|traceback|file \"|\.py|\d+\.\d+\.\d+|<|m4rk", re.IGNORECASE
)
#: All headers that an answer may have besides those that describe its body.
KNOWN = {
    "allow",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "date",
    "retry-after",
    "sec-websocket-version",
    "upgrade",
    "www-authenticate",
    "x-content-type-options",
}


def raw(*lines: str) -> bytes:
    """:returns: a head of such lines"""
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


#: Requests that nobody can read, with the status of the answer, which is the same on every listener.
UNREADABLE = {
    "TLS on a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "no words": (raw(f"{MARK}"), 400),
    "HTTP/0.9": (f"GET /{MARK}\r\n".encode(), 400),
    "HTTP/0.9 with a blank": (f"GET /{MARK} \r\n\r\n".encode(), 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/3.7": (raw(f"GET /{MARK} HTTP/3.7", "Host: a"), 400),
    "no HTTP": (raw(f"GET /{MARK} {MARK}/1.1", "Host: a"), 400),
    "not ASCII": (raw(f"GET /{MARK}\xff HTTP/1.1", "Host: a"), 400),
    "NUL": (raw(f"GET /{MARK}\0 HTTP/1.1", "Host: a"), 400),
    "a length that is none": (raw(f"PUT /{MARK} HTTP/1.1", "Host: a", f"Content-Length: {MARK}"), 400),
    "a length too long": (raw("PUT / HTTP/1.1", "Host: a", "Content-Length: " + "9" * 5000), 400),
    "two lengths": (raw("PUT / HTTP/1.1", "Host: a", "Content-Length: 1", "Content-Length: 2"), 400),
    "an unknown coding": (raw("PUT / HTTP/1.1", "Host: a", f"Transfer-Encoding: {MARK}"), 400),
    "both framings": (raw("PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Content-Length: 1"), 400),
    "no header": (raw("GET / HTTP/1.1", "Host: a", MARK), 400),
    "a long target": (raw("GET /" + MARK * 5000 + " HTTP/1.1", "Host: a"), 414),
    "a long header": (raw("GET / HTTP/1.1", "Host: a", "X: " + MARK * 5000), 431),
    "many headers": (raw("GET / HTTP/1.1", "Host: a", *[f"X: {MARK}"] * 2000), 431),
}
#: On the listeners of clients, which may be those of pushes too.
TO_CLIENTS = {
    "a page": (http_request("GET", f"/{MARK}"), 426),
    "a page by HTTP/1.0": (raw(f"GET /{MARK} HTTP/1.0"), 426),
    "HEAD": (http_request("HEAD", f"/{MARK}"), 426),
    "POST": (http_request("POST", f"/{MARK}", b"x"), 426),
    "TRACE": (http_request("TRACE", f"/{MARK}", None, ("Cookie", MARK)), 426),
    "CONNECT": (http_request("CONNECT", f"{MARK}:443"), 426),
    "a method of nobody's": (http_request("BREW", f"/{MARK}"), 426),
    "an asterisk": (http_request("OPTIONS", "*"), 426),
    "a handshake with an asterisk": (handshake_request("*"), 400),
    "a handshake without a key": (handshake_request(f"/{MARK}", without=("Sec-WebSocket-Key",)), 400),
    "a handshake by HTTP/1.0": (handshake_request(f"/{MARK}").replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
    "a handshake with a body": (handshake_request(f"/{MARK}", ("Content-Length", "1")) + b"x", 400),
    "an old handshake": (
        handshake_request(f"/{MARK}", ("Sec-WebSocket-Version", "8"), without=("Sec-WebSocket-Version",)),
        426,
    ),
    "a long path": (handshake_request("/" + MARK * 600), 414),
    "much to forward": (handshake_request("/", *[("Authorization", MARK * 2000)]), 431),
    "a foreign page": (handshake_request("/", ("Origin", f"https://{MARK}.example")), 403),
}
#: On the listeners of pushes, which may be those of clients too.
TO_PUSHES = {
    "PUT to nobody": (http_request("PUT", f"/{NOBODY}?{MARK}", b"x"), 404),
    "by HTTP/1.0": (raw(f"PUT /{NOBODY} HTTP/1.0", "Content-Length: 1") + b"x", 404),
    "DELETE to nobody": (http_request("DELETE", f"/{NOBODY}?{MARK}"), 404),
    "GET of nobody": (http_request("GET", f"/{NOBODY}"), 404),
    "HEAD of nobody": (http_request("HEAD", f"/{NOBODY}"), 404),
    "POST": (http_request("POST", f"/{NOBODY}", b"x"), 405),
    "OPTIONS": (http_request("OPTIONS", f"/{NOBODY}"), 405),
    "TRACE": (http_request("TRACE", f"/{NOBODY}", None, ("Authorization", MARK)), 405),
    "a method of nobody's": (http_request("BREW", f"/{NOBODY}"), 405),
}
#: The same where they have a listener of their own.
ONLY_TO_PUSHES = {
    "a page": (http_request("GET", f"/{MARK}"), 404),
    "an asterisk": (http_request("GET", "*"), 404),
    "a handshake": (handshake_request(f"/{MARK}"), 404),
}
#: On the listener of clients, where pushes have one of their own.
PUSHES_ELSEWHERE = {
    "PUT": (http_request("PUT", f"/{MARK}", b"x"), 405),
    "DELETE": (http_request("DELETE", f"/{NOBODY}"), 405),
    "GET of a key": (http_request("GET", f"/{NOBODY}"), 405),
}
TO_ADMIN = {
    "another page": (http_request("GET", f"/{MARK}"), 404),
    "an asterisk": (http_request("OPTIONS", "*"), 404),
    "POST": (http_request("POST", "/healthz", b""), 405),
    "a body": (http_request("GET", "/healthz", b"x"), 400),
    "by HTTP/1.0": (raw(f"GET /{MARK} HTTP/1.0"), 404),
    "not ready": (http_request("GET", "/readyz"), 503),
    "not ready, HEAD": (http_request("HEAD", "/readyz"), 503),
}
TO_DEMO = {
    "no page": (http_request("GET", f"/{MARK}"), 404),
    "no page below": (http_request("GET", f"/demo/{MARK}"), 404),
    "no page, HEAD": (http_request("HEAD", f"/{MARK}"), 404),
    "no page by HTTP/1.0": (raw(f"GET /{MARK} HTTP/1.0"), 404),
    "a folder": (http_request("GET", "/demo"), 404),
}


class Broken:
    """In place of whatever is planted: fails with a secret in its words and its variables."""

    def __call__(self, *_: object, **__: object) -> Any:
        """Fail."""
        secret = MARK
        raise RuntimeError(secret)


class _Metrics:
    def page(self, accept: str) -> tuple[str, bytes]:
        """Fail."""
        raise RuntimeError(f"{MARK}: {accept}")


class ErrorPageTests(SynchronousTestCase):
    """Every answer of every listener that is no success."""

    def setUp(self) -> None:
        """Make every listener that there is."""
        self.gate = self.make()
        self.apart = self.make(PUSH_LISTEN="tcp:1", WS_HOSTNAME="http://push.test")
        self.demo = Gate(pages=demo_pages(Traffic(Clock(), float)))
        self.readiness = Readiness()
        self.readiness.add("journal", lambda: "it cannot be written")
        self.admin = admin_site(self.readiness, _Metrics(), self.gate.clock)

    def make(self, **settings: str) -> Gate:
        """:returns: a gateway that takes one page's clients"""
        return Gate(None, WS_ORIGINS="https://good.example", **settings)

    def listeners(self) -> Iterator[tuple[str, Gate, ClientSite, dict[str, tuple[bytes, int]]]]:
        """:returns: name, gateway, site, and the requests that get no success there"""
        yield "clients and pushes", self.gate, self.gate.site, UNREADABLE | TO_CLIENTS | TO_PUSHES
        yield "clients", self.apart, self.apart.site, UNREADABLE | TO_CLIENTS | PUSHES_ELSEWHERE
        yield "pushes", self.apart, self.apart.push_site, UNREADABLE | TO_PUSHES | ONLY_TO_PUSHES
        yield "admin", self.gate, self.admin, UNREADABLE | TO_ADMIN
        yield "demo", self.demo, self.demo.site, UNREADABLE | TO_DEMO

    def check(self, answer: HttpAnswer, status: int, what: object, *, head_only: bool = False) -> None:
        """An answer has its status and says nothing about the inside."""
        self.assertEqual(answer.status, status, what)
        self.assertLessEqual(set(answer.headers), KNOWN, what)
        for name, values in answer.headers.items():
            for value in values:
                self.assertNotRegex(value.encode(), TELLING, (what, name))
        self.assertEqual(answer.header("Cache-Control"), "no-store", what)
        self.assertEqual(answer.header("X-Content-Type-Options"), "nosniff", what)
        if head_only:
            return
        self.assertNotRegex(answer.body, TELLING, what)
        self.assertLess(len(answer.body), 200, what)
        self.assertTrue(answer.body.endswith(b"\n"), what)
        if answer.header("Content-Type") == "application/json":
            self.assertLessEqual({"code", "message"}, set(answer.json), what)
        else:
            self.assertEqual(answer.header("Content-Type"), "text/plain; charset=utf-8", what)
            self.assertEqual(answer.body.count(b"\n"), 1, what)

    def ask(self, gate: Gate, site: ClientSite, data: bytes, status: int, what: object) -> HttpAnswer:
        """Send a request, and check its answer."""
        wire = gate.connect(site)
        wire.deliver(data)
        gate.turn()
        head_only = data.startswith(b"HEAD ")
        answer, rest = read_answer(wire.take(), head_only=head_only)
        self.assertEqual(rest, b"", what)
        self.check(answer, status, what, head_only=head_only)
        wire.end()
        return answer

    def test_every_refusal(self) -> None:
        """Whatever is asked, of whom it is asked."""
        for name, gate, site, requests in self.listeners():
            for what, (data, status) in requests.items():
                self.ask(gate, site, data, status, (name, what))

    def test_what_cannot_be_read_ends_the_connection(self) -> None:
        """The answer says so."""
        for name, gate, site, _ in self.listeners():
            for what, (data, status) in UNREADABLE.items():
                answer = self.ask(gate, site, data, status, (name, what))
                self.assertEqual(answer.header("Connection"), "close", (name, what))

    def test_too_late(self) -> None:
        """408, for a head and for a body that do not come."""
        for name, gate, site, _ in self.listeners():
            for data in (f"GET /{MARK} HT".encode(), b""):
                wire = gate.connect(site)
                if data:
                    wire.deliver(data)
                gate.clock.advance(HEAD_TIMEOUT + 30)
                sent = wire.take()
                # Who never said anything is told nothing where only the idle time-out waits for it.
                if sent or data:
                    answer, _ = read_answer(sent)
                    self.check(answer, 408, (name, data))
                    self.assertEqual(answer.header("Connection"), "close")
                wire.end()

    def test_pushes_that_are_refused(self) -> None:
        """By a connection's own key: too long, of a wrong type, with a wrong parameter, without room."""
        gate = self.gate
        client = gate.open("/", ("Origin", "https://good.example"))
        target = f"/{gate.key}"
        chunked = ("Transfer-Encoding", "chunked")
        for data, status in (
            (http_request("PUT", target, None, ("Content-Length", "999999")), 413),
            (http_request("PUT", target, None, chunked) + b"fffff\r\n" + b"x" * 0xFFFFF, 413),
            (http_request("PUT", target, b"\xff"), 400),
            (http_request("PUT", target, b"x", ("Content-Encoding", MARK)), 415),
            (http_request("PUT", target, b"x", ("Content-Type", f"text/plain; charset={MARK}")), 415),
            (http_request("PUT", target, b"x", ("Idempotency-Key", f"{MARK} {MARK}")), 400),
            (http_request("PUT", target, b"x", ("Ws-Confirm", MARK)), 400),
            (http_request("DELETE", f"{target}?code=1"), 400),
            (http_request("DELETE", f"{target}?{MARK}=1"), 400),
            (http_request("DELETE", f"{target}?reason=%ff"), 400),
            (http_request("PUT", target, None, chunked) + MARK.encode() + b"\r\n", 400),
        ):
            self.ask(gate, gate.site, data, status, data[:200])
        client.stall()
        pushed = http_request("PUT", target, b"x" * 131072, ("Content-Type", "application/octet-stream"))
        for _ in range(20):
            wire = gate.connect(gate.site)
            wire.deliver(pushed)
            answer, _ = read_answer(wire.take())
            wire.end()
        self.check(answer, 503, "a client that does not read")

    def test_tokens(self) -> None:
        """401."""
        gate = self.make(PUSH_TOKEN="right")
        for given in ((), (("Authorization", f"Bearer {MARK}"),)):
            answer = self.ask(gate, gate.site, http_request("PUT", f"/{NOBODY}", b"x", *given), 401, given)
            self.assertEqual(answer.header("WWW-Authenticate"), "Bearer")

    def test_what_the_api_answers(self) -> None:
        """What it says in a refusal is between it and the gateway."""
        page = ("Origin", "https://good.example")
        for status, shown in ((200, 403), (302, 502), (401, 401), (404, 404), (429, 429), (500, 502), (503, 502)):
            wire = self.gate.begin("/", page)
            self.gate.agent.last.answer(status, MARK.encode(), ("Server", MARK), ("X-Powered-By", MARK))
            self.check(read_answer(wire.take())[0], shown, status)
            wire.end()
        for error, shown in ((ValueError(MARK), 502), (ConnectionError(MARK), 502)):
            wire = self.gate.begin("/", page)
            self.gate.agent.last.fail(error)
            self.check(read_answer(wire.take())[0], shown, error)
            wire.end()

    def test_no_room(self) -> None:
        """503 and 429."""
        page = ("Origin", "https://good.example")
        for setting, status in (("WS_MAX_CONNECTIONS", 503), ("WS_MAX_PER_ADDRESS", 429)):
            gate = self.make(**{setting: "1"})
            gate.open("/", page)
            self.ask(gate, gate.site, handshake_request(f"/{MARK}", page), status, setting)
        self.gate.upgrade.draining = True
        self.ask(self.gate, self.gate.site, handshake_request("/", page), 503, "draining")

    # Faults of the gateway

    def check_fault(self, gate: Gate, site: ClientSite, data: bytes) -> None:
        """It is an answer of 500 as any other error is, and the log has it."""
        answer = self.ask(gate, site, data, 500, data[:200])
        self.assertIn(b"a fault of the gateway", answer.body)
        self.assertGreaterEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_faults_of_resources(self) -> None:
        """Planted where requests are carried out."""
        self.gate.open("/", ("Origin", "https://good.example"))
        self.patch(Outbox, "push", Broken())
        self.patch(Connection, "close", Broken())
        for version in ("1.1", "1.0"):
            for method, body in (("PUT", b"x"), ("DELETE", None)):
                self.check_fault(
                    self.gate, self.gate.site, http_request(method, f"/{self.gate.key}", body, version=version)
                )
            self.check_fault(self.gate, self.admin, http_request("GET", "/metrics", version=version))
        for what in ("attempt", "check"):
            self.patch(self.apart.upgrade, what, Broken())
            self.check_fault(self.apart, self.apart.site, handshake_request("/", ("Origin", "https://good.example")))

    def test_faults_of_judges(self) -> None:
        """Planted where heads are judged."""
        for site, gate in (
            (self.gate.site, self.gate),
            (self.apart.site, self.apart),
            (self.apart.push_site, self.apart),
            (self.admin, self.gate),
        ):
            site.decide = Broken()
            for method, body in (("POST", b"x"), ("DELETE", None), ("GET", None)):
                self.check_fault(gate, site, http_request(method, f"/{NOBODY}", body))

    def test_faults_of_pages(self) -> None:
        """Planted in a resource that uses twisted.web's ways."""
        pages: Any = demo_pages(Traffic(Clock(), float))
        pages.children[b""].render_GET = Broken()
        gate = Gate(pages)
        self.check_fault(gate, gate.site, http_request("GET", "/"))

    def test_a_fault_in_the_middle_of_an_answer(self) -> None:
        """No second answer, which would be taken for the next one's: the connection ends."""

        def half(request: PageRequest) -> int:
            request.setHeader("Content-Length", "10")
            request.write(b"half")
            raise RuntimeError(MARK)

        pages: Any = demo_pages(Traffic(Clock(), float))
        pages.children[b""].render = half
        gate = Gate(pages)
        wire = gate.connect()
        wire.deliver(http_request("GET", "/"))
        gate.turn()
        self.assertTrue(wire.take().endswith(b"\r\n\r\nhalf"))
        self.assertTrue(wire.disconnecting)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_success(self) -> None:
        """Nor does what succeeds tell what it was made by."""
        wire = self.gate.open("/", ("Origin", "https://good.example"))
        self.assertEqual(wire.take(), b"")
        for method, body in (("PUT", b"x"), ("GET", None), ("HEAD", None), ("DELETE", None)):
            answer = self.gate.ask(method, f"/{self.gate.key}", body)
            self.assertEqual(answer.status, 200)
            self.assertNotIn("server", answer.headers)
        wire = self.gate.connect(self.admin)
        wire.deliver(http_request("GET", "/healthz"))
        self.assertNotIn(b"Server", wire.take())
