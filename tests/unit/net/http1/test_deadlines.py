"""Deadlines of many, with one timer."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from wsaas.net.http1.deadlines import Deadlines


class DeadlinesTests(SynchronousTestCase):
    """Who is late, and who is evicted."""

    def setUp(self) -> None:
        """Give everyone ten seconds, and have room for three."""
        self.clock = Clock()
        self.late: list[object] = []
        self.evicted: list[object] = []
        self.deadlines = Deadlines(self.clock, 10, self.late.append, 3, self.evicted.append)

    @property
    def timers(self) -> int:
        """How many there are."""
        return len(self.clock.getDelayedCalls())

    def test_each_at_its_own_time(self) -> None:
        """However many there are, one timer runs, and none when nobody is left."""
        self.deadlines.enter("a")
        self.clock.advance(4)
        self.deadlines.enter("b")
        self.deadlines.enter("c")
        self.assertEqual((len(self.deadlines), self.timers), (3, 1))
        self.clock.advance(5.5)
        self.assertEqual(self.late, [])
        self.clock.advance(0.5)
        self.assertEqual((self.late, self.timers), (["a"], 1))
        self.clock.advance(3.5)
        self.assertEqual(self.late, ["a"])
        self.clock.advance(0.5)
        self.assertEqual((self.late, len(self.deadlines), self.timers), (["a", "b", "c"], 0, 0))

    def test_who_leaves_is_not_late(self) -> None:
        """And may leave twice."""
        self.deadlines.enter("a")
        self.clock.advance(4)
        self.deadlines.enter("b")
        for _ in range(2):
            self.deadlines.leave("a")
        self.clock.advance(6)
        self.assertEqual((self.late, self.timers), ([], 1))
        self.deadlines.leave("b")
        self.assertEqual(self.timers, 0)

    def test_the_eldest_is_evicted(self) -> None:
        """It has left then."""
        for who in "abcd":
            self.deadlines.enter(who)
        self.assertEqual((self.evicted, len(self.deadlines)), (["a"], 3))
        self.clock.advance(10)
        self.assertEqual(self.late, ["b", "c", "d"])

    def test_without_a_bound(self) -> None:
        """There may be any number."""
        deadlines = Deadlines(self.clock, 10, self.late.append)
        for who in range(100):
            deadlines.enter(who)
        self.assertEqual(len(deadlines), 100)

    def test_renew(self) -> None:
        """The time begins again; the place is given up after a second only."""
        for who in "abc":
            self.deadlines.enter(who)
        self.clock.advance(0.5)
        self.deadlines.renew("a")
        self.deadlines.enter("d")
        self.assertEqual(self.evicted, ["a"])
        self.clock.advance(1)
        self.deadlines.renew("b")
        self.deadlines.enter("e")
        self.assertEqual(self.evicted, ["a", "c"])
        self.clock.advance(9)
        self.assertEqual(self.late, ["d"])
        self.clock.advance(1)
        self.assertEqual(self.late, ["d", "b", "e"])

    def test_one_that_ends_another(self) -> None:
        """It is not late any more."""

        def late(who: object) -> None:
            self.late.append(who)
            deadlines.leave("b")

        deadlines = Deadlines(self.clock, 10, late)
        deadlines.enter("a")
        deadlines.enter("b")
        self.clock.advance(10)
        self.assertEqual((self.late, self.timers), (["a"], 0))
