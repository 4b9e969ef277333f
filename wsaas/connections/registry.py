"""Finds connections by their keys.

Keys are opaque to all other modules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsaas.connections.connection import Connection


class Registry:
    """The connections of this process, by key.

    A connection is *addressed* from before its POST is sent until a Close is asked for or received: pushes find it. It
    is *unfinished* until the API has its DELETE, or only a small record of that DELETE is kept.
    """

    def __init__(self) -> None:
        self._addressed: dict[str, Connection] = {}
        self._unfinished: dict[str, Connection] = {}

    def __len__(self) -> int:
        """:returns: how many connections are unfinished"""
        return len(self._unfinished)

    def __iter__(self) -> Iterator[Connection]:
        """Iterate over a snapshot of the unfinished connections."""
        return iter(list(self._unfinished.values()))

    @property
    def addressed(self) -> int:
        """How many connections pushes can reach."""
        return len(self._addressed)

    def addressed_now(self) -> list[Connection]:
        """:returns: a snapshot of the connections that pushes can reach"""
        return list(self._addressed.values())

    def get(self, key: str) -> Connection | None:
        """:returns: the addressed connection with this key"""
        return self._addressed.get(key)

    def add(self, connection: Connection) -> None:
        """Add a connection, before its POST is sent."""
        self._addressed[connection.identity.key] = connection
        self._unfinished[connection.identity.key] = connection

    def unlist(self, connection: Connection) -> None:
        """Hide a connection from pushes."""
        self._addressed.pop(connection.identity.key, None)

    def remove(self, connection: Connection) -> None:
        """Remove a connection: the API needs nothing more from it."""
        self.unlist(connection)
        self._unfinished.pop(connection.identity.key, None)
