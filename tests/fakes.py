"""Both sides of a connection, in memory: a client and an API that do what a test says."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wsaas.connections.identity import Identity
from wsaas.connections.interfaces import Waiter
from wsaas.connections.messages import Close, Debt, End, Grant, Handshake, Message
from wsaas.connections.retry import Backoff, Retries, Retry


class MemoryPeer:
    """A :class:`~wsaas.connections.interfaces.Peer` that keeps what it is told.

    The test says when bytes reach the kernel.

    Every frame counts as its payload and two bytes of header.

    :param fast: whether they do so at once
    """

    def __init__(self, *, fast: bool = True) -> None:
        self.fast = fast
        self.buffered = 0
        self.sent = 0
        self.crowded = False
        self.reading = True
        self.aborted = False
        #: What the client gets, in order: messages, pings, the Close.
        self.frames: list[Message | Close | str] = []
        #: What the pings carried.
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
        """Keep a message."""
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault
        self._frame(message, len(message.payload))
        return self.buffered > 0

    def ping(self, payload: bytes = b"") -> None:
        """Keep a ping."""
        self.ping_payloads.append(payload)
        self._frame("ping", len(payload))

    def close(self, close: Close) -> None:
        """Keep a Close."""
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
        """Note it; the test tells the connection that it is lost."""
        self.aborted = True

    def pause(self) -> None:
        """Stop reading."""
        self.reading = False

    def resume(self) -> None:
        """Read again."""
        self.reading = True


def no_retries() -> Retries:
    """:returns: one attempt, whatever comes of it"""
    return Retries(Clock(), Backoff(lambda: 0.5), 0.0)


class PendingCalls:
    """The :class:`~wsaas.connections.interfaces.Calls` of one connection, which the test answers.

    :param retries: how messages are tried again; not at all if not given
    """

    def __init__(self, retries: Retries | None = None) -> None:
        self._retries = retries or no_retries()
        self._began = 0.0
        #: When the first attempt of the newest PUT began.
        self.first_began = 0.0
        #: Each call that was begun, in order: the method, and for PUTs the number.
        self.begun: list[str] = []
        #: The messages of the PUTs.
        self.messages: list[Message] = []
        #: The ``Ws-State`` of each call.
        self.states: list[str | None] = []
        #: What the DELETEs said: the end and the number of undelivered messages.
        self.goodbyes: list[tuple[End, int]] = []
        #: How often a call was begun before the one before was over.
        self.overlaps = 0
        #: The answer that is awaited.
        self.pending: Deferred[Any] | None = None
        #: Answers given at once, instead of waiting for :meth:`answer`.
        self.at_once: deque[object] = deque()

    def _begin(self, name: str, state: str | None) -> Deferred[Any]:
        self.overlaps += self.pending is not None
        self.begun.append(name)
        self.states.append(state)
        deferred: Deferred[Any] = Deferred()
        self.pending = deferred
        if self.at_once:
            self.answer(self.at_once.popleft())
        return deferred

    def connect(self) -> Deferred[Grant]:
        """POST."""
        return self._begin("POST", None)

    def message(self, number: int, message: Message, state: str | None, waiter: Waiter) -> None:
        """PUT."""
        name = f"PUT {number}"
        self._began = self._retries.clock.seconds()
        if name not in self.begun:
            self.messages.append(message)
            self.first_began = self._began
        self._begin(name, state).addCallbacks(waiter.answered, waiter.unanswered)

    def retry(self) -> Retry:
        """How the message is tried again whose first attempt has just failed."""
        return self._retries.begin(self._began)

    def disconnect(self, end: End, undelivered: int, state: str | None) -> Deferred[None]:
        """DELETE."""
        self.goodbyes.append((end, undelivered))
        return self._begin("DELETE", state)

    def answer(self, result: object = None) -> None:
        """End the call that is on its way, with a value or an exception."""
        deferred, self.pending = self.pending, None
        assert deferred is not None, "nothing is on its way"
        if isinstance(result, Exception):
            deferred.errback(result)
        else:
            deferred.callback(result)


class PendingJournal:
    """A :class:`~wsaas.connections.interfaces.Journal` that keeps what it is told.

    The test says when debts are taken down."""

    healthy = True

    def __init__(self) -> None:
        #: What it was told, in order.
        self.told: list[tuple[object, ...]] = []
        self._recorded: Deferred[None] = Deferred()

    def open(self) -> list[Debt]:
        """There was no earlier life."""
        return []

    def owe(self, identity: Identity, handshake: Handshake) -> Deferred[None]:
        """Take a debt down, later."""
        self.told.append(("owe", identity.key, handshake.target))
        return self._recorded

    def record(self, error: Exception | None = None) -> None:
        """Have taken it down, or failed."""
        if error is None:
            self._recorded.callback(None)
        else:
            self._recorded.errback(error)

    def remember(self, key: str, state: str | None) -> None:
        """Keep a state."""
        self.told.append(("remember", key, state))

    def ended(self, key: str, end: End, undelivered: int) -> None:
        """Keep an end."""
        self.told.append(("ended", key, end, undelivered))

    def settle(self, key: str) -> None:
        """Keep it."""
        self.told.append(("settle", key))

    def close(self) -> Deferred[None]:
        """Nothing is open."""
        raise AssertionError("no connection ends it")
