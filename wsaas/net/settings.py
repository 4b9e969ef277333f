"""The settings of the listeners."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """Endpoint descriptions. No ``clients``: the default port; no ``pushes``: pushes arrive where clients connect."""

    clients: tuple[str, ...]
    pushes: tuple[str, ...]
    admin: tuple[str, ...]
