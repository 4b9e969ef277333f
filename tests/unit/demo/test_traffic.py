"""The record of HTTP exchanges and its event stream, over memory transports."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Site

from tests.fakes import TimeOfDay
from wsaas.demo.traffic import HEARTBEAT, Body, Traffic, TrafficStream


def push(traffic: Traffic, body: bytes = b"hi", *, status: int | None = 200) -> None:
    exchange = traffic.begin("push", "PUT", "http://localhost:8080/key", [("Content-Type", "text/plain")], body)
    if status is not None:
        traffic.answered(exchange, status, [("Content-Type", "application/json")], b'{"code": "OK"}')


class Page:
    """A page's connection to the stream."""

    def __init__(self, site: Site, request: bytes) -> None:
        self.transport = StringTransport()
        self.channel: Any = site.buildProtocol(None)
        self.channel.makeConnection(self.transport)
        self.channel.dataReceived(request)

    def text(self) -> str:
        data = self.transport.value()
        self.transport.clear()
        return str(data, "utf-8")

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line[6:]) for line in self.text().splitlines() if line.startswith("data: ")]

    @property
    def producer(self) -> Any:
        """What the transport tells whether it takes more."""
        return self.transport.producer

    def leave(self) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))


class BodyTests(SynchronousTestCase):
    def test_text(self) -> None:
        self.assertEqual(Body.of("grün".encode(), 10), Body("grün", 5))

    def test_long_text_is_cut(self) -> None:
        self.assertEqual(Body.of(b"x" * 11, 10), Body("x" * 10, 11, truncated=True))

    def test_binary_is_only_measured(self) -> None:
        self.assertEqual(Body.of(b"\xff\x00", 10), Body("", 2, binary=True))


class TrafficTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.now = TimeOfDay(self.clock, 1_700_000_000.0)
        self.traffic = Traffic(self.clock, self.now, limit=3, body_limit=10)

    def test_exchange(self) -> None:
        exchange = self.traffic.begin("callback", "POST", "/chat", [("Ws-Id", "tag-0")], b"long enough to be cut")
        self.assertIsNone(exchange.status)
        self.clock.advance(0.0123)
        self.traffic.answered(exchange, 200, [("Ws-State", "Amber Otter")], b"{}")
        [seen] = self.traffic.since(0)
        self.assertIs(seen, exchange)
        self.assertEqual((seen.status, seen.elapsed, seen.body.text), (200, 12.3, "long enoug"))
        self.assertEqual(seen.answer_headers, [("Ws-State", "Amber Otter")])

    def test_the_time_of_day_is_set(self) -> None:
        exchange = self.traffic.begin("callback", "POST", "/chat", [], b"")
        self.now.set_by(-3600)
        self.clock.advance(0.5)
        self.traffic.answered(exchange, 200, [], b"{}")
        self.assertEqual((exchange.at, exchange.elapsed), (1_700_000_000.0, 500))
        self.assertIn(b'"at": 1700000000.0', self.traffic.event(exchange))
        self.assertEqual(Traffic(self.clock, self.now).run, f"{1_699_996_400_500:x}")

    def test_failure(self) -> None:
        exchange = self.traffic.begin("push", "PUT", "http://localhost/key", [], b"")
        self.traffic.failed(exchange, "Connection refused")
        self.assertEqual((exchange.status, exchange.error), (None, "Connection refused"))

    def test_credentials_are_hidden(self) -> None:
        headers = [("Authorization", "Bearer s3cret"), ("cookie", "id=s3cret"), ("Ws-Path", "/")]
        exchange = self.traffic.begin("callback", "PUT", "/chat", headers, b"")
        self.assertEqual(exchange.headers, [("Authorization", "(hidden)"), ("cookie", "(hidden)"), ("Ws-Path", "/")])

    def test_only_the_last_are_kept(self) -> None:
        for _ in range(5):
            push(self.traffic)
        self.assertEqual([exchange.number for exchange in self.traffic.since(0)], [3, 4, 5])

    def test_an_answer_moves_an_exchange_to_the_end(self) -> None:
        first = self.traffic.begin("callback", "PUT", "/chat", [], b"")
        push(self.traffic)
        revision = max(exchange.revision for exchange in self.traffic.since(0))
        self.traffic.answered(first, 200, [], b"")
        self.assertEqual(list(self.traffic.since(revision)), [first])

    def test_an_event_is_one_line_of_data(self) -> None:
        push(self.traffic, b"a\nb")
        [exchange] = self.traffic.since(0)
        lines = self.traffic.event(exchange).decode().split("\n")
        self.assertEqual([line.split(":")[0] for line in lines], ["id", "data", "", ""])
        self.assertEqual(json.loads(lines[1][6:])["body"]["text"], "a\nb")


class StreamTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.now = TimeOfDay(self.clock, 1_700_000_000.0)
        self.traffic = Traffic(self.clock, self.now, limit=50, max_subscribers=2)
        self.site = Site(TrafficStream(self.traffic), reactor=self.clock)
        self.addCleanup(self.site.stopFactory)

    def page(self, path: str = "/", *headers: str, method: str = "GET") -> Page:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
        return Page(self.site, "\r\n".join(lines).encode())

    def test_head_of_the_answer(self) -> None:
        head = self.page().text().split("\r\n\r\n")[0].lower()
        self.assertTrue(head.startswith("http/1.1 200 "))
        self.assertIn("content-type: text/event-stream", head)
        self.assertIn("cache-control: no-store", head)
        self.assertIn("x-content-type-options: nosniff", head)

    def test_HEAD_does_not_subscribe(self) -> None:
        head, _, body = self.page(method="HEAD").text().partition("\r\n\r\n")
        self.assertIn("text/event-stream", head)
        self.assertEqual(body, "")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1, "only the channel's own timer, no heartbeat")

    def test_what_was_before_and_what_comes(self) -> None:
        push(self.traffic, b"before")
        page = self.page()
        self.assertEqual([event["body"]["text"] for event in page.events()], ["before"])
        push(self.traffic, b"after")
        self.assertEqual([(e["body"]["text"], e["status"]) for e in page.events()], [("after", None), ("after", 200)])

    def test_two_pages_see_the_same(self) -> None:
        pages = [self.page(), self.page()]
        push(self.traffic)
        first, second = [page.events() for page in pages]
        self.assertEqual(first, second)
        self.assertEqual(len(first), 2)

    def test_a_page_that_comes_back_goes_on(self) -> None:
        push(self.traffic, b"seen")
        page = self.page()
        [last] = [line[4:] for line in page.text().splitlines() if line.startswith("id: ")]
        page.leave()
        push(self.traffic, b"missed")
        for again in (self.page("/", f"Last-Event-ID: {last}"), self.page(f"/?since={last}")):
            self.assertEqual([event["body"]["text"] for event in again.events()], ["missed"])

    def test_an_id_of_an_earlier_run_or_nonsense_begins_anew(self) -> None:
        push(self.traffic)
        for seen in ("0-1", "1", f"{self.traffic.run}-x", "%FF%FE"):
            page = self.page(f"/?since={seen}")
            self.assertEqual(len(page.events()), 1, seen)
            page.leave()

    def test_a_slow_page_is_not_written_to_and_catches_up(self) -> None:
        page = self.page()
        page.text()
        page.producer.pauseProducing()
        for number in range(60):
            push(self.traffic, b"%d" % number)
        self.assertEqual(page.text(), "")
        page.producer.resumeProducing()
        events = page.events()
        self.assertEqual([event["body"]["text"] for event in events], [str(n) for n in range(10, 60)])

    def test_a_page_that_is_paused_while_it_catches_up(self) -> None:
        for _ in range(3):
            push(self.traffic)
        page = self.page()
        page.text()
        producer = page.producer
        producer.pauseProducing()
        push(self.traffic, b"one")
        push(self.traffic, b"two")
        write = page.transport.writeSequence

        def write_and_pause(data: Iterable[bytes]) -> None:
            write(data)
            producer.pauseProducing()

        self.patch(page.transport, "writeSequence", write_and_pause)  # a socket whose buffer is full at once
        producer.resumeProducing()
        self.assertEqual([event["body"]["text"] for event in page.events()], ["one"])
        producer.resumeProducing()
        self.assertEqual([event["body"]["text"] for event in page.events()], ["two"])

    def test_heartbeat(self) -> None:
        page = self.page()
        page.text()
        self.clock.advance(HEARTBEAT)
        self.assertIn("\n:\n\n", "\n" + page.text().replace("\r\n", "\n"))

    def test_a_page_that_never_reads_is_dropped(self) -> None:
        page, other = self.page(), self.page()
        page.producer.pauseProducing()
        self.clock.advance(HEARTBEAT)
        self.assertFalse(page.transport.disconnecting)
        self.clock.advance(HEARTBEAT)
        self.assertTrue(page.transport.disconnecting)
        other.text()
        push(self.traffic)
        self.assertEqual(len(other.events()), 2)

    def test_a_page_that_reads_again_in_time_stays(self) -> None:
        page = self.page()
        for _ in range(3):
            page.producer.pauseProducing()
            self.clock.advance(HEARTBEAT)
            page.producer.resumeProducing()
        page.text()
        push(self.traffic)
        self.assertEqual(len(page.events()), 2)

    def test_gone_pages_leave_no_timer(self) -> None:
        pages = [self.page(), self.page()]
        for page in pages:
            page.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        push(self.traffic)

    def test_too_many_pages(self) -> None:
        self.page()
        second = self.page()
        answer = self.page().text()
        self.assertTrue(answer.startswith("HTTP/1.1 503 "))
        self.assertIn("Too many pages", answer)
        second.leave()
        self.assertTrue(self.page().text().startswith("HTTP/1.1 200 "))

    def test_close_ends_the_streams(self) -> None:
        page = self.page()
        page.text()
        self.traffic.close()
        self.assertEqual(page.text(), "0\r\n\r\n", "the last chunk")
        page.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])
