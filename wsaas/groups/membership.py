"""Who is in which group, and whose connection is which: in memory, as long as the connection lasts (protocol §6).

A user is a set of connections like a group, with another kind of name. Everyone is no set of its own: those are the
connections that the registry has. So a connection that is in no group and of no user costs nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING

from wsaas.connections.states import State
from wsaas.errors import OverloadedError, TooManyGroupsError
from wsaas.groups.names import EVERYONE, group, is_user, user

if TYPE_CHECKING:
    from wsaas.connections.connection import Connection
    from wsaas.connections.registry import Registry
    from wsaas.connections.totals import Counts, Totals

#: How many memberships a process may hold: so many for each connection that it may have, and at least so many.
PER_CONNECTION, AT_LEAST = 10, 100_000


def bound(connections: int) -> int:
    """:returns: how many memberships a process may hold

    :param connections: how many connections it may have
    """
    return max(AT_LEAST, PER_CONNECTION * connections)


class Members(dict["Connection", None]):
    """The members of one group, or the connections of one user, in order of joining.

    :param target: its name; each member has this very text, not a copy
    """

    __slots__ = ("_alone", "target")

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target
        self._alone: tuple[str, ...] = ()

    @property
    def alone(self) -> tuple[str, ...]:
        """What a member is in that is in nothing else: one object for all of those."""
        if not self._alone:
            self._alone = (self.target,)
        return self._alone


class Membership:
    """The groups and users of a process.

    :param registry: the connections
    :param totals: their counters
    :param max_groups: of how many groups one connection may be (``WS_MAX_GROUPS``)
    :param most: tells how many memberships in groups there may be in all
    """

    def __init__(self, registry: Registry, totals: Totals, max_groups: int, most: Callable[[], int]) -> None:
        self._registry = registry
        self._totals = totals
        self._max_groups = max_groups
        self._most = most
        self._sets: dict[str, Members] = {}
        #: How many users there are.
        self.users = 0
        #: How many memberships in groups there are.
        self.memberships = 0

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return len(self._sets) - self.users

    def join(self, connection: Connection, names: Sequence[str]) -> int:
        """Add a connection to groups: to all of them or, if it cannot be, to none.

        :param names: not encoded
        :returns: how many of them are new to it; none if it is closing
        :raises TooManyGroupsError: if it would be in too many
        :raises OverloadedError: if there are too many memberships in all
        """
        if connection.outbox.shut:
            return 0
        present = connection.groups
        known = present if len(names) == 1 else frozenset(present)
        fresh = [target for target in dict.fromkeys(map(group, names)) if target not in known]
        if not fresh:
            return 0
        if len(present) + len(fresh) - is_user(present) > self._max_groups:
            raise TooManyGroupsError
        if self.memberships + len(fresh) > self._most():
            raise OverloadedError
        self._set(connection, present + tuple([self._add(connection, target) for target in fresh]))
        self.memberships += len(fresh)
        return len(fresh)

    def leave(self, connection: Connection, names: Sequence[str] | None = None) -> int:
        """Remove a connection from groups.

        :param names: not encoded; all that it is in if not given
        :returns: in how many of them it was; none if it is closing
        """
        present = connection.groups
        if connection.outbox.shut or not present:
            return 0
        own = present[: is_user(present)]
        leaving = frozenset(present[len(own) :] if names is None else map(group, names))
        left = [target for target in present if target in leaving]
        for target in left:
            self._remove(connection, target)
        self.memberships -= len(left)
        if left:
            self._set(connection, tuple([target for target in present if target not in leaving]))
        return len(left)

    def set_user(self, connection: Connection, name: str | None) -> None:
        """Move a connection from its user to another; no effect on one that is closing.

        :param name: not encoded; :data:`None` for no user
        """
        if connection.outbox.shut:
            return
        present = connection.groups
        target = None if name is None else user(name)
        if is_user(present):
            if present[0] == target:
                return
            self._remove(connection, present[0])
            present = present[1:]
        if target is not None:
            # First, so that it is found at once.
            present = (self._add(connection, target), *present)
        self._set(connection, present)

    def end(self, connection: Connection) -> None:
        """Remove a connection from everything, as it is closing. What it was in stays in ``connection.groups``."""
        present = connection.groups
        for target in present:
            self._remove(connection, target)
        self.memberships -= len(present) - is_user(present)

    def _set(self, connection: Connection, targets: tuple[str, ...]) -> None:
        connection.groups = self._sets[targets[0]].alone if len(targets) == 1 else targets

    def _add(self, connection: Connection, target: str) -> str:
        """:returns: the target, as the one object that all members share"""
        members = self._sets.get(target)
        if members is None:
            members = self._sets[target] = Members(target)
            self.users += is_user((target,))
        members[connection] = None
        return members.target

    def _remove(self, connection: Connection, target: str) -> None:
        members = self._sets[target]
        del members[connection]
        if not members:
            del self._sets[target]
            self.users -= is_user((target,))

    # What is asked

    @property
    def counts(self) -> Counts:
        """The counters of all connections."""
        return self._totals.counts

    def count(self, target: str) -> int:
        """:returns: how many members a target has"""
        if target == EVERYONE:
            return self._totals.counts.open
        return len(self._sets.get(target, ()))

    def members(self, target: str) -> list[Connection]:
        """:returns: a snapshot of the members of a target; of everyone, some may not be let in yet"""
        if target == EVERYONE:
            return self._registry.addressed_now()
        return list(self._sets.get(target, ()))

    def still(self, target: str, connections: Sequence[Connection]) -> list[Connection]:
        """:returns: those of some connections that are members of a target now"""
        if target == EVERYONE:
            return [each for each in connections if each.state is State.OPEN and not each.outbox.shut]
        members: Container[Connection] = self._sets.get(target, ())
        return [each for each in connections if each in members]
