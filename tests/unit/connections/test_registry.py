"""Finding connections by key."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

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
        """Pushes get 404, and its DELETE is still pending."""
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
