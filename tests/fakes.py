"""Fakes of a connection's client, callbacks and journal, in memory and controlled by the test."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from wsaas.connections.identity import Identity
from wsaas.connections.interfaces import Waiter
from wsaas.connections.messages import (
    Close,
    End,
    Grant,
    Handshake,
    Message,
    PendingDisconnect,
    Publication,
    Reached,
    Remembered,
    SharedMessage,
)
from wsaas.connections.registry import Registry
from wsaas.connections.retry import Backoff, Retries, Retry
from wsaas.connections.totals import Totals
from wsaas.groups.home import Home


class Turning(Clock):
    """A clock whose turns are those of a reactor: what a turn schedules for at once waits for the next one."""

    def turn(self) -> None:
        """Take one turn, without time passing."""
        due = [call for call in self.calls if call.getTime() <= self.seconds()]
        for call in due:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


class TimeOfDay:
    """The wall clock of a test: goes on with a monotonic one, shows something else, and may be set.

    :param clock: the monotonic one
    :param now: what it shows at first, in Unix seconds
    """

    def __init__(self, clock: Clock, now: float) -> None:
        self._seconds: Callable[[], float] = clock.seconds
        self._ahead = now - clock.seconds()

    def __call__(self) -> float:
        """:returns: Unix seconds"""
        return self._seconds() + self._ahead

    def set_by(self, seconds: float) -> None:
        """Set it forward, or back."""
        self._ahead += seconds


def home(registry: Registry, totals: Totals, clock: IReactorTime, max_groups: int = 100) -> Home:
    """:returns: groups of connections, as many memberships as one likes"""
    return Home(registry, totals, clock, max_groups, lambda: 1 << 30)


class MemoryPeer:
    """A :class:`~wsaas.connections.interfaces.Peer` that records its calls.

    The test says when bytes reach the kernel. Every frame counts as its payload and two bytes of header.

    :param fast: whether bytes reach the kernel at once
    """

    def __init__(self, *, fast: bool = True) -> None:
        self.fast = fast
        self.buffered = 0
        self.sent = 0
        self.crowded = False
        self.full = False
        self.reading = True
        self.aborted = False
        #: The frames for the client, in order: messages, pings, the Close.
        self.frames: list[Message | Close | str] = []
        #: The payloads of the pings.
        self.ping_payloads: list[bytes] = []
        #: Raised by the next call of :meth:`send`.
        self.fault: Exception | None = None

    @property
    def messages(self) -> list[Message]:
        """The messages among the frames."""
        return [frame for frame in self.frames if isinstance(frame, Message)]

    @property
    def closes(self) -> list[Close]:
        """The Close frames among the frames."""
        return [frame for frame in self.frames if isinstance(frame, Close)]

    @property
    def pings(self) -> int:
        """How many pings went out."""
        return self.frames.count("ping")

    def send(self, message: Message) -> bool:
        """Record a message."""
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault
        self._frame(message, len(message.payload))
        return self.buffered > 0

    def send_shared(self, message: SharedMessage, room: int) -> bool | None:
        """Record a message that many get, if there is room."""
        waited = self.buffered
        if waited > room or self.full:
            return None
        return self.send(Message(message.content, message.binary)) and not waited

    def ping(self, payload: bytes = b"") -> None:
        """Record a ping."""
        self.ping_payloads.append(payload)
        self._frame("ping", len(payload))

    def close(self, close: Close) -> None:
        """Record a Close."""
        self._frame(close, 2 + len(close.reason.encode("utf-8")))

    def _frame(self, frame: Message | Close | str, size: int) -> None:
        self.frames.append(frame)
        self.buffered += size + 2
        if self.fast:
            self.flush()

    def flush(self, size: int | None = None) -> None:
        """Let bytes reach the kernel: all, or so many."""
        size = self.buffered if size is None else min(size, self.buffered)
        self.buffered -= size
        self.sent += size

    def abort(self) -> None:
        """Record the call; the test tells the connection that TCP is over."""
        self.aborted = True

    def pause(self) -> None:
        """Stop reading."""
        self.reading = False

    def resume(self) -> None:
        """Resume reading."""
        self.reading = True


def no_retries() -> Retries:
    """:returns: a schedule without a second attempt"""
    return Retries(Clock(), lambda: 0.0, Backoff(lambda: 0.5), 0.0)


class PendingCalls:
    """The :class:`~wsaas.connections.interfaces.Calls` of one connection, which the test answers.

    :param retries: how messages are tried again; not at all if not given
    """

    def __init__(self, retries: Retries | None = None) -> None:
        self._retries = retries or no_retries()
        self._began = 0.0
        #: When the first attempt of the latest PUT started.
        self.first_began = 0.0
        #: The calls that were started, in order: the method, and for PUTs the number.
        self.begun: list[str] = []
        #: The messages of the PUTs.
        self.messages: list[Message] = []
        #: What each call repeats.
        self.remembered: list[Remembered | None] = []
        #: What the DELETEs carried: the end and the number of undelivered messages.
        self.disconnects: list[tuple[End, int]] = []
        #: The targets that were in the last DELETE.
        self.groups: Sequence[str] = ()
        #: What answers published, and what is told when the last of it is done, or has to wait.
        self.publications: list[Publication] = []
        self.publishing: Deferred[None] | None = None
        self.waits: Callable[[], None] = lambda: None
        #: How often a call was started before the previous one was over.
        self.overlaps = 0
        #: The answer that is awaited.
        self.pending: Deferred[Any] | None = None
        #: Answers given at once, instead of waiting for :meth:`answer`.
        self.at_once: deque[object] = deque()

    @property
    def states(self) -> list[str | None]:
        """The ``Ws-State`` of each call."""
        return [None if each is None else each.state for each in self.remembered]

    def _begin(self, name: str, remembered: Remembered | None) -> Deferred[Any]:
        self.overlaps += self.pending is not None
        self.begun.append(name)
        self.remembered.append(remembered)
        deferred: Deferred[Any] = Deferred()
        self.pending = deferred
        if self.at_once:
            self.answer(self.at_once.popleft())
        return deferred

    def connect(self) -> Deferred[Grant]:
        """POST."""
        return self._begin("POST", None)

    def message(self, number: int, message: Message, remembered: Remembered | None, waiter: Waiter) -> None:
        """PUT."""
        name = f"PUT {number}"
        self._began = self._retries.clock.seconds()
        if name not in self.begun:
            self.messages.append(message)
            self.first_began = self._began
        self._begin(name, remembered).addCallbacks(waiter.answered, waiter.unanswered)

    def retry(self) -> Retry:
        """The retry schedule of the message whose first attempt has just failed."""
        return self._retries.begin(self._began)

    def publish(self, publication: Publication, waits: Callable[[], None]) -> Deferred[None]:
        """Record what is published; the test says when that is done."""
        self.publications.append(publication)
        self.publishing, self.waits = Deferred(), waits
        return self.publishing

    def published(self) -> None:
        """Report that what was published last is done."""
        done, self.publishing, self.waits = self.publishing, None, lambda: None
        assert done is not None, "nothing is published"
        done.callback(None)

    def disconnect(
        self, end: End, undelivered: int, remembered: Remembered | None, groups: Sequence[str]
    ) -> Deferred[None]:
        """DELETE."""
        self.disconnects.append((end, undelivered))
        self.groups = groups
        return self._begin("DELETE", remembered)

    def answer(self, result: object = None) -> None:
        """End the call that is on its way, with a value or an exception."""
        deferred, self.pending = self.pending, None
        assert deferred is not None, "nothing is on its way"
        if isinstance(result, Exception):
            deferred.errback(result)
        else:
            deferred.callback(result)


class MemoryGroups:
    """The part of :class:`~wsaas.connections.interfaces.Groups` that publishes, and keeps it for the test to do."""

    def __init__(self) -> None:
        #: What was published, and what is told when that is done.
        self.published: list[tuple[Publication, Deferred[Reached]]] = []
        #: Raised by each call, if given.
        self.fault: Exception | None = None
        #: How often it was asked.
        self.asked = 0

    def publish(self, publication: Publication) -> Deferred[Reached]:
        """Keep it."""
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        done: Deferred[Reached] = Deferred()
        self.published.append((publication, done))
        return done

    def finish(self, result: object = None) -> None:
        """Report that the first of them is done, or failed."""
        done: Deferred[Any] = self.published.pop(0)[1]
        if isinstance(result, Exception):
            done.errback(result)
        else:
            done.callback(Reached())


class PendingJournal:
    """A :class:`~wsaas.connections.interfaces.Journal` that records its calls.

    The test says when a connection is recorded.
    """

    healthy = True

    def __init__(self) -> None:
        #: Its calls, in order.
        self.told: list[tuple[object, ...]] = []
        self._recorded: Deferred[None] = Deferred()

    def open(self) -> list[PendingDisconnect]:
        """:returns: nothing, as there was no earlier process"""
        return []

    def begin(self, identity: Identity, handshake: Handshake) -> Deferred[None]:
        """Record a connection, later."""
        self.told.append(("begin", identity.key, handshake.target))
        return self._recorded

    def record(self, error: Exception | None = None) -> None:
        """Report that the connection is recorded, or could not be."""
        if error is None:
            self._recorded.callback(None)
        else:
            self._recorded.errback(error)

    def remember(self, key: str, remembered: Remembered | None) -> None:
        """Record the call."""
        self.told.append(("remember", key, remembered))

    def ended(self, key: str, end: End, undelivered: int) -> None:
        """Record the call."""
        self.told.append(("ended", key, end, undelivered))

    def settle(self, key: str) -> None:
        """Record the call."""
        self.told.append(("settle", key))

    def close(self) -> Deferred[None]:
        """No connection closes the journal."""
        raise AssertionError("no connection ends it")
