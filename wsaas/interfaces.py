"""The two sides of a connection, as the middle sees them."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred

from wsaas.messages import Close, End, Grant, Message, Outcome


class Peer(Protocol):
    """The client, as a connection sees it."""

    @property
    def buffered(self) -> int:
        """Bytes accepted for the client and not yet in the kernel."""

    @property
    def sent(self) -> int:
        """Bytes ever handed to the kernel; grows while the client reads."""

    def send(self, message: Message) -> None:
        """Send one message."""

    def ping(self) -> None:
        """Send a ping."""

    def close(self, close: Close) -> None:
        """Send a Close frame, after everything sent before."""

    def abort(self) -> None:
        """End the TCP connection now."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Read again."""


class Calls(Protocol):
    """The callbacks of one connection."""

    def connect(self) -> Deferred[Grant]:
        """POST; fails with :class:`~wsaas.errors.CallbackFailed`."""

    def message(self, number: int, message: Message, state: str | None) -> Deferred[Outcome]:
        """PUT; fails with :class:`~wsaas.errors.CallbackFailed`."""

    def disconnect(self, end: End, undelivered: int, state: str | None) -> Deferred[None]:
        """DELETE; never fails."""
