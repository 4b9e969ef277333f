"""Who answers what: handshake, push, page or refusal, decided once, by a request's head (protocol §3 and §4)."""

from __future__ import annotations

from twisted.web.resource import IResource

from wsaas.connections.identity import is_key
from wsaas.net.http1.messages import RequestHead, json_response, text_response
from wsaas.net.http1.route import Answers, ByValue, HandOver, Page, Route
from wsaas.pushes.resource import PushResource, key_of
from wsaas.websocket.handshake import is_handshake
from wsaas.websocket.upgrade import UpgradeResource

_HANDSHAKE_WITH_BODY = text_response(400, "a handshake has no body")
_HANDSHAKE_WITHOUT_PATH = text_response(400, "a handshake needs a path")
_NO_PUSHES = json_response(
    405, "METHOD_NOT_ALLOWED", "pushes have a listener of their own (PUSH_LISTEN)", [(b"Allow", b"GET")]
)
_NO_HANDSHAKE = text_response(
    426,
    "this is a WebSocket gateway; connect with a WebSocket client",
    [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")],
)


class ClientRoutes:
    """What clients reach: handshakes on any path, pushes unless they have a listener of their own.

    :param upgrade: lets clients in
    :param pushes: answers pushes; :data:`None` if they have a listener of their own
    :param pages: what a plain GET or HEAD finds; without it there is nothing to see
    :param health: a path at which load balancers ask whether clients are let in, and who answers
    """

    def __init__(
        self,
        upgrade: UpgradeResource,
        pushes: PushResource | None,
        pages: IResource | None = None,
        health: tuple[bytes, Answers] | None = None,
    ) -> None:
        self._handshake = HandOver(upgrade)
        self._push: Route = _NO_PUSHES if pushes is None else ByValue(pushes)
        self._page = None if pages is None else Page(pages)
        self._health = {} if health is None else {health[0]: ByValue(health[1])}

    def decide(self, head: RequestHead) -> Route:
        """Choose by the head; answer at once what nobody is there for."""
        method = head.method
        if method == b"GET" and is_handshake(head):
            # Its body, if it claims to have one, is not for reading.
            if head.length != 0:
                return _HANDSHAKE_WITH_BODY
            return self._handshake if head.target != b"*" else _HANDSHAKE_WITHOUT_PATH
        # PUT and DELETE have no other use here; for the other methods the last segment must look like a key.
        if method in (b"PUT", b"DELETE") or is_key(key_of(head)):
            return self._push
        if method in (b"GET", b"HEAD") and head.length == 0:
            return self._health.get(head.path) or self._page or _NO_HANDSHAKE
        return _NO_HANDSHAKE


class PushRoutes:
    """What pushers reach on a listener of their own: every request is a push.

    :param pushes: answers them
    """

    def __init__(self, pushes: PushResource) -> None:
        self._push = ByValue(pushes)

    def decide(self, head: RequestHead) -> Route:  # noqa: ARG002 - the interface's signature
        """There is one choice."""
        return self._push
