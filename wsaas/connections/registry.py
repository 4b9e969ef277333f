"""From a key to its connection.

Groups, and pushes that arrive at another instance, start from here; keys are opaque to all other modules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsaas.connections.connection import Connection


class Registry:
    """The connections of this process.

    A connection is *addressed* from before its POST is sent until a Close is asked for or received: pushes find it. It
    is *unfinished* until its DELETE is settled, or a small record of that DELETE is all that is left.
    """

    def __init__(self) -> None:
        self._addressed: dict[str, Connection] = {}
        self._unfinished: dict[str, Connection] = {}

    def __len__(self) -> int:
        """:returns: how many connections are unfinished"""
        return len(self._unfinished)

    def __iter__(self) -> Iterator[Connection]:
        """Iterate over the unfinished connections as they are now."""
        return iter(list(self._unfinished.values()))

    @property
    def addressed(self) -> int:
        """How many connections pushes can reach."""
        return len(self._addressed)

    def get(self, key: str) -> Connection | None:
        """:returns: the connection that pushes for this key go to"""
        return self._addressed.get(key)

    def add(self, connection: Connection) -> None:
        """Take a connection in, before its POST is sent."""
        self._addressed[connection.identity.key] = connection
        self._unfinished[connection.identity.key] = connection

    def unlist(self, connection: Connection) -> None:
        """Let pushes no longer find a connection."""
        self._addressed.pop(connection.identity.key, None)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that has nothing left to say to the API."""
        self.unlist(connection)
        self._unfinished.pop(connection.identity.key, None)
