"""The groups of a process, all in all: what is published reaches everybody once, in order."""

from __future__ import annotations

from tests.unit.groups.case import GroupsCase, got
from wsaas.connections.messages import Close, Reached
from wsaas.groups.names import group, groups_in, user
from wsaas.groups.orders import CloseAll, JoinAll, LeaveAll, Moved


class HomeTests(GroupsCase):
    """From joining to the end."""

    def test_publish(self) -> None:
        """Few members have it at once."""
        inside, outside = self.clients(3, "a"), self.clients(2, "b")
        reached = self.successResultOf(self.publish("hello", "a"))
        self.assertEqual(reached, Reached(sent=3))
        self.assertEqual((got(inside), got(outside)), ({("hello",)}, {()}))

    def test_order_of_joining(self) -> None:
        """A connection knows what it is in; its user is not among its groups."""
        client = self.client("b", "a")
        self.home.set_user(client.connection, "ann")
        self.home.join(client.connection, ["c", "a"])
        self.assertEqual(groups_in(client.connection.groups), ["b", "a", "c"])
        self.assertEqual(self.home.count(user("ann")), 1)

    def test_close_all(self) -> None:
        """After what was published before; whoever is left out stays."""
        clients = self.clients(500, "a")
        stays = clients[7]
        publishing = self.publish("bye", "a")
        closing = self.home.close_all(CloseAll(group("a"), Close(1000), frozenset({stays.tag})))
        self.assertNoResult(closing)
        self.turn(10)
        self.assertEqual(self.successResultOf(publishing), Reached(sent=500))
        self.assertEqual(self.successResultOf(closing), Reached(closed=499, left_out=1))
        self.assertEqual(got(clients), {("bye",)})
        self.assertEqual(self.home.count(group("a")), 1)

    def test_user_joins_and_leaves(self) -> None:
        """All connections of a user; and a group is emptied."""
        clients = self.clients(3)
        for client in clients:
            self.home.set_user(client.connection, "ann")
        joined = self.home.join_all(JoinAll(user("ann"), "a"))
        self.assertEqual(self.successResultOf(joined), Moved(joined=3))
        self.assertEqual(self.home.count(group("a")), 3)
        left = self.home.leave_all(LeaveAll(group("a"), "a"))
        self.assertEqual(self.successResultOf(left), Moved(left=3))
        self.assertEqual(self.home.count(group("a")), 0)
        self.assertEqual(self.home.count(user("ann")), 3)
