"""What an answer asks of groups, in its order, and what it means that it cannot be had (protocol §2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from wsaas.connections.messages import Wishes
from wsaas.connections.wishes import regroup
from wsaas.errors import NoRoom, OverloadedError, TooManyGroupsError, Unusable


class RecordingGroups:
    """Groups that keep what is asked of them.

    :param fault: raised by each join
    """

    def __init__(self, fault: Exception | None = None) -> None:
        self.told: list[tuple[object, ...]] = []
        self._fault = fault

    def set_user(self, _: object, name: str | None) -> None:
        """Record the call."""
        self.told.append(("user", name))

    def leave(self, _: object, names: Sequence[str] | None = None) -> int:
        """Record the call."""
        self.told.append(("leave", names))
        return 0

    def join(self, _: object, names: Sequence[str]) -> int:
        """Record the call."""
        self.told.append(("join", names))
        if self._fault is not None:
            raise self._fault
        return 0


class RegroupTests(SynchronousTestCase):
    """One answer after another."""

    def told(self, wishes: Wishes) -> list[tuple[object, ...]]:
        """:returns: what groups are told"""
        groups: Any = RecordingGroups()
        connection: Any = None
        regroup(groups, connection, wishes)
        told: list[tuple[object, ...]] = groups.told
        return told

    def test_order(self) -> None:
        """The user, what is left, what is joined; nothing that was not asked for."""
        self.assertEqual(self.told(Wishes()), [])
        self.assertEqual(self.told(Wishes("")), [("user", None)])
        self.assertEqual(self.told(Wishes(leaves_all=True)), [("leave", None)])
        expected = [("user", "u"), ("leave", ("a",)), ("join", ("b", "c"))]
        self.assertEqual(self.told(Wishes("u", False, ("a",), ("b", "c"))), expected)

    def test_faults(self) -> None:
        """Too many groups is the API's fault, too many memberships is not."""
        for fault, kind in ((TooManyGroupsError(), Unusable), (OverloadedError(), NoRoom)):
            groups: Any = RecordingGroups(fault)
            connection: Any = None
            self.assertRaises(kind, regroup, groups, connection, Wishes("u", join=("a",)))
            self.assertEqual(groups.told, [("user", "u"), ("join", ("a",))])
