"""What all callbacks share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from wsaas import __version__
from wsaas.callbacks.breaker import Breaker
from wsaas.callbacks.client import ApiClient
from wsaas.callbacks.settings import ApiSettings
from wsaas.callbacks.slots import Slots
from wsaas.callbacks.tracing import Tracer


@dataclass(frozen=True, slots=True)
class ApiAccess:
    """How the API is called, whatever for.

    :param client: makes the calls
    :param slots: how many at once
    :param breaker: told of every attempt; asked whether one is worth it
    :param clock: for durations and time limits
    :param now: tells the time of day, in Unix seconds
    :param settings: what callbacks look like, and how long they are tried
    :param tracer: gives each connection its trace; :data:`None` unless ``TRACE=on``
    """

    client: ApiClient
    slots: Slots
    breaker: Breaker
    clock: IReactorTime
    now: Callable[[], float]
    settings: ApiSettings
    tracer: Tracer | None = None

    @property
    def fixed_lines(self) -> bytes:
        """``API_HEADERS`` and the other header lines that never change."""
        fields = (*self.settings.headers, ("User-Agent", f"wsaas/{__version__}"), ("Accept-Encoding", "identity"))
        return b"".join(b"%b: %b\r\n" % (name.encode("ascii"), value.encode("ascii")) for name, value in fields)
