"""
The API's ledger: one account for each ``ws_uri``, and what must hold of it (protocol §2.1).

Kept as the calls come, so that millions of them take no memory: an account knows the number of the last message that
arrived for the first time, and what broke a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

MAX_PROBLEMS = 3  #: for each account; one broken rule often breaks the next


@dataclass(slots=True)
class Account:
    """
    What the API knows of one connection.

    :param uri: its ``ws_uri``.
    :param client: its ``Ws-Path``, by which the client knows itself too.
    :param asks: how often the POST came.
    :param granted: whether a POST was answered with OK.
    :param refused: whether a POST was answered in a way that owes no DELETE, and none in another.
    :param seen: messages 1 to this number came, in this order.
    :param settled: how many of them were answered for good.
    :param unsure: the last message whose answer was no use: it came, but may be said to be undelivered. Nothing follows
        it but the rest of a client that has left.
    :param repeats: calls that came again under their ``Ws-Id``.
    :param disconnects: how often the DELETE came.
    :param code: its ``Ws-Close-Code``.
    :param by: its ``Ws-Closed-By``.
    :param undelivered: its ``Ws-Undelivered``.
    :param user: its ``Ws-User``.
    :param groups: its ``Ws-Groups``.
    :param problems: rules that were broken.
    """

    uri: str
    client: str = ""
    asks: int = 0
    granted: bool = False
    refused: bool = False
    seen: int = 0
    settled: int = 0
    unsure: int = 0
    repeats: int = 0
    disconnects: int = 0
    code: int = 0
    by: str = ""
    undelivered: int = 0
    user: str = ""
    groups: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def owed(self) -> bool:
        """Whether a DELETE is still to come."""
        return not self.disconnects and self.asks > 0 and not self.refused

    def blame(self, problem: str) -> None:
        """Note a broken rule."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)

    def as_json(self) -> dict[str, Any]:
        """Everything, for :meth:`from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What :meth:`as_json` made."""
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Counts:
    """
    Sums of a ledger.

    :param calls: calls that came.
    :param granted: connections that were accepted.
    :param messages: messages that came, each counted once.
    :param disconnects: connections whose DELETE came.
    :param owed: connections whose DELETE is to come.
    :param repeats: calls that came again.
    :param connections: TCP connections that were made to the API.
    """

    calls: int
    granted: int
    messages: int
    disconnects: int
    owed: int
    repeats: int
    connections: int = 0


class Ledger:
    """All accounts."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.calls = 0
        self.granted = 0
        self.messages = 0
        self.disconnects = 0
        self.owed = 0
        self.repeats = 0

    def counts(self, connections: int = 0) -> Counts:
        """The sums."""
        return Counts(self.calls, self.granted, self.messages, self.disconnects, self.owed, self.repeats, connections)

    def forget(self) -> None:
        """Begin anew."""
        self.__init__()  # type: ignore[misc]  # the same state as at the start is the point

    def _account(self, uri: str, client: str) -> Account:
        account = self.accounts.get(uri)
        if account is None:
            account = self.accounts[uri] = Account(uri, client)
        self.calls += 1
        return account

    def post(self, uri: str, number: str, client: str) -> Account:
        """A client asks to connect."""
        account = self._account(uri, client)
        if number != "0":
            account.blame(f"a POST with number {number}")
        if account.seen or account.disconnects:
            account.blame("a POST after another call")
        account.asks += 1
        if account.asks == 1:
            self.owed += not account.disconnects
        else:
            self.repeats += 1
            account.repeats += 1
        return account

    def grant(self, account: Account) -> None:
        """The POST is about to be answered with OK."""
        if account.refused:
            account.refused = False
            self.owed += 1
        self.granted += not account.granted
        account.granted = True

    def refuse(self, account: Account) -> None:
        """The POST is about to be answered with a refusal. What an attempt before met does not count (§2.3)."""
        if not account.refused and not account.granted and not account.disconnects:
            account.refused = True
            self.owed -= 1

    def put(self, uri: str, number: str, client: str, body: bytes) -> Account:
        """A message came. It carries its own number: ``17:`` and anything."""
        account = self._account(uri, client)
        if not account.asks:
            account.blame(f"message {number} without a POST")
        if body.partition(b":")[0].decode("latin-1") != number:
            account.blame(f"message {body[:20]!r} under number {number}")
        expected = account.seen + 1
        if number == str(expected):
            if account.disconnects:
                account.blame(f"message {number} after the DELETE")
            account.seen = expected
            self.messages += 1
        elif number.isdigit() and 0 < int(number) < expected:
            self.repeats += 1
            account.repeats += 1
        else:
            account.blame(f"message {number} where {expected} is due")
        return account

    def settle(self, account: Account, number: str) -> None:
        """A PUT is about to get an answer that settles it."""
        account.settled = max(account.settled, int(number))

    def confuse(self, account: Account, number: str) -> None:
        """A PUT is about to get an answer that is no use."""
        account.unsure = int(number)

    def delete(self, uri: str, number: str, client: str, end: Mapping[str, str]) -> Account:
        """
        A connection is over.

        :param end: headers of the call, names in lower case.
        """
        account = self._account(uri, client)
        code, by = int(end.get("ws-close-code", "0")), end.get("ws-closed-by", "")
        undelivered = int(end.get("ws-undelivered", "0"))
        if number != "end":
            account.blame(f"a DELETE with number {number}")
        if account.disconnects:
            account.repeats += 1
            self.repeats += 1
            # A gateway that died between the answer and its note of it says that it crashed, and that is all it knows.
            if by != "crash" and (code, by, undelivered) != (account.code, account.by, account.undelivered):
                account.blame(f"a DELETE with {code} {by} after one with {account.code} {account.by}")
        else:
            self.disconnects += 1
            self.owed -= account.asks > 0 and not account.refused
            account.code, account.by, account.undelivered = code, by, undelivered
            account.user, account.groups = end.get("ws-user", ""), end.get("ws-groups", "")
        account.disconnects += 1
        return account


def broken_rules(accounts: Iterable[Account], *, refusals_known: bool = True) -> list[str]:
    """
    What does not balance, once everything is over.

    :param refusals_known: whether every refusal reached the gateway, so that no DELETE may follow it.
    :returns: one line for each connection.
    """
    lines: list[str] = []
    for account in accounts:
        problems = list(account.problems)
        if account.owed:
            problems.append("no DELETE")
        if account.refused and account.disconnects and refusals_known:
            problems.append("a DELETE although the POST was refused")
        accounted = max(account.settled, account.unsure) + account.undelivered
        if account.by not in ("crash", "") and accounted < account.seen:
            problems.append(
                f"{account.seen} messages came, {account.settled} were settled and {account.undelivered} "
                "said to be undelivered"
            )
        if problems:
            lines.append(f"{account.client} {account.uri.rpartition('/')[2][:6]}…: {'; '.join(problems)}")
    return lines
