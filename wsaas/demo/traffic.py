"""The HTTP exchanges of the demo, kept for a while in memory and streamed to its pages.

An exchange is recorded when its request begins and again when its answer is known, so that a page shows requests in the
order in which they were made. The stream is ``text/event-stream`` (WHATWG HTML §9.2, Server-Sent Events). A page has no
queue of its own but a cursor into the one bounded record: if it reads slowly, it misses exchanges.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.http import SERVICE_UNAVAILABLE
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

Direction = Literal["callback", "push"]
HeaderList = list[tuple[str, str]]

#: Seconds between the comments in the stream, so that proxies and browsers do not take a quiet stream for a dead one.
HEARTBEAT: Final = 15.0

#: Headers whose value is a credential, which the other pages must not see.
_HIDDEN: Final = frozenset({"authorization", "cookie", "proxy-authorization"})


@dataclass(frozen=True)
class Body:
    """A body as the pages show it.

    :ivar text: its beginning as text, empty if the body is binary
    :ivar size: its whole length in bytes
    :ivar binary: whether it is not UTF-8
    :ivar truncated: whether ``text`` is less than the whole
    """

    text: str = ""
    size: int = 0
    binary: bool = False
    truncated: bool = False

    @classmethod
    def of(cls, data: bytes, limit: int) -> Body:
        """Cut a body to what is shown of it.

        :param data: the body
        :param limit: how many characters to keep
        """
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return cls("", len(data), binary=True)
        return cls(text[:limit], len(data), truncated=len(text) > limit)


@dataclass
class Exchange:
    """One HTTP request and, later, its answer.

    :ivar number: its place in the order of requests, from 1
    :ivar direction: ``callback`` from the gateway to the API, ``push`` to a ``ws_uri``
    :ivar at: when the request began, in Unix seconds
    :ivar began: the same in seconds of the clock
    :ivar revision: of the last change; grows over all exchanges
    :ivar status: of the answer; :data:`None` as long as there is none
    :ivar error: why there will be no answer
    :ivar elapsed: from the request to its answer, in milliseconds
    """

    number: int
    direction: Direction
    method: str
    target: str
    headers: HeaderList
    body: Body
    at: float
    began: float
    revision: int = 0
    status: int | None = None
    error: str | None = None
    elapsed: float | None = None
    answer_headers: HeaderList = field(default_factory=list)
    answer_body: Body = field(default_factory=Body)


class Traffic:
    """The last HTTP exchanges, and the pages that watch them.

    :param clock: measures how long answers take, and gives the heartbeat
    :param now: tells the time of day, in Unix seconds
    :param limit: how many exchanges are kept
    :param body_limit: how many characters of a body are kept
    :param max_subscribers: how many pages may watch at once
    """

    def __init__(
        self,
        clock: IReactorTime,
        now: Callable[[], float],
        *,
        limit: int = 200,
        body_limit: int = 2048,
        max_subscribers: int = 64,
    ) -> None:
        self.clock = clock
        self._now = now
        self._limit = limit
        self._body_limit = body_limit
        self._max_subscribers = max_subscribers
        #: Distinguishes this record from that of an earlier run, whose numbers began at 1, too.
        self.run = f"{int(now() * 1000):x}"
        self._numbers = 0
        self._revisions = 0
        self._exchanges: OrderedDict[int, Exchange] = OrderedDict()
        self._subscriptions: list[_Subscription] = []
        self._heartbeat = LoopingCall(self._beat)
        self._heartbeat.clock = clock

    def begin(
        self, direction: Direction, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes
    ) -> Exchange:
        """Record that a request began.

        :param direction: ``callback`` or ``push``
        :param method: of the request
        :param target: path or URI, as it is to be shown
        :param headers: of the request
        :param body: of the request
        :returns: the exchange, for :meth:`answered` or :meth:`failed`
        """
        self._numbers += 1
        exchange = Exchange(
            self._numbers,
            direction,
            method,
            target,
            _shown(headers),
            Body.of(body, self._body_limit),
            self._now(),
            self.clock.seconds(),
        )
        self._changed(exchange)
        return exchange

    def answered(self, exchange: Exchange, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Record the answer to a request.

        :param exchange: what :meth:`begin` returned
        :param status: of the answer
        :param headers: of the answer
        :param body: of the answer
        """
        exchange.status = status
        exchange.answer_headers = _shown(headers)
        exchange.answer_body = Body.of(body, self._body_limit)
        self._ended(exchange)

    def failed(self, exchange: Exchange, error: str) -> None:
        """Record that a request gets no answer.

        :param exchange: what :meth:`begin` returned
        :param error: why, in words that can be shown
        """
        exchange.error = error
        self._ended(exchange)

    def since(self, revision: int) -> Iterator[Exchange]:
        """List the exchanges that changed since a revision, the earliest change first.

        :param revision: the last one already seen; 0 for none
        """
        return (exchange for exchange in list(self._exchanges.values()) if exchange.revision > revision)

    def event(self, exchange: Exchange) -> bytes:
        """Encode an exchange as a Server-Sent Event, with an id from which a page can resume.

        :param exchange: the exchange
        """
        data = {
            "id": f"{self.run}-{exchange.number}",
            "at": exchange.at,
            "direction": exchange.direction,
            "method": exchange.method,
            "target": exchange.target,
            "headers": exchange.headers,
            "body": vars(exchange.body),
            "status": exchange.status,
            "error": exchange.error,
            "elapsed": exchange.elapsed,
            "answer_headers": exchange.answer_headers,
            "answer_body": vars(exchange.answer_body),
        }
        # json.dumps writes no line breaks, so one data line is enough.
        return f"id: {self.run}-{exchange.revision}\ndata: {json.dumps(data)}\n\n".encode("ascii")

    def subscribe(self, request: Request, seen: str) -> bool:
        """Stream the record to a page from now on.

        :param request: the stream is its answer; nothing of that is written yet
        :param seen: the id of the last event that the page has; anything else starts at the beginning
        :returns: whether it does; not if too many pages watch already
        """
        if len(self._subscriptions) >= self._max_subscribers:
            return False
        run, _, revision = seen.rpartition("-")
        cursor = int(revision) if run == self.run and revision.isdecimal() else 0
        subscription = _Subscription(self, request, cursor)
        self._subscriptions.append(subscription)
        if not self._heartbeat.running:
            self._heartbeat.start(HEARTBEAT, now=False)
        subscription.start()
        return True

    def unsubscribe(self, subscription: _Subscription) -> None:
        """Forget a page.

        :param subscription: of the page; no effect if it is forgotten already
        """
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
        if not self._subscriptions and self._heartbeat.running:
            self._heartbeat.stop()

    def close(self) -> None:
        """End all streams."""
        for subscription in list(self._subscriptions):
            subscription.finish()

    def _ended(self, exchange: Exchange) -> None:
        exchange.elapsed = round((self.clock.seconds() - exchange.began) * 1000, 1)
        self._changed(exchange)

    def _changed(self, exchange: Exchange) -> None:
        self._revisions += 1
        exchange.revision = self._revisions
        self._exchanges[exchange.number] = exchange
        self._exchanges.move_to_end(exchange.number)  # so that the record is sorted by revision
        while len(self._exchanges) > self._limit:
            self._exchanges.popitem(last=False)
        for subscription in list(self._subscriptions):
            subscription.flush()

    def _beat(self) -> None:
        for subscription in list(self._subscriptions):
            subscription.beat()


@implementer(IPushProducer)
class _Subscription:
    """A page that watches: a cursor into the record, and the request whose answer is the stream."""

    def __init__(self, traffic: Traffic, request: Request, cursor: int) -> None:
        self._traffic = traffic
        self._request = request
        self._cursor = cursor
        self._paused = False
        self._beats_missed = 0

    def start(self) -> None:
        """Write what the page has not seen yet, and from then on each change."""
        self._request.notifyFinish().addBoth(lambda _: self._traffic.unsubscribe(self))
        self._request.registerProducer(self, True)
        self._request.write(b"retry: 1000\n\n")
        self.flush()

    def flush(self) -> None:
        """Write the changes, as long as the page reads."""
        for exchange in self._traffic.since(self._cursor):
            if self._paused:
                return
            self._cursor = exchange.revision
            self._request.write(self._traffic.event(exchange))

    def beat(self) -> None:
        """Keep the stream alive; abort it if the page has not read for two beats."""
        if not self._paused:
            self._beats_missed = 0
            self._request.write(b":\n\n")
        elif self._beats_missed:
            self._traffic.unsubscribe(self)
            transport: Any = self._request.transport  # of a socket: ITransport does not say what sockets can do
            transport.abortConnection()
        else:
            self._beats_missed += 1

    def finish(self) -> None:
        """End the stream in good order."""
        self._traffic.unsubscribe(self)
        self._request.unregisterProducer()
        self._request.finish()

    def pauseProducing(self) -> None:
        """Stop writing: the page does not read."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Write again: the page reads."""
        self._paused = False
        self._beats_missed = 0
        self.flush()

    def stopProducing(self) -> None:
        """Forget the page: it is gone."""
        self._traffic.unsubscribe(self)


class TrafficStream(Resource):
    """Answers ``GET`` with the stream of exchanges.

    A returning page tells the last event that it has: by ``Last-Event-ID`` if ``EventSource`` reconnects by itself, by
    ``?since=`` if the page opens a new one.

    :param traffic: the record to stream
    """

    isLeaf = True
    log = Logger()

    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self._traffic = traffic

    def render_HEAD(self, request: Request) -> bytes:
        """Answer HEAD.

        :param request: the request
        :returns: no body
        """
        self._set_head(request)
        return b""

    def render_GET(self, request: Request) -> bytes | int:
        """Start the stream.

        :param request: of a page
        :returns: ``NOT_DONE_YET``, or why there is no stream
        """
        self._set_head(request)
        since = request.getHeader("Last-Event-ID") or request.args.get(b"since", [b""])[0].decode("ascii", "replace")
        if self._traffic.subscribe(request, since):
            return NOT_DONE_YET
        request.setResponseCode(SERVICE_UNAVAILABLE)
        request.setHeader("Retry-After", "10")
        request.setHeader("Content-Type", "text/plain; charset=utf-8")
        self.log.warn("demo: too many pages watch the HTTP exchanges; one more was turned away")  # noqa: G010 - twisted.logger
        return b"Too many pages watch already.\n"

    def _set_head(self, request: Request) -> None:
        request.setHeader("Content-Type", "text/event-stream")
        request.setHeader("Cache-Control", "no-store")
        request.setHeader("X-Content-Type-Options", "nosniff")
        request.setHeader("X-Accel-Buffering", "no")  # nginx would hold events back


def _shown(headers: Iterable[tuple[str, str]]) -> HeaderList:
    return [(name, "(hidden)" if name.lower() in _HIDDEN else value) for name, value in headers]
