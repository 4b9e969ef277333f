"""Who is here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from wsaas.connections.connection import Connection
from wsaas.connections.identity import Identity
from wsaas.connections.registry import Registry


def connection(key: str) -> Connection:
    """:returns: what a registry sees of a connection: its identity"""
    return cast(Connection, SimpleNamespace(identity=Identity(key, f"tag-{key}", f"h/{key}")))


class RegistryTests(SynchronousTestCase):
    """From a key to a connection."""

    def setUp(self) -> None:
        self.registry = Registry()
        self.first, self.second = connection("a"), connection("b")

    def test_a_connection_is_found_by_its_key(self) -> None:
        """By nothing else."""
        self.registry.add(self.first)
        self.registry.add(self.second)
        self.assertIs(self.registry.get("a"), self.first)
        self.assertIs(self.registry.get("b"), self.second)
        self.assertIsNone(self.registry.get("tag-a"))
        self.assertIsNone(self.registry.get(""))

    def test_a_closing_connection_is_not_found_but_unfinished(self) -> None:
        """Pushes get 404, and its DELETE is still owed."""
        self.registry.add(self.first)
        self.registry.unlist(self.first)
        self.registry.unlist(self.first)
        self.assertIsNone(self.registry.get("a"))
        self.assertEqual((len(self.registry), list(self.registry)), (1, [self.first]))

    def test_a_finished_connection_is_forgotten(self) -> None:
        """However often it says so."""
        self.registry.add(self.first)
        self.registry.add(self.second)
        self.registry.remove(self.first)
        self.registry.remove(self.first)
        self.assertIsNone(self.registry.get("a"))
        self.assertEqual(list(self.registry), [self.second])

    def test_connections_may_come_and_go_while_someone_goes_through_them(self) -> None:
        """As they do when a check of one ends another."""
        self.registry.add(self.first)
        self.registry.add(self.second)
        seen = []
        for each in self.registry:
            seen.append(each)
            self.registry.remove(each)
            self.registry.add(connection(f"new-{len(seen)}"))
        self.assertEqual(seen, [self.first, self.second])
        self.assertEqual(len(self.registry), 2)

    def test_an_empty_one_is_empty_at_once(self) -> None:
        """Nothing has to happen first."""
        self.assertEqual(len(self.registry), 0)
        self.successResultOf(self.registry.when_empty())

    def test_everyone_who_waits_is_told_once_the_last_is_finished(self) -> None:
        """Not when it is only no longer found."""
        self.registry.add(self.first)
        self.registry.add(self.second)
        waiting = [self.registry.when_empty(), self.registry.when_empty()]
        self.registry.remove(self.first)
        self.registry.unlist(self.second)
        for deferred in waiting:
            self.assertNoResult(deferred)
        self.registry.remove(self.second)
        for deferred in waiting:
            self.successResultOf(deferred)

    def test_it_can_become_empty_more_than_once(self) -> None:
        """Each wait is told of its own end."""
        for _ in range(2):
            self.registry.add(self.first)
            waiting = self.registry.when_empty()
            self.assertNoResult(waiting)
            self.registry.remove(self.first)
            self.successResultOf(waiting)

    def test_who_stops_waiting_is_not_told(self) -> None:
        """And does not disturb the others."""
        self.registry.add(self.first)
        gone, stays = self.registry.when_empty(), self.registry.when_empty()
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.registry.remove(self.first)
        self.successResultOf(stays)
        gone.cancel()

    def test_goodbyes_outlive_their_connections(self) -> None:
        """They are counted, and waited for, though nobody is there any more."""
        self.registry.add(self.first)
        self.registry.owe()
        self.registry.remove(self.first)
        self.assertEqual((len(self.registry), self.registry.unsettled), (0, 1))
        empty = self.registry.when_empty()
        self.registry.owe()
        self.registry.settle()
        self.assertNoResult(empty)
        self.registry.settle()
        self.successResultOf(empty)
        self.assertEqual(self.registry.unsettled, 0)
