"""A listener's HTTP side: what its channels have in common, and what they share (limits, queues, counts)."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Protocol

from twisted.internet.interfaces import IAddress, IProtocol, IReactorTime
from twisted.web.resource import IResource
from twisted.web.server import Site

from wsaas.limits import Budget, Queue
from wsaas.net.http1.channel import Channel
from wsaas.net.http1.judged_request import JudgedRequest
from wsaas.net.http1.messages import RequestHead, Response, json_response

#: How many refused connections may be read on for a while, so that they see their answers.
_MAX_LINGERING = 256
#: How many connections may owe the rest of a request, and how many may be kept for the next one, if the site is not
#: told otherwise.
MAX_AWAITED = 1024


class Judge(Protocol):
    """Decides on requests by their heads."""

    def judge(self, head: RequestHead) -> Response | None:
        """:returns: the answer to a request that cannot succeed; :data:`None` if its body may be read"""


class Lane(Protocol):
    """A short way for requests that are easily recognised; see :class:`wsaas.net.http1.push_lane.PushLane`."""

    def take(self, data: bytes) -> tuple[bytes, int, int, bool]:
        """Answer the leading run of such requests, up to the first that is refused.

        :returns: the answers, how many bytes are used up, how long the next request is if its rest should be waited
            for, else 0, and whether the last one was refused
        """


class Lobby(Protocol):
    """Where connections begin, before they are channels; see :class:`wsaas.net.http1.handshake_lane.HandshakeLane`."""

    def arrival(self, site: ClientSite) -> IProtocol:
        """:returns: the protocol of a new connection"""

    def __len__(self) -> int:
        """:returns: of how many connections nothing was heard yet"""


class ClientSite(Site):
    """A listener's HTTP side.

    :param root: the resource that answers
    :param judge: judges heads before their bodies are read
    :param reactor: for time-outs
    :param head_timeout: seconds for a request's head, and again for its body; 0: no limit
    :param max_body: bytes of a request's body that are read
    :param lane: a short way for some requests
    :param lobby: where connections begin; as channels at once, if there is none
    :param bodies: budget of what is kept while it arrives
    :param max_awaited: connections that may owe the rest of a request, and that may be kept for the next one
    :param proxies: how many in front are believed (``TRUST_PROXY``)
    """

    noisy = False

    def __init__(
        self,
        root: IResource,
        judge: Judge,
        reactor: IReactorTime,
        head_timeout: float,
        max_body: int,
        lane: Lane | None = None,
        lobby: Lobby | None = None,
        bodies: Budget | None = None,
        max_awaited: int = MAX_AWAITED,
        proxies: int = 0,
    ) -> None:
        super().__init__(root, requestFactory=JudgedRequest, reactor=reactor)
        # Site would wrap channels to find out whether HTTP/2 is spoken, which is not.
        vars(self)["protocol"] = Channel
        self.head_timeout = head_timeout
        self.max_body = max_body
        self.judge = judge.judge
        self.lane = lane
        self.proxies = proxies
        self._lobby = lobby
        #: How many requests were answered without being read to the end, by status.
        self.refused: defaultdict[int, int] = defaultdict(int)
        self.bodies = bodies or Budget(1 << 26)
        #: Whose request is awaited, or its rest.
        self.queue = Queue(max_awaited, Channel.dawdles)
        #: Whose requests are all answered: whoever is kept, nobody knows what for.
        self.idle = Queue(max_awaited, Channel.dawdles)
        #: Who was refused and still sends.
        self.lingering = Queue(_MAX_LINGERING, Channel.linger_no_longer)

    @property
    def awaited(self) -> int:
        """How many connections owe a request, or its rest."""
        return len(self.queue) + (0 if self._lobby is None else len(self._lobby))

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A connection is being made."""
        if self._lobby is None or not self.head_timeout:
            # A channel has a time-out of its own, which ends those who never say anything.
            return self.new_channel(addr)
        return self._lobby.arrival(self)

    def new_channel(self, addr: IAddress | None) -> Channel:
        """:returns: a channel that is not connected"""
        channel: Channel = super().buildProtocol(addr)
        return channel

    def too_long(self) -> Response:
        """:returns: the answer to a chunked body that outgrew the limit"""
        return json_response(413, "MESSAGE_TOO_LONG", f"a message may have {self.max_body} bytes (WS_MAX_MESSAGE)")

    def startFactory(self) -> None:
        """No access log: it would show keys. No timer for its dates either."""

    def stopFactory(self) -> None:
        """Nothing was started."""

    def log(self, request: Any) -> None:
        """No access log."""
