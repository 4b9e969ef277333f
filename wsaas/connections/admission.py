"""Whether one more client may ask to connect (protocol §4): decided before anything is owed to the API."""

from __future__ import annotations

from http import HTTPStatus

from wsaas.connections.registry import Registry
from wsaas.connections.totals import Totals
from wsaas.errors import HandshakeRefused

#: Handshakes that may wait for the API, for each call that may be on the wire; and at least so many.
_ASKING_PER_SLOT, _ASKING = 4, 256
#: Connections whose goodbye is not settled, for each one that there may be. While the API is away they pile up.
_UNFINISHED = 2


class Admission:
    """The bounds on connections.

    :param registry: how many connections there are
    :param totals: what they share
    :param max_connections: connections that there may be (``WS_MAX_CONNECTIONS``)
    :param max_requests: callbacks on the wire at once (``API_MAX_REQUESTS``)
    """

    def __init__(self, registry: Registry, totals: Totals, max_connections: int, max_requests: int) -> None:
        self._registry = registry
        self._totals = totals
        self._max_connections = max_connections
        self._max_asking = max(_ASKING, _ASKING_PER_SLOT * max_requests)

    def check(self, client: str | None) -> None:
        """Let a client in, or not.

        :param client: its IP address; :data:`None` on a UNIX socket
        :raises HandshakeRefused: if there are too many: 429 if they are its own, else 503 with ``Retry-After``
        """
        registry, totals = self._registry, self._totals
        addresses = totals.addresses
        if not addresses.has_room(client):
            reason = f"{addresses.most} clients of this address are connected (WS_MAX_PER_ADDRESS)"
            raise HandshakeRefused(HTTPStatus.TOO_MANY_REQUESTS, reason, kind="address")
        if registry.addressed >= self._max_connections:
            raise _later(f"{self._max_connections} clients are connected (WS_MAX_CONNECTIONS)", 5, "connections")
        if totals.asking >= self._max_asking:
            raise _later(f"{self._max_asking} handshakes wait for the API", 2, "handshakes")
        if len(registry) >= _UNFINISHED * self._max_connections:
            raise _later("the API has not taken the goodbyes of earlier clients yet", 5, "goodbyes")
        if totals.budgets.outgoing.exhausted or totals.budgets.incoming.exhausted:
            raise _later("too much waits for clients or for the API", 2, "memory")


def _later(reason: str, seconds: int, kind: str) -> HandshakeRefused:
    return HandshakeRefused(HTTPStatus.SERVICE_UNAVAILABLE, reason, kind=kind, retry_after=seconds)
