"""The API's ledger against what the clients know: whether the promises held."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from bench.faults.clients import LOST
from bench.faults.ledger import Account, broken_rules

GIVEN_UP = (1013, 1011)  #: codes that say: the API could not be reached long enough, or its answer was no use


class Witness(Protocol):
    """A client that remembers: :class:`~bench.faults.clients.Client`, or one of a test."""

    @property
    def path(self) -> str:
        """By which the ledger knows it."""

    @property
    def sent(self) -> int:
        """How many numbered messages it sent."""

    @property
    def code(self) -> int | None:
        """The close code with which it ended."""

    @property
    def closed_by_us(self) -> bool:
        """Whether it was the first to close."""


def compare(
    accounts: Sequence[Account], clients: Iterable[Witness], *, refusals_known: bool = True, may_end: Sequence[int] = ()
) -> list[str]:
    """
    See what does not balance once every client is gone.

    A client that ended its connection itself, in order, has all of its messages at the API. One that the gateway
    closed got a code that says so, and what is at the API is where its messages begin, without a gap.

    :param clients: all that got their 101, each with a path of its own.
    :param refusals_known: as in :func:`~bench.faults.ledger.broken_rules`.
    :param may_end: codes with which the gateway may have ended connections.
    """
    problems = broken_rules(accounts, refusals_known=refusals_known)
    by_client: dict[str, list[Account]] = {}
    for account in accounts:
        by_client.setdefault(account.client, []).append(account)
    for client in clients:
        found = by_client.get(client.path, [])
        if len(found) != 1 or not found[0].granted:
            problems.append(f"{client.path}: {len(found)} accounts for an accepted client")
            continue
        problems += [f"{client.path}: {problem}" for problem in _compare(found[0], client, may_end)]
    return problems


def _compare(account: Account, client: Witness, may_end: Sequence[int]) -> list[str]:
    accounted = max(account.seen, account.settled + account.undelivered)
    if accounted > client.sent:
        return [f"sent {client.sent}, but {account.seen} came and {account.undelivered} are undelivered"]
    if client.closed_by_us:
        # One that was gone without a Close frame cannot know what arrived; and the gateway may have been first. When
        # the API cannot be reached for longer than API_RETRY_FOR, the DELETE says how many did not come.
        if account.by == "client" and account.code != LOST and accounted < client.sent:
            return [
                f"closed by itself, sent {client.sent}, but {account.seen} came, {account.undelivered} are undelivered"
            ]
        return []
    if client.code not in may_end:
        return [f"ended with {client.code} by {account.by!r}, not with one of {list(may_end)}"]
    if client.code not in (account.code, LOST):
        return [f"ended with {client.code}, but the API was told {account.code}"]
    return []
