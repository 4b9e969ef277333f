"""The inbox: one client's messages on their way to the API, in order, one PUT at a time, within bounds."""

from __future__ import annotations

from typing import Protocol

from twisted.python.failure import Failure

from wsaas.connections.interfaces import Calls
from wsaas.connections.messages import Message, Outcome, Remembered
from wsaas.connections.retry import Retry
from wsaas.errors import CallbackFailed
from wsaas.limits import Budget

#: How many messages of one client may wait for the API. Bytes are bounded too, but even empty messages cost memory.
MAX_WAITING = 64
#: Up to so many bytes of one client are not counted in the budget, which saves the counting for ordinary traffic.
UNCOUNTED = 4096
#: Stand for the message on its way while what an answer asked for is carried out, so that no callback begins: the
#: client may be read meanwhile, or not.
_HELD, _STALLED = Message(b"", False), Message(b"", False)


class Sender(Protocol):
    """The connection whose messages these are: it is told what becomes of them."""

    @property
    def remembered(self) -> Remembered | None:
        """What the API set, and every callback repeats."""

    @property
    def is_blocked(self) -> bool:
        """Whether the next PUT has to wait, because an earlier reply waits for room."""

    def answered(self, number: int, outcome: Outcome) -> None:
        """The API answered a message."""

    def unanswered(self, number: int, failure: Failure) -> None:
        """A message brought no usable answer."""

    def retrying(self, number: int, error: CallbackFailed) -> None:
        """The first attempt of a message failed; it will be tried again."""

    def overwhelmed(self) -> None:
        """The budget of all clients is overrun, and this one has messages in it."""

    def idle(self) -> None:
        """No message waits and none is on its way."""

    def faulted(self, failure: Failure) -> None:
        """One of the methods above raised an exception."""


class Inbox:
    """A queue of one client's messages in front of the API.

    :param sender: told what becomes of each message
    :param calls: the connection's callbacks
    :param room: bytes that may wait, the message on its way included, before the client is no longer read
    :param budget: of the messages of all clients
    """

    __slots__ = (
        "_budget",
        "_bytes",
        "_calls",
        "_counted",
        "_in_flight",
        "_last_try",
        "_number",
        "_proceeding",
        "_retry",
        "_room",
        "_sender",
        "_waiting",
        "undelivered",
    )

    def __init__(self, sender: Sender, calls: Calls, room: int, budget: Budget) -> None:
        self._sender: Sender | None = sender
        self._calls = calls
        self._room = room
        self._budget = budget
        self._counted = 0
        #: A list, as it is short; an empty deque has 600 bytes.
        self._waiting: list[Message] = []
        self._in_flight: Message | None = None
        self._bytes = 0
        self._number = 0
        self._proceeding = False
        #: Set while the message on its way is tried again.
        self._retry: Retry | None = None
        #: Whether no message is tried again any more.
        self._last_try = False
        #: How many messages were dropped.
        self.undelivered = 0

    @property
    def is_full(self) -> bool:
        """Whether there may be no room for the client's next message: stop reading."""
        return (
            len(self._waiting) >= MAX_WAITING
            or self._bytes > self._room
            or (self._counted > 0 and self._budget.exhausted)
        )

    @property
    def is_roomy(self) -> bool:
        """Whether half of the room is free again: resume reading.

        Half, as reading that resumes at the first free byte would pause at once. Never while a message is tried again.
        """
        return (
            self._retry is None
            and self._in_flight is not _STALLED
            and len(self._waiting) <= MAX_WAITING // 2
            and self._bytes <= self._room // 2
            and not (self._counted and self._budget.exhausted)
        )

    @property
    def is_idle(self) -> bool:
        """Whether no message waits and none is on its way."""
        return self._in_flight is None and not self._waiting

    @property
    def awaits_answer(self) -> bool:
        """Whether a message is on its way to the API."""
        return self._in_flight is not None and self._in_flight is not _HELD and self._in_flight is not _STALLED

    def hold(self, *, reading: bool = True) -> None:
        """Begin no callback until :meth:`release`. No message may be on its way.

        :param reading: whether the client may be read meanwhile
        """
        self._in_flight = _HELD if reading else _STALLED

    def release(self) -> None:
        """Go on after :meth:`hold`."""
        self._in_flight = None
        self.proceed()

    def add(self, message: Message) -> None:
        """Queue a message, and start its PUT if it is its turn."""
        self._waiting.append(message)
        self._bytes += len(message.payload)
        if self._in_flight is None:
            self.proceed()
        if self._bytes > UNCOUNTED:
            self._count()
            if self._budget.overrun and self._sender is not None:
                self._sender.overwhelmed()

    def _count(self) -> None:
        """Update the budget with what waits here, unless it is little."""
        counted = self._bytes if self._bytes > UNCOUNTED else 0
        self._budget.used += counted - self._counted
        self._counted = counted

    def drop(self) -> bool:
        """Drop the messages whose PUT has not started, and one that waits for a retry; count them as undelivered.

        A PUT on its way still gets its answer, but is not repeated.

        :returns: whether a message waited for a retry; then call :meth:`proceed`
        """
        self.undelivered += len(self._waiting)
        self._bytes -= sum(len(message.payload) for message in self._waiting)
        self._waiting.clear()
        self._count()
        self._last_try = True
        if self._retry is None or not self._retry.is_waiting:
            return False
        self._retry.stop()
        self._done()
        self.undelivered += 1
        return True

    def end(self) -> None:
        """Break the reference cycle with the sender: it would last until a full garbage collection."""
        self._budget.used -= self._counted
        self._counted = 0
        self._sender = None

    def proceed(self) -> None:
        """Start the next PUT, if its turn has come. A loop, so that answers that come at once do not nest."""
        sender = self._sender
        if self._proceeding or sender is None:
            return
        waiting = self._waiting
        if waiting:
            self._proceeding = True
            try:
                while waiting and self._in_flight is None and not sender.is_blocked:
                    self._number += 1
                    message = self._in_flight = waiting.pop(0)
                    try:
                        self._calls.message(self._number, message, sender.remembered, self)
                    except Exception:  # noqa: BLE001 - otherwise the client's next message would wait for ever
                        self.unanswered(Failure())
            finally:
                self._proceeding = False
        if self._in_flight is None and not waiting:
            sender.idle()

    def _done(self) -> Sender:
        assert self._in_flight is not None and self._sender is not None  # noqa: S101 - for the type checker
        self._bytes -= len(self._in_flight.payload)
        self._in_flight = None
        self._retry = None
        if self._counted:
            self._count()
        return self._sender

    def answered(self, outcome: Outcome) -> None:
        """The API answered the message on its way."""
        sender = self._done()
        try:
            sender.answered(self._number, outcome)
        except Exception:  # noqa: BLE001 - otherwise the next message would wait for ever
            sender.faulted(Failure())
        self.proceed()

    def unanswered(self, failure: Failure) -> None:
        """The message on its way brought no usable answer."""
        sender = self._sender
        assert sender is not None  # noqa: S101 - for the type checker
        try:
            if self._tries_again(sender, failure.value):
                return
            self._done().unanswered(self._number, failure)
        except Exception:  # noqa: BLE001 - as above
            sender.faulted(Failure())
        self.proceed()

    def _tries_again(self, sender: Sender, error: BaseException | None) -> bool:
        if self._last_try or not isinstance(error, CallbackFailed) or not error.passing:
            return False
        retry = self._retry or self._calls.retry()
        if not retry.later(error.retry_after, self._repeat):
            return False
        if self._retry is None:
            self._retry = retry
            sender.retrying(self._number, error)
        return True

    def _repeat(self) -> None:
        message, sender = self._in_flight, self._sender
        assert message is not None and sender is not None  # noqa: S101 - for the type checker
        try:
            self._calls.message(self._number, message, sender.remembered, self)
        except Exception:  # noqa: BLE001 - as in proceed()
            self.unanswered(Failure())
