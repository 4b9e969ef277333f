"""The settings of callbacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """How the API is called. Times in seconds, sizes in bytes. Its ``repr`` shows no secrets."""

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
    #: The keys of Standard Webhooks, one for each secret; none if callbacks are not signed that way.
    webhook_keys: tuple[bytes, ...] = field(default=(), repr=False)
    trace: bool = False
