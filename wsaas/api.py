"""The API's side of the gateway: a connection's POST, PUTs and DELETE (protocol §2)."""

from __future__ import annotations

import json
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLongError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.http_headers import Headers

from wsaas import __version__
from wsaas.answers import NO_ROUTE, Answer, is_settled, read_grant, read_outcome
from wsaas.client import ApiClient
from wsaas.errors import CallbackFailed, NoSlot
from wsaas.handshake import Handshake
from wsaas.identity import Identity
from wsaas.messages import End, Grant, Message, Outcome
from wsaas.settings import ApiSettings
from wsaas.slots import Slots

_USER_AGENT = f"wsaas/{__version__}".encode("ascii")


class Api:
    """The user's API.

    :param client: makes the calls
    :param slots: how many at once
    :param clock: for times and time limits
    :param settings: what callbacks look like
    """

    _log = Logger()

    def __init__(self, client: ApiClient, slots: Slots, clock: IReactorTime, settings: ApiSettings) -> None:
        self.client = client
        self.slots = slots
        self.clock = clock
        self.settings = settings
        #: DELETEs that the API did not take.
        self.lost_goodbyes = 0
        self._warned_of_route = False

    def calls(self, identity: Identity, handshake: Handshake) -> ApiCalls:
        """:returns: the callbacks of one connection"""
        return ApiCalls(self, identity, handshake)

    def judge_goodbye(self, tag: str, answer: Answer) -> None:
        """Look whether a DELETE was taken; say so if not."""
        if is_settled(answer):
            return
        if answer.status in NO_ROUTE:
            if not self._warned_of_route:
                self._warned_of_route = True
                self._log.warn(
                    "the API answers DELETE with {status}: it is not told which connections are over",
                    status=answer.status,
                )
            return
        self.lose_goodbye(tag, f"the API answered {answer.status}")

    def lose_goodbye(self, tag: str, reason: str) -> None:
        """A DELETE is given up."""
        self.lost_goodbyes += 1
        self._log.error(
            "{tag} the API was not told that the connection is over: {reason}",
            tag=tag,
            reason=reason,
            lost_goodbyes=self.lost_goodbyes,
        )


class ApiCalls:
    """The callbacks of one connection; see :class:`wsaas.interfaces.Calls`.

    :param api: whose calls they are
    :param identity: the connection's names
    :param handshake: what its client asked for
    """

    __slots__ = ("_api", "_headers", "_identity", "_protocols")

    _log = Logger()

    def __init__(self, api: Api, identity: Identity, handshake: Handshake) -> None:
        self._api = api
        self._identity = identity
        self._protocols = handshake.protocols
        self._headers = _common_headers(identity, handshake, api.settings.headers)

    def connect(self) -> Deferred[Grant]:
        """POST: a client asks to connect."""
        return Deferred.fromCoroutine(self._connect())

    def message(self, number: int, message: Message, state: str | None) -> Deferred[Outcome]:
        """PUT: the client sent a message."""
        return Deferred.fromCoroutine(self._message(number, message, state))

    def disconnect(self, end: End, undelivered: int, state: str | None) -> Deferred[None]:
        """DELETE: the connection is over."""
        return Deferred.fromCoroutine(self._disconnect(end, undelivered, state))

    async def _connect(self) -> Grant:
        api, timeout = self._api, self._api.settings.timeout
        began = api.clock.seconds()
        try:
            await api.slots.acquire("POST").addTimeout(timeout, api.clock)
        except WaitedTooLongError:
            raise NoSlot("no slot of API_MAX_REQUESTS came free in time") from None
        try:
            headers = self._headers_for("0", None)
            headers.setRawHeaders(b"Content-Type", [b"application/json"])
            body = json.dumps({"ws_uri": self._identity.ws_uri}).encode("ascii")
            left = timeout - (api.clock.seconds() - began)
            answer = await api.client.call("POST", headers, body, max(left, 0.001))
        finally:
            api.slots.release("POST")
        grant = read_grant(answer, self._protocols)
        if grant.protocol is None and len(self._protocols) > 1:
            self._log.warn(
                "{tag} the client offers several subprotocols and the API chose none: browsers will drop the "
                "connection. Answer the POST with Sec-WebSocket-Protocol: one of {offered}",
                tag=self._identity.tag,
                offered=", ".join(self._protocols),
            )
        return grant

    async def _message(self, number: int, message: Message, state: str | None) -> Outcome:
        api = self._api
        headers = self._headers_for(str(number), state)
        kind = "application/octet-stream" if message.binary else api.settings.text_type
        headers.setRawHeaders(b"Content-Type", [kind.encode("ascii")])
        await api.slots.acquire("PUT")
        try:
            answer = await api.client.call("PUT", self._stamped(headers), message.payload)
        finally:
            api.slots.release("PUT")
        return read_outcome(answer)

    async def _disconnect(self, end: End, undelivered: int, state: str | None) -> None:
        api, tag = self._api, self._identity.tag
        headers = self._headers_for("end", state)
        headers.setRawHeaders(b"Ws-Close-Code", [b"%d" % end.close.code])
        if end.close.reason:
            headers.setRawHeaders(b"Ws-Close-Reason", [quote(end.close.reason, safe="").encode("ascii")])
        headers.setRawHeaders(b"Ws-Closed-By", [end.by.value.encode("ascii")])
        if undelivered:
            headers.setRawHeaders(b"Ws-Undelivered", [b"%d" % undelivered])
        await api.slots.acquire("DELETE")
        try:
            answer = await api.client.call("DELETE", self._stamped(headers), None)
        except CallbackFailed as error:
            api.lose_goodbye(tag, error.reason)
        else:
            api.judge_goodbye(tag, answer)
        finally:
            api.slots.release("DELETE")

    def _headers_for(self, call: str, state: str | None) -> Headers:
        headers = self._headers.copy()
        headers.setRawHeaders(b"Ws-Id", [f"{self._identity.tag}-{call}".encode("ascii")])
        if state:
            headers.setRawHeaders(b"Ws-State", [state.encode("ascii")])
        return self._stamped(headers)

    def _stamped(self, headers: Headers) -> Headers:
        """Date an attempt: it may have waited for its slot."""
        headers.setRawHeaders(b"Ws-Timestamp", [b"%d" % self._api.clock.seconds()])
        return headers


def _common_headers(identity: Identity, handshake: Handshake, fixed: tuple[tuple[str, str], ...]) -> Headers:
    """:returns: what all callbacks of a connection have in common"""
    headers = Headers()
    for field, value in handshake.forwarded:
        headers.addRawHeader(field, value)
    for name, _ in fixed:
        headers.removeHeader(name)
    for name, text in fixed:
        headers.addRawHeader(name, text)
    headers.setRawHeaders(b"User-Agent", [_USER_AGENT])
    headers.setRawHeaders(b"Accept-Encoding", [b"identity"])
    headers.setRawHeaders(b"Ws-Uri", [identity.ws_uri.encode("ascii")])
    headers.setRawHeaders(b"Ws-Path", [handshake.target])
    headers.setRawHeaders(b"Ws-Host", [handshake.host])
    headers.setRawHeaders(b"Ws-Scheme", [b"wss" if handshake.secure else b"ws"])
    headers.setRawHeaders(b"X-Forwarded-Proto", [b"https" if handshake.secure else b"http"])
    if handshake.client is not None:
        client = handshake.client.encode("ascii")
        headers.setRawHeaders(b"Ws-Client", [client])
        headers.setRawHeaders(b"X-Forwarded-For", [client])
    if handshake.origin is not None:
        headers.setRawHeaders(b"Ws-Origin", [handshake.origin])
    if handshake.user_agent is not None:
        headers.setRawHeaders(b"Ws-User-Agent", [handshake.user_agent])
    return headers
