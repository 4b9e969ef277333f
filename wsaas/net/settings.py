"""The settings of the listeners."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """Endpoint descriptions. No ``clients``: the default port; no ``pushes``: pushes arrive where clients connect.

    :param health: the path where clients connect at which load balancers ask; :data:`None` for none
    """

    clients: tuple[str, ...]
    pushes: tuple[str, ...]
    admin: tuple[str, ...]
    health: bytes | None = None
