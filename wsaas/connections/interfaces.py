"""The interfaces that a connection needs: its client, the callbacks to the API, and the journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from wsaas.connections.identity import Identity
from wsaas.connections.messages import (
    Close,
    End,
    Grant,
    Handshake,
    Message,
    Outcome,
    PendingDisconnect,
    Publication,
    Reached,
    Remembered,
    SharedMessage,
)
from wsaas.connections.retry import Retry

if TYPE_CHECKING:
    from wsaas.connections.connection import Connection


class Peer(Protocol):
    """A connection's client: frames go out, and reading can be paused."""

    @property
    def buffered(self) -> int:
        """Bytes accepted for the client and not yet in the kernel."""

    @property
    def sent(self) -> int:
        """Bytes ever handed to the kernel; grows while the client reads."""

    @property
    def crowded(self) -> bool:
        """Whether nothing more may be buffered: too many frames wait, or too many bytes for all clients together."""

    @property
    def full(self) -> bool:
        """Whether too many frames wait, whatever their length."""

    def send(self, message: Message) -> bool:
        """Send one message.

        :returns: whether some of it may still be buffered
        """

    def send_shared(self, message: SharedMessage, room: int) -> bool | None:
        """Send one message that many clients get: what waits of it is not copied.

        :param room: bytes that may wait before it
        :returns: whether bytes may begin to wait with it; :data:`None` if it was not sent, as more waits than that, or
            too many frames
        """

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping, after everything sent before.

        :param payload: at most 125 bytes; the client's pong carries the same (RFC 6455 §5.5.3)
        """

    def close(self, close: Close) -> None:
        """Send a Close frame, after everything sent before."""

    def abort(self) -> None:
        """End the TCP connection now."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Resume reading."""


class Waiter(Protocol):
    """Gets the result of one PUT: exactly one of its methods is called, once, and must not raise."""

    def answered(self, outcome: Outcome) -> None:
        """The API answered."""

    def unanswered(self, failure: Failure) -> None:
        """The attempt failed: there is no usable answer."""


class Calls(Protocol):
    """The callbacks of one connection."""

    def connect(self) -> Deferred[Grant]:
        """Send the POST.

        :returns: fires with the grant, or fails with :class:`~wsaas.errors.CallbackFailed`
        """

    def message(self, number: int, message: Message, remembered: Remembered | None, waiter: Waiter) -> None:
        """Send one message by PUT: one attempt, and only one at a time.

        :param remembered: what the API set before
        :param waiter: gets the outcome, or a failure with :class:`~wsaas.errors.CallbackFailed`
        """

    def retry(self) -> Retry:
        """:returns: the schedule of further attempts for the message whose first attempt has just failed"""

    def publish(self, publication: Publication, waits: Callable[[], None]) -> Deferred[None]:
        """Publish what the answer to a message asks for, again and again while there is no room.

        :param waits: called if there is none now
        :returns: fires once it was published or dropped; never fails
        """

    def disconnect(
        self, end: End, undelivered: int, remembered: Remembered | None, groups: Sequence[str]
    ) -> Deferred[None]:
        """Send the DELETE, again and again if need be.

        :param remembered: what the API set before
        :param groups: the targets that the connection was in, in order of joining
        :returns: never fails; fires when the connection need not be kept in memory for its DELETE any more
        """


class Groups(Protocol):
    """Groups and users: who belongs together, and how one message reaches them all."""

    def join(self, connection: Connection, names: Sequence[str]) -> int:
        """Add a connection to groups; no effect on one that is closing.

        :param names: not encoded
        :returns: how many of them are new to it
        :raises TooManyGroupsError: if it would be in too many; it joins none then
        :raises OverloadedError: if there are too many memberships in all; it joins none then
        """

    def leave(self, connection: Connection, names: Sequence[str] | None = None) -> int:
        """Remove a connection from groups, or from all of them.

        :returns: in how many of them it was
        """

    def set_user(self, connection: Connection, name: str | None) -> None:
        """Move a connection from its user to another; no effect on one that is closing."""

    def end(self, connection: Connection) -> None:
        """Remove a connection from everything, as it is closing. What it was in stays in ``connection.groups``."""

    def publish(self, publication: Publication) -> Deferred[Reached]:
        """Send one message to all members of its targets, behind the publications before it.

        :returns: fires once that is done
        :raises OverloadedError: if there is no room for it: then nothing is sent
        """


class Journal(Protocol):
    """Records which DELETEs are pending, so that the next process can send them after a crash."""

    @property
    def healthy(self) -> bool:
        """Whether new connections can be recorded."""

    def open(self) -> list[PendingDisconnect]:
        """Open the journal.

        :returns: the DELETEs that an earlier process left pending
        :raises SettingsError: if the journal cannot be used
        """

    def begin(self, identity: Identity, handshake: Handshake) -> Deferred[None] | None:
        """Record a connection before its POST is sent: from then on its DELETE is pending.

        :returns: fires once the record is on disk, or fails with :class:`~wsaas.errors.NotTried`; :data:`None` if
            there is nothing to wait for
        """

    def remember(self, key: str, remembered: Remembered | None) -> None:
        """Record what the API set."""

    def ended(self, key: str, end: End, undelivered: int) -> None:
        """Record how a connection ended: its DELETE will say so."""

    def settle(self, key: str) -> None:
        """Remove a connection: its DELETE is done, or was never needed."""

    def close(self) -> Deferred[None]:
        """Write what was recorded before, and close the journal."""


class NoJournal:
    """The journal without ``STATE_DIR``: pending DELETEs end with the process."""

    healthy = True

    def open(self) -> list[PendingDisconnect]:
        """:returns: nothing, as nothing was recorded"""
        return []

    def begin(self, identity: Identity, handshake: Handshake) -> None:
        """No-op: without ``STATE_DIR`` nothing is persisted."""

    def remember(self, key: str, remembered: Remembered | None) -> None:
        """No-op: without ``STATE_DIR`` nothing is persisted."""

    def ended(self, key: str, end: End, undelivered: int) -> None:
        """No-op: without ``STATE_DIR`` nothing is persisted."""

    def settle(self, key: str) -> None:
        """No-op: without ``STATE_DIR`` nothing is persisted."""

    def close(self) -> Deferred[None]:
        """:returns: has fired, as there is nothing to write"""
        return succeed(None)


NO_JOURNAL = NoJournal()
