"""Long work in parts: who shares a pace does no more in a turn than one alone might."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.turns import take_turn
from wsaas.pushes.pace import PER_TURN, Pace


class PaceTests(SynchronousTestCase):
    """Turns of the reactor."""

    def setUp(self) -> None:
        """Begin."""
        self.clock = Clock()
        self.pace = Pace(self.clock)
        self.done: list[str] = []

    async def work(self, name: str, parts: int, size: int) -> None:
        for _ in range(parts):
            await self.pace.spend(size)
            self.done.append(name)

    def begin(self, name: str, parts: int, size: int = PER_TURN // 4) -> None:
        """Begin to work."""
        Deferred.fromCoroutine(self.work(name, parts, size))

    def test_little(self) -> None:
        """It is done at once, and no timer is left."""
        self.begin("a", 3)
        self.assertEqual(self.done, ["a"] * 3)
        take_turn(self.clock)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_much(self) -> None:
        """In parts."""
        self.begin("a", 10)
        for count in (4, 8, 10):
            self.assertEqual(len(self.done), count)
            take_turn(self.clock)
        take_turn(self.clock)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many(self) -> None:
        """All together no more than one, and each has its turn."""
        for name in "abcdef":
            self.begin(name, 6)
        before = 0
        for _ in range(9):
            self.assertEqual(len(self.done) - before, 4)
            before = len(self.done)
            take_turn(self.clock)
        self.assertEqual(len(self.done), 36)
        # Whoever came last did not wait for all of the others' work.
        self.assertLess(self.done.index("f"), 12)
        take_turn(self.clock)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_long_part(self) -> None:
        """It is done, and those behind it wait for the next turn."""
        self.begin("a", 1, PER_TURN * 10)
        self.begin("b", 1)
        self.assertEqual(self.done, ["a"])
        take_turn(self.clock)
        self.assertEqual(self.done, ["a", "b"])
