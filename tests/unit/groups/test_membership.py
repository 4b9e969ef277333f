"""Who is in what: all or nothing, bounded, forgotten at the end (protocol §6)."""

from __future__ import annotations

import sys

from tests.unit.groups.case import GroupsCase
from wsaas.connections.messages import Close, ClosedBy, Grant
from wsaas.errors import Denied, NoAnswer, OverloadedError, TooManyGroupsError
from wsaas.groups.membership import AT_LEAST, Members, bound
from wsaas.groups.names import EVERYONE, group, groups_in, is_user, user


class JoinTests(GroupsCase):
    """Joining and leaving."""

    max_groups = 3

    def test_join(self) -> None:
        """How many are new; each name once."""
        client = self.client()
        self.assertEqual(self.home.join(client.connection, ["a", "b", "a"]), 2)
        self.assertEqual(self.home.join(client.connection, ["b"]), 0)
        self.assertEqual(self.home.join(client.connection, []), 0)
        self.assertEqual(groups_in(client.connection.groups), ["a", "b"])
        self.assertEqual((self.home.count(group("a")), self.home.count(group("c"))), (1, 0))

    def test_leave(self) -> None:
        """Some, or all; not its user."""
        client = self.client("a", "b", "c")
        self.home.set_user(client.connection, "ann")
        self.assertEqual(self.home.leave(client.connection, ["c", "x", "a"]), 2)
        self.assertEqual(groups_in(client.connection.groups), ["b"])
        self.assertEqual(self.home.leave(client.connection), 1)
        self.assertEqual(self.home.leave(client.connection), 0)
        self.assertEqual(client.connection.groups, (user("ann"),))
        membership = self.home.membership
        self.assertEqual((membership.groups, membership.users, membership.memberships), (0, 1, 0))

    def test_too_many(self) -> None:
        """It joins none then; its user is not one of them."""
        client = self.client("a", "b")
        self.home.set_user(client.connection, "ann")
        self.assertRaises(TooManyGroupsError, self.home.join, client.connection, ["c", "d"])
        self.assertEqual(groups_in(client.connection.groups), ["a", "b"])
        self.assertEqual(self.home.join(client.connection, ["c", "a"]), 1)
        self.assertEqual(self.home.join(client.connection, ["c", "a"]), 0)

    def test_too_many_in_all(self) -> None:
        """Of the whole process; whoever leaves makes room."""
        self.most = 3
        first, second = self.client("a", "b"), self.client("a")
        self.assertRaises(OverloadedError, self.home.join, second.connection, ["b"])
        self.assertEqual(groups_in(second.connection.groups), ["a"])
        self.home.leave(first.connection, ["a"])
        self.assertEqual(self.home.join(second.connection, ["b"]), 1)

    def test_bound(self) -> None:
        """Ten for each connection, and at least so many."""
        self.assertEqual((bound(1), bound(50_000)), (AT_LEAST, 500_000))


class UserTests(GroupsCase):
    """Users are groups of another kind of name."""

    def test_change(self) -> None:
        """One at a time."""
        client = self.client("a")
        for name in ("ann", "ann", "bob"):
            self.home.set_user(client.connection, name)
        self.assertEqual((self.home.count(user("ann")), self.home.count(user("bob"))), (0, 1))
        self.assertEqual(self.home.membership.users, 1)
        self.home.set_user(client.connection, None)
        self.home.set_user(client.connection, None)
        self.assertEqual((self.home.membership.users, groups_in(client.connection.groups)), (0, ["a"]))

    def test_a_group_of_the_same_name(self) -> None:
        """Is another set."""
        client = self.client("ann")
        self.home.set_user(client.connection, "ann")
        self.home.leave(client.connection)
        self.assertEqual((self.home.count(user("ann")), self.home.count(group("ann"))), (1, 0))
        self.assertTrue(is_user(client.connection.groups))
        self.assertFalse(is_user((group("users"),)) or is_user(()))


class EndTests(GroupsCase):
    """A connection leaves everything when it begins to close, and remembers what it was in."""

    def check(self, connection_ends: str) -> None:
        """End a connection in one way."""
        client = self.client("a", "b")
        self.home.set_user(client.connection, "ann")
        connection = client.connection
        if connection_ends == "api":
            connection.close(Close(1000), ClosedBy.API)
        elif connection_ends == "client":
            connection.closed_by_client(Close(1000))
        elif connection_ends == "protocol":
            connection.failed_by_peer(Close(1002))
        elif connection_ends == "slow":
            connection.fall_behind()
        else:
            connection.lost()
        membership = self.home.membership
        self.assertEqual((membership.groups, membership.users, membership.memberships), (0, 0, 0))
        self.assertEqual(groups_in(connection.groups), ["a", "b"])
        self.assertEqual(self.home.count(EVERYONE), 0)
        # No effect any more.
        self.assertEqual(self.home.join(connection, ["c"]), 0)
        self.assertEqual(self.home.leave(connection), 0)
        self.home.set_user(connection, "bob")
        connection.lost()
        self.assertEqual((connection.groups[0], membership.groups, membership.users), (user("ann"), 0, 0))

    def test_every_end(self) -> None:
        """Whoever began it."""
        for end in ("api", "client", "protocol", "slow", "lost"):
            self.check(end)

    def test_dead(self) -> None:
        """A client that is not heard any more."""
        self.client("a")
        self.clock.advance(31)
        for connection in self.registry:
            connection.check(self.clock.seconds())
        self.assertEqual(self.home.membership.groups, 0)

    def test_refused(self) -> None:
        """Joined while the API was asked, and not let in."""
        for error in (Denied("no", 403), NoAnswer("gone")):
            client = self.waiting_client()
            self.assertEqual(self.home.join(client.connection, ["a"]), 1)
            client.calls.answer(error)
            self.assertEqual((self.home.membership.groups, self.home.membership.memberships), (0, 0))
            self.assertEqual(self.home.join(client.connection, ["a"]), 0)

    def test_left_before_the_answer(self) -> None:
        """The grant comes too late."""
        client = self.waiting_client()
        self.home.join(client.connection, ["a"])
        client.connection.left()
        self.assertEqual(self.home.membership.groups, 0)
        client.calls.answer(Grant())
        self.assertEqual(self.home.membership.groups, 0)


class MemoryTests(GroupsCase):
    """What a membership costs."""

    def test_size(self) -> None:
        """At most 96 bytes; texts are shared."""
        count = 20_000
        members = Members("groups/a")
        members.update(dict.fromkeys(map(object, [])))  # type: ignore[arg-type]  # for its size only
        others: list[object] = [object() for _ in range(count)]
        members.update(dict.fromkeys(others))  # type: ignore[arg-type]  # as above
        self.assertLessEqual(sys.getsizeof(members) / count, 64)
        first, second = self.client("a"), self.client("a")
        self.assertIs(first.connection.groups, second.connection.groups)
        self.home.join(first.connection, ["b"])
        self.home.join(second.connection, ["b"])
        for one, other in zip(first.connection.groups, second.connection.groups, strict=True):
            self.assertIs(one, other)

    def test_nothing_for_others(self) -> None:
        """Who is in no group has the empty tuple that everybody has."""
        self.assertIs(self.client().connection.groups, ())
