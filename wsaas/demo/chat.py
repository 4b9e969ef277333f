"""The demo's API: a chat behind the gateway, written like any other back end.

It gets POST, PUT and DELETE from the gateway, and sends messages to clients with ``PUT ws_uri``. It knows nothing of
WebSocket. Clients get JSON, one object per message, with a ``type``: ``welcome`` for a newcomer; ``joined``, ``left``
and ``chat`` for all.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from twisted.internet.defer import Deferred, DeferredLock, DeferredSemaphore, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import BAD_REQUEST, NOT_FOUND, OK
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from wsaas.callbacks.client import ApiClient
from wsaas.demo.traffic import Exchange, HeaderList, Traffic
from wsaas.errors import CallbackFailed

_ADJECTIVES: Final = (
    "Amber", "Brisk", "Calm", "Clever", "Copper", "Coral", "Gentle", "Golden", "Happy", "Indigo", "Jolly",
    "Lucky", "Mellow", "Misty", "Quiet", "Rapid", "Rusty", "Silver", "Sunny", "Teal",
)  # fmt: skip
_ANIMALS: Final = (
    "Badger", "Beaver", "Crane", "Dolphin", "Falcon", "Ferret", "Finch", "Fox", "Heron", "Lynx", "Marten",
    "Newt", "Otter", "Owl", "Panda", "Puffin", "Raven", "Robin", "Seal", "Wren",
)  # fmt: skip

#: A name that a client may choose (``/chat?name=``): it is kept in Ws-State, which must be printable ASCII.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,23}")

#: Characters of one chat message. Even escaped as JSON it is far below any sensible WS_MAX_MESSAGE.
MAX_TEXT: Final = 2000

#: How many members the welcome lists.
_MAX_LISTED: Final = 50

#: How many Ws-Ids are remembered, to recognise repeated callbacks.
_MAX_RECENT: Final = 1000


@dataclass(eq=False)
class _Member:
    """One client of the chat.

    :ivar turn: serialises the pushes to this client, so that it gets messages in order
    """

    name: str
    ws_uri: str
    turn: DeferredLock = field(default_factory=DeferredLock)


class ChatApi(Resource):
    """Answers the gateway's callbacks, and pushes messages to the members of the chat.

    :param client: makes the pushes
    :param traffic: records callbacks, and pushes that did not arrive
    :param random: chooses names
    :param max_pushes: how many pushes are on the wire at once
    """

    isLeaf = True
    log = Logger()

    def __init__(
        self,
        client: ApiClient,
        traffic: Traffic,
        random: Random,
        *,
        max_pushes: int = 16,
    ) -> None:
        super().__init__()
        self._client = client
        self._traffic = traffic
        self._random = random
        self._slots = DeferredSemaphore(max_pushes)
        self._members: dict[str, _Member] = {}
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._running: set[Deferred[None]] = set()

    @property
    def members(self) -> dict[str, str]:
        """The name of each member, by its ``ws_uri``."""
        return {member.ws_uri: member.name for member in self._members.values()}

    def close(self) -> None:
        """Cancel pending pushes."""
        for running in list(self._running):
            running.cancel()

    def render_POST(self, request: Request) -> bytes | int:
        """Let a client in: it asks to connect.

        :param request: the callback
        :returns: the answer
        """
        exchange, ws_uri, _ = self._begin(request)
        if ws_uri is None:
            return self._refuse(request, exchange)
        if not self._is_repeated(request):
            newcomer = self._join(ws_uri, _wanted_name(request))
            others = [member for member in self._members.values() if member is not newcomer]
            # The pages show ws_uri because this demo is about it. It is a credential: anyone who has it can push to the
            # client and close it. A real API never sends it to a client.
            listed = [{"name": m.name, "ws_uri": m.ws_uri} for m in others[:_MAX_LISTED]]
            welcome = {"type": "welcome", "name": newcomer.name, "ws_uri": ws_uri, "members": listed}
            self._start(self._fan_out([newcomer], welcome))
            self._start(self._fan_out(others, {"type": "joined", "name": newcomer.name, "ws_uri": ws_uri}))
        member = self._members.get(ws_uri)
        # With Ws-State the gateway keeps the name and sends it along with all that this client does.
        return self._answer(request, exchange, state=member.name if member else None)

    def render_PUT(self, request: Request) -> bytes | int:
        """Send a client's message to all members.

        The answer waits until the message was sent to all. The gateway sends the client's next message only then, so
        that its messages cannot overtake each other, nor come faster than all members receive them.

        :param request: the callback
        :returns: the answer, or ``NOT_DONE_YET``
        """
        exchange, ws_uri, body = self._begin(request)
        if ws_uri is None:
            return self._refuse(request, exchange)
        if self._is_repeated(request):
            return self._answer(request, exchange)
        sender = self._members.get(ws_uri)
        if sender is None:  # this API was restarted, or believed the client gone
            sender = self._join(ws_uri, request.getHeader("Ws-State") or "")
        chat = {"type": "chat", "name": sender.name, "text": _text(request, body)}
        sent = self._start(self._fan_out(list(self._members.values()), chat))
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)

        def answer(_: object) -> None:
            data = self._answer(request, exchange)
            if not gone:
                request.write(data)
                request.finish()

        sent.addBoth(answer)
        return NOT_DONE_YET

    def render_DELETE(self, request: Request) -> bytes | int:
        """Tell the others that a client is gone.

        A DELETE may come for an unknown client (protocol §2.1): an earlier push may have found it gone.

        :param request: the callback
        :returns: the answer
        """
        exchange, ws_uri, _ = self._begin(request)
        if ws_uri is None:
            return self._refuse(request, exchange)
        repeated = self._is_repeated(request)
        member = self._members.pop(ws_uri, None)
        name = member.name if member else request.getHeader("Ws-State")
        if name and not repeated:
            left = {
                "type": "left",
                "name": name,
                "ws_uri": ws_uri,
                "code": request.getHeader("Ws-Close-Code"),
                "reason": unquote(request.getHeader("Ws-Close-Reason") or ""),
                "by": request.getHeader("Ws-Closed-By"),
            }
            self._start(self._fan_out(list(self._members.values()), left))
        return self._answer(request, exchange)

    # -- callbacks -------------------------------------------------------------------------------------------

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

    def _answer(self, request: Request, exchange: Exchange, *, state: str | None = None) -> bytes:
        headers: HeaderList = [("Content-Type", "application/json")]
        if state is not None:
            headers.append(("Ws-State", state))
        return self._complete(request, exchange, OK, headers, {"code": "OK"})

    def _refuse(self, request: Request, exchange: Exchange) -> bytes:
        fault = {
            "code": "BAD_REQUEST",
            "message": "The header Ws-Uri is missing: only the gateway calls this API.",
        }
        return self._complete(request, exchange, BAD_REQUEST, [("Content-Type", "application/json")], fault)

    def _complete(
        self, request: Request, exchange: Exchange, status: int, headers: HeaderList, answer: dict[str, str]
    ) -> bytes:
        body = json.dumps(answer).encode("ascii")
        request.setResponseCode(status)
        for name, value in headers:
            request.setHeader(name, value)
        request.setHeader("Content-Length", str(len(body)))
        self._traffic.answered(exchange, status, headers, body)
        return body

    def _is_repeated(self, request: Request) -> bool:
        """:returns: whether the gateway repeats a call, under the same Ws-Id, as it got no answer (protocol §2)"""
        ws_id = request.getHeader("Ws-Id")
        if ws_id is None:
            return False
        repeated = ws_id in self._recent
        self._recent[ws_id] = None
        while len(self._recent) > _MAX_RECENT:
            self._recent.popitem(last=False)
        return repeated

    def _join(self, ws_uri: str, wanted: str) -> _Member:
        taken = {member.name for member in self._members.values()}
        name = wanted if _NAME.fullmatch(wanted) else ""
        while not name or name in taken:
            name = f"{self._random.choice(_ADJECTIVES)} {self._random.choice(_ANIMALS)}"
            if name in taken:
                name += f" {self._random.randrange(2, 1000)}"
        member = self._members[ws_uri] = _Member(name, ws_uri)
        return member

    # -- pushes ----------------------------------------------------------------------------------------------

    def _start(self, work: Coroutine[Deferred[Any], Any, None]) -> Deferred[None]:
        """Run a coroutine that may outlive its callback; :meth:`close` cancels it."""
        running = Deferred.fromCoroutine(work)
        self._running.add(running)

        def ended(result: Failure | None) -> None:
            self._running.discard(running)
            if isinstance(result, Failure):
                self.log.failure("demo: a push failed unexpectedly", result)

        running.addBoth(ended)
        return running

    async def _fan_out(self, members: list[_Member], message: Mapping[str, object]) -> None:
        body = json.dumps(message, ensure_ascii=False).encode()
        await gatherResults([Deferred.fromCoroutine(self._push(member, body)) for member in members])

    async def _push(self, member: _Member, body: bytes) -> None:
        await member.turn.acquire()
        try:
            await self._slots.acquire()
            try:
                if self._members.get(member.ws_uri) is member:
                    await self._put(member, body)
            finally:
                self._slots.release()
        finally:
            member.turn.release()

    async def _put(self, member: _Member, body: bytes) -> None:
        # A ws_uri begins with WS_HOSTNAME, which may have no scheme.
        url = member.ws_uri if "://" in member.ws_uri else f"http://{member.ws_uri}"
        try:
            answer = await self._client.put(url, body, headers=Headers({b"Content-Type": [b"application/json"]}))
        except CallbackFailed as error:
            # RecordedPushes records the pushes that arrive; this one did not, or that is unknown.
            exchange = self._traffic.begin("push", "PUT", member.ws_uri, [("Content-Type", "application/json")], body)
            self._traffic.failed(exchange, error.reason)
            return
        if answer.status == NOT_FOUND and self._members.get(member.ws_uri) is member:
            del self._members[member.ws_uri]


def _pairs(raw: Iterable[tuple[bytes, Sequence[bytes]]]) -> HeaderList:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, values in raw for value in values]


def _wanted_name(request: Request) -> str:
    """:returns: the name that a returning page asks for (``/chat?name=…``)"""
    query = urlsplit(request.getHeader("Ws-Path") or "").query
    return parse_qs(query).get("name", [""])[0]


def _text(request: Request, body: bytes) -> str:
    """:returns: the client's message as text"""
    if (request.getHeader("Content-Type") or "").startswith("application/octet-stream"):
        return f"(a binary message of {len(body)} bytes)"
    return body.decode("utf-8", "replace")[:MAX_TEXT]
