"""Pages of a target's members, in the order of their tags (protocol §6.3).

There is no snapshot between two requests: a page is what follows a tag. So whoever stays is told exactly once, whoever
comes or goes meanwhile.
"""

from __future__ import annotations

import re
from heapq import nsmallest
from operator import attrgetter
from typing import TYPE_CHECKING

from wsaas.groups.tasks import Task

if TYPE_CHECKING:
    from wsaas.connections.connection import Connection
    from wsaas.groups.membership import Membership

#: How many members a page may have.
MAX_PAGE = 1000

_CURSOR = re.compile("[A-Za-z0-9_-]{22}")
_tag = attrgetter("identity.tag")


def check_cursor(text: str) -> str:
    """Check a cursor as a client gives it back.

    :raises ValueError: if it is none
    """
    if not _CURSOR.fullmatch(text):
        raise ValueError("the cursor is not one that was given out")
    return text


class Page:
    """Some members of a target.

    :param members: in the order of their tags
    :param following: the cursor of the next page; :data:`None` if this is the last one
    """

    __slots__ = ("following", "members")

    def __init__(self, members: list[Connection], following: str | None) -> None:
        self.members = members
        self.following = following


class Listing(Task[Page]):
    """Finds the members of one page, without keeping more than a page of them at a time.

    :param target: whose members
    :param after: the cursor; empty for the first page
    :param limit: how many
    """

    def __init__(self, membership: Membership, target: str, after: str, limit: int) -> None:
        super().__init__(membership, (target,), Page([], None))
        self._target = target
        self._after = after
        self._limit = limit
        #: Those with the smallest tags so far, one more than fits on the page.
        self._best: list[Connection] = []

    def act(self, members: list[Connection]) -> None:
        """Look at some members."""
        best, after = self._best, self._after
        last = best[-1].identity.tag if len(best) > self._limit else ""
        found = [each for each in members if each.identity.tag > after and (not last or each.identity.tag < last)]
        if found:
            self._best = nsmallest(self._limit + 1, best + found, key=_tag)

    def finish(self) -> None:
        """Tell who waits. Some may have left since they were looked at."""
        best, limit = self._best, self._limit
        self.result.following = best[limit - 1].identity.tag if len(best) > limit else None
        self.result.members = self._membership.still(self._target, best[:limit])
        super().finish()
