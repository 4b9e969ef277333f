"""Publications, in one order for all (protocol §6.6): what is bounded about them, and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from wsaas.connections.messages import Publication, Reached
from wsaas.errors import OverloadedError
from wsaas.groups.repeats import Repeats
from wsaas.groups.tasks import Publish

if TYPE_CHECKING:
    from wsaas.groups.membership import Membership
    from wsaas.groups.turns import Turns
    from wsaas.limits import Budget

#: How many members have their turn before the reactor does other things.
SLICE = 200
#: How many publications may wait, and bytes of them.
MAX_WAITING, MAX_BYTES = 1024, 1 << 26


class Publishing:
    """Publishes to members, each publication after those before it.

    :param membership: knows the members
    :param turns: works off what concerns many
    :param outgoing: the budget of all that waits for clients: while it is exhausted, no publication begins
    :param repeats: remembers publications with an ``Idempotency-Key``
    """

    def __init__(self, membership: Membership, turns: Turns, outgoing: Budget, repeats: Repeats) -> None:
        self._membership = membership
        self._turns = turns
        self._outgoing = outgoing
        self._repeats = repeats
        #: Publications that are done, and how many members they reached.
        self.done = 0
        self.reached = Reached()
        #: Publications that were refused, as there was no room.
        self.refused = 0

    def publish(self, publication: Publication) -> Deferred[Reached]:
        """Send one message to all members of its targets, behind the publications before it.

        :returns: fires once that is done; at once, if nothing waits and there are few members
        :raises OverloadedError: if there is no room for it: then nothing is sent
        """
        try:
            if publication.key is None:
                return self._begin(publication)
            return self._repeats.once(publication.key, lambda: self._begin(publication))
        except OverloadedError:
            self.refused += 1
            raise

    def _begin(self, publication: Publication) -> Deferred[Reached]:
        turns = self._turns
        task = Publish(self._membership, publication)
        if self._outgoing.exhausted or (turns.bytes and turns.bytes + task.size > MAX_BYTES):
            raise OverloadedError
        return turns.submit(task).addCallback(self._count)

    def _count(self, reached: Reached) -> Reached:
        self.done += 1
        self.reached.add(reached)
        return reached
