"""The format of the log: one line per event, as text or as JSON, and rate limits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from math import modf
from time import time
from typing import Any

from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    PredicateResult,
    formatEvent,
)
from zope.interface import implementer

_LEVELS = {"ERROR": LogLevel.error, "WARN": LogLevel.warn, "INFO": LogLevel.info, "DEBUG": LogLevel.debug}
_SHOWN = {LogLevel.debug: "DEBUG", LogLevel.info: "INFO", LogLevel.warn: "WARN", LogLevel.error: "ERROR"}

#: Loggers of Twisted that log every factory, port and HEAD at INFO: nothing that our own lines do not say.
_CHATTY = ("log_legacy", "twisted.web.client", "twisted.web.server", "wsaas.net.http1.page.PageRequest")

#: The priorities of syslog, as the journal takes them before a line (sd-daemon(3)).
_PRIORITIES = {LogLevel.debug: "<7>", LogLevel.info: "<6>", LogLevel.warn: "<4>", LogLevel.error: "<3>"}
_CRITICAL = "<2>"

_PLAIN = (str, int, float, bool, type(None))

#: What in a path has the shape of a key, which is a secret (:mod:`wsaas.connections.identity`): a segment, or a part of
#: one between other characters, as a back end may have a whole ``ws_uri`` for a name.
_KEY_LENGTH = 24
_KEY_IN_PATH = re.compile(rf"(?:(?<![A-Za-z0-9_-])|(?<=%2[Ff]))[A-Za-z0-9_-]{{{_KEY_LENGTH}}}(?![A-Za-z0-9_-])")
#: Characters of a path that are shown.
_MAX_PATH = 200

#: A format with nothing but text and names in it.
_NAMES_ONLY = re.compile(r"(?:[^{}]|\{[A-Za-z_][A-Za-z0-9_]*\})*")


def without_keys(path: str) -> str:
    """:returns: a path, or a sentence about one, without what in it has the shape of a key"""
    return _KEY_IN_PATH.sub("…", path)


def shown_path(target: bytes) -> str:
    """:returns: a request's path for the log: without its query, which may hold a token, and without a key"""
    path = target.partition(b"?")[0].decode("ascii", "replace")
    # Most are too short to have a key in them.
    return path if len(path) < _KEY_LENGTH else without_keys(path)[:_MAX_PATH]


@lru_cache(maxsize=4)
def _second(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").removesuffix("+00:00")


def _time(event: LogEvent) -> str:
    # Rounded to microseconds, then cut to milliseconds, as datetime does it.
    fraction, seconds = modf(event["log_time"])
    microseconds = round(fraction * 1e6)
    if microseconds == 1_000_000:
        return f"{_second(seconds + 1)}.000Z"
    return f"{_second(seconds)}.{microseconds // 1000:03}Z"


def _level(event: LogEvent) -> str:
    return _SHOWN.get(event.get("log_level"), "ERROR")


def _traceback(event: LogEvent) -> str | None:
    failure = event.get("log_failure")
    return None if failure is None else str(failure.getTraceback())


@lru_cache(maxsize=256)
def _has_names_only(text: str) -> bool:
    return _NAMES_ONLY.fullmatch(text) is not None


def _message(event: LogEvent) -> str:
    """Format an event as Twisted does, but ten times as fast if the format contains plain names only."""
    text = event.get("log_format")
    if type(text) is str and "log_flattened" not in event and _has_names_only(text):
        try:
            return text.format_map(event)
        except Exception:  # noqa: BLE001 - whatever it is, Twisted describes events that cannot be formatted
            return formatEvent(event)
    return formatEvent(event)


def printable(text: str) -> str:
    """:returns: a text with what would end or garble a line of log escaped"""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _indented(text: str) -> str:
    """Indent all lines but the first, so that text from clients cannot forge an event."""
    text = text.rstrip()
    if text.isprintable():
        return text
    return "\n    ".join(printable(line) for line in text.split("\n"))


def format_text(event: LogEvent) -> str:
    """:returns: an event as a line of text, followed by the traceback if it has one"""
    line = f"{_time(event)} {_level(event):5} {event.get('log_namespace', '-')} {_message(event)}"
    traceback = _traceback(event)
    return _indented(line if traceback is None else f"{line}\n{traceback}") + "\n"


def format_json(event: LogEvent) -> str:
    """:returns: an event as a JSON object on one line, with its values beside its message"""
    record: dict[str, Any] = {
        name: value
        for name, value in event.items()
        if isinstance(value, _PLAIN)
        and not name.startswith("log_")
        and name not in ("time", "level", "logger", "message", "traceback", "format", "isError", "system", "many")
    }
    record = {
        "time": _time(event),
        "level": _level(event),
        "logger": event.get("log_namespace", "-"),
        "message": _message(event),
        **record,
    }
    traceback = _traceback(event)
    if traceback is not None:
        record["traceback"] = traceback
    return json.dumps(record) + "\n"


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The settings of the log.

    :param priorities: whether each line begins with its priority, for the journal
    """

    level: str
    format: str
    priorities: bool = False

    @property
    def debugs(self) -> bool:
        """Whether lines at DEBUG are written. In hot paths, they are not even made otherwise."""
        return self.level == "DEBUG"


class LeanLogger(Logger):
    """A fast logger for lines about each connection.

    Twisted's makes another logger at each access, bound to the instance, and validates each level.
    """

    _made: LeanLogger | None = None

    def __get__(self, instance: object, owner: type | None = None) -> LeanLogger:
        """:returns: the one logger of a class, with the namespace that Twisted would give it"""
        made = self._made
        if made is None:
            assert owner is not None  # noqa: S101 - for the type checker
            made = self._made = LeanLogger(f"{owner.__module__}.{owner.__name__}", owner, self.observer)
        return made

    def info(self, format: str | None = None, **values: object) -> None:  # noqa: A002 - Twisted's signature
        """Log an event; see :meth:`twisted.logger.Logger.emit`."""
        values["log_logger"] = self
        values["log_level"] = LogLevel.info
        values["log_namespace"] = self.namespace
        values["log_source"] = self.source
        values["log_format"] = format
        values["log_time"] = time()
        self.observer(values)


def line_form(settings: LogSettings) -> Callable[[LogEvent], str]:
    """:returns: what makes a line of an event, as ``LOG_FORMAT`` has it"""
    form = format_json if settings.format == "json" else format_text
    return partial(_with_priority, form) if settings.priorities else form


def _with_priority(form: Callable[[LogEvent], str], event: LogEvent) -> str:
    """:returns: a line with its priority, and each line of a traceback: to the journal, they are lines of their own"""
    priority = _PRIORITIES.get(event.get("log_level"), _CRITICAL)
    return priority + form(event)[:-1].replace("\n", f"\n{priority}") + "\n"


#: How many decisions of the filter are cached: Twisted's predicate searches all levels and namespaces at each event.
_MAX_REMEMBERED = 1024


@implementer(ILogObserver)
class _Filter:
    """Passes on the events that a predicate lets through.

    :param observer: gets those events
    :param predicate: must decide by level and namespace only, as its results are cached
    """

    def __init__(self, observer: Callable[[LogEvent], object], predicate: LogLevelFilterPredicate) -> None:
        self._observer = observer
        self._predicate = predicate
        self._remembered: dict[tuple[object, object], bool] = {}

    def __call__(self, event: LogEvent) -> None:
        """Pass an event on, or drop it."""
        kind = event.get("log_namespace"), event.get("log_level")
        passes = self._remembered.get(kind)
        if passes is None:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            passes = self._remembered[kind] = self._predicate(event) != PredicateResult.no
        if passes:
            self._observer(event)


#: Lines of a kind per second: clients must not be able to fill a disk.
MOST = 100


class LogLimit:
    """Limits the rate of events by kind, and logs how many were left out.

    Only events with a member ``many`` are limited: it names the kind, in the plural. The number of events left out is
    logged before the next event of any kind, such as one at the end of the process.

    :param observer: gets the events that pass
    :param most: events of a kind per second
    """

    def __init__(self, observer: Callable[[LogEvent], object], most: int = MOST) -> None:
        self._observer = observer
        self._most = most
        self._second = 0
        self._counts: dict[str, int] = {}

    def __call__(self, event: LogEvent) -> None:
        """Pass an event on, or only count it."""
        second = int(event["log_time"])
        if second != self._second:
            if self._counts:
                self._tell(event)
            self._second = second
        many = event.get("many")
        if many is not None:
            count = self._counts[many] = self._counts.get(many, 0) + 1
            if count > self._most:
                return
        self._observer(event)

    def _tell(self, event: LogEvent) -> None:
        counts, self._counts = self._counts, {}
        for what, count in counts.items():
            if count > self._most:
                self._observer(
                    {
                        "log_format": "{count} more lines about {what} in a second are left out",
                        "log_level": LogLevel.warn,
                        "log_namespace": __name__,
                        "log_time": event["log_time"],
                        "count": count - self._most,
                        "what": what,
                    }
                )


def make_observer(settings: LogSettings, write: Callable[[str], object]) -> ILogObserver:
    """Make the process's log observer.

    :param write: writes a line
    """
    level = _LEVELS[settings.level]
    predicate = LogLevelFilterPredicate(defaultLogLevel=level)
    if level in (LogLevel.debug, LogLevel.info):
        for namespace in _CHATTY:
            predicate.setLogLevelForNamespace(namespace, LogLevel.warn)
    form = line_form(settings)
    return _Filter(LogLimit(lambda event: write(form(event))), predicate)
