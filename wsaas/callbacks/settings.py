"""What the callbacks are told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What the API's side is told. Times in seconds, sizes in bytes. No secret shows in its ``repr``."""

    timeout: float
    retry_for: float
    retry_status: frozenset[int]
    delete_for: float
    max_requests: int
    max_body: int
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    text_type: str
    ca: Path | None
    certificate: Path | None
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
