"""What is logged while an input is tried, and what of it must not be."""

from __future__ import annotations

import json
import sys
from typing import Any, Self

from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogBeginner, globalLogPublisher
from zope.interface import implementer

from wsaas.logs import format_json, format_text

#: Characters of a line of the log at most. A target of 2,048 bytes, a reason of 123 and the like are cut or fit.
LONGEST_LINE = 1000


class Flood(AssertionError):
    """More was logged than the events are worth."""


class Fault(AssertionError):
    """Something was logged as a fault of the gateway's own."""


@implementer(ILogObserver)
class Watch:
    """Sees what is logged, from :meth:`begin` on."""

    def __init__(self) -> None:
        self._events: list[LogEvent] = []
        self._unraisable: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        """Something is logged."""
        self._events.append(event)

    def __enter__(self) -> Self:
        """Watch from now on."""
        self._hook, sys.unraisablehook = sys.unraisablehook, self._cannot_be_raised
        globalLogPublisher.addObserver(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Watch no longer."""
        globalLogPublisher.removeObserver(self)
        sys.unraisablehook = self._hook

    def _cannot_be_raised(self, unraisable: Any) -> None:
        self._unraisable.append(f"{unraisable.exc_value!r} in {unraisable.object!r}")

    def begin(self) -> None:
        """Forget what was logged so far."""
        self._events.clear()
        self._unraisable.clear()

    def check(self, lines: int, *, errors: int = 0) -> list[str]:
        """See that what was logged is bounded, readable and no fault.

        :param lines: how many events there may be
        :param errors: how many of them may be errors, such as the loss of a DELETE; none may have a traceback
        :returns: what was logged, each without its time
        """
        events, self._events = self._events, []
        if self._unraisable:
            raise Fault(f"raised where nobody could catch it: {self._unraisable}")
        texts = [format_text(event) for event in events]
        for event, text in zip(events, texts, strict=True):
            level = event.get("log_level")
            if "log_failure" in event or level is LogLevel.critical:
                raise Fault(f"logged: {text}")
            if level is LogLevel.error:
                errors -= 1
            if len(text) > LONGEST_LINE:
                raise Flood(f"a line of {len(text)} characters: {text[:300]}")
            if text.count("\n") != 1:
                raise Flood(f"more than a line: {text}")
            json.loads(format_json(event))
        if errors < 0:
            raise Fault(f"errors were logged: {texts}")
        if len(events) > lines:
            raise Flood(f"{len(events)} lines, not {lines}: {texts}")
        return [text.partition(" ")[2] for text in texts]


@implementer(ILogObserver)
class _Nobody:
    """Does not look."""

    def __call__(self, event: LogEvent) -> None:
        """Drop it."""


#: The one that all targets look at.
watch = Watch()


def silence() -> None:
    """Keep what is logged from the terminal. (Twisted keeps it for who comes later, and prints what is critical.)"""
    globalLogBeginner.beginLoggingTo([_Nobody()], discardBuffer=True, redirectStandardIO=False)
