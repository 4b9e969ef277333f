"""Counts connections by client address (``WS_MAX_PER_ADDRESS``, protocol §4)."""

from __future__ import annotations

from socket import AF_INET6, inet_pton

#: Bytes of an IPv6 address that name a network. A client with one address of a /64 has all of them (RFC 6177).
_NETWORK = 8


def origin(client: str) -> str | bytes:
    """:returns: the key that a client is counted under: its IPv4 address, or the /64 network of its IPv6 address

    :param client: as :func:`wsaas.net.http1.messages.plain_address` writes it
    """
    return inet_pton(AF_INET6, client)[:_NETWORK] if ":" in client else client


class Addresses:
    """Counts each connection under its client's address, from before its POST until its DELETE is first sent.

    Nothing is kept for an address without connections. Clients on UNIX sockets have no address and are not counted.

    :param most: the most connections of one address; 0 means no limit, and nothing is counted
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
        """:returns: whether a client's address may have one more connection"""
        return not self.most or client is None or self._counts.get(origin(client), 0) < self.most

    def enter(self, client: str | None) -> None:
        """Count a client that asks to connect."""
        if self.most and client is not None:
            key = origin(client)
            self._counts[key] = self._counts.get(key, 0) + 1

    def leave(self, client: str | None) -> None:
        """Count a client no more: it is refused or gone. Once for each :meth:`enter`."""
        if self.most and client is not None:
            key = origin(client)
            left = self._counts[key] - 1
            if left:
                self._counts[key] = left
            else:
                del self._counts[key]
