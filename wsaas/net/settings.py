"""Where the gateway listens, as it was told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """Endpoint descriptions; no ``clients`` means the default port, no ``pushes`` that clients and pushes share one."""

    clients: tuple[str, ...]
    pushes: tuple[str, ...]
    admin: tuple[str, ...]
