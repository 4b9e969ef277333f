"""What is kept for all connections together; and who has to go when there are too many."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from wsaas.limits import Budget, Budgets, Queue, total_for


class BudgetTests(SynchronousTestCase):
    """Bytes of one kind, and of all kinds."""

    def test_exhausted(self) -> None:
        """From the limit on; what is over it is not cut off."""
        budget = Budget(10)
        budget.used += 9
        self.assertFalse(budget.exhausted)
        budget.used += 5
        self.assertTrue(budget.exhausted)
        budget.used -= 5
        self.assertFalse(budget.exhausted)

    def test_overrun(self) -> None:
        """At twice the limit."""
        budget = Budget(10)
        budget.used += 19
        self.assertFalse(budget.overrun)
        budget.used += 1
        self.assertTrue(budget.overrun)

    def test_kinds(self) -> None:
        """None takes from another, and together they are what was given."""
        budgets = Budgets(800)
        kinds = (budgets.outgoing, budgets.incoming, budgets.partial, budgets.bodies)
        self.assertEqual([kind.limit for kind in kinds], [300, 150, 100, 100])

    def test_total(self) -> None:
        """512 MiB, or what 64 connections may keep."""
        self.assertEqual((total_for(1 << 20), total_for(1 << 24)), (1 << 29, 1 << 30))


class QueueTests(SynchronousTestCase):
    """The queue of unfinished work."""

    def setUp(self) -> None:
        """Keep who is given up."""
        self.gone: list[object] = []
        self.queue = Queue(3, self.gone.append)

    def test_the_eldest_goes(self) -> None:
        """However many come."""
        for who in range(5):
            self.queue.enter(who)
        self.assertEqual(self.gone, [0, 1])

    def test_who_has_left_is_not_given_up(self) -> None:
        """Nor counted; leaving twice is nothing."""
        for who in range(3):
            self.queue.enter(who)
        self.queue.leave(0)
        self.queue.leave(0)
        self.queue.enter(3)
        self.assertEqual(self.gone, [])
        self.queue.enter(4)
        self.assertEqual(self.gone, [1])

    def test_evict(self) -> None:
        """On demand, as long as there are entries."""
        self.queue.enter("a")
        self.queue.evict()
        self.queue.evict()
        self.assertEqual(self.gone, ["a"])

    def test_who_goes_leaves(self) -> None:
        """The one that is given up may say once more that it leaves."""

        def gone(who: object) -> None:
            self.gone.append(who)
            queue.leave(who)

        queue = Queue(1, gone)
        for who in range(3):
            queue.enter(who)
        self.assertEqual(self.gone, [0, 1])
