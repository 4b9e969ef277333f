"""A listener's HTTP side: what its connections have in common, and what they share (limits, deadlines, counts)."""

from __future__ import annotations

from collections import defaultdict
from copy import copy
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web.resource import IResource, Resource, getChildForRequest
from twisted.web.server import Site

from wsaas.limits import Budget
from wsaas.net.http1.connection import LINGER
from wsaas.net.http1.deadlines import Deadlines
from wsaas.net.http1.messages import Response, json_response
from wsaas.net.http1.page import PageRequest
from wsaas.net.http1.request_head import ENDS, MAX_HEAD, KnownFields
from wsaas.net.http1.route import Routes
from wsaas.net.http1.server import Channel

#: How many refused connections may be read on for a while, so that they see their answers.
_MAX_LINGERING = 256
#: Seconds for which a connection is kept for another request.
_IDLE = 60.0
#: How many connections may owe the rest of a request, and how many may be kept for the next one, if the site is not
#: told otherwise.
MAX_AWAITED = 1024


@dataclass(frozen=True, slots=True)
class SiteLimits:
    """What a listener's connections may take.

    :param head_timeout: seconds for a request's head, and again for its body
    :param max_body: bytes of a request's body that are read
    :param max_awaited: connections that may owe the rest of a request, and that may be kept for the next one
    :param proxies: how many in front are believed (``TRUST_PROXY``)
    :param max_head: bytes of a request's head, the ends of its lines not counted
    """

    head_timeout: float
    max_body: int
    max_awaited: int = MAX_AWAITED
    proxies: int = 0
    max_head: int = MAX_HEAD


class ClientSite(Site):
    """A listener's HTTP side.

    :param routes: says what each request is
    :param clock: for time-outs
    :param limits: what connections may take
    :param bodies: budget of what is kept while it arrives
    """

    noisy = False

    def __init__(self, routes: Routes, clock: IReactorTime, limits: SiteLimits, bodies: Budget | None = None) -> None:
        # Which resource renders a request is said by the routes; see getResourceFor().
        super().__init__(Resource(), requestFactory=PageRequest, reactor=clock, parsePOSTFormSubmission=False)
        self.clock = clock
        self.decide = routes.decide
        self.max_body = limits.max_body
        self.max_head = limits.max_head
        #: Where the end of a head is looked for.
        self.searched = limits.max_head + ENDS
        self.proxies = limits.proxies
        #: Header lines that came before.
        self.known = KnownFields()
        #: How many requests were answered without being read to the end, by status.
        self.refused: defaultdict[int, int] = defaultdict(int)
        self.bodies = bodies or Budget(1 << 26)
        most = limits.max_awaited
        #: Whose request is awaited, or its rest.
        self.awaiting = Deadlines(clock, limits.head_timeout, Channel.too_late, most, Channel.evict)
        #: Whose requests are all answered: whoever is kept, nobody knows what for.
        self.idle = Deadlines(clock, _IDLE, Channel.idle_too_long, most, Channel.evict)
        #: Who was refused and still sends.
        self.lingering = Deadlines(clock, LINGER, Channel.cut_off, _MAX_LINGERING, Channel.cut_off)
        #: Who is told the end, and has something to read before it. Most are gone in the reactor's next turn.
        self.closing = Deadlines(clock, LINGER, Channel.cut_off)
        # What is the same for all connections of a site stands in their class, not in each of them.
        same = {"__slots__": (), "site": self, "factory": self}
        self._channel = cast(type[Channel], type(Channel.__name__, (Channel,), same))

    @property
    def awaited(self) -> int:
        """How many connections owe a request, or its rest."""
        return len(self.awaiting)

    def buildProtocol(self, addr: IAddress | None) -> Any:  # noqa: ARG002 - IProtocolFactory's signature
        """A connection is being made."""
        return self._channel()

    def getResourceFor(self, request: Any) -> IResource:
        """:returns: what renders a request: the resource that the routes chose, or a child of it"""
        request.site = self
        request.sitepath = copy(request.prepath)
        return cast(IResource, getChildForRequest(request.root, request))

    def too_long(self) -> Response:
        """:returns: the answer to a chunked body that outgrew the limit"""
        return json_response(413, "MESSAGE_TOO_LONG", f"a message may have {self.max_body} bytes (WS_MAX_MESSAGE)")

    def startFactory(self) -> None:
        """No access log: it would show keys. No timer for its dates either."""

    def stopFactory(self) -> None:
        """Nothing was started."""

    def log(self, request: Any) -> None:
        """No access log."""
