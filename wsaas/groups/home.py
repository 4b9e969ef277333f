"""The groups of one process, as the others see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from wsaas.connections.messages import Publication, Reached
from wsaas.groups.listing import Listing, Page
from wsaas.groups.membership import Membership
from wsaas.groups.orders import CloseAll, JoinAll, LeaveAll, Moved
from wsaas.groups.publishing import MAX_WAITING, SLICE, Publishing
from wsaas.groups.repeats import Repeats
from wsaas.groups.tasks import Closing, Joining, Leaving
from wsaas.groups.turns import Turns

if TYPE_CHECKING:
    from wsaas.connections.connection import Connection
    from wsaas.connections.registry import Registry
    from wsaas.connections.totals import Totals

#: How many members a slice of a listing looks at, and how many listings may be under way.
_LISTED, _MAX_LISTINGS = 2000, 64


class Home:
    """Groups and users of this process: the :class:`~wsaas.connections.interfaces.Groups` of its connections.

    :param registry: the connections
    :param totals: their counters and budgets
    :param clock: for turns and durations
    :param max_groups: of how many groups one connection may be (``WS_MAX_GROUPS``)
    :param most: tells how many memberships there may be in all
    """

    def __init__(
        self, registry: Registry, totals: Totals, clock: IReactorTime, max_groups: int, most: Callable[[], int]
    ) -> None:
        outgoing = totals.budgets.outgoing
        self.membership = Membership(registry, totals, max_groups, most)
        #: What concerns many members, one after another.
        self.turns = Turns(clock, SLICE, MAX_WAITING, outgoing)
        self.repeats = Repeats(clock)
        self.publishing = Publishing(self.membership, self.turns, outgoing, self.repeats)
        #: Listings change nothing, so they wait for nobody else.
        self.listings = Turns(clock, _LISTED, _MAX_LISTINGS, outgoing)

    # One connection

    def join(self, connection: Connection, names: Sequence[str]) -> int:
        """Add a connection to groups, to all of them or none: see :meth:`.Membership.join`."""
        return self.membership.join(connection, names)

    def leave(self, connection: Connection, names: Sequence[str] | None = None) -> int:
        """Remove a connection from groups, or from all of them: see :meth:`.Membership.leave`."""
        return self.membership.leave(connection, names)

    def set_user(self, connection: Connection, name: str | None) -> None:
        """Move a connection from its user to another: see :meth:`.Membership.set_user`."""
        self.membership.set_user(connection, name)

    def end(self, connection: Connection) -> None:
        """Remove a connection from everything, as it is closing."""
        self.membership.end(connection)

    # Many

    def publish(self, publication: Publication) -> Deferred[Reached]:
        """Send one message to all members of its targets: see :meth:`.Publishing.publish`."""
        return self.publishing.publish(publication)

    def close_all(self, order: CloseAll) -> Deferred[Reached]:
        """Close every member of a target, after what was published before.

        :raises OverloadedError: if too much waits
        """
        return self.turns.submit(Closing(self.membership, order))

    def leave_all(self, order: LeaveAll) -> Deferred[Moved]:
        """Have members of a target leave a group, after what was published before.

        :raises OverloadedError: if too much waits
        """
        return self.turns.submit(Leaving(self.membership, order))

    def join_all(self, order: JoinAll) -> Deferred[Moved]:
        """Have the connections of a user join a group: what is published afterwards reaches them.

        :returns: fails with :class:`OverloadedError` if there are too many memberships for all of them to join
        :raises OverloadedError: if too much waits
        """
        return self.turns.submit(Joining(self.membership, order))

    # Questions

    def count(self, target: str) -> int:
        """:returns: how many members a target has"""
        return self.membership.count(target)

    def list_members(self, target: str, after: str, limit: int) -> Deferred[Page]:
        """Find some members of a target, in the order of their tags.

        :param after: the cursor of the page before, checked; empty for the first page
        :param limit: how many, at least one
        :raises OverloadedError: if too many listings are under way
        """
        return self.listings.submit(Listing(self.membership, target, after, limit))

    def stop(self) -> Deferred[None]:
        """End what is left, as the process ends and all clients are gone."""
        self.turns.stop()
        self.listings.stop()
        return succeed(None)
