"""Requests to a ``ws_uri``: from the API to a client (protocol §3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from wsaas.connections.confirmations import read_time
from wsaas.connections.connection import Connection
from wsaas.connections.idempotency import read_key
from wsaas.connections.identity import is_key, tag_of
from wsaas.connections.messages import ClosedBy, Message
from wsaas.connections.registry import Registry
from wsaas.errors import NotPresentError, PushRefused, TooManyWaitError, TooSlowError
from wsaas.groups.names import groups_in
from wsaas.net.http1.messages import RequestFields, RequestHead, Response, json_response
from wsaas.net.http1.refusals import said
from wsaas.pushes.answering import Answer, AnsweringResource, not_found, read_close, refusal, rfc3339
from wsaas.pushes.tokens import CHALLENGE, PushTokens

METHODS = (b"GET", b"HEAD", b"PUT", b"DELETE")
_KNOWN = frozenset(METHODS)

_TEXT_TYPES = frozenset({"application/json", "application/x-www-form-urlencoded"})
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^\s;"]+)"?', re.IGNORECASE)
_UTF_8 = frozenset({"utf-8", "utf8"})

#: The answers to a message that is on its way, and to one that waits for the end of the handshake.
SENT, HELD = json_response(200, "OK"), json_response(202, "OK")
_UNCONFIRMED = json_response(
    202,
    "UNCONFIRMED",
    "the client has not answered the ping behind the message in time; it may have the message or not",
)


_log = Logger()
_REFUSED = 400
#: What begins a query. As a number it is found without an exception that CPython raises and catches.
_QUERY = ord("?")


def key_of(head: RequestHead) -> str:
    """:returns: the last segment of a request's path, which may be a key"""
    target = head.target
    if _QUERY in target:
        target = target.partition(b"?")[0]
    return target.rpartition(b"/")[2].decode("latin-1")


def is_text(content_type: str | None) -> bool:
    """Tell by its type whether a push is text.

    :raises PushRefused: for a text type in another charset than UTF-8
    """
    if not content_type:
        return True
    media_type, _, _ = content_type.partition(";")
    media_type = media_type.strip().lower()
    if not (media_type.startswith("text/") or media_type in _TEXT_TYPES or media_type.endswith("+json")):
        return False
    charset = _CHARSET.search(content_type)
    # US-ASCII is UTF-8 too (RFC 3629 §1).
    if charset is not None and charset[1].lower() not in _UTF_8 | {"us-ascii"}:
        raise PushRefused(
            415, "UNSUPPORTED", "text is taken in UTF-8 only; send other charsets converted, or as binary"
        )
    return True


def method_not_allowed(what: str, methods: Sequence[bytes]) -> PushRefused:
    """:returns: the refusal of a method that there is not

    :param what: is asked for something
    :param methods: those that there are
    """
    allow = b", ".join(methods)
    return PushRefused(405, "METHOD_NOT_ALLOWED", f"{what} takes {allow.decode('ascii')}", [(b"Allow", allow)])


def unauthorized() -> PushRefused:
    """:returns: the refusal of a push without a token"""
    return PushRefused(401, "UNAUTHORIZED", "a push needs Authorization: Bearer, with one of PUSH_TOKEN", [CHALLENGE])


def _too_slow(why: str) -> PushRefused:
    return PushRefused(503, "TOO_SLOW", why, retry_after=1)


def _full() -> PushRefused:
    return _too_slow("the client does not read and its buffer is full (WS_MAX_BUFFER)")


def not_utf_8() -> PushRefused:
    """:returns: the refusal of a text that is none"""
    return PushRefused(400, "BAD_REQUEST", "the text is not UTF-8; send bytes as application/octet-stream")


class PushResource(AnsweringResource):
    """The ``ws_uri`` of every connection.

    :param registry: finds connections by their keys
    :param max_message: bytes of the longest message
    :param tokens: of which a push needs one
    :param seconds: the clock, if each push is logged, at DEBUG: a line that is filtered out would cost too much
    """

    def __init__(
        self,
        registry: Registry,
        max_message: int,
        tokens: PushTokens | None = None,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(METHODS, seconds)
        self._tokens = tokens or PushTokens()
        self._registry = registry
        self._max_message = max_message

    def respond(self, head: RequestHead, body: bytes) -> Answer:
        """Answer a push: the only place where one is carried out.

        :param head: the request's head, judged before or not
        :param body: its whole body
        :returns: the answer, be it a refusal; with ``Ws-Confirm``, a Deferred of it, which may be cancelled
        """
        method = head.method
        began = 0.0 if self._seconds is None else self._seconds()
        try:
            connection, asked = self.check(head)
            if method == b"PUT":
                if asked.key is None:
                    answer = _push(connection, asked, body)
                else:
                    answers = connection.outbox.receipts.answers
                    answer = answers.once(asked.key, partial(_push, connection, asked, body))
            elif method == b"DELETE":
                answer = self._delete(connection, head)
            else:
                answer = _describe(connection)
        except PushRefused as error:
            answer = refusal(error)
        if type(answer) is Response:
            self.answers.get(method, self._others)[answer.status] += 1
            if self._seconds is not None:
                self.show(head, len(body), answer, self._seconds() - began)
            return answer
        assert isinstance(answer, Deferred)  # noqa: S101 - for the type checker
        return self._later(answer, head, len(body), began)

    def show(self, head: RequestHead, size: int, response: Response, seconds: float) -> None:
        """Log a push: whom it was for, and what came of it; neither its headers nor its body."""
        key, status = key_of(head), int(response.status)
        refused = status >= _REFUSED
        _log.debug(
            "{tag} pushed {method}: {status} in {milliseconds} ms, {received} bytes in, {sent} back{why}",
            tag=tag_of(key) if is_key(key) else "-",
            method=head.method.decode("ascii")[:20],
            status=status,
            milliseconds=round(seconds * 1000, 1),
            received=size,
            sent=len(response.body),
            why=f": {said(response.body)}" if refused else "",
            many="refused pushes" if refused else None,
        )

    def is_trusted(self, head: RequestHead) -> bool:
        """:returns: whether a push brought a token: who has one may meet any number of clients that have gone"""
        return self._tokens.asked_for and self._tokens.allow(head.all(b"Authorization"))

    def check(self, head: RequestHead) -> tuple[Connection, _Asked]:
        """Check a request in the order of protocol §3: method, token, key, length, type, then what a PUT asks for.

        :returns: whom it is about, and what it asks for
        :raises PushRefused: if it cannot succeed
        """
        if head.method not in _KNOWN:
            raise method_not_allowed("a ws_uri", METHODS)
        fields = head.fields
        asked: _Asked | None = fields.note
        if asked is not None and asked.by is not self._tokens.hashes:
            # A token that is no longer one must not push because its header lines are remembered.
            asked = None
        if asked is None and not self._tokens.allow(fields.all(b"Authorization")):
            raise unauthorized()
        connection = self._registry.get(key_of(head))
        if connection is None:
            raise not_found()
        if fields.length is not None and fields.length > self._max_message:
            raise PushRefused(413, "MESSAGE_TOO_LONG", f"a message may have {self._max_message} bytes (WS_MAX_MESSAGE)")
        if head.method == b"PUT":
            if asked is None:
                asked = fields.note = _read_asked(fields, self._tokens.hashes)
                # Who has no token, or no connection, pushes nobody's header lines out of memory.
                fields.keep = asked.key is None
            return connection, asked
        return connection, _NOTHING

    def _delete(self, connection: Connection, head: RequestHead) -> Response:
        close = read_close(head)
        if not connection.close(close, ClosedBy.API):
            raise not_found()
        return json_response(200, "OK")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the header lines of a PUT ask for.

    :param binary: whether the message is binary
    :param key: its ``Idempotency-Key``
    :param seconds: for how long its ``Ws-Confirm`` waits
    :param by: the tokens that let it through
    """

    binary: bool = False
    key: bytes | None = None
    seconds: float | None = None
    by: object = None


_NOTHING = _Asked()


def read_binary(fields: RequestFields) -> bool:
    """Tell by its header lines whether a message is binary.

    :raises PushRefused: if it is encoded, or text in another charset than UTF-8
    """
    if fields.tokens(b"Content-Encoding"):
        raise PushRefused(415, "UNSUPPORTED", "send the message without Content-Encoding")
    types = fields.all(b"Content-Type")
    return not is_text(types[-1].decode("latin-1") if types else None)


def _read_asked(fields: RequestFields, by: object) -> _Asked:
    """Read what a PUT asks for.

    :param by: the tokens that let it through
    :raises PushRefused: if it cannot be had
    """
    binary = read_binary(fields)
    return _Asked(binary, read_key(fields.all(b"Idempotency-Key")), read_time(fields.all(b"Ws-Confirm")), by)


def _push(connection: Connection, asked: _Asked, body: bytes) -> Answer:
    """Push one message."""
    if not asked.binary:
        try:
            body.decode("utf-8")
        except UnicodeDecodeError:
            raise not_utf_8() from None
    message = Message(body, asked.binary)
    try:
        if asked.seconds is None:
            return SENT if connection.outbox.push(message) else HELD
        confirmed = connection.outbox.push_confirmed(message, asked.seconds)
    except NotPresentError:
        raise not_found() from None
    except TooManyWaitError:
        raise _too_slow("too many pushes wait for this client to answer a ping (Ws-Confirm)") from None
    except TooSlowError:
        raise _full() from None
    return confirmed.addCallback(lambda in_time: SENT if in_time else _UNCONFIRMED)


def _describe(connection: Connection) -> Response:
    """:returns: what is known of a connection"""
    traffic, handshake, remembered = connection.traffic, connection.handshake, connection.remembered
    return json_response(
        200,
        "OK",
        ws_uri=connection.identity.ws_uri,
        path=handshake.target.decode("ascii"),
        client=handshake.client,
        protocol=connection.protocol,
        connected_at=None if traffic.connected_at is None else rfc3339(traffic.connected_at),
        last_seen_at=rfc3339(connection.last_seen_at),
        state=None if remembered is None else remembered.state,
        user=None if remembered is None else remembered.user,
        groups=groups_in(connection.groups),
        messages_in=traffic.messages_in,
        messages_out=traffic.messages_out,
        bytes_in=traffic.bytes_in,
        bytes_out=traffic.bytes_out,
        buffered=connection.outbox.buffered,
    )
