"""``Idempotency-Key`` of publishes (protocol §6.4)."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.unit.groups.case import GroupsCase
from wsaas.connections.messages import Reached
from wsaas.errors import OverloadedError
from wsaas.groups import repeats
from wsaas.groups.repeats import SECONDS, Repeats, whole_key


class RepeatsTests(SynchronousTestCase):
    """What is remembered, and for how long."""

    def setUp(self) -> None:
        """Nothing is remembered."""
        self.clock = Clock()
        self.repeats = Repeats(self.clock)
        self.begun: list[Deferred[Reached]] = []

    def publish(self) -> Deferred[Reached]:
        """Begin to publish."""
        self.begun.append(Deferred())
        return self.begun[-1]

    def test_the_same_answer(self) -> None:
        """While the first is under way, and afterwards; cancelling one waits for nobody else."""
        first, second, third = (self.repeats.once(b"k", self.publish) for _ in range(3))
        third.cancel()
        self.failureResultOf(third)
        self.begun[0].callback(Reached(sent=3))
        self.assertEqual(len(self.begun), 1)
        for each in (first, second, self.repeats.once(b"k", self.publish)):
            self.assertEqual(self.successResultOf(each), Reached(sent=3))

    def test_for_a_time(self) -> None:
        """Then it is another one; what is still under way is never forgotten."""
        self.repeats.once(b"k", self.publish)
        self.clock.advance(SECONDS + 1)
        self.repeats.once(b"k", self.publish)
        self.assertEqual(len(self.begun), 1)
        self.begun[0].callback(Reached())
        self.repeats.once(b"k", self.publish)
        self.assertEqual(len(self.begun), 2)
        self.assertEqual(len(self.repeats), 1)

    def test_one_that_failed(self) -> None:
        """May be tried again under its key."""
        first, second = self.repeats.once(b"k", self.publish), self.repeats.once(b"k", self.publish)
        self.begun[0].errback(ValueError("fault"))
        for each in (first, second):
            self.failureResultOf(each, ValueError)
        self.repeats.once(b"k", self.publish)
        self.assertEqual(len(self.begun), 2)

    def test_one_without_room(self) -> None:
        """Was not begun."""

        def no_room() -> Deferred[Reached]:
            raise OverloadedError

        self.assertRaises(OverloadedError, self.repeats.once, b"k", no_room)
        self.assertEqual(len(self.repeats), 0)

    def test_bound(self) -> None:
        """While all are young, there is no room for another; known ones are answered."""
        self.patch(repeats, "MOST", 3)
        for key in (b"a", b"b", b"c"):
            self.repeats.once(key, lambda: succeed(Reached(sent=1)))
            self.clock.advance(1)
        self.assertRaises(OverloadedError, self.repeats.once, b"d", self.publish)
        self.assertEqual(self.successResultOf(self.repeats.once(b"a", self.publish)).sent, 1)
        self.clock.advance(SECONDS - 3)
        self.repeats.once(b"d", self.publish)
        self.assertEqual((len(self.repeats), len(self.begun)), (3, 1))

    def test_whole_key(self) -> None:
        """By key, targets as written, and line."""
        keys = {
            whole_key(key, targets, line) for key in (b"a", b"b") for targets in ("groups/a", "all") for line in (0, 1)
        }
        self.assertEqual(len(keys), 8)
        self.assertEqual({len(key) for key in keys}, {32})
        self.assertNotEqual(whole_key(b"a", "b c"), whole_key(b"ab", "c"))


class PublishingTests(GroupsCase):
    """At the home."""

    def test_sent_once(self) -> None:
        """With the counts of the first time, whoever has come since."""
        client = self.client("a")
        key = whole_key(b"k", "groups/a")
        for content in ("one", "two"):
            self.assertEqual(self.successResultOf(self.publish(content, "a", key=key)), Reached(sent=1))
            self.client("a")
        self.assertEqual(client.got, ["one"])
        self.assertEqual(self.home.publishing.done, 1)
