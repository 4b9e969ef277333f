"""Tasks that concern many members, worked off one after another, in slices between which the reactor does other things.

With thousands of members at once, all other clients would wait for tens of milliseconds. As long as nothing waits, what
concerns few is done at once.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsaas.counts import Histogram
from wsaas.errors import OverloadedError

if TYPE_CHECKING:
    from wsaas.groups.tasks import Task
    from wsaas.limits import Budget

#: What comes within so many seconds shares one slice: a thousand requests in a turn must not be a thousand slices.
_TURN = 0.002
#: Seconds between two looks whether there is memory again.
_LOOK = 0.02
#: Upper bounds in seconds for the duration of a slice.
SLICE_SECONDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)

R = TypeVar("R")
_log = Logger()


class Turns:
    """A bounded queue of tasks, and the one who works them off.

    :param clock: for turns and durations
    :param slice_: how many members have their turn before the reactor does other things
    :param most: how many tasks may wait
    :param outgoing: the budget of all that waits for clients: while it is exhausted, no task with a size goes on
    """

    def __init__(self, clock: IReactorTime, slice_: int, most: int, outgoing: Budget) -> None:
        self._clock = clock
        self._slice = slice_
        self._most = most
        self._outgoing = outgoing
        self._tasks: deque[Task[Any]] = deque()
        self._next: IDelayedCall | None = None
        self._working = self._stopped = False
        #: How many had their turn since when.
        self._spent, self._since = 0, 0.0
        #: Bytes of the tasks that wait.
        self.bytes = 0
        #: How long slices took.
        self.seconds = Histogram(SLICE_SECONDS)

    def __len__(self) -> int:
        """:returns: how many tasks wait, the one that is being worked off included"""
        return len(self._tasks)

    def submit(self, task: Task[R]) -> Deferred[R]:
        """Work a task off, behind those before it.

        :returns: fires with its result; at once, if nothing waits and there are few members
        :raises OverloadedError: if too many wait
        """
        if len(self._tasks) >= self._most:
            raise OverloadedError
        self._tasks.append(task)
        self.bytes += task.size
        if self._stopped:
            self._finish()
        elif self._next is None and not self._working:
            now = self._clock.seconds()
            if now - self._since > _TURN:
                self._spent, self._since = 0, now
            self._work()
        return task.done

    def _turn(self) -> None:
        self._next = None
        self._spent, self._since = 0, self._clock.seconds()
        self._work()

    def _work(self) -> None:
        """Work off one slice, and come back if something is left."""
        began = self._clock.seconds()
        tasks, wait = self._tasks, 0.0
        self._working = True
        try:
            while tasks and self._spent < self._slice:
                if tasks[0].size and self._outgoing.exhausted:
                    wait = _LOOK
                    break
                self._step(tasks[0])
        finally:
            self._working = False
        self.seconds.add(self._clock.seconds() - began)
        if tasks and not self._stopped:
            self._next = self._clock.callLater(wait, self._turn)

    def _step(self, task: Task[Any]) -> None:
        try:
            most = (self._slice - self._spent) // task.weight
            self._spent += (task.step(max(1, most)) or 1) * task.weight
        except Exception:  # noqa: BLE001 - whatever it is, those behind it must have their turn
            _log.failure("a fault of the gateway in reaching many")
            if self._tasks and self._tasks[0] is task:
                self._leave().done.errback(Failure())
            return
        # Unless stop() has ended it meanwhile.
        if task.is_done and self._tasks and self._tasks[0] is task:
            self._finish()

    def _leave(self) -> Task[Any]:
        task = self._tasks.popleft()
        self.bytes -= task.size
        return task

    def _finish(self) -> None:
        self._leave().finish()

    def stop(self) -> None:
        """End what is left, with what has become of it so far: all clients are gone."""
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None
        while self._tasks:
            self._finish()
