"""The two sides of a connection, as the middle sees them."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from wsaas.connections.identity import Identity
from wsaas.connections.messages import Close, Debt, End, Grant, Handshake, Message, Outcome
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


class Journal(Protocol):
    """What connections and the gateway ask of a journal."""

    @property
    def healthy(self) -> bool:
        """Whether new debts can be taken down."""

    def open(self) -> list[Debt]:
        """Begin.

        :returns: what is owed from an earlier life
        :raises SettingsError: if the journal cannot be used
        """

    def owe(self, identity: Identity, handshake: Handshake) -> Deferred[None] | None:
        """Take down that a DELETE may be owed, before the POST is sent.

        :returns: fires when it is safe, or fails with :class:`~wsaas.errors.NotTried`; :data:`None` if there is
            nothing to wait for
        """

    def remember(self, key: str, state: str | None) -> None:
        """The API set ``Ws-State``."""

    def ended(self, key: str, end: End, undelivered: int) -> None:
        """What the DELETE has to say is known."""

    def settle(self, key: str) -> None:
        """Nothing is owed any more."""

    def close(self) -> Deferred[None]:
        """End; what was told before is written."""


class NoJournal:
    """Without ``STATE_DIR``: debts end with the process."""

    healthy = True

    def open(self) -> list[Debt]:
        """Nothing is owed."""
        return []

    def owe(self, identity: Identity, handshake: Handshake) -> None:
        """Connections remember it themselves."""

    def remember(self, key: str, state: str | None) -> None:
        """So they do this."""

    def ended(self, key: str, end: End, undelivered: int) -> None:
        """And this."""

    def settle(self, key: str) -> None:
        """Nothing is kept here."""

    def close(self) -> Deferred[None]:
        """There is nothing to write."""
        return succeed(None)


NO_JOURNAL = NoJournal()
