"""The settings of pushes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PushSettings:
    """The bounds of one request. Sizes in bytes."""

    max_message: int
    max_batch: int = 1 << 20
    #: Whether each request is logged, at DEBUG.
    shows: bool = False
