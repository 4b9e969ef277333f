"""Pages of members: whoever stays is told exactly once (protocol §6.3)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.properties import moderately
from tests.unit.groups.case import Client, GroupsCase
from wsaas.connections.messages import Close, ClosedBy
from wsaas.errors import OverloadedError
from wsaas.groups.listing import Page, check_cursor
from wsaas.groups.names import EVERYONE, group


class ListingTests(GroupsCase):
    """One page after the other."""

    def page(self, after: str = "", limit: int = 100, target: str = group("a")) -> Page:
        """:returns: a page, after as many turns as it takes"""
        listing = self.home.list_members(target, after, limit)
        self.turn(100)
        return self.successResultOf(listing)

    def test_pages(self) -> None:
        """In the order of tags; the last one has no cursor."""
        clients = self.clients(7, "a")
        tags, after = [], ""
        for size in (3, 3, 1):
            page = self.page(after, 3)
            self.assertEqual(len(page.members), size)
            tags += [member.identity.tag for member in page.members]
            after = check_cursor(page.following) if page.following else ""
        self.assertEqual((tags, after), (sorted(client.tag for client in clients), ""))

    def test_exactly_full(self) -> None:
        """There is no empty page behind it."""
        self.clients(3, "a")
        self.assertIsNone(self.page(limit=3).following)
        self.assertEqual(self.page(target=group("b")).members, [])

    def test_everyone(self) -> None:
        """Whom the API let in."""
        client = self.client()
        self.waiting_client()
        self.assertEqual(self.page(target=EVERYONE).members, [client.connection])

    def test_in_slices(self) -> None:
        """And not behind a publication that waits."""
        clients = self.clients(4500, "a")
        self.totals.budgets.outgoing.limit = 0
        listing = self.home.list_members(group("a"), "", 10)
        self.assertNoResult(listing)
        leaves = min(clients, key=lambda client: client.tag)
        self.turn()
        leaves.connection.close(Close(1000), ClosedBy.API)
        self.turn(3)
        found = [member.identity.tag for member in self.successResultOf(listing).members]
        self.assertEqual(found, sorted(client.tag for client in clients)[1:10])

    def test_too_many(self) -> None:
        """At a time."""
        self.clients(3, "a")
        self.home.listings._slice = 1
        for _ in range(64):
            self.home.list_members(group("a"), "", 10)
        self.assertRaises(OverloadedError, self.home.list_members, group("a"), "", 10)

    def test_cursors(self) -> None:
        """What was not given out is none."""
        for text in ("", "x", "x" * 21, "x" * 23, "x" * 21 + "!", "é" * 22):
            self.assertRaises(ValueError, check_cursor, text)

    @moderately
    @given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 4), st.data())
    def test_who_stays_is_told_once(self, stays: list[bool], limit: int, data: st.DataObject) -> None:
        """Whoever else comes and goes between two pages."""
        self.setUp()
        clients = self.clients(len(stays), "a")
        others: list[Client] = [client for client, each in zip(clients, stays, strict=True) if not each]
        told: list[str] = []
        after: str | None = ""
        while after is not None:
            page = self.page(after, limit)
            told += [member.identity.tag for member in page.members]
            after = page.following
            goes, comes = data.draw(st.booleans()), data.draw(st.booleans())
            if others and goes:
                others.pop().connection.lost()
            if self.made < 30 and comes:
                self.client("a")
        self.assertEqual(told, sorted(set(told)))
        for client, each in zip(clients, stays, strict=True):
            self.assertTrue(not each or client.tag in told)
