"""Turns of the event loop without a log context for each event: sockets must behave the same."""

from __future__ import annotations

import errno
import time
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.internet.testing import MemoryReactor, MemoryReactorClock
from twisted.python import runtime
from twisted.trial.unittest import SynchronousTestCase

from tests.unit.net import test_transport
from tests.unit.net.test_transport import Line, Recorder
from wsaas.net.reactor import Turn, install, use_monotonic_clock


class LeanLoop(test_transport.Loop):
    """A reactor that makes its turns so."""

    def __init__(self) -> None:
        super().__init__()
        vars(self)["doIteration"] = Turn(self)


class WriteTests(test_transport.WriteTests):
    """What is written arrives."""

    loop_class = LeanLoop


class UnixWriteTests(test_transport.UnixWriteTests):
    """At UNIX sockets too."""

    loop_class = LeanLoop


class ErrorTests(test_transport.ErrorTests):
    """Errors are told as ever."""

    loop_class = LeanLoop


class EndTests(test_transport.EndTests):
    """So is every end."""

    loop_class = LeanLoop


class ProducerTests(test_transport.ProducerTests):
    """So is what producers are told."""

    loop_class = LeanLoop


class Faulty(Recorder):
    """Fails at what it gets."""

    def dataReceived(self, data: bytes) -> None:
        """Fail."""
        raise ValueError(data.decode("ascii"))


class Killer(Recorder):
    """Ends another connection when it gets something."""

    other: Any

    def dataReceived(self, data: bytes) -> None:
        """End it."""
        self.other.connectionLost(connectionDone)


class Interrupted:
    """A poller that has an error."""

    def __init__(self, number: int) -> None:
        self._error = OSError(number, "no events")

    def poll(self, timeout: float, count: int) -> list[tuple[int, int]]:
        """Raise it."""
        raise self._error


class TurnTests(test_transport.Sockets):
    """What one turn does."""

    loop_class = LeanLoop

    def test_a_protocol_that_fails_loses_its_connection(self) -> None:
        """The log has the reason, and others stay."""
        other = Line(self.loop, self.listen)
        line = Line(self.loop, self.listen, prepare=lambda protocol: setattr(protocol, "__class__", Faulty))
        line.client.sendall(b"what came")
        self.loop.until(lambda: line.protocol.events == ["made", "ValueError"])
        [logged] = self.flushLoggedErrors(ValueError)
        self.assertEqual(str(logged.value), "what came")
        other.client.sendall(b"still here")
        self.loop.until(lambda: other.protocol.received == b"still here")

    def test_one_closes_another_in_the_same_turn(self) -> None:
        """What was to be read there is dropped."""
        lines = [Line(self.loop, self.listen, prepare=lambda one: setattr(one, "__class__", Killer)) for _ in range(2)]
        first, second = lines
        first.protocol.other, second.protocol.other = second.transport, first.transport  # type: ignore[attr-defined]
        first.client.sendall(b"a")
        second.client.sendall(b"b")
        self.loop.until(lambda: first.protocol.over or second.protocol.over)
        self.loop.turn(3)
        self.assertEqual(first.protocol.over + second.protocol.over, 1)

    def test_interrupted(self) -> None:
        """A signal ends the waiting, and nothing is wrong; another error is one."""
        turn = Turn(self.loop)
        vars(turn)["_poller"] = Interrupted(errno.EINTR)
        turn(None)
        vars(turn)["_poller"] = Interrupted(errno.EBADF)
        self.assertRaises(OSError, turn, 0.0)


class InstallTests(SynchronousTestCase):
    """Whose turns are made so."""

    def test_only_an_epoll_reactor(self) -> None:
        """Nothing derived from it either: it may have another idea of what a turn is."""
        self.assertFalse(install(MemoryReactor()))
        derived = test_transport.Loop()
        self.addCleanup(derived.close)
        self.assertFalse(install(derived))
        plain: Any = EPollReactor()
        self.addCleanup(plain._poller.close)
        self.addCleanup(plain.waker.connectionLost, connectionDone)
        self.assertTrue(install(plain))
        self.assertIsInstance(plain.doIteration, Turn)


class ClockTests(SynchronousTestCase):
    """Durations do not depend on the time of day."""

    def setUp(self) -> None:
        self.loop = test_transport.Loop()
        self.addCleanup(self.loop.close)

    def test_whatever_is_scheduled(self) -> None:
        """``callLater()`` and ``LoopingCall`` ask the reactor itself; so does each turn."""
        self.assertTrue(use_monotonic_clock(self.loop))
        fired: list[float] = []
        began = time.monotonic()
        call = self.loop.callLater(0.05, lambda: fired.append(time.monotonic()))
        self.assertTrue(0.05 <= call.getTime() - began < 2)
        again = LoopingCall(lambda: fired.append(time.monotonic()))
        again.clock = self.loop
        again.start(0.05, now=False)
        self.loop.until(lambda: len(fired) == 3)
        again.stop()
        for number, at in enumerate(fired):
            self.assertTrue(0.05 * max(1, number) <= at - began < 2)

    def test_once(self) -> None:
        """The second time there is nothing to do, whatever is scheduled by then."""
        self.assertTrue(use_monotonic_clock(self.loop))
        self.addCleanup(self.loop.callLater(1, self.fail).cancel)
        self.assertFalse(use_monotonic_clock(self.loop))
        self.assertIs(self.loop.seconds, time.monotonic)

    def test_something_is_scheduled(self) -> None:
        """By the clock that it had, so it would come at another time."""
        self.addCleanup(self.loop.callLater(1, self.fail).cancel)
        self.assertRaises(RuntimeError, use_monotonic_clock, self.loop)
        self.assertIs(self.loop.seconds, runtime.seconds)

    def test_a_clock_of_its_own(self) -> None:
        """It stays."""
        reactor = MemoryReactorClock()
        seconds = reactor.seconds
        self.assertFalse(use_monotonic_clock(reactor))
        self.assertEqual(reactor.seconds, seconds)
