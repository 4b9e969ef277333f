"""The demo's API: a chat behind the gateway, written like any other back end.

It gets POST, PUT and DELETE from the gateway, and calls nobody: its answers put each client into a group (``Ws-Join``)
and send messages to all of it (``Ws-Publish``). It knows nothing of WebSocket. Clients get JSON, one object per
message, with a ``type``: ``joined``, ``left`` and ``chat``.

The page's first message is empty. It says "here I am": the answer to a POST cannot publish, and only a client that is
in the group already hears of everybody who comes after it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Final
from urllib.parse import parse_qs, quote, unquote

from twisted.web.http import BAD_REQUEST, OK
from twisted.web.resource import Resource
from twisted.web.server import Request

from wsaas.demo.traffic import Exchange, HeaderList, Traffic

_ADJECTIVES: Final = (
    "Amber", "Brisk", "Calm", "Clever", "Copper", "Coral", "Gentle", "Golden", "Happy", "Indigo", "Jolly",
    "Lucky", "Mellow", "Misty", "Quiet", "Rapid", "Rusty", "Silver", "Sunny", "Teal",
)  # fmt: skip
_ANIMALS: Final = (
    "Badger", "Beaver", "Crane", "Dolphin", "Falcon", "Ferret", "Finch", "Fox", "Heron", "Lynx", "Marten",
    "Newt", "Otter", "Owl", "Panda", "Puffin", "Raven", "Robin", "Seal", "Wren",
)  # fmt: skip

#: The group of all clients.
_GROUP: Final = "chat"

#: A name that a client may choose (``/chat?name=``).
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,23}")

#: Characters of one chat message. Even escaped as JSON it is far below any sensible WS_MAX_MESSAGE.
MAX_TEXT: Final = 2000

#: How many members a newcomer is told of.
_MAX_LISTED: Final = 50


class ChatApi(Resource):
    """Answers the gateway's callbacks. It keeps the names of those who are here, for newcomers; no message needs them.

    It need not recognise a repeated call (protocol §2): the gateway repeats one whose answer it did not get, so nothing
    of that was carried out.

    :param traffic: records callbacks
    :param random: chooses names
    """

    isLeaf = True

    def __init__(self, traffic: Traffic, random: Random) -> None:
        super().__init__()
        self._traffic = traffic
        self._random = random
        #: The name of each member, by its ``ws_uri``.
        self.members: dict[str, str] = {}

    def render_POST(self, request: Request) -> bytes:
        """Let a client in: it asks to connect.

        :param request: the callback
        :returns: the answer
        """
        exchange, ws_uri, _ = self._begin(request)
        if ws_uri is None:
            return self._refuse(request, exchange)
        if ws_uri not in self.members:
            self.members[ws_uri] = self._choose(_asked(request, "name"))
        # With Ws-User the gateway keeps the name and sends it along with all that this client does.
        asks = [("Ws-User", quote(self.members[ws_uri], safe="")), ("Ws-Join", _GROUP)]
        return self._complete(request, exchange, OK, asks, {"code": "OK"})

    def render_PUT(self, request: Request) -> bytes:
        """Send a client's message to everybody; one that is empty says that the client is here.

        :param request: the callback
        :returns: the answer
        """
        exchange, ws_uri, body = self._begin(request)
        if ws_uri is None:
            return self._refuse(request, exchange)
        # The pages show ws_uri because this demo is about it. It is a credential: anyone who has it can push to the
        # client and close it. A real API never sends it to a client.
        message: dict[str, object] = {"type": "chat", "name": self._name(ws_uri, request), "ws_uri": ws_uri}
        if body:
            message["text"] = _text(request, body)
        else:
            others = [{"name": name, "ws_uri": uri} for uri, name in self.members.items() if uri != ws_uri]
            # By its own word for itself the newcomer finds out which name and ws_uri are its own.
            message |= {"type": "joined", "tab": _asked(request, "tab"), "members": others[:_MAX_LISTED]}
        return self._publish(request, exchange, message)

    def render_DELETE(self, request: Request) -> bytes:
        """Tell the others that a client is gone.

        A DELETE may come for an unknown client (protocol §2.1), such as one of before a restart.

        :param request: the callback
        :returns: the answer
        """
        exchange, ws_uri, _ = self._begin(request)
        if ws_uri is None:
            return self._refuse(request, exchange)
        name = self._name(ws_uri, request)
        self.members.pop(ws_uri, None)
        if not name:
            return self._complete(request, exchange, OK, [], {"code": "OK"})
        left = {
            "type": "left",
            "name": name,
            "ws_uri": ws_uri,
            "code": request.getHeader("Ws-Close-Code"),
            "reason": unquote(request.getHeader("Ws-Close-Reason") or ""),
            "by": request.getHeader("Ws-Closed-By"),
        }
        return self._publish(request, exchange, left)

    def _begin(self, request: Request) -> tuple[Exchange, str | None, bytes]:
        body: bytes = request.content.read() if request.content else b""
        exchange = self._traffic.begin(
            "callback",
            request.method.decode("ascii"),
            request.uri.decode("ascii", "replace"),
            _pairs(request.requestHeaders.getAllRawHeaders()),
            body,
        )
        return exchange, request.getHeader("Ws-Uri"), body

    def _publish(self, request: Request, exchange: Exchange, message: Mapping[str, object]) -> bytes:
        return self._complete(request, exchange, OK, [("Ws-Publish", f"text groups/{_GROUP}")], message)

    def _refuse(self, request: Request, exchange: Exchange) -> bytes:
        fault = {
            "code": "BAD_REQUEST",
            "message": "The header Ws-Uri is missing: only the gateway calls this API.",
        }
        return self._complete(request, exchange, BAD_REQUEST, [], fault)

    def _complete(
        self, request: Request, exchange: Exchange, status: int, asks: HeaderList, answer: Mapping[str, object]
    ) -> bytes:
        body = json.dumps(answer, ensure_ascii=False).encode()
        headers = [("Content-Type", "application/json"), *asks]
        request.setResponseCode(status)
        for name, value in headers:
            request.setHeader(name, value)
        request.setHeader("Content-Length", str(len(body)))
        self._traffic.answered(exchange, status, headers, body)
        return body

    def _name(self, ws_uri: str, request: Request) -> str:
        """:returns: of a client; of one of before a restart, what the gateway remembers"""
        return self.members.get(ws_uri) or unquote(request.getHeader("Ws-User") or "")

    def _choose(self, wanted: str) -> str:
        taken = set(self.members.values())
        name = wanted if _NAME.fullmatch(wanted) else ""
        while not name or name in taken:
            name = f"{self._random.choice(_ADJECTIVES)} {self._random.choice(_ANIMALS)}"
            if name in taken:
                name += f" {self._random.randrange(2, 1000)}"
        return name


def _pairs(raw: Iterable[tuple[bytes, Sequence[bytes]]]) -> HeaderList:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, values in raw for value in values]


def _asked(request: Request, name: str) -> str:
    """:returns: what a page asks for in its URL (``/chat?name=…``)"""
    query = (request.getHeader("Ws-Path") or "").partition("?")[2]
    return parse_qs(query).get(name, [""])[0]


def _text(request: Request, body: bytes) -> str:
    """:returns: the client's message as text"""
    if (request.getHeader("Content-Type") or "").startswith("application/octet-stream"):
        return f"(a binary message of {len(body)} bytes)"
    return body.decode("utf-8", "replace")[:MAX_TEXT]
