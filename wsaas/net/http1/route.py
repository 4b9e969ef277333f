"""What a request may be: what a listener's routes say of it, by its head, once.

Who answers is declared here as this package needs it, and made elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.web.resource import IResource

from wsaas.net.http1.messages import RequestHead, Response


class Answers(Protocol):
    """Answers whole requests by value, such as :class:`wsaas.pushes.resource.PushResource`."""

    def judge(self, head: RequestHead) -> Response | None:
        """:returns: the refusal of a request whose body need not be read for that; :data:`None` if it is to be read"""

    def respond(self, head: RequestHead, body: bytes) -> Response | Deferred[Response]:
        """:returns: the answer to a request, judged before or not; a Deferred of it may be cancelled"""

    def is_trusted(self, head: RequestHead) -> bool:
        """:returns: whether who asks has shown a secret, so that what is refused is no attack"""

    def missed(self, head: RequestHead, response: Response) -> None:
        """Take note that a request was refused while its body came, so that it was not asked for an answer."""


class Visitor(Protocol):
    """Who asks for another protocol: a connection whose first request, or any other, is a handshake."""

    head: Any

    def answer(self, response: Response) -> None:
        """Refuse it; the connection may carry other requests."""

    def detach(self) -> tuple[Any, bytes]:
        """Give the socket away.

        :returns: the transport, without a producer, and what arrived behind the request
        """


class Attempt(Protocol):
    """One handshake, while it is decided about."""

    def begin(self) -> None:
        """Have it decided."""

    def left(self) -> None:
        """The client went away."""


class Handshakes(Protocol):
    """Takes sockets over, such as :class:`wsaas.websocket.upgrade.UpgradeResource`."""

    def attempt(self, visitor: Visitor) -> Attempt | Response:
        """:returns: what decides about a handshake and tells the visitor; or why it is refused at once"""


@dataclass(frozen=True, slots=True)
class ByValue:
    """The request is answered by value, once its body is there.

    :param answers: who answers
    :param max_body: bytes of its body that are read, if not as many as of all others on the site
    :param too_long: the answer to a chunked body that outgrows them
    """

    answers: Answers
    max_body: int | None = None
    too_long: Response | None = None


@dataclass(frozen=True, slots=True)
class HandOver:
    """The request is a handshake, which has no body."""

    handshakes: Handshakes


@dataclass(frozen=True, slots=True)
class Page:
    """The request is for a Resource of twisted.web's, once its body is there."""

    resource: IResource


#: What a request is; a response is its refusal.
Route = ByValue | HandOver | Page | Response


class Routes(Protocol):
    """Who answers what on a listener."""

    def decide(self, head: RequestHead) -> Route:
        """:returns: what a request is, by its head; nobody else decides that again"""
