"""The states of a connection, and what its end means for what was on its way."""

from __future__ import annotations

from enum import Enum

from wsaas.connections.messages import ClosedBy


class State(Enum):
    """The states of a connection."""

    AUTHORISING = "authorising"
    OPEN = "open"
    CLOSING = "closing"
    OVER = "over"


#: After these ends, messages that had arrived are still delivered: the end came from the client, not from the API.
STILL_DELIVERED = frozenset({ClosedBy.CLIENT, ClosedBy.TIMEOUT, ClosedBy.SLOW})
#: After these ends before the 101, the client gets it all the same, and then its Close.
LET_IN = frozenset({ClosedBy.API, ClosedBy.SLOW})
