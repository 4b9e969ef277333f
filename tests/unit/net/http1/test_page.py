"""Pages: Resources of twisted.web's behind a channel of our own."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import Data, File

from tests.gate import HttpAnswer, SecureWire, Wire, http_request, read_answer, read_answers
from wsaas.net.http1.messages import RequestHead, Response, head_of
from wsaas.net.http1.page import PageRequest
from wsaas.net.http1.route import Page, Route
from wsaas.net.http1.site import ClientSite, SiteLimits


class Leaf(Resource):
    """A page that does what a test wants.

    :param render: takes a request, and returns what a Resource returns
    """

    isLeaf = True

    def __init__(self, render: Callable[[Any], Any]) -> None:
        super().__init__()
        self._render = render

    def render(self, request: Request) -> Any:
        """Do it."""
        return self._render(request)


class Pages:
    """Everything is a page."""

    def __init__(self) -> None:
        self.root = Resource()

    def decide(self, head: RequestHead) -> Route:
        """:returns: a page"""
        return Page(self.root)


class PageTestCase(SynchronousTestCase):
    """A site of pages, in memory."""

    def setUp(self) -> None:
        """Make it."""
        self.clock = MemoryReactorClock()
        self.pages = Pages()
        self.site = ClientSite(self.pages, self.clock, SiteLimits(30, 200_000))

    def put(self, render: Callable[[Any], Any]) -> None:
        """Have one page, at ``/x``."""
        self.pages.root.putChild(b"x", Leaf(render))

    def connect(self, kind: type[Wire] = Wire) -> Wire:
        """Connect to it."""
        wire = kind(self.clock)
        return wire.attach(self.site.buildProtocol(wire.getPeer()))

    def ask(self, method: str = "GET", body: bytes | None = None, *headers: tuple[str, str]) -> HttpAnswer:
        """:returns: the one answer to a request for the page"""
        wire = self.connect()
        wire.deliver(http_request(method, "/x", body, *headers))
        answer, rest = read_answer(wire.take(), head_only=method == "HEAD")
        self.assertEqual(rest, b"")
        return answer


class RenderTests(PageTestCase):
    """What a Resource is told and may do."""

    def test_a_tree(self) -> None:
        """Children are found by the segments of the path, decoded; what is not there is 404."""
        folder = Resource()
        folder.putChild(b"a b", Data(b"text", "text/plain"))
        self.pages.root.putChild(b"folder", folder)
        wire = self.connect()
        for target in ("/folder/a%20b?c=d", "/nowhere"):
            wire.deliver(http_request("GET", target))
        found, missing = read_answers(wire.take())
        self.assertEqual((found.status, found.body, found.header("Content-Type")), (200, b"text", "text/plain"))
        self.assertEqual(missing.status, 404)

    def test_the_request(self) -> None:
        """Method, target, fields, cookies, body, peer."""
        seen: list[Any] = []

        def render(request: PageRequest) -> bytes:
            peer, host = request.getClientAddress().host, request.getHost().port
            seen.append((request.method, request.uri, request.args, request.getHeader("X"), request.getCookie(b"a")))
            seen.append((request.content.read(), request.isSecure(), peer, host))
            seen.append(head_of(request))
            return b"ok"

        self.put(render)
        wire = self.connect(SecureWire)
        wire.deliver(http_request("POST", "/x?b=c", b"hello", ("X", "y"), ("Cookie", "a=1; b=2")))
        self.assertEqual(read_answers(wire.take())[0].body, b"ok")
        self.assertEqual(seen[0], (b"POST", b"/x?b=c", {b"b": [b"c"]}, "y", b"1"))
        self.assertEqual(seen[1], (b"hello", True, "192.0.2.1", 80))
        head = seen[2]
        self.assertEqual((head.target, head.secure, head.client, head.length), (b"/x?b=c", True, "192.0.2.1", 5))

    def test_a_long_body(self) -> None:
        """It stays in memory: twisted.web would write more than 100,000 bytes into a file."""
        kinds: list[str] = []

        def render(request: PageRequest) -> bytes:
            kinds.append(type(request.content).__name__)
            return b"%d" % len(request.content.read())

        self.put(render)
        self.assertEqual(self.ask("PUT", b"a" * 200_000).body, b"200000")
        self.assertEqual(kinds, ["BytesIO"])

    def test_forms_are_not_parsed(self) -> None:
        """A malformed one harms nobody."""
        self.put(lambda request: repr(request.args).encode())
        answer = self.ask("POST", b"--", ("Content-Type", "multipart/form-data; boundary=a"))
        self.assertEqual((answer.status, answer.body), (200, b"{}"))

    def test_head(self) -> None:
        """The head of what GET finds."""
        self.put(lambda _: b"hello")
        answer = self.ask("HEAD")
        self.assertEqual((answer.status, answer.header("Content-Length")), (200, "5"))

    def test_no_server(self) -> None:
        """Which programs are behind is nobody's business."""
        self.put(lambda _: b"")
        answer = self.ask()
        self.assertIsNone(answer.header("Server"))
        self.assertIsNotNone(answer.header("Date"))

    def test_the_end_of_a_connection(self) -> None:
        """Where it is closed, the answer says so."""
        self.put(lambda _: b"hello")
        for request in (
            http_request("GET", "/x", None, ("Connection", "close")),
            http_request("GET", "/x", version="1.0"),
        ):
            wire = self.connect()
            wire.deliver(request + http_request("GET", "/x"))
            self.clock.advance(0)
            (answer,) = read_answers(wire.take())
            self.assertEqual((answer.body, answer.header("Connection")), (b"hello", "close"))
            self.assertTrue(wire.over)


class LaterTests(PageTestCase):
    """Pages that take their time."""

    def setUp(self) -> None:
        """Have one that waits."""
        super().setUp()
        self.requests: list[PageRequest] = []
        self.ends: list[object] = []

        def render(request: PageRequest) -> int:
            request.notifyFinish().addBoth(self.ends.append)
            self.requests.append(request)
            return NOT_DONE_YET

        self.put(render)

    def test_in_pieces(self) -> None:
        """Chunked, where its length is not known; what is behind it waits."""
        wire = self.connect()
        wire.deliver(http_request("GET", "/x") + http_request("GET", "/nowhere"))
        (request,) = self.requests
        request.write(b"one")
        self.assertIn(b"one", wire.take())
        request.write(b"two")
        request.finish()
        self.assertIn(b"0\r\n\r\nHTTP/1.1 404 ", wire.take())
        self.assertEqual(self.ends, [None])

    def test_the_client_leaves(self) -> None:
        """The page is told."""
        wire = self.connect()
        wire.deliver(http_request("GET", "/x"))
        wire.end()
        (end,) = self.ends
        assert isinstance(end, Failure)
        end.trap(ConnectionDone)

    def test_it_ends_the_connection(self) -> None:
        """By itself, and is told when it is over."""
        wire = self.connect()
        wire.deliver(http_request("GET", "/x"))
        self.requests[0].write(b"half")
        self.requests[0].loseConnection()
        self.clock.advance(0)
        self.assertTrue(wire.over)
        self.assertEqual(len(self.ends), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_ends_the_connection_and_then_the_answer(self) -> None:
        """No other request is read."""
        wire = self.connect()
        wire.stall()
        wire.deliver(http_request("GET", "/x") + http_request("GET", "/x"))
        self.requests[0].write(b"half")
        self.requests[0].loseConnection()
        self.requests[0].finish()
        wire.flow()
        self.clock.advance(0)
        self.assertTrue(wire.over)
        self.assertEqual((len(self.requests), self.ends), (1, [None]))

    def test_a_push_producer(self) -> None:
        """It is paused while the client does not read, and told when the client is gone."""
        told: list[str] = []

        class Producer:
            """Tells what it is told."""

            def __getattr__(self, name: str) -> Callable[[], None]:
                return lambda: told.append(name)

        wire = self.connect()
        wire.deliver(http_request("GET", "/x"))
        self.requests[0].registerProducer(Producer(), True)
        self.assertRaises(RuntimeError, wire.protocol.registerProducer, Producer(), True)
        wire.stall()
        self.requests[0].write(b"a" * 70_000)
        self.assertEqual((told, wire.producerState), (["pauseProducing"], "paused"))
        wire.flow()
        self.assertEqual((told[1:], wire.producerState), (["resumeProducing"], "producing"))
        wire.end()
        self.assertEqual(told[2:], ["stopProducing"])

    def test_it_ends_with_a_producer(self) -> None:
        """Which has unregistered."""
        wire = self.connect()
        wire.deliver(http_request("GET", "/x"))
        request = self.requests[0]
        request.registerProducer(self, True)
        request.unregisterProducer()
        Response(204).write_to(request)
        wire.deliver(http_request("GET", "/nowhere"))
        self.assertEqual([answer.status for answer in read_answers(wire.take())], [204, 404])

    def test_too_many_bytes_meanwhile(self) -> None:
        """The client is not read any more until the page is there."""
        wire = self.connect()
        wire.deliver(http_request("GET", "/x"))
        wire.deliver(b"a" * 20_000)
        self.assertEqual(wire.producerState, "paused")
        self.requests[0].finish()
        self.assertEqual(wire.producerState, "producing")


class FileTests(PageTestCase):
    """Static files, which are pulled."""

    def test_a_file(self) -> None:
        """Piece by piece, as fast as it is read."""
        path = Path(self.mktemp())
        path.write_bytes(b"0123456789" * 30_000)
        self.pages.root.putChild(b"file", File(str(path)))
        wire = self.connect()
        wire.deliver(http_request("GET", "/file"))
        # What pulls has the global reactor.
        from twisted.internet import reactor

        turns: Any = reactor
        for _ in range(100):
            turns.iterate(0)
        (answer,) = read_answers(wire.take())
        self.assertEqual(len(answer.body), 300_000)

    def test_nobody_reads_it(self) -> None:
        """What is pulled stops with the connection."""
        path = Path(self.mktemp())
        path.write_bytes(b"0123456789" * 100_000)
        self.pages.root.putChild(b"file", File(str(path)))
        wire = self.connect()
        wire.deliver(http_request("GET", "/file"))
        self.assertIsNotNone(wire.protocol._producer)
        producer = wire.protocol._producer
        wire.end()
        self.assertTrue(producer._finished)
        self.assertEqual(self.flushLoggedErrors(), [])


class FaultTests(PageTestCase):
    """Pages that fail."""

    def test_before_an_answer(self) -> None:
        """500, with nothing of what the page has set; the connection goes on."""

        def render(request: PageRequest) -> bytes:
            request.setHeader("X-Secret", "a")
            raise ValueError("a fault")

        self.put(render)
        wire = self.connect()
        wire.deliver(http_request("GET", "/x") + http_request("GET", "/nowhere"))
        fault, other = read_answers(wire.take())
        self.assertEqual((fault.status, fault.json["code"], fault.header("X-Secret")), (500, "FAULT", None))
        self.assertEqual(other.status, 404)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_amid_an_answer(self) -> None:
        """The connection ends: that is all that can be said."""

        def render(request: PageRequest) -> bytes:
            request.write(b"half")
            raise ValueError("a fault")

        self.put(render)
        wire = self.connect()
        wire.deliver(http_request("GET", "/x"))
        self.clock.advance(0)
        self.assertTrue(wire.over)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_behind_an_answer(self) -> None:
        """It is logged only."""

        def render(request: PageRequest) -> int:
            Response(200).write_to(request)
            raise ValueError("a fault")

        self.put(render)
        self.assertEqual(self.ask().status, 200)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_what_is_logged(self) -> None:
        """No target, which may hold a token."""
        names: list[str] = []

        def render(request: PageRequest) -> bytes:
            names.append(repr(request))
            return b""

        self.put(render)
        self.ask()
        self.assertEqual(names, ["<PageRequest b'GET'>"])


class MemoryTests(PageTestCase):
    """What is over is freed at once."""

    def test_freed(self) -> None:
        """Answered or not."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        requests: list[Any] = []

        def render(request: PageRequest) -> Any:
            requests.append(weakref.ref(request))
            return b"now" if request.args else NOT_DONE_YET

        self.put(render)
        for target in ("/x?a=b", "/x"):
            wire = self.connect()
            channel = weakref.ref(wire.protocol)
            wire.deliver(http_request("GET", target))
            wire.end()
            del wire
            self.assertEqual((channel(), requests.pop()()), (None, None), target)
            self.assertEqual(self.clock.getDelayedCalls(), [])
