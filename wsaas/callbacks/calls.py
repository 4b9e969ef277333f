"""The API's side of the gateway: a connection's POST, PUTs and DELETE (protocol §2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from json.encoder import encode_basestring_ascii

from twisted.internet.defer import Deferred, fail
from twisted.internet.defer import TimeoutError as WaitedTooLongError
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsaas.callbacks.access import ApiAccess
from wsaas.callbacks.answers import read_grant, read_outcome
from wsaas.callbacks.disconnects import Disconnect, Disconnects, end_lines, groups_lines, remembered_lines
from wsaas.callbacks.publishing import AnswerPublisher
from wsaas.callbacks.signature import make_signer
from wsaas.connections.identity import Identity
from wsaas.connections.interfaces import Waiter
from wsaas.connections.messages import TAKEN, End, Grant, Handshake, Message, Publication, Remembered
from wsaas.connections.retry import Retries, Retry
from wsaas.errors import CallbackFailed, NoSlot, NotTried
from wsaas.groups.names import groups_in
from wsaas.net.http1.headers import EncodedHeaders
from wsaas.net.http1.messages import Answer

#: Seconds after which a client may ask again that was turned away because too many DELETEs are pending.
_PENDING_RETRY_AFTER = 30


class Api:
    """The user's API.

    :param access: how it is called
    :param retries: how messages are tried again
    :param disconnects: makes the DELETEs
    :param publisher: publishes what answers ask for
    """

    def __init__(
        self, access: ApiAccess, retries: Retries, disconnects: Disconnects, publisher: AnswerPublisher
    ) -> None:
        self.client = access.client
        self.slots = access.slots
        self.clock = access.clock
        self.now = access.now
        self.settings = settings = access.settings
        self.breaker = access.breaker
        #: With ``TRACE=on``.
        self.tracer = access.tracer
        self.retries = retries
        self.disconnects = disconnects
        self.publisher = publisher
        #: ``API_HEADERS`` and what else never changes, ready for the wire; and the names of the former, in lower case.
        self.fixed_names = frozenset(name.lower().encode("ascii") for name, _ in settings.headers)
        self.fixed_lines = access.fixed_lines
        self.retry_status = settings.retry_status
        #: The header line of text messages, and that of binary ones.
        self.content_types = tuple(
            b"Content-Type: %b\r\n" % kind.encode("ascii") for kind in (settings.text_type, "application/octet-stream")
        )
        #: With ``API_SECRET``.
        self.signer = make_signer(settings.secrets, settings.webhook_keys)
        #: The last answer that was read as :data:`TAKEN`: the very same, which asks for nothing, often comes again.
        self.taken: Answer | None = None
        #: The line with the time, which is the same for a second.
        self._stamp, self._stamped = b"", -1

    def renew(self, access: ApiAccess) -> None:
        """Use new headers for connections to come, and sign with new secrets from the next attempt on."""
        self.fixed_names = frozenset(name.lower().encode("ascii") for name, _ in access.settings.headers)
        self.fixed_lines = access.fixed_lines
        if self.signer is not None:
            self.signer.renew(access.settings.secrets, access.settings.webhook_keys)

    def calls(self, identity: Identity, handshake: Handshake) -> ApiCalls:
        """:returns: the callbacks of one connection"""
        return ApiCalls(self, identity, handshake)

    def stamp(self) -> bytes:
        """:returns: the end of one header line, and the line that says what time it is"""
        now = int(self.now())
        if now != self._stamped:
            self._stamp, self._stamped = b"\r\nWs-Timestamp: %d\r\n" % now, now
        return self._stamp


class ApiCalls:
    """The callbacks of one connection; see :class:`wsaas.connections.interfaces.Calls`.

    :param api: whose calls they are
    :param identity: the connection's names
    :param handshake: what its client asked for
    """

    __slots__ = ("_api", "_began", "_head", "_identity", "_protocols", "_signer", "_trace", "_waiter")

    _log = Logger()

    def __init__(self, api: Api, identity: Identity, handshake: Handshake) -> None:
        self._api = api
        self._identity = identity
        self._protocols = handshake.protocols
        #: What waits for the answer to the PUT under way, and when that began, in seconds of the clock.
        self._waiter: Waiter | None = None
        self._began = 0.0
        forwarded: Sequence[tuple[bytes, bytes]] = handshake.forwarded
        self._trace = None
        if api.tracer is not None:
            self._trace, forwarded = api.tracer.take_up(forwarded)
        repeated = [field for field in forwarded if field[0].lower() not in api.fixed_names]
        #: What all of them have in common, ready for the wire but for the call's number.
        self._head = b"%bWs-Id: %b-" % (
            _common_lines(identity, handshake, repeated, api.fixed_lines),
            identity.tag.encode("ascii"),
        )
        self._signer = None if api.signer is None else api.signer.for_connection(self._head)

    def connect(self) -> Deferred[Grant]:
        """POST: a client asks to connect."""
        try:
            return self._ask()
        except Exception:  # noqa: BLE001 - the caller tells of it
            return fail()

    def message(self, number: int, message: Message, remembered: Remembered | None, waiter: Waiter) -> None:
        """PUT: the client sent a message. The hot path: no coroutine, and no Deferred but the client's."""
        self._waiter = waiter
        slots = self._api.slots
        if slots.try_acquire("PUT"):
            self._put(None, number, message, remembered)
        else:
            # One for each client, and no longer than an attempt may take: the client is not read meanwhile.
            waiting = slots.acquire("PUT").addTimeout(self._api.settings.timeout, self._api.clock)
            waiting.addCallbacks(self._put, self._not_put, (number, message, remembered)).addErrback(self._put_done)

    def retry(self) -> Retry:
        """:returns: how the message is tried again whose first attempt has just failed"""
        return self._api.retries.begin(self._began)

    def publish(self, publication: Publication, waits: Callable[[], None]) -> Deferred[None]:
        """Publish what the answer to a message asks for."""
        return self._api.publisher.publish(publication, self._identity.tag, waits)

    def disconnect(
        self, end: End, undelivered: int, remembered: Remembered | None, groups: Sequence[str]
    ) -> Deferred[None]:
        """DELETE: the connection is over."""
        lines = [self._head, b"end\r\n"]
        if remembered is not None:
            lines.append(remembered_lines(remembered))
        lines += end_lines(end, undelivered)
        if groups:
            lines.append(groups_lines(groups_in(groups)))
        identity = self._identity
        return self._api.disconnects.send(Disconnect(identity.key, identity.tag, b"".join(lines), self._trace))

    def _ask(self) -> Deferred[Grant]:
        api = self._api
        if api.breaker.is_open and not api.breaker.admits():
            raise NotTried("the API is known to be down", api.breaker.retry_after)
        if api.disconnects.is_full:
            raise NotTried("too many DELETEs to the API are pending", _PENDING_RETRY_AFTER)
        if api.slots.try_acquire("POST"):
            return self._post(None, None)
        # The wait is a part of the time that the client is given (protocol §2.2).
        waiting = api.slots.acquire("POST").addTimeout(api.settings.timeout, api.clock)
        return waiting.addErrback(_no_slot).addCallback(self._post, api.clock.seconds())

    def _post(self, _: None, began: float | None) -> Deferred[Grant]:
        api = self._api
        left = None if began is None else max(api.settings.timeout - (api.clock.seconds() - began), 0.001)
        body = b'{"ws_uri": %b}' % encode_basestring_ascii(self._identity.ws_uri).encode("ascii")
        head = self._head_for(b"POST", b"0", None, b"Content-Type: application/json\r\n", body)
        client = api.client
        return client.post(client.uri, body, headers=EncodedHeaders(head), timeout=left).addBoth(self._asked)

    def _granted(self, answer: Answer) -> Grant:
        # Thousands of names fit in a handshake, and the connection may be open for days.
        offered, self._protocols = self._protocols, ()
        grant = read_grant(answer, offered, self._api.client.uri)
        if grant.protocol is None and len(offered) > 1:
            self._log.warn(
                "{tag} the client offers several subprotocols and the API chose none: browsers will drop the "
                "connection. Answer the POST with Sec-WebSocket-Protocol: one of the {count} in the POST's own",
                tag=self._identity.tag,
                # Not their names: some clients have no better place for a token.
                count=len(offered),
                many="subprotocols",
            )
        return grant

    def _put(self, _: None, number: int, message: Message, remembered: Remembered | None) -> None:
        api = self._api
        payload = message.payload
        head = self._head_for(b"PUT", b"%d" % number, remembered, api.content_types[message.binary], payload)
        self._began = api.clock.seconds()
        client = api.client
        client.put(client.uri, payload, headers=EncodedHeaders(head), done=self._put_done)

    def _not_put(self, failure: Failure) -> None:
        """Pass on that there was no slot; none is held."""
        waiter, self._waiter = self._waiter, None
        assert waiter is not None  # noqa: S101 - for the type checker
        # The time for further attempts begins now.
        self._began = self._api.clock.seconds()
        waiter.unanswered(_no_slot(failure))

    def _put_done(self, result: Answer | Failure) -> None:
        api = self._api
        api.slots.release("PUT")
        waiter, self._waiter = self._waiter, None
        assert waiter is not None  # noqa: S101 - for the type checker
        if isinstance(result, Failure):
            api.breaker.report(result, self._identity.tag)
            waiter.unanswered(result)
            return
        if api.breaker.failures:
            api.breaker.report(result, self._identity.tag)
        if result is api.taken:
            waiter.answered(TAKEN)
            return
        try:
            outcome = read_outcome(result, api.retry_status)
        except CallbackFailed:
            waiter.unanswered(Failure())
        else:
            if outcome is TAKEN and not result.body:
                api.taken = result
            waiter.answered(outcome)

    def _asked(self, result: Answer | Failure) -> Grant | Failure:
        """Pass the slot of a POST to the next, and tell what its result means."""
        api = self._api
        api.slots.release("POST")
        if api.breaker.failures or isinstance(result, Failure):
            api.breaker.report(result, self._identity.tag)
        return result if isinstance(result, Failure) else self._granted(result)

    def _head_for(self, method: bytes, call: bytes, remembered: Remembered | None, more: bytes, body: bytes) -> bytes:
        """:returns: the header lines of an attempt, dated now: it may have waited for its slot"""
        if remembered is not None:
            more = remembered_lines(remembered) + more
        stamp = self._api.stamp()
        # Behind what is signed, as it is another one each time.
        last = b"" if self._trace is None else self._trace.line()
        if self._signer is not None:
            return b"".join((self._head, call, stamp, more, self._signer.line(method, call, stamp + more, body), last))
        return b"".join((self._head, call, stamp, more, last))


def _no_slot(failure: Failure) -> Failure:
    failure.trap(WaitedTooLongError)
    return Failure(NoSlot("no slot of API_MAX_REQUESTS came free in time"))


def _common_lines(
    identity: Identity, handshake: Handshake, repeated: Sequence[tuple[bytes, bytes]], fixed_lines: bytes
) -> bytes:
    """Make the header lines that all callbacks of a connection have in common.

    No value can hold the end of a line: the settings allow none, and the channel lets none through.
    """
    scheme, web_scheme = (b"wss", b"https") if handshake.secure else (b"ws", b"http")
    lines = [b"%b: %b\r\n" % field for field in repeated]
    lines.append(fixed_lines)
    lines.append(
        b"Ws-Uri: %b\r\nWs-Path: %b\r\nWs-Host: %b\r\nWs-Scheme: %b\r\nX-Forwarded-Proto: %b\r\n"
        % (identity.ws_uri.encode("ascii"), handshake.target, handshake.host, scheme, web_scheme)
    )
    if handshake.client is not None:
        client = handshake.client.encode("ascii")
        lines.append(b"Ws-Client: %b\r\nX-Forwarded-For: %b\r\n" % (client, client))
    if handshake.origin is not None:
        lines.append(b"Ws-Origin: %b\r\n" % handshake.origin)
    if handshake.user_agent is not None:
        lines.append(b"Ws-User-Agent: %b\r\n" % handshake.user_agent)
    return b"".join(lines)
