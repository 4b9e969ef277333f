"""Who answers what: handshake, push, page or refusal, decided once, by a request's head (protocol §3 and §4)."""

from __future__ import annotations

from twisted.web.resource import IResource

from wsaas.connections.identity import KEY_LENGTH, is_key
from wsaas.net.http1.messages import RequestHead, json_response, text_response
from wsaas.net.http1.route import Answers, ByValue, HandOver, Page, Route
from wsaas.pushes.named import NamedResource
from wsaas.pushes.paths import Form, Path, read_named
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


#: Characters of a path that is nothing but a key, and what such a path does not have: as a number it is found faster.
_LONE_KEY, _QUERY = KEY_LENGTH + 1, ord("?")


class _ByName:
    """Requests by name, each with the bound of its body.

    :param named: answers them
    """

    def __init__(self, named: NamedResource) -> None:
        self._named = named
        self._usual = ByValue(named)
        self._batch = ByValue(named, named.max_batch, named.too_long())

    def route(self, path: Path) -> Route:
        """:returns: who answers"""
        return self._batch if path.form is Form.BATCH else self._usual

    def exists(self, head: RequestHead, path: Path) -> bool:
        """Tell whether there is such a request at all; if not, the log names the setting for it."""
        there = self._named.exists(head.method, path)
        if not there:
            self._named.tell_missing()
        return there


class ClientRoutes:
    """What clients reach: handshakes on any path, pushes unless they have a listener of their own.

    :param upgrade: lets clients in
    :param pushes: answer pushes to a ``ws_uri``, and by name
    :param pushed_here: whether they do so on this listener, as they have none of their own
    :param pages: what a plain GET or HEAD finds; without it there is nothing to see
    :param health: a path at which load balancers ask whether clients are let in, and who answers
    """

    def __init__(
        self,
        upgrade: UpgradeResource,
        pushes: tuple[PushResource, NamedResource],
        pushed_here: bool,
        pages: IResource | None = None,
        health: tuple[bytes, Answers] | None = None,
    ) -> None:
        self._handshake = HandOver(upgrade)
        self._pushed_here = pushed_here
        self._push: Route = ByValue(pushes[0]) if pushed_here else _NO_PUSHES
        self._by_name = _ByName(pushes[1])
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
        target = head.target
        # What nearly every push is needs no call: a key, and nothing before or behind it.
        plain = len(target) == _LONE_KEY and not target.rfind(b"/") and _QUERY not in target
        path = None if plain else read_named(target)
        if path is not None:
            if self._by_name.exists(head, path) or method in (b"PUT", b"DELETE"):
                return self._by_name.route(path) if self._pushed_here else _NO_PUSHES
            return self._others(head)
        # PUT and DELETE have no other use here; for the other methods the last segment must look like a key.
        if method in (b"PUT", b"DELETE") or is_key(key_of(head)):
            return self._push
        return self._others(head)

    def _others(self, head: RequestHead) -> Route:
        if head.method in (b"GET", b"HEAD") and head.length == 0:
            return self._health.get(head.path) or self._page or _NO_HANDSHAKE
        return _NO_HANDSHAKE


class PushRoutes:
    """What pushers reach on a listener of their own: every request is a push.

    :param pushes: answer those to a ``ws_uri``, and those by name
    """

    def __init__(self, pushes: tuple[PushResource, NamedResource]) -> None:
        self._push = ByValue(pushes[0])
        self._by_name = _ByName(pushes[1])

    def decide(self, head: RequestHead) -> Route:
        """Choose by the path."""
        target = head.target
        if len(target) == _LONE_KEY and not target.rfind(b"/") and _QUERY not in target:
            return self._push
        path = read_named(target)
        return self._push if path is None else self._by_name.route(path)
