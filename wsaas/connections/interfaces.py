"""The two sides of a connection, as the middle sees them."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wsaas.connections.messages import Close, End, Grant, Message, Outcome
from wsaas.connections.retry import Retry


class Peer(Protocol):
    """The client, as a connection sees it."""

    @property
    def buffered(self) -> int:
        """Bytes accepted for the client and not yet in the kernel."""

    @property
    def sent(self) -> int:
        """Bytes ever handed to the kernel; grows while the client reads."""

    @property
    def crowded(self) -> bool:
        """Whether nothing more may wait: too many frames do already, or too much does for all clients together."""

    def send(self, message: Message) -> bool:
        """Send one message.

        :returns: whether anything may be buffered now
        """

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping, after everything sent before.

        :param payload: at most 125 bytes; a pong brings them back
        """

    def close(self, close: Close) -> None:
        """Send a Close frame, after everything sent before."""

    def abort(self) -> None:
        """End the TCP connection now."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Read again."""


class Waiter(Protocol):
    """Who waits for the answer to a message. One is told once, and nothing that it does fails."""

    def answered(self, outcome: Outcome) -> None:
        """The answer is there."""

    def unanswered(self, failure: Failure) -> None:
        """There is none that counts."""


class Calls(Protocol):
    """The callbacks of one connection."""

    def connect(self) -> Deferred[Grant]:
        """POST; fails with :class:`~wsaas.errors.CallbackFailed`."""

    def message(self, number: int, message: Message, state: str | None, waiter: Waiter) -> None:
        """PUT, one attempt; fails with :class:`~wsaas.errors.CallbackFailed`. One at a time.

        :param waiter: told what comes of it
        """

    def retry(self) -> Retry:
        """:returns: how the message is tried again whose first attempt has just failed"""

    def disconnect(self, end: End, undelivered: int, state: str | None) -> Deferred[None]:
        """DELETE; never fails. Fires when the connection need not be kept for it any more."""
