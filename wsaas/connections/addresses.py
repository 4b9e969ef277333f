"""How many connections each address has (``WS_MAX_PER_ADDRESS``, protocol §4)."""

from __future__ import annotations

from socket import AF_INET6, inet_pton

#: Bytes of an IPv6 address that name a network. Whoever has one of its addresses has all of them (RFC 6177).
_NETWORK = 8


def origin(client: str) -> str | bytes:
    """:returns: what is counted for a client: its IPv4 address, or the /64 network of its IPv6 address

    :param client: as :func:`wsaas.net.http1.messages.plain_address` writes it
    """
    return inet_pton(AF_INET6, client)[:_NETWORK] if ":" in client else client


class Addresses:
    """Counts connections by where they come from, from before the API is asked until it has all but the goodbye.

    Nothing is kept for an address without connections. Clients of UNIX sockets have no address and are not counted.

    :param most: connections that one address may have; 0: any number, and nothing is counted
    """

    def __init__(self, most: int = 0) -> None:
        self.most = most
        self._counts: dict[str | bytes, int] = {}

    def __len__(self) -> int:
        """:returns: how many addresses have connections"""
        return len(self._counts)

    def count(self, client: str | None) -> int:
        """:returns: how many connections a client's address has"""
        return 0 if client is None else self._counts.get(origin(client), 0)

    def has_room(self, client: str | None) -> bool:
        """:returns: whether there may be one more connection from a client's address"""
        return not self.most or client is None or self._counts.get(origin(client), 0) < self.most

    def enter(self, client: str | None) -> None:
        """A client asks to connect."""
        if self.most and client is not None:
            key = origin(client)
            self._counts[key] = self._counts.get(key, 0) + 1

    def leave(self, client: str | None) -> None:
        """It is refused or gone; once for each :meth:`enter`."""
        if self.most and client is not None:
            key = origin(client)
            left = self._counts[key] - 1
            if left:
                self._counts[key] = left
            else:
                del self._counts[key]
