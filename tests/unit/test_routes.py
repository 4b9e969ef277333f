"""Who answers what, on a listener that clients and pushers share and on two."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.static import Data

from tests.gate import Gate, Wire, handshake_request, http_request, read_answer

UNKNOWN = "/AAAAAAAAAAAAAAAAAAAAAAAA"


def pages() -> Resource:
    """:returns: a page at the root and one below"""
    root = Resource()
    root.putChild(b"", Data(b"front page", "text/html"))
    root.putChild(b"style.css", Data(b"style", "text/css"))
    return root


class SiteTestCase(SynchronousTestCase):
    """Requests to a listener."""

    gate: Gate

    def ask(self, wire: Wire, request: bytes) -> tuple[int, dict[str, list[str]], bytes]:
        """:returns: status, headers and body of the answer to one request"""
        wire.deliver(request)
        answer, rest = read_answer(wire.take(), head_only=request.startswith(b"HEAD"))
        self.assertEqual(rest, b"")
        return answer.status, dict(answer.headers), answer.body

    def assert_426(self, wire: Wire, request: bytes) -> None:
        """Nothing but a handshake is of use here."""
        status, headers, body = self.ask(wire, request)
        self.assertEqual(status, 426)
        self.assertEqual(headers["upgrade"], ["websocket"])
        self.assertIn("upgrade", headers["connection"][0].lower())
        if not request.startswith(b"HEAD"):
            self.assertIn(b"WebSocket", body)


class SharedTests(SiteTestCase):
    """Without PUSH_LISTEN."""

    def setUp(self) -> None:
        """Set one listener up."""
        self.gate = Gate()

    def test_handshakes_and_pushes(self) -> None:
        """Both find their way, on any path, and one connection may carry both."""
        wire = self.gate.open("/any/path?at=all")
        pusher = self.gate.connect()
        target = f"/{self.gate.key}"
        self.assertEqual(self.ask(pusher, http_request("PUT", target, b"a"))[0], 200)
        self.assertEqual(self.ask(pusher, http_request("GET", target))[0], 200)
        self.assertEqual(self.ask(pusher, http_request("HEAD", target))[0], 200)
        self.assertNotEqual(wire.take(), b"")
        pusher.deliver(handshake_request())
        self.gate.agent.last.answer()
        self.assertTrue(pusher.take().startswith(b"HTTP/1.1 101 "))

    def test_a_handshake_on_a_path_like_a_key(self) -> None:
        """It is a handshake all the same; even on the path of a key that exists."""
        self.gate.open()
        self.gate.open(f"/{self.gate.key}")
        self.gate.open(UNKNOWN)
        self.assertEqual(self.gate.agent.methods, ["POST"] * 3)

    def test_neither_a_handshake_nor_a_push(self) -> None:
        """426, whatever the method."""
        for method in ("GET", "HEAD", "POST", "OPTIONS", "PATCH", "BREW"):
            for target in ("/", "/chat?x=1", "*", "http://elsewhere.test/", f"{UNKNOWN}/x"):
                self.assert_426(self.gate.connect(), http_request(method, target))
        self.assert_426(self.gate.connect(), http_request("GET", "/", None, ("Upgrade", "h2c")))
        self.assert_426(self.gate.connect(), http_request("POST", "/", b"body"))

    def test_health(self) -> None:
        """Load balancers are told whether clients are let in, but not why not; also by HTTP/1.0, with any query."""
        wrong: list[str] = []
        self.gate.readiness.add("journal", lambda: wrong[0] if wrong else None)
        for status, body in ((200, b"OK\n"), (503, b"no new connections are taken\n")):
            for target in ("/healthz", "/healthz?from=lb"):
                got = self.ask(self.gate.connect(), http_request("GET", target))
                self.assertEqual((got[0], got[2]), (status, body))
                self.assertEqual(got[1]["cache-control"], ["no-store"])
                got = self.ask(self.gate.connect(), http_request("HEAD", target))
                self.assertEqual((got[0], got[1]["content-length"]), (status, [str(len(body))]))
            wire = self.gate.connect()
            wire.deliver(b"GET /healthz HTTP/1.0\r\n\r\n")
            data = wire.take()
            self.assertTrue(data.startswith(b"HTTP/1.1 %d " % status))
            self.assertIn(b"Connection: close", data)
            wrong.append("the disk of STATE_DIR is full")
        self.assertEqual(self.gate.agent.calls, [])

    def test_what_else_is_on_that_path(self) -> None:
        """A handshake is one, a push is one, and other requests find nothing."""
        self.gate.open("/healthz")
        for method, status in (("PUT", 404), ("DELETE", 404)):
            self.assertEqual(self.ask(self.gate.connect(), http_request(method, "/healthz", b""))[0], status)
        for method in ("POST", "OPTIONS", "get"):
            self.assert_426(self.gate.connect(), http_request(method, "/healthz"))
        self.assert_426(self.gate.connect(), http_request("GET", "/healthz", b"body"))
        for target in ("/healthz/", "/a/healthz", "/HEALTHZ", "/readyz"):
            self.assert_426(self.gate.connect(), http_request("GET", target))

    def test_another_path_for_health(self) -> None:
        """Or none."""
        self.gate = Gate(WS_HEALTH_PATH="/up")
        self.assertEqual(self.ask(self.gate.connect(), http_request("GET", "/up"))[0], 200)
        self.assert_426(self.gate.connect(), http_request("GET", "/healthz"))
        self.gate = Gate(WS_HEALTH_PATH="off")
        self.assert_426(self.gate.connect(), http_request("GET", "/healthz"))

    def test_put_and_delete_are_pushes_on_any_path(self) -> None:
        """What has no such connection is not found."""
        for target in ("/", "/x", UNKNOWN, "/\x80"):
            for method in ("PUT", "DELETE"):
                self.assertEqual(self.ask(self.gate.connect(), http_request(method, target))[0], 404)

    def test_other_methods_on_what_looks_like_a_key(self) -> None:
        """405 says what is allowed there; GET and HEAD find nothing."""
        self.assertEqual(self.ask(self.gate.connect(), http_request("GET", UNKNOWN))[0], 404)
        self.assertEqual(self.ask(self.gate.connect(), http_request("HEAD", UNKNOWN))[0], 404)
        status, headers, _ = self.ask(self.gate.connect(), http_request("OPTIONS", UNKNOWN))
        self.assertEqual((status, headers["allow"]), (405, ["GET, HEAD, PUT, DELETE"]))

    def test_a_handshake_with_a_body(self) -> None:
        """400, without reading it and without asking the API."""
        for headers in ((("Content-Length", "5"),), (("Transfer-Encoding", "chunked"),)):
            wire = self.gate.connect()
            wire.deliver(handshake_request("/", *headers))
            self.assertEqual(read_answer(wire.take())[0].status, 400)
        self.assertEqual(self.gate.agent.calls, [])

    def test_an_upgrade_by_another_method(self) -> None:
        """A PUT is a push, whatever else it says; a POST is nothing."""
        upgrade = ("Upgrade", "websocket")
        self.assertEqual(self.ask(self.gate.connect(), http_request("PUT", UNKNOWN, b"", upgrade))[0], 404)
        self.assert_426(self.gate.connect(), http_request("POST", "/", b"", upgrade))


class SeparateTests(SiteTestCase):
    """With PUSH_LISTEN."""

    def setUp(self) -> None:
        """Set two listeners up."""
        self.gate = Gate(PUSH_LISTEN="tcp:9000", WS_HOSTNAME="http://push.test")

    def test_pushes_arrive_on_their_own_listener(self) -> None:
        """And work as ever."""
        wire = self.gate.open()
        self.assertEqual(self.gate.ask("PUT", f"/{self.gate.key}", b"a").status, 200)
        self.assertNotEqual(wire.take(), b"")

    def test_no_pushes_on_the_clients_listener(self) -> None:
        """405, whether the key exists or not, before the body is read."""
        wire = self.gate.open()
        for target in (f"/{self.gate.key}", UNKNOWN, "/x"):
            for method in ("PUT", "DELETE"):
                status, headers, body = self.ask(
                    self.gate.connect(), http_request(method, target, None, ("Content-Length", "1000000"))
                )
                self.assertEqual(status, 405)
                self.assertIn("allow", headers)
                self.assertIn(b"METHOD_NOT_ALLOWED", body)
        for method in ("GET", "HEAD"):
            self.assertEqual(self.ask(self.gate.connect(), http_request(method, f"/{self.gate.key}"))[0], 405)
        self.assertEqual(wire.take(), b"")

    def test_no_handshakes_on_the_pushers_listener(self) -> None:
        """A handshake is a GET of a key that does not exist; the API is not asked."""
        for target in ("/", "/chat", UNKNOWN):
            wire = self.gate.connect(self.gate.push_site)
            wire.deliver(handshake_request(target))
            answer, rest = read_answer(wire.take())
            self.assertEqual((answer.status, answer.json["code"], rest), (404, "NOT_FOUND", b""))
        self.assertEqual(self.gate.agent.calls, [])

    def test_other_methods_on_the_pushers_listener(self) -> None:
        """405 on any path: there is nothing else."""
        for method in ("POST", "OPTIONS"):
            self.assertEqual(self.ask(self.gate.connect(self.gate.push_site), http_request(method, "/"))[0], 405)

    def test_426_on_the_clients_listener(self) -> None:
        """As without PUSH_LISTEN."""
        self.assert_426(self.gate.connect(), http_request("GET", "/"))


class PagesTests(SiteTestCase):
    """With pages, as the demo has them."""

    def setUp(self) -> None:
        """Set one listener up."""
        self.gate = Gate(pages())

    def test_pages(self) -> None:
        """GET and HEAD find them."""
        self.assertEqual(self.ask(self.gate.connect(), http_request("GET", "/"))[::2], (200, b"front page"))
        self.assertEqual(self.ask(self.gate.connect(), http_request("GET", "/style.css?v=1"))[::2], (200, b"style"))
        self.assertEqual(self.ask(self.gate.connect(), http_request("HEAD", "/"))[::2], (200, b""))
        wire = self.gate.connect()
        wire.deliver(http_request("GET", "/nowhere"))
        self.assertTrue(wire.take().startswith(b"HTTP/1.1 404 "))

    def test_what_is_no_page(self) -> None:
        """Other methods, and bodies."""
        self.assert_426(self.gate.connect(), http_request("POST", "/"))
        self.assert_426(self.gate.connect(), http_request("GET", "/", b"body"))

    def test_handshakes_and_pushes_come_first(self) -> None:
        """On the paths of pages, too."""
        self.gate.open("/")
        self.gate.open("/style.css")
        self.assertEqual(self.gate.ask("PUT", f"/{self.gate.key}", b"a").status, 200)
        self.assertEqual(self.gate.ask("GET", f"/{self.gate.key}").status, 200)
        self.assertEqual(self.gate.ask("PUT", "/style.css", b"a").status, 404)
