"""Who answers what: the resources of our listeners, chosen by a request's head (protocol §3 and §4)."""

from __future__ import annotations

from twisted.web.http import Request
from twisted.web.resource import IResource, Resource

from wsaas.connections.identity import is_key
from wsaas.net.http1.judged_request import JudgedRequest
from wsaas.net.http1.messages import RequestHead, Response, json_response, text_response
from wsaas.pushes.resource import PushResource, key_of
from wsaas.websocket.handshake import is_handshake
from wsaas.websocket.upgrade import UpgradeResource

_UPGRADE = ((b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"))


def is_push(head: RequestHead) -> bool:
    """Tell a push from anything else on a listener that clients share.

    PUT and DELETE have no other use here; for the other methods the last segment must look like a key.
    """
    return head.method in (b"PUT", b"DELETE") or is_key(key_of(head))


class ClientRoot(Resource):
    """What clients reach: handshakes on any path, pushes unless they have a listener of their own.

    :param upgrade: answers handshakes
    :param pushes: answers pushes; :data:`None` if they have a listener of their own
    :param pages: what a plain GET or HEAD finds; without it there is nothing to see
    """

    def __init__(self, upgrade: UpgradeResource, pushes: PushResource | None, pages: IResource | None = None) -> None:
        super().__init__()
        self._upgrade = upgrade
        self._pushes = pushes
        self._pages = pages

    def judge(self, head: RequestHead) -> Response | None:
        """Choose by the head; answer at once what nobody is there for."""
        if is_handshake(head):
            # Its body, if it claims to have one, is not for reading.
            if head.length != 0:
                return text_response(400, "a handshake has no body")
            # twisted.web answers a target of * by itself, with 405.
            return None if head.target != b"*" else text_response(400, "a handshake needs a path")
        if is_push(head):
            if self._pushes is None:
                return json_response(
                    405, "METHOD_NOT_ALLOWED", "pushes have a listener of their own (PUSH_LISTEN)", [(b"Allow", b"GET")]
                )
            return self._pushes.judge(head)
        if self._pages is not None and head.method in (b"GET", b"HEAD") and head.length == 0:
            return None
        return text_response(426, "this is a WebSocket gateway; connect with a WebSocket client", _UPGRADE)

    def getChildWithDefault(self, path: bytes, request: Request) -> IResource:
        """Choose as :meth:`judge` did."""
        assert isinstance(request, JudgedRequest)  # noqa: S101 - for the type checker
        if is_handshake(request.head):
            return self._upgrade
        if is_push(request.head) and self._pushes is not None:
            return self._pushes
        assert self._pages is not None  # noqa: S101 - judge() lets nothing else through
        page: IResource = self._pages.getChildWithDefault(path, request)
        return page


class PushRoot(Resource):
    """What pushers reach on a listener of their own: pushes only.

    :param pushes: answers them
    """

    def __init__(self, pushes: PushResource) -> None:
        super().__init__()
        self._pushes = pushes

    def judge(self, head: RequestHead) -> Response | None:
        """Every request is a push."""
        return self._pushes.judge(head)

    def getChildWithDefault(self, path: bytes, request: Request) -> IResource:  # noqa: ARG002 - IResource's signature
        """There is one child."""
        return self._pushes
