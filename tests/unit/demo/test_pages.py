"""The demo's static pages, and the parts put together."""

from __future__ import annotations

import re
from importlib.resources import files
from random import Random
from typing import Any

from treq.client import HTTPClient
from treq.testing import RequestTraversalAgent
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from zope.interface.verify import verifyObject

from wsaas.callbacks.client import ApiClient
from wsaas.demo import Demo
from wsaas.demo.pages import demo_pages
from wsaas.demo.traffic import Traffic

FILES = {"/": "page.html", "/demo/page.css": "page.css", "/demo/page.js": "page.js", "/demo/icon.svg": "icon.svg"}


class PagesTests(SynchronousTestCase):
    def setUp(self) -> None:
        pages: Any = demo_pages(Traffic(Clock(), float))
        self.client = HTTPClient(RequestTraversalAgent(pages))

    def fetch(self, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        response = self.successResultOf(self.client.request(method, f"http://localhost:8080{path}"))
        headers = {name.decode().lower(): values[0].decode() for name, values in response.headers.getAllRawHeaders()}
        return response.code, headers, self.successResultOf(response.content())

    def test_files(self) -> None:
        for path, name in FILES.items():
            status, headers, body = self.fetch("GET", path)
            self.assertEqual((status, body), (200, files("wsaas.demo").joinpath(name).read_bytes()))
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertEqual(headers["cache-control"], "no-cache")
            self.assertIn("default-src 'self'; connect-src 'self' ws: wss:", headers["content-security-policy"])

    def test_media_types(self) -> None:
        types = [self.fetch("GET", path)[1]["content-type"] for path in FILES]
        expected = ["text/html; charset=utf-8", "text/css; charset=utf-8", "text/javascript; charset=utf-8"]
        self.assertEqual(types, [*expected, "image/svg+xml"])

    def test_HEAD(self) -> None:
        """The same head, and not a word in the log, not even of Twisted's."""
        events: list[Any] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for path in FILES:
            status, headers, body = self.fetch("HEAD", path)
            self.assertEqual((status, body), (200, b""))
            self.assertEqual(int(headers["content-length"]), len(self.fetch("GET", path)[2]))
        self.assertEqual([event for event in events if "HEAD" in formatEvent(event)], [])

    def test_unknown_paths(self) -> None:
        for path in ("/nothing", "/demo", "/demo/", "/demo/page.html", "/demo/chat.py", "/demo/../page.css"):
            self.assertEqual(self.fetch("GET", path)[0], 404, path)

    def test_other_methods(self) -> None:
        self.assertEqual(self.fetch("POST", "/")[0], 405)


class SourceTests(SynchronousTestCase):
    """What can be read off the files; the browser test runs them."""

    def text(self, name: str) -> str:
        return files("wsaas.demo").joinpath(name).read_text("utf-8")

    def test_nothing_comes_from_another_host(self) -> None:
        for name in FILES.values():
            addresses = re.findall(r"""(?:https?:)?//[\w$][^\s"'`)<>]*""", self.text(name).replace("://${", ""))
            self.assertEqual([a for a in addresses if a != "http://www.w3.org/2000/svg"], [], name)

    def test_data_is_never_parsed_as_html(self) -> None:
        script = self.text("page.js")
        for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            self.assertNotIn(sink, script)

    def test_the_script_finds_its_elements(self) -> None:
        page, script = self.text("page.html"), self.text("page.js")
        used = set(re.findall(r"""\$\("([\w-]+)"\)""", script))
        self.assertGreater(len(used), 20)
        self.assertEqual(used - set(re.findall(r'id="([\w-]+)"', page)), set())

    def test_ids_are_unique(self) -> None:
        ids = re.findall(r'id="([\w-]+)"', self.text("page.html"))
        self.assertEqual(sorted(ids), sorted(set(ids)))


class DemoTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.demo = Demo(self.reactor, float, random=Random(1))

    def test_listens_on_loopback_only(self) -> None:
        self.successResultOf(self.demo.start())
        [(port, _, _, interface)] = self.reactor.tcpServers
        self.assertEqual((port, interface), (0, "127.0.0.1"))

    def test_pages(self) -> None:
        self.assertTrue(verifyObject(IResource, self.demo.pages))

    def test_stop_before_start(self) -> None:
        self.assertIsNone(self.successResultOf(self.demo.stop()))


class DemoSocketTests(TestCase):
    """The chat API on a real port of the loopback interface."""

    async def test_start_call_stop(self) -> None:
        from twisted.internet import reactor

        agent = Agent(reactor)  # without a pool: its connections end with their answers
        demo = Demo(reactor, float, endpoint=TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        uri = await demo.start()
        self.assertRegex(uri, r"^http://127\.0\.0\.1:\d+/chat$")
        client = ApiClient(agent, reactor, 10, 4096)
        answer = await client.delete(uri, headers=Headers({"Ws-Uri": ["http://localhost:8080/key"]}))
        self.assertEqual((answer.status, answer.body), (200, b'{"code": "OK"}'))
        await demo.stop()
