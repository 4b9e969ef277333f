"""Members that never read, and joins and publishes by the million: who else suffers, and what is kept (protocol §6)."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import PendingCalls, TimeOfDay
from tests.unit.groups.case import HANDSHAKE, GroupsCase
from tests.unit.websocket.test_shared_frames import Idle, Kernel
from wsaas.connections.connection import Connection
from wsaas.connections.identity import Identity
from wsaas.connections.messages import ClosedBy, Grant, Message, Publication, Reached
from wsaas.connections.registry import Registry
from wsaas.connections.settings import ConnectionSettings
from wsaas.connections.totals import Shared, Totals
from wsaas.errors import OverloadedError, TooManyGroupsError
from wsaas.groups.home import Home
from wsaas.groups.names import group
from wsaas.limits import Budgets
from wsaas.net.transport import Buffers, EagerServer
from wsaas.websocket.takeover import ClientFactory

KIB = 1 << 10
#: What the kernel takes for a client that does not read.
SOCKET = 64 * KIB


class SlowMembersTests(SynchronousTestCase):
    """Members whose sockets take a little, and then nothing."""

    def begin(self, max_buffer: int, total: int) -> None:
        """Start without members.

        :param max_buffer: ``WS_MAX_BUFFER``
        :param total: bytes of all budgets
        """
        self.clock = Clock()
        self.registry, self.totals = Registry(), Totals(budgets=Budgets(total))
        self.home = Home(self.registry, self.totals, self.clock, 100, lambda: 1 << 20)
        limits = ConnectionSettings(30.0, max_buffer, max_buffer)
        now = TimeOfDay(self.clock, 1e9)
        self.shared = Shared(limits, self.registry, self.totals, self.clock, now, self.home)
        self.factory = ClientFactory(self.clock, max_buffer, False, self.totals.budgets)
        self.made = 0

    def member(self, takes: int) -> tuple[Connection, Kernel]:
        """:returns: a member of the group, and its socket, which takes so much"""
        self.made += 1
        kernel: Any = Kernel(takes)
        server: Any = EagerServer
        transport = server(kernel, None, ("127.0.0.1", 1), None, 1, Idle(), buffers=Buffers(8192, None, 0))
        calls = PendingCalls()
        connection = Connection(Identity(str(self.made), str(self.made), ""), HANDSHAKE, calls, self.shared)
        connection.authorise().addCallback(
            lambda grant: self.factory.take_over(transport, b"", HANDSHAKE, grant, connection)
        )
        calls.answer(Grant())
        self.home.join(connection, ["a"])
        kernel.got = b""
        return connection, kernel

    def publish(self, payload: bytes) -> Reached:
        """:returns: what became of it, after as many turns as it takes"""
        done = self.home.publish(Publication((group("a"),), Message(payload, True)))
        for _ in range(100):
            self.clock.advance(0.001)
        return self.successResultOf(done)

    def test_own_room_counts_only(self) -> None:
        """Three publishes of 128 KiB to 1,000 slow links close nobody, though copies for each would be 375 MiB."""
        self.begin(max_buffer=1 << 20, total=16 << 20)
        members = [self.member(SOCKET) for _ in range(1000)]
        for _ in range(3):
            self.assertEqual(self.publish(b"x" * 128 * KIB), Reached(sent=1000))
        self.assertLess(self.totals.budgets.outgoing.used, 1 << 20)
        copies = {id(connection._peer._output._transport.dataBuffer) for connection, _ in members}  # type: ignore[union-attr]  # a ClientProtocol
        self.assertEqual(len(copies), 1)
        for _, kernel in members:
            kernel.takes = 1 << 30
        for connection, kernel in members:
            connection._peer._output._transport.doWrite()  # type: ignore[union-attr]  # as above
            self.assertEqual(len(kernel.got), 3 * (128 * KIB + 10))
        self.assertEqual(self.totals.budgets.outgoing.used, 0)

    def test_among_those_who_read(self) -> None:
        """1,000 of 5,000 never read: they are closed when their own room is full, and the others get everything."""
        self.begin(max_buffer=8 * KIB, total=1 << 29)
        slow = [self.member(SOCKET) for _ in range(1000)]
        quick = [self.member(1 << 40) for _ in range(4000)]
        closed = 0
        for _ in range(80):
            closed += self.publish(b"x" * KIB).closed
        self.assertEqual(closed, 1000)
        self.assertEqual({connection._end.by for connection, _ in slow if connection._end}, {ClosedBy.SLOW})
        self.assertEqual({len(kernel.got) for _, kernel in quick}, {80 * (KIB + 4)})
        self.assertEqual(self.home.count(group("a")), 4000)
        self.assertLess(self.totals.budgets.outgoing.used, 4 << 20)
        for connection, _ in slow:
            connection._peer.connectionLost()  # type: ignore[union-attr]  # as above
        self.assertEqual(self.totals.budgets.outgoing.used, 0)


class ManyJoinsTests(GroupsCase):
    """What a back end that joins without end can do: nothing beyond the bounds."""

    most = 20_000
    max_groups = 1000

    def test_bounded(self) -> None:
        """Of one connection, and of all; what was refused leaves nothing behind."""
        clients = self.clients(50)
        refused = 0
        for number in range(1500):
            for client in clients[:30]:
                try:
                    self.home.join(client.connection, [f"{client.number}-{number}"])
                except (TooManyGroupsError, OverloadedError):
                    refused += 1
        membership = self.home.membership
        self.assertEqual((membership.memberships, membership.groups), (20_000, 20_000))
        self.assertEqual(refused, 30 * 1500 - 20_000)
        for client in clients:
            client.connection.lost()
        self.assertEqual((membership.memberships, membership.groups), (0, 0))

    def test_names_are_not_kept(self) -> None:
        """A million names, one after the other."""
        client = self.client()
        for number in range(20_000):
            self.home.join(client.connection, [f"name-{number}"])
            self.home.leave(client.connection)
        self.assertLess(sys.getsizeof(self.home.membership._sets), 10_000)
