"""What is worked off for the members of targets: publishing, closing, joining, leaving. Each goes on in slices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wsaas.connections.messages import ClosedBy, Publication, Reached, SharedMessage
from wsaas.connections.outbox import FULL, HELD, SENT
from wsaas.errors import OverloadedError, TooManyGroupsError
from wsaas.groups.orders import CloseAll, JoinAll, LeaveAll, Moved
from wsaas.groups.sweep import Sweep
from wsaas.limits import OVERHEAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wsaas.connections.connection import Connection
    from wsaas.groups.membership import Membership

R = TypeVar("R")

#: Beyond so many bytes a member counts as several: the kernel copies them, and TLS encrypts them.
_WEIGHT = 20_000


class Task(ABC, Generic[R]):
    """One thing that is done to all members of some targets.

    :param membership: knows them
    :param targets: one or more
    :param result: what became of it, filled in on the way
    """

    #: Bytes that are kept for it.
    size = 0
    #: As how many members each counts in a slice.
    weight = 1

    def __init__(self, membership: Membership, targets: Sequence[str], result: R) -> None:
        self._membership = membership
        self._sweep = Sweep(membership, targets)
        self.result = result
        #: Fires with the result.
        self.done: Deferred[R] = Deferred()

    @property
    def is_done(self) -> bool:
        """Whether nobody is left."""
        return self._sweep.done

    def step(self, most: int) -> int:
        """Do it to the next members.

        :param most: to how many
        :returns: how many were looked at
        """
        before = self._sweep.visited
        self.act(self._sweep.take(most))
        return self._sweep.visited - before

    @abstractmethod
    def act(self, members: list[Connection]) -> None:
        """Do it to some members."""

    def finish(self) -> None:
        """Tell who waits."""
        self.done.callback(self.result)


class Publish(Task[Reached]):
    """Sends one message to every member."""

    def __init__(self, membership: Membership, publication: Publication) -> None:
        super().__init__(membership, publication.targets, Reached())
        self._message = SharedMessage(publication.message)
        self._aside = publication.aside
        #: Of both kinds.
        self._left_out = publication.left_out | publication.aside
        self._skips_slow = publication.skips_slow
        self.size = self._message.size + OVERHEAD
        self.weight = 1 + self._message.size // _WEIGHT

    def act(self, members: list[Connection]) -> None:
        """Send to some members."""
        message, left_out = self._message, self._left_out
        tally = [0, 0, 0, 0]
        for member in members:
            if left_out and member.identity.tag in left_out:
                self.result.left_out += not (member.outbox.shut or member.identity.tag in self._aside)
                continue
            try:
                fate = member.outbox.publish(message)
            except Exception:  # noqa: BLE001 - a fault in one connection must not keep the message from the others
                self.result.closed += 1
                member.faulted(Failure())
                continue
            tally[fate] += 1
            if fate == FULL and not self._skips_slow:
                member.fall_behind()
        result, counts = self.result, self._membership.counts
        counts.messages_out += tally[SENT]
        counts.bytes_out += tally[SENT] * message.size
        result.sent += tally[SENT]
        result.held += tally[HELD]
        if self._skips_slow:
            result.skipped += tally[FULL]
        else:
            result.closed += tally[FULL]


class Closing(Task[Reached]):
    """Closes every member."""

    def __init__(self, membership: Membership, order: CloseAll) -> None:
        super().__init__(membership, (order.target,), Reached())
        self._order = order

    def act(self, members: list[Connection]) -> None:
        """Close some members."""
        for member in members:
            if member.identity.tag in self._order.left_out:
                self.result.left_out += not member.outbox.shut
            else:
                self.result.closed += member.close(self._order.close, ClosedBy.API)


class Leaving(Task[Moved]):
    """Has every member leave a group."""

    def __init__(self, membership: Membership, order: LeaveAll) -> None:
        super().__init__(membership, (order.target,), Moved())
        self._names = (order.group,)

    def act(self, members: list[Connection]) -> None:
        """Some members leave."""
        for member in members:
            self.result.left += self._membership.leave(member, self._names)


class Joining(Task[Moved]):
    """Has every member of a user join a group."""

    def __init__(self, membership: Membership, order: JoinAll) -> None:
        super().__init__(membership, (order.target,), Moved())
        self._names = (order.group,)
        self._error: OverloadedError | None = None

    def act(self, members: list[Connection]) -> None:
        """Some members join."""
        for member in members:
            try:
                self.result.joined += self._membership.join(member, self._names)
            except TooManyGroupsError:
                self.result.full += 1
            except OverloadedError as error:
                self._error = error

    def finish(self) -> None:
        """Tell who waits; :class:`OverloadedError`, if not all could join."""
        if self._error is None:
            super().finish()
        else:
            self.done.errback(self._error)
