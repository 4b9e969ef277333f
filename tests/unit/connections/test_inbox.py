"""The way of one client's messages to the API (protocol §2.1)."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import PendingCalls
from wsaas.connections.inbox import MAX_WAITING, Inbox
from wsaas.connections.messages import Delivered, Message, Outcome, Rejected, Remembered
from wsaas.connections.retry import Backoff, Retries
from wsaas.errors import (
    CallbackFailed,
    GatewayFault,
    NoAnswer,
    NotSent,
    TimedOut,
    Unauthorized,
    Unsuccessful,
    Unusable,
)
from wsaas.limits import Budget

ROOM = 100


def sized(size: int) -> Message:
    """:returns: a message of so many bytes"""
    return Message(b"x" * size, True)


class RecordingSender:
    """A :class:`~wsaas.connections.inbox.Sender` that keeps what it is told."""

    def __init__(self) -> None:
        self.remembered: Remembered | None = None
        self.is_blocked = False
        self.outcomes: list[tuple[int, object]] = []
        self.retried: list[tuple[int, CallbackFailed]] = []
        self.idles = 0
        self.overwhelmings = 0
        self.faults: list[object] = []
        #: Raised by the next call of :meth:`answered` or :meth:`unanswered`.
        self.fault: Exception | None = None
        #: Called with each answer, to let the next callback wait.
        self.held_by: Callable[[], None] | None = None

    def answered(self, number: int, outcome: Outcome) -> None:
        """Keep the answer."""
        self._keep(number, outcome)
        if self.held_by is not None:
            self.held_by()

    def unanswered(self, number: int, failure: Failure) -> None:
        """Keep why there is none."""
        self._keep(number, failure.value)

    def retrying(self, number: int, error: CallbackFailed) -> None:
        """Keep why."""
        self.retried.append((number, error))

    def _keep(self, number: int, result: object) -> None:
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault
        self.outcomes.append((number, result))

    def overwhelmed(self) -> None:
        """Count."""
        self.overwhelmings += 1

    def idle(self) -> None:
        """Count."""
        self.idles += 1

    def faulted(self, failure: Failure) -> None:
        """Keep the fault."""
        self.faults.append(failure.value)


class DeliveryTests(SynchronousTestCase):
    """A queue in front of the API."""

    def setUp(self) -> None:
        self.sender = RecordingSender()
        self.calls = PendingCalls()
        self.budget = Budget(1 << 20)
        self.inbox = Inbox(self.sender, self.calls, ROOM, self.budget)

    def add(self, *sizes: int) -> None:
        """Add messages of so many bytes."""
        for size in sizes:
            self.inbox.add(sized(size))

    def test_one_at_a_time_in_order(self) -> None:
        """Numbered from 1; each begins when the one before has its answer, of whatever kind."""
        self.add(1, 2, 3)
        self.assertEqual(self.calls.begun, ["PUT 1"])
        error = NoAnswer("cut")
        for answer in (Rejected(404), error, Delivered()):
            self.calls.answer(answer)
        self.assertEqual(self.calls.begun, ["PUT 1", "PUT 2", "PUT 3"])
        self.assertEqual(self.calls.overlaps, 0)
        self.assertEqual(self.calls.messages, [sized(1), sized(2), sized(3)])
        self.assertEqual(self.sender.outcomes, [(1, Rejected(404)), (2, error), (3, Delivered())])

    def test_little_does_not_count_for_all(self) -> None:
        """Plain traffic costs no counting."""
        self.add(1000, 1000, 2096)
        self.assertEqual(self.budget.used, 0)

    def test_much_counts_for_all(self) -> None:
        """What waits and what is on its way, until it is answered or dropped."""
        self.inbox = Inbox(self.sender, self.calls, 1 << 20, self.budget)
        self.add(5000, 1000, 8000)
        self.assertEqual(self.budget.used, 14000)
        self.calls.answer(Delivered())
        self.assertEqual(self.budget.used, 9000)
        self.inbox.drop()
        self.assertEqual(self.budget.used, 0)
        self.add(7000)
        self.assertEqual(self.budget.used, 8000)
        self.calls.answer(Delivered())
        self.assertEqual(self.budget.used, 7000)
        self.calls.answer(Delivered())
        self.assertEqual(self.budget.used, 0)

    def test_twice_too_much_in_all(self) -> None:
        """Then a client that still adds to it has to go; one with little has not."""
        self.budget.limit = 10000
        self.budget.used += 14000
        self.inbox = Inbox(self.sender, self.calls, 1 << 20, self.budget)
        self.add(5000, 500)
        self.assertEqual(self.sender.overwhelmings, 0)
        self.add(500)
        self.assertEqual(self.sender.overwhelmings, 1)
        self.inbox = Inbox(self.sender, PendingCalls(), 1 << 20, self.budget)
        self.add(4000)
        self.assertEqual(self.sender.overwhelmings, 1)

    def test_too_much_in_all(self) -> None:
        """Then a client with much is read on only when it has little."""
        self.budget.limit = 10000
        self.inbox = Inbox(self.sender, self.calls, 1 << 20, self.budget)
        self.add(5000)
        self.assertFalse(self.inbox.is_full)
        self.add(5000)
        self.assertTrue(self.inbox.is_full)
        self.assertFalse(self.inbox.is_roomy)
        self.calls.answer(Delivered())
        self.assertTrue(self.inbox.is_roomy)
        self.budget.used += 20000
        self.assertFalse(self.inbox.is_roomy)
        self.calls.answer(Delivered())
        self.assertTrue(self.inbox.is_roomy)
        self.assertFalse(self.inbox.is_full)

    def test_a_put_carries_the_state_of_the_moment_it_begins(self) -> None:
        """Not of that in which its message came."""
        self.sender.remembered = Remembered("one")
        self.add(1, 1)
        self.sender.remembered = Remembered("two")
        self.calls.answer(Delivered())
        self.assertEqual(self.calls.states, ["one", "two"])

    def test_a_blocked_sender_s_messages_wait(self) -> None:
        """Until it says that they may go on."""
        self.sender.is_blocked = True
        self.add(1)
        self.inbox.proceed()
        self.assertEqual((self.calls.begun, self.sender.idles), ([], 0))
        self.sender.is_blocked = False
        self.inbox.proceed()
        self.assertEqual(self.calls.begun, ["PUT 1"])

    def test_idle_is_told_when_nothing_waits_and_nothing_is_on_its_way(self) -> None:
        """And whenever it is checked."""
        self.assertTrue(self.inbox.is_idle)
        self.add(1, 1)
        self.calls.answer(Delivered())
        self.assertFalse(self.inbox.is_idle)
        self.assertEqual(self.sender.idles, 0)
        self.calls.answer(Delivered())
        self.assertTrue(self.inbox.is_idle)
        self.assertEqual(self.sender.idles, 1)
        self.inbox.proceed()
        self.assertEqual(self.sender.idles, 2)

    def test_what_is_dropped_is_counted(self) -> None:
        """The message on its way is not among it, and the next has the next number."""
        self.add(1, 2, 3)
        self.inbox.drop()
        self.inbox.drop()
        self.assertEqual(self.inbox.undelivered, 2)
        self.calls.answer(Delivered())
        self.assertTrue(self.inbox.is_idle)
        self.add(4)
        self.assertEqual(self.calls.begun, ["PUT 1", "PUT 2"])
        self.assertEqual(self.calls.messages[-1], sized(4))

    def test_bytes_are_bounded(self) -> None:
        """The message on its way included; full is a byte above the room, roomy is half of it."""
        self.add(50, 50)
        self.assertFalse(self.inbox.is_full)
        self.assertFalse(self.inbox.is_roomy)
        self.add(1)
        self.assertTrue(self.inbox.is_full)
        self.calls.answer(Delivered())
        self.assertFalse(self.inbox.is_full)
        self.assertFalse(self.inbox.is_roomy)
        self.inbox.drop()
        self.assertTrue(self.inbox.is_roomy)
        self.calls.answer(NoAnswer("cut"))
        self.add(100)
        self.assertFalse(self.inbox.is_full)

    def test_numbers_are_bounded(self) -> None:
        """Empty messages cost memory too."""
        self.add(*[0] * MAX_WAITING)
        self.assertFalse(self.inbox.is_full)
        self.add(0)
        self.assertTrue(self.inbox.is_full)
        for _ in range(MAX_WAITING // 2):
            self.assertFalse(self.inbox.is_roomy)
            self.calls.answer(Delivered())
        self.assertTrue(self.inbox.is_roomy)

    def test_answers_that_come_at_once_do_not_nest(self) -> None:
        """However many messages wait."""
        count = sys.getrecursionlimit() * 2
        self.sender.is_blocked = True
        self.add(*[0] * count)
        self.sender.is_blocked = False
        self.calls.at_once.extend([Delivered()] * count)
        self.inbox.proceed()
        self.assertEqual(len(self.sender.outcomes), count)
        self.assertEqual(self.calls.overlaps, 0)
        self.assertEqual(self.sender.idles, 1)

    def test_a_fault_of_the_sender_does_not_stop_the_queue(self) -> None:
        """It is told of it, and decides."""
        for answer in (Delivered(), NoAnswer("cut")):
            self.setUp()
            self.add(1, 1)
            fault = self.sender.fault = ZeroDivisionError()
            self.calls.answer(answer)
            self.assertEqual(self.sender.faults, [fault])
            self.assertEqual(self.calls.begun, ["PUT 1", "PUT 2"])

    def test_held(self) -> None:
        """Nothing begins, and nobody is told that nothing waits, until it goes on."""
        for reading in (True, False):
            self.setUp()
            self.sender.held_by = lambda reading=reading: self.inbox.hold(reading=reading)
            self.add(1, 2)
            self.assertTrue(self.inbox.awaits_answer)
            self.calls.answer(Delivered())
            self.assertEqual((self.calls.begun, self.sender.idles), (["PUT 1"], 0))
            self.assertEqual(
                (self.inbox.is_idle, self.inbox.awaits_answer, self.inbox.is_roomy), (False, False, reading)
            )
            self.sender.held_by = None
            self.inbox.release()
            self.assertEqual(self.calls.begun, ["PUT 1", "PUT 2"])
            self.calls.answer(Delivered())
            self.assertEqual((self.inbox.is_idle, self.inbox.is_roomy, self.sender.idles), (True, True, 1))

    def test_dropped_while_it_is_held(self) -> None:
        """What waits is; what was answered is no part of that."""
        self.sender.held_by = self.inbox.hold
        self.add(1, 2, 3)
        self.calls.answer(Delivered())
        self.assertFalse(self.inbox.drop())
        self.assertEqual(self.inbox.undelivered, 2)
        self.inbox.release()
        self.assertEqual((self.calls.begun, self.sender.idles, self.inbox._bytes), (["PUT 1"], 1, 0))

    def test_after_the_end_nothing_begins(self) -> None:
        """The sender is forgotten."""
        self.inbox.end()
        self.add(1)
        self.assertEqual((self.calls.begun, self.sender.idles), ([], 0))

    def test_an_answer_after_the_end_is_a_fault_that_shows(self) -> None:
        """There is no connection to tell; but the fault must be logged."""
        self.add(1)
        self.inbox.end()
        self.calls.answer(Delivered())
        self.assertEqual((self.sender.outcomes, self.sender.faults), ([], []))
        gc.collect()
        self.assertEqual(len(self.flushLoggedErrors(AssertionError)), 1)


class RetryTests(SynchronousTestCase):
    """A message that the API does not take now is tried again (protocol §2.3)."""

    def setUp(self) -> None:
        """For ten seconds."""
        self.clock = Clock()
        self.sender = RecordingSender()
        self.calls = PendingCalls(Retries(self.clock, lambda: 0.0, Backoff(lambda: 0.5), 10.0))
        self.inbox = Inbox(self.sender, self.calls, ROOM, Budget(1 << 20))

    def test_until_it_is_taken(self) -> None:
        """The same message with the same number; those behind it wait."""
        errors: list[CallbackFailed] = [NotSent("a"), NoAnswer("b"), TimedOut("c"), Unsuccessful("d")]
        self.inbox.add(sized(1))
        self.inbox.add(sized(2))
        for tries, error in enumerate(errors, 1):
            self.calls.answer(error)
            self.assertEqual(self.calls.begun, ["PUT 1"] * tries)
            self.assertFalse(self.inbox.is_idle)
            self.clock.advance(2)
        self.assertEqual(self.calls.begun, ["PUT 1"] * 5)
        self.calls.answer(Delivered())
        self.assertEqual(self.calls.begun, ["PUT 1"] * 5 + ["PUT 2"])
        self.assertEqual(self.sender.outcomes, [(1, Delivered())])
        self.assertEqual(self.sender.retried, [(1, errors[0])])
        self.calls.answer(Rejected(404))
        self.assertEqual((self.inbox.undelivered, self.inbox._bytes), (0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_answer_that_means_something_else_ends_it(self) -> None:
        """As it would end a first attempt."""
        for error in (Unusable("x"), Unauthorized("x"), GatewayFault("x"), ZeroDivisionError()):
            self.setUp()
            self.inbox.add(sized(1))
            self.calls.answer(NoAnswer("cut"))
            self.clock.advance(1)
            self.calls.answer(error)
            self.assertEqual(self.sender.outcomes, [(1, error)])
            self.assertTrue(self.inbox.is_idle)

    def test_what_is_not_tried_again(self) -> None:
        """Answers that count, and faults of ours."""
        for error in (Unusable("x"), Unauthorized("x"), GatewayFault("x"), ZeroDivisionError()):
            self.setUp()
            self.inbox.add(sized(1))
            self.calls.answer(error)
            self.assertEqual((self.sender.outcomes, self.sender.retried), ([(1, error)], []))

    def test_until_the_time_is_over(self) -> None:
        """Since the first attempt began; the last failure is the one that is told."""
        self.inbox.add(sized(1))
        self.clock.advance(9)
        self.calls.answer(NoAnswer("first"))
        self.clock.advance(1)
        last = NoAnswer("last")
        self.calls.answer(last)
        self.assertEqual(self.calls.begun, ["PUT 1"] * 2)
        self.assertEqual(self.sender.outcomes, [(1, last)])
        self.assertTrue(self.inbox.is_idle)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_each_message_has_the_whole_time(self) -> None:
        """And pauses of its own."""
        self.inbox.add(sized(1))
        self.inbox.add(sized(1))
        for number in (1, 2):
            for _ in range(3):
                self.calls.answer(NoAnswer("cut"))
                self.clock.advance(2.5)
            self.calls.answer(Delivered())
            self.assertEqual(self.sender.outcomes[-1], (number, Delivered()))
        self.assertEqual([number for number, _ in self.sender.retried], [1, 2])

    def test_there_is_no_room_meanwhile(self) -> None:
        """Roomy is what lets a paused client be read again."""
        self.inbox.add(sized(1))
        self.assertTrue(self.inbox.is_roomy)
        self.calls.answer(NoAnswer("cut"))
        self.assertFalse(self.inbox.is_roomy)
        self.clock.advance(1)
        self.assertFalse(self.inbox.is_roomy)
        self.calls.answer(Delivered())
        self.assertTrue(self.inbox.is_roomy)

    def test_dropped_while_it_waits(self) -> None:
        """Given up at once, and counted."""
        self.inbox.add(sized(1))
        self.inbox.add(sized(1))
        self.calls.answer(NoAnswer("cut"))
        self.assertTrue(self.inbox.drop())
        self.assertFalse(self.inbox.drop())
        self.assertEqual((self.inbox.undelivered, self.inbox._bytes), (2, 0))
        self.assertTrue(self.inbox.is_idle)
        self.assertEqual((self.sender.outcomes, self.clock.getDelayedCalls()), ([], []))

    def test_dropped_while_it_is_on_its_way(self) -> None:
        """It gets its answer, but no further attempt."""
        for tries in (1, 2):
            self.setUp()
            self.inbox.add(sized(1))
            for _ in range(tries - 1):
                self.calls.answer(NoAnswer("cut"))
                self.clock.advance(1)
            self.assertFalse(self.inbox.drop())
            self.assertFalse(self.inbox.is_idle)
            error = NoAnswer("last")
            self.calls.answer(error)
            self.assertEqual(self.sender.outcomes, [(1, error)])
            self.assertEqual(self.calls.begun, ["PUT 1"] * tries)
            self.assertTrue(self.inbox.is_idle)

    def test_attempts_that_fail_at_once(self) -> None:
        """Each waits for its pause all the same."""
        self.calls.at_once.extend([NotSent("no"), NotSent("no"), Delivered()])
        self.inbox.add(sized(1))
        self.assertEqual(self.calls.begun, ["PUT 1"])
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.sender.outcomes, [(1, Delivered())])

    def test_a_fault_after_a_retry(self) -> None:
        """It is told, and the queue goes on."""
        self.inbox.add(sized(1))
        self.inbox.add(sized(1))
        self.calls.answer(NoAnswer("cut"))
        self.clock.advance(1)
        fault = self.sender.fault = ZeroDivisionError()
        self.calls.answer(Delivered())
        self.assertEqual(self.sender.faults, [fault])
        self.assertEqual(self.calls.begun, ["PUT 1", "PUT 1", "PUT 2"])
