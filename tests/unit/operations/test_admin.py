"""``/healthz``, ``/readyz`` and ``/metrics``: what they say, and what else is answered."""

from __future__ import annotations

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.gate import HttpAnswer, Wire, http_request, read_answer, read_answers
from wsaas.operations.admin import HEAD_TIMEOUT, Readiness, admin_site


class Letters:
    """Metrics of a kind: what was asked for."""

    def page(self, accept: str) -> tuple[str, bytes]:
        """:returns: it"""
        if accept == "fault":
            raise ValueError("a secret")
        return "text/letters", accept.encode("latin-1")


class AdminTestCase(SynchronousTestCase):
    """A site in memory."""

    def setUp(self) -> None:
        """Make one, with two checks."""
        self.clock = MemoryReactorClock()
        self.readiness = Readiness()
        self.wrong: dict[str, str | None] = {}
        for name in ("draining", "journal"):
            self.readiness.add(name, lambda name=name: self.wrong.get(name))  # type: ignore[misc]  # the default binds the name
        self.site = admin_site(self.readiness, Letters(), self.clock)

    def connect(self) -> Wire:
        """:returns: a connection"""
        wire = Wire(self.clock)
        protocol = self.site.buildProtocol(wire.getPeer())
        assert protocol is not None
        return wire.attach(protocol)

    def ask(self, method: str, target: str, body: bytes | None = None, *headers: tuple[str, str]) -> HttpAnswer:
        """:returns: the answer to a request"""
        wire = self.connect()
        wire.deliver(http_request(method, target, body, *headers))
        answer, rest = read_answer(wire.take(), head_only=method == "HEAD")
        self.assertEqual(rest, b"")
        return answer


class PagesTests(AdminTestCase):
    """The three of them."""

    def test_healthz(self) -> None:
        """Alive is alive, ready or not."""
        self.wrong["draining"] = "shutting down"
        answer = self.ask("GET", "/healthz")
        self.assertEqual((answer.status, answer.json), (200, {"code": "OK"}))
        self.assertEqual(answer.header("Cache-Control"), "no-store")

    def test_readyz(self) -> None:
        """Ready, or what is wrong."""
        self.assertEqual(self.ask("GET", "/readyz").json, {"code": "OK"})
        self.wrong["journal"] = "the disk is full"
        answer = self.ask("GET", "/readyz")
        self.assertEqual((answer.status, answer.header("Content-Type")), (503, "application/json"))
        self.assertEqual(
            answer.json,
            {
                "code": "NOT_READY",
                "message": "no new connections are taken: the disk is full",
                "failing": {"journal": "the disk is full"},
            },
        )
        self.wrong["draining"] = "shutting down"
        self.assertEqual(list(self.ask("GET", "/readyz").json["failing"]), ["draining", "journal"])
        self.wrong.clear()
        self.assertEqual(self.ask("GET", "/readyz").status, 200)

    def test_a_check_that_fails(self) -> None:
        """It is not known to be in order; the log says why, the answer does not."""

        def check() -> None:
            raise ValueError("a secret")

        self.readiness.add("disk", check)
        answer = self.ask("GET", "/readyz")
        self.assertEqual((answer.status, answer.json["failing"]), (503, {"disk": "cannot be checked"}))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_metrics(self) -> None:
        """In one of the formats that are asked for."""
        answer = self.ask("GET", "/metrics", None, ("Accept", "a"), ("Accept", "b;q=0.5"))
        self.assertEqual((answer.status, answer.header("Content-Type")), (200, "text/letters"))
        self.assertEqual(answer.body, b"a, b;q=0.5")
        self.assertEqual(self.ask("GET", "/metrics").body, b"")

    def test_no_metrics(self) -> None:
        """If nothing can write them, the page says what to install."""
        self.site = admin_site(self.readiness, None, self.clock)
        answer = self.ask("GET", "/metrics")
        self.assertEqual((answer.status, answer.json["code"]), (501, "NO_METRICS"))
        self.assertIn("pip install prometheus_client", answer.json["message"])
        self.assertEqual([self.ask("GET", page).status for page in ("/healthz", "/readyz")], [200, 200])

    def test_head(self) -> None:
        """As GET, without the body."""
        for target, headers in (("/healthz", ()), ("/readyz", ()), ("/metrics", (("Accept", "a"),))):
            shown, head = self.ask("GET", target, None, *headers), self.ask("HEAD", target, None, *headers)
            self.assertEqual((head.status, head.body), (200, b""))
            self.assertEqual(head.header("Content-Length"), str(len(shown.body)))
        self.wrong["draining"] = "shutting down"
        self.assertEqual(self.ask("HEAD", "/readyz").status, 503)

    def test_a_query(self) -> None:
        """It means nothing here."""
        self.assertEqual(self.ask("GET", "/healthz?verbose=1").status, 200)

    def test_several_on_one_connection(self) -> None:
        """As Prometheus keeps it."""
        wire = self.connect()
        for _ in range(3):
            wire.deliver(http_request("GET", "/healthz") + http_request("GET", "/metrics"))
        self.assertEqual([answer.status for answer in read_answers(wire.take())], [200] * 6)


class OtherRequestsTests(AdminTestCase):
    """What is answered besides."""

    def test_other_methods(self) -> None:
        """405, with those that are taken."""
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get"):
            answer = self.ask(method, "/metrics", b"")
            self.assertEqual((answer.status, answer.header("Allow")), (405, "GET, HEAD"), method)

    def test_other_paths(self) -> None:
        """404, whatever the method; nothing is said about what there is."""
        for target in (
            "/",
            "/metrics/",
            "/metrics/x",
            "//metrics",
            "/Metrics",
            "/..",
            "*",
            "http://h/metrics",
            "/%6detrics",
        ):
            for method in ("GET", "PUT"):
                answer = self.ask(method, target, b"" if method == "PUT" else None)
                self.assertEqual(answer.status, 404, target)
                self.assertNotIn(b"metrics", answer.body)

    def test_bodies(self) -> None:
        """None is read."""
        self.assertEqual(self.ask("GET", "/metrics", b"x").status, 400)
        wire = self.connect()
        wire.deliver(http_request("GET", "/metrics", None, ("Transfer-Encoding", "chunked")))
        self.assertEqual(read_answer(wire.take())[0].status, 400)

    def test_a_fault(self) -> None:
        """It is logged; the answer says nothing about it."""
        answer = self.ask("GET", "/metrics", None, ("Accept", "fault"))
        self.assertEqual(answer.status, 500)
        self.assertNotIn(b"secret", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_slow_heads(self) -> None:
        """They have their time."""
        wire = self.connect()
        wire.deliver(b"GET /metrics HT")
        self.clock.advance(HEAD_TIMEOUT)
        self.assertEqual(read_answer(wire.take())[0].status, 408)
