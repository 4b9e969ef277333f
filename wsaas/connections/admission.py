"""Admission control: whether one more client may connect (protocol §4), decided before the API is asked."""

from __future__ import annotations

from http import HTTPStatus

from wsaas.connections.registry import Registry
from wsaas.connections.totals import Totals
from wsaas.errors import HandshakeRefused

#: How many handshakes may wait for the API: so many for each of ``API_MAX_REQUESTS``, and at least so many.
_ASKING_PER_SLOT, _ASKING = 4, 256
#: How many connections there may be whose DELETE is pending or that are open, as a multiple of ``WS_MAX_CONNECTIONS``.
#: While the API is down, those with a pending DELETE pile up.
_UNFINISHED = 2
#: What a client is told, whatever there is too much of.
_FULL = "the gateway takes no more clients now; try again later"


class Admission:
    """Checks the bounds on connections as a whole.

    :param registry: the connections
    :param totals: their counters and budgets
    :param max_connections: the most connections at once (``WS_MAX_CONNECTIONS``)
    :param max_requests: callbacks on the wire at once (``API_MAX_REQUESTS``)
    """

    def __init__(self, registry: Registry, totals: Totals, max_connections: int, max_requests: int) -> None:
        self._registry = registry
        self._totals = totals
        #: May change at any time.
        self.max_connections = max_connections
        self._max_asking = max(_ASKING, _ASKING_PER_SLOT * max_requests)

    def check(self, client: str | None) -> None:
        """Refuse a client if there are too many.

        :param client: its IP address; :data:`None` on a UNIX socket
        :raises HandshakeRefused: with 429 if its address has too many connections, with 503 and ``Retry-After`` if the
            gateway has
        """
        registry, totals = self._registry, self._totals
        addresses = totals.addresses
        if not addresses.has_room(client):
            detail = f"{addresses.most} clients of this address are connected (WS_MAX_PER_ADDRESS)"
            reason = "too many clients of this address are connected (WS_MAX_PER_ADDRESS)"
            raise HandshakeRefused(HTTPStatus.TOO_MANY_REQUESTS, reason, "address", detail=detail)
        if registry.addressed >= self.max_connections:
            raise _later(f"{self.max_connections} clients are connected (WS_MAX_CONNECTIONS)", 5, "connections")
        if totals.asking >= self._max_asking:
            raise _later(f"{self._max_asking} handshakes wait for the API", 2, "handshakes")
        if len(registry) >= _UNFINISHED * self.max_connections:
            # "goodbyes" is the value of a label in the metrics, which stays.
            raise _later("the API has not taken the DELETEs of earlier connections yet", 5, "goodbyes")
        if totals.budgets.outgoing.exhausted or totals.budgets.incoming.exhausted:
            raise _later("too much waits for clients or for the API", 2, "memory")


def _later(detail: str, seconds: int, kind: str) -> HandshakeRefused:
    """:returns: a refusal for now. How many clients there are, and what is wrong inside, is not for strangers."""
    return HandshakeRefused(HTTPStatus.SERVICE_UNAVAILABLE, _FULL, kind, retry_after=seconds, detail=detail)
