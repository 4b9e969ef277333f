"""How many lines of a kind the log takes in a second: what clients cause must not fill a disk."""

from __future__ import annotations

from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

#: Lines of a kind in a second.
MOST = 100


@implementer(ILogObserver)
class LogLimit:
    """Passes on so many events of a kind in a second, and tells how many more there were.

    Limited are events with a member ``many``, which says in a few words what there may be many of. How many were left
    out is told with the next event of whatever kind, one of the end of the process at the latest.

    :param observer: gets the rest
    :param most: events of a kind in a second
    """

    def __init__(self, observer: ILogObserver, most: int = MOST) -> None:
        self._observer = observer
        self._most = most
        self._second = 0
        self._counts: dict[str, int] = {}

    def __call__(self, event: LogEvent) -> None:
        """Pass an event on, or count it only."""
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
