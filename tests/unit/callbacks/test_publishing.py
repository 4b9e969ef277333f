"""What answers publish: at once if there is room, else again and again (protocol §2.4)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import MemoryGroups
from tests.gate import TEXT, Gate, frame, handshake_request
from wsaas.callbacks.publishing import AnswerPublisher
from wsaas.connections.messages import SELF, Message, Publication
from wsaas.connections.retry import Backoff, Retries
from wsaas.errors import OverloadedError
from wsaas.groups import home
from wsaas.limits import OVERHEAD, Budget

TAG = "XRCeV4OdVF7LQ7d004BRLy"
MESSAGE = Message(b"hello", False)
PUBLICATION = Publication(("groups/a",), MESSAGE, frozenset({SELF, "A" * 22}))


class PublishingTests(SynchronousTestCase):
    """One publisher between groups and a clock that a test holds in its hands."""

    def setUp(self) -> None:
        """With a minute for each publication."""
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.begin()

    def begin(self, retry_for: float = 60.0) -> None:
        """Begin anew."""
        self.clock = Clock()
        self.groups = MemoryGroups()
        groups: Any = self.groups
        self.budget = Budget(1000)
        retries = Retries(self.clock, lambda: 0.0, Backoff(lambda: 1.0), retry_for)
        self.publisher = AnswerPublisher(groups, retries, self.budget)
        self.waits = 0

    def wait(self) -> None:
        """It has to wait."""
        self.waits += 1

    def publish(self) -> Deferred[None]:
        """Publish something."""
        return self.publisher.publish(PUBLICATION, TAG, self.wait)

    def errors(self) -> list[str]:
        """:returns: what was logged as an error"""
        return [formatEvent(event) for event in self.events if event["log_level"] is LogLevel.error]

    def test_room(self) -> None:
        """It is published once; the sender's tag stands where it was meant."""
        done = self.publish()
        ((publication, _),) = self.groups.published
        self.assertEqual(publication, Publication(("groups/a",), MESSAGE, frozenset({TAG, "A" * 22})))
        self.assertNoResult(done)
        self.groups.finish()
        self.assertIsNone(self.successResultOf(done))
        self.assertEqual((self.waits, self.clock.getDelayedCalls(), self.publisher.dropped), (0, [], 0))

    def test_no_room_for_a_while(self) -> None:
        """It is tried again after pauses, in order; whoever waits is told once."""
        self.groups.fault = OverloadedError()
        done = self.publish()
        self.assertEqual(self.waits, 1)
        for _ in range(3):
            self.clock.advance(10)
        self.assertEqual((self.groups.asked, self.waits), (4, 1))
        self.groups.fault = None
        self.clock.advance(10)
        self.assertNoResult(done)
        self.groups.finish()
        self.successResultOf(done)
        self.assertEqual((self.errors(), self.clock.getDelayedCalls()), ([], []))

    def test_no_room_behind_others(self) -> None:
        """Groups may say so later, too: a home elsewhere does."""
        done = self.publish()
        self.groups.finish(OverloadedError())
        self.assertEqual(self.waits, 1)
        self.clock.advance(1)
        self.groups.finish()
        self.successResultOf(done)

    def test_no_room_for_too_long(self) -> None:
        """As long as a message is tried; then it is dropped, counted, and an error in the log, which names nobody."""
        self.groups.fault = OverloadedError()
        done = self.publish()
        self.clock.pump([1] * 59)
        self.assertNoResult(done)
        self.clock.pump([1] * 2)
        self.successResultOf(done)
        self.assertEqual((self.publisher.dropped, self.clock.getDelayedCalls()), (1, []))
        (line,) = self.errors()
        self.assertIn(TAG, line)
        self.assertNotIn("groups/a", line)

    def test_memory(self) -> None:
        """What waits counts, as messages that wait for the API do; no more of them than these may be is kept."""
        self.groups.fault = OverloadedError()
        waiting = [self.publish() for _ in range(5)]
        self.assertEqual(self.budget.used, 5 * (len(MESSAGE.payload) + OVERHEAD))
        self.groups.fault = None
        self.clock.advance(1)
        self.assertEqual(self.budget.used, 0)
        for each in waiting:
            self.groups.finish()
            self.successResultOf(each)
        self.groups.fault = OverloadedError()
        waiting = [self.publish() for _ in range(30)]
        self.assertLessEqual(self.budget.used, 2 * self.budget.limit + OVERHEAD)
        self.assertGreater(self.publisher.dropped, 5)
        self.assertEqual(sum(each.called for each in waiting), self.publisher.dropped)
        self.clock.pump([1] * 61)
        self.assertEqual((self.budget.used, self.publisher.dropped), (0, 30))
        self.publish()
        self.publisher.stop()
        self.assertEqual(self.budget.used, 0)

    def test_without_a_second_attempt(self) -> None:
        """``API_RETRY_FOR=0``: nobody waits."""
        self.begin(0.0)
        self.groups.fault = OverloadedError()
        self.successResultOf(self.publish())
        self.assertEqual((self.publisher.dropped, self.waits, self.groups.asked), (1, 0, 1))

    def test_a_fault(self) -> None:
        """It is told, and not tried again; the connection goes on."""
        self.groups.fault = RuntimeError("broken")
        self.successResultOf(self.publish())
        self.groups.fault = None
        done = self.publish()
        self.groups.finish(RuntimeError("broken"))
        self.successResultOf(done)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
        self.assertEqual((self.publisher.dropped, self.clock.getDelayedCalls()), (0, []))

    def test_the_end(self) -> None:
        """What waits is dropped at once, and no callback follows; what is under way is left to the groups."""
        under_way = self.publish()
        self.groups.fault = OverloadedError()
        waiting = self.publish()
        self.publisher.stop()
        self.assertNoResult(waiting)
        self.assertNoResult(under_way)
        self.successResultOf(self.publish())
        self.assertEqual((self.publisher.dropped, len(self.errors()), self.clock.getDelayedCalls()), (2, 2, []))


class GateTests(SynchronousTestCase):
    """The whole gateway in memory, with groups of its own."""

    def setUp(self) -> None:
        """Five clients of one group, one of which has its turn at a time."""
        self.patch(home, "SLICE", 1)
        self.gate = Gate(None)
        self.gate.agent.react = lambda call: call.answer(200, b'{"code": "OK"}', ("Ws-Join", "a"))
        self.wires = [self.gate.open_as(handshake_request()) for _ in range(5)]
        self.gate.agent.react = None

    def turn(self) -> list[int]:
        """:returns: who got something in a turn of the reactor"""
        self.gate.clock.advance(0)
        return [number for number, wire in enumerate(self.wires) if wire.take()]

    def test_slices(self) -> None:
        """The sender's reply, its next message and its close come when all members had their turn; others go on."""
        agent = self.gate.agent
        sender, other = self.wires[4], self.wires[0]
        sender.deliver(frame(TEXT, b"1") + frame(TEXT, b"2"))
        agent.last.answer(200, b"hello", ("Ws-Publish", "text groups/a"), ("Ws-Reply", "text"))
        other.deliver(frame(TEXT, b"3"))
        self.assertEqual([call.body for call in agent.calls[5:]], [b"1", b"3"])
        agent.last.answer()
        got = [number for number, wire in enumerate(self.wires) if wire.take()]
        while len(agent.calls) == 7:
            self.assertNotIn(4, got)
            got += self.turn()
        self.assertEqual(sorted(got), [0, 1, 2, 3, 4])
        self.assertEqual(agent.last.body, b"2")
        agent.last.answer()

    def test_gone_meanwhile(self) -> None:
        """The DELETE comes behind it, and publishes behind it."""
        agent = self.gate.agent
        sender = self.wires.pop()
        sender.deliver(frame(TEXT, b"1"))
        agent.last.answer(200, b"first", ("Ws-Publish", "text groups/a"))
        sender.end()
        self.assertEqual(agent.methods[5:], ["PUT"])
        data = [b""] * 4
        for _ in range(30):
            self.gate.clock.advance(0)
            data = [before + wire.take() for before, wire in zip(data, self.wires, strict=True)]
            if agent.last.method == "DELETE" and not agent.last.result.called:
                self.assertEqual(agent.last.header("Ws-Groups"), "a")
                agent.last.answer(200, b"second", ("Ws-Publish", "text groups/a"))
        for each in data:
            self.assertLess(each.index(b"first"), each.index(b"second"))
        self.assertEqual(agent.methods[5:], ["PUT", "DELETE"])
