"""Whether the API is known to be down, so that new clients are refused without a call (protocol §2.2)."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsaas.errors import NoAnswer, NotSent, NotVerified, Unusable
from wsaas.net.http1.messages import Answer

#: So many attempts in a row without a complete answer mean that the API is down …
MIN_FAILURES = 5
#: … if they took so many seconds …
MIN_SECONDS = 1.0
#: … and were made for so many connections, or the last did not even reach the API: one call that it chokes on, however
#: often it is repeated, says nothing of the others.
MIN_CONNECTIONS = 3
#: Seconds between two probes: at first, and at most.
FIRST_INTERVAL = 1.0
LONGEST_INTERVAL = 15.0


class Breaker:
    """A circuit-breaker between new handshakes and an API that is down.

    Every attempt of every call is reported to it: a complete answer of any status closes it. While it is open, it lets
    one caller through at intervals that grow, as a probe. Attempts that do not ask, such as the retries of messages,
    are probes too.

    :param clock: for times
    :param random: a number from 0 to 1, so that several gateways do not probe together
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, random: Callable[[], float]) -> None:
        self._clock = clock
        self._random = random
        #: Attempts in a row without a complete answer. 0 means that there is nothing to tell of an answer.
        self.failures = 0
        self.is_open = False
        #: Whether the log has it that the API's certificate is not accepted: once, not for each call.
        self._unverified = False
        self._since = 0.0
        self._connections: set[str] = set()
        self._interval = FIRST_INTERVAL
        self._probe_at = 0.0

    def report(self, result: Answer | Failure, tag: str) -> None:
        """Take note of an attempt that is over. Not needed for answers while :attr:`failures` is 0.

        :param result: what it brought
        :param tag: whose it was
        """
        if isinstance(result, Answer) or result.check(Unusable):
            # A malformed answer still proves that the API is up.
            if self.failures:
                self._answered()
        elif result.check(NotSent, NoAnswer):
            if not self._unverified and isinstance(result.value, NotVerified):
                self._unverified = True
                self._log.error("{reason}; it gets no call until it is", reason=result.value.reason)
            self._failed(tag, reached=result.check(NotSent) is None)

    def _answered(self) -> None:
        self.failures = 0
        self._unverified = False
        self._connections.clear()
        if self.is_open:
            self.is_open = False
            self._log.info("the API answers again, after {seconds:.0f} s", seconds=self._clock.seconds() - self._since)

    def _failed(self, tag: str, *, reached: bool) -> None:
        now = self._clock.seconds()
        if not self.failures:
            self._since = now
        self.failures += 1
        if self.is_open:
            return
        if len(self._connections) < MIN_CONNECTIONS:
            self._connections.add(tag)
        known = len(self._connections) >= MIN_CONNECTIONS or not reached
        if known and self.failures >= MIN_FAILURES and now - self._since >= MIN_SECONDS:
            self.is_open = True
            self._interval = FIRST_INTERVAL
            self._next_probe(now)
            self._log.warn(
                "the API is down: {failures} calls in {seconds:.0f} s without a complete answer; new clients are "
                "refused until it answers one",
                failures=self.failures,
                seconds=now - self._since,
            )

    def admits(self) -> bool:
        """:returns: whether the API is worth a call; one that is admitted while it is down is a probe"""
        if not self.is_open:
            return True
        now = self._clock.seconds()
        if now < self._probe_at:
            return False
        self._interval = min(self._interval * 2, LONGEST_INTERVAL)
        self._next_probe(now)
        return True

    def renew(self) -> None:
        """Something about the way to the API is new: the next call is a probe, and what is wrong is logged again."""
        self._unverified = False
        if self.is_open:
            self._interval = FIRST_INTERVAL
            self._probe_at = self._clock.seconds()

    def _next_probe(self, now: float) -> None:
        self._probe_at = now + self._interval * (0.5 + self._random() / 2)

    @property
    def retry_after(self) -> int:
        """Whole seconds until the next probe, for ``Retry-After``."""
        return max(1, ceil(self._probe_at - self._clock.seconds()))
