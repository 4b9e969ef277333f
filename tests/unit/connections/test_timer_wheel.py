"""Buckets of time."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import moderately
from wsaas.connections.timer_wheel import TimerWheel


class Thing:
    """Something to look at."""

    bucket: set[Any] | None = None


class WheelTests(SynchronousTestCase):
    """Who is due when."""

    def setUp(self) -> None:
        self.wheel: TimerWheel[Thing] = TimerWheel(0.25)
        self.first, self.second = Thing(), Thing()

    def test_due(self) -> None:
        """Not too early, and late by no more than a bucket."""
        self.wheel.put(self.first, 1000.1)
        self.assertEqual(self.wheel.take(1000.09, 10), [])
        self.assertEqual(self.wheel.take(1000.25, 10), [self.first])
        self.assertEqual(self.wheel.take(2000, 10), [])

    def test_on_the_edge(self) -> None:
        """A time at which a pass takes place is that pass's."""
        self.wheel.put(self.first, 1000.0)
        self.assertEqual(self.wheel.take(1000.0, 10), [self.first])

    def test_the_past(self) -> None:
        """Due in the next pass, and before what came due later."""
        self.wheel.put(self.first, 1000.0)
        self.wheel.put(self.second, -5.0)
        self.assertEqual(self.wheel.take(1000.0, 10), [self.second, self.first])

    def test_put_again(self) -> None:
        """Only the last time counts."""
        self.wheel.put(self.first, 1000.0)
        self.wheel.put(self.first, 1010.0)
        self.assertEqual(len(self.wheel), 1)
        self.assertEqual(self.wheel.take(1009.0, 10), [])
        self.wheel.put(self.first, 1005.0)
        self.assertEqual(self.wheel.take(1009.0, 10), [self.first])

    def test_drop(self) -> None:
        """It is not due any more, however often it is dropped; nothing refers to it."""
        self.wheel.drop(self.first)
        self.wheel.put(self.first, 1000.0)
        self.wheel.drop(self.first)
        self.wheel.drop(self.first)
        self.assertEqual((len(self.wheel), self.wheel.take(2000.0, 10)), (0, []))
        gc.disable()
        self.addCleanup(gc.enable)
        thing = Thing()
        self.wheel.put(thing, 1000.0)
        self.wheel.drop(thing)
        kept = weakref.ref(thing)
        del thing
        self.assertIsNone(kept())

    def test_many(self) -> None:
        """So many in one go; the others are still due."""
        things = [Thing() for _ in range(10)]
        for thing in things:
            self.wheel.put(thing, 1000.0)
        taken = [self.wheel.take(1000.0, 4) for _ in range(4)]
        self.assertEqual([len(some) for some in taken], [4, 4, 2, 0])
        self.assertEqual({thing for some in taken for thing in some}, set(things))

    def test_put_while_taken(self) -> None:
        """What is due again at once waits for the next pass, as the list is made."""
        self.wheel.put(self.first, 1000.0)
        for thing in self.wheel.take(1000.0, 10):
            self.wheel.put(thing, 1000.0)
        self.assertEqual(self.wheel.take(1000.0, 10), [self.first])

    def test_no_bucket_is_left(self) -> None:
        """Neither where things were taken from nor where they were dropped."""
        for at in range(100):
            self.wheel.put(self.first, at)
        self.wheel.drop(self.first)
        self.wheel.take(1000.0, 10)
        self.assertEqual(self.wheel._buckets, {})

    @moderately
    @given(
        st.floats(0.001, 10),
        st.lists(st.tuples(st.integers(0, 3), st.floats(0, 2e9)), max_size=20),
        st.floats(0, 2e9),
    )
    def test_anything(self, width: float, puts: list[tuple[int, float]], now: float) -> None:
        """Each comes once, when it is due: not early, and late by no more than a bucket."""
        wheel: TimerWheel[Thing] = TimerWheel(width)
        things = [Thing() for _ in range(4)]
        last: dict[Thing, float] = {}
        for number, at in puts:
            wheel.put(things[number], at)
            last[things[number]] = at
        slack = 1e-6
        taken = wheel.take(now, 10)
        self.assertEqual(len(taken), len(set(taken)))
        for thing, at in last.items():
            if thing in taken:
                self.assertLessEqual(at, now + slack)
            else:
                self.assertGreater(at, now - width - slack)
        self.assertEqual(len(wheel), len(last) - len(taken))
