"""The settings of connections."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """The bounds of one connection. Times in seconds, sizes in bytes."""

    timeout: float
    max_message: int
    max_buffer: int
    #: Groups that one connection may be in (``WS_MAX_GROUPS``).
    max_groups: int = 100
