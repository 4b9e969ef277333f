"""Connections in memory, and the groups that they are in."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import MemoryPeer, PendingCalls, TimeOfDay, Turning
from wsaas.connections.connection import Connection
from wsaas.connections.identity import Identity, tag_of
from wsaas.connections.messages import Close, Grant, Handshake, Message, Publication, Reached
from wsaas.connections.registry import Registry
from wsaas.connections.settings import ConnectionSettings
from wsaas.connections.totals import Shared, Totals
from wsaas.groups.home import Home
from wsaas.groups.names import group

MAX_MESSAGE, MAX_BUFFER = 1000, 10_000
HANDSHAKE = Handshake(b"/", b"gateway", False, "192.0.2.1", None, None, (), "", (), "")


class Client:
    """One client: its connection, and both ends of that.

    :param number: another one for each
    :param shared: what connections have in common
    """

    def __init__(self, number: int, shared: Shared) -> None:
        key = f"{number:024}"
        self.number = number
        self.calls = PendingCalls()
        self.peer = MemoryPeer()
        self.connection = Connection(Identity(key, tag_of(key), f"http://gw/{key}"), HANDSHAKE, self.calls, shared)
        self.refusal: BaseException | None = None
        self.connection.authorise().addCallbacks(self._granted, self._refused)

    def _granted(self, grant: Grant) -> None:
        self.connection.open(self.peer, grant.close, grant.closed_by)

    def _refused(self, failure: object) -> None:
        self.refusal = getattr(failure, "value", None)

    def open(self) -> Client:
        """Let it in."""
        self.calls.answer(Grant())
        return self

    @property
    def tag(self) -> str:
        """Its name in logs."""
        return self.connection.identity.tag

    @property
    def got(self) -> list[str]:
        """The texts that it was sent."""
        return [message.payload.decode() for message in self.peer.messages]

    @property
    def closes(self) -> list[Close]:
        """The Close frames that it was sent."""
        return self.peer.closes


def text(content: str) -> Message:
    """:returns: a text message"""
    return Message(content.encode(), False)


class GroupsCase(SynchronousTestCase):
    """A home with as many clients as a test makes."""

    max_groups = 100
    most = 1 << 30

    def setUp(self) -> None:
        """Start without clients."""
        self.clock = Turning()
        self.clock.advance(1000)
        self.registry, self.totals = Registry(), Totals()
        self.home = Home(self.registry, self.totals, self.clock, self.max_groups, lambda: self.most)
        self.shared = Shared(
            ConnectionSettings(30.0, MAX_MESSAGE, MAX_BUFFER, self.max_groups),
            self.registry,
            self.totals,
            self.clock,
            TimeOfDay(self.clock, 1_700_000_000.0),
            self.home,
        )
        self.made = 0

    def waiting_client(self) -> Client:
        """:returns: a client whose POST is not answered yet"""
        self.made += 1
        return Client(self.made, self.shared)

    def client(self, *groups: str) -> Client:
        """:returns: a client that was let in, in some groups"""
        client = self.waiting_client().open()
        self.home.join(client.connection, groups)
        return client

    def clients(self, count: int, *groups: str) -> list[Client]:
        """:returns: so many clients in some groups"""
        return [self.client(*groups) for _ in range(count)]

    def publish(self, content: str, *groups: str, **how: object) -> Deferred[Reached]:
        """Publish a text to groups."""
        targets = tuple(map(group, groups))
        return self.home.publish(Publication(targets, text(content), **how))  # type: ignore[arg-type]  # as it is called

    def turn(self, count: int = 1) -> None:
        """Let the reactor take some turns, without time passing."""
        for _ in range(count):
            self.clock.turn()


def got(clients: Sequence[Client]) -> set[tuple[str, ...]]:
    """:returns: what clients were sent: one element if all were sent the same"""
    return {tuple(client.got) for client in clients}
