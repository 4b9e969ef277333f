"""The settings of connections."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """The bounds of one connection. Times in seconds, sizes in bytes."""

    timeout: float
    max_message: int
    max_buffer: int
    max_groups: int = 100
