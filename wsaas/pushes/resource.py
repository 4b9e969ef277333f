"""Requests to a ``ws_uri``: from the API to a client (protocol §3)."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from wsaas.connections.confirmations import read_time
from wsaas.connections.connection import Connection
from wsaas.connections.idempotency import read_key
from wsaas.connections.messages import ClosedBy, Message, checked_close
from wsaas.connections.registry import Registry
from wsaas.errors import NotPresentError, PushRefused, TooManyWaitError, TooSlowError
from wsaas.net.http1.judged_request import JudgedRequest
from wsaas.net.http1.messages import RequestHead, Response, json_response
from wsaas.pushes.tokens import CHALLENGE, PushTokens

#: The answer to a push, or a Deferred of it.
Answer = Response | Deferred[Response]

METHODS = (b"GET", b"HEAD", b"PUT", b"DELETE")
_ALLOW = (b"Allow", b", ".join(METHODS))

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


def key_of(head: RequestHead) -> str:
    """:returns: the last segment of a request's path, which may be a key"""
    return head.path.rpartition(b"/")[2].decode("latin-1")


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


def _not_found() -> PushRefused:
    return PushRefused(404, "NOT_FOUND", "there is no such connection, or it is closing")


def _unauthorized() -> PushRefused:
    return PushRefused(401, "UNAUTHORIZED", "a push needs Authorization: Bearer, with one of PUSH_TOKEN", [CHALLENGE])


def _too_slow(why: str) -> PushRefused:
    return PushRefused(503, "TOO_SLOW", why, [(b"Retry-After", b"1")])


def _full() -> PushRefused:
    return _too_slow("the client does not read and its buffer is full (WS_MAX_BUFFER)")


def _not_utf_8() -> PushRefused:
    return PushRefused(400, "BAD_REQUEST", "the text is not UTF-8; send bytes as application/octet-stream")


def refusal(error: PushRefused) -> Response:
    """:returns: the answer to a push that has no effect"""
    return json_response(error.status, error.code, error.message, error.headers)


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class PushResource(Resource):
    """The ``ws_uri`` of every connection.

    :param registry: finds connections by their keys
    :param max_message: bytes of the longest message
    :param tokens: of which a push needs one
    """

    isLeaf = True

    def __init__(self, registry: Registry, max_message: int, tokens: PushTokens | None = None) -> None:
        super().__init__()
        #: Who may push.
        self.tokens = tokens or PushTokens()
        self._registry = registry
        self._max_message = max_message
        #: How many were answered with which status, by method.
        self.answers = {method: defaultdict[int, int](int) for method in (*METHODS, b"other")}

    def count(self, method: bytes, status: int) -> None:
        """Count an answer."""
        self.answers[method if method in METHODS else b"other"][status] += 1

    def judge(self, head: RequestHead) -> Response | None:
        """Check a request by its head, in the order of protocol §3: method, token, key, length, type, then what a
        PUT asks for.
        """
        try:
            self._check(head)
        except PushRefused as error:
            self.count(head.method, error.status)
            return refusal(error)
        return None

    def _check(self, head: RequestHead) -> None:
        if head.method not in METHODS:
            raise PushRefused(405, "METHOD_NOT_ALLOWED", "a ws_uri takes PUT, DELETE, GET and HEAD", [_ALLOW])
        if not self.tokens.allow(head.all(b"Authorization")):
            raise _unauthorized()
        self._connection(head)
        if head.length is not None and head.length > self._max_message:
            raise PushRefused(413, "MESSAGE_TOO_LONG", f"a message may have {self._max_message} bytes (WS_MAX_MESSAGE)")
        if head.method == b"PUT":
            if head.headers.hasHeader(b"Content-Encoding"):
                raise PushRefused(415, "UNSUPPORTED", "send the message without Content-Encoding")
            is_text(self._content_type(head))
            _asked(head)

    @staticmethod
    def _content_type(head: RequestHead) -> str | None:
        values = head.all(b"Content-Type")
        return values[-1].decode("latin-1") if values else None

    def _connection(self, head: RequestHead) -> Connection:
        connection = self._registry.get(key_of(head))
        if connection is None:
            raise _not_found()
        return connection

    def render(self, request: Request) -> int:
        """Carry out a request that passed :meth:`judge`."""
        assert isinstance(request, JudgedRequest)  # noqa: S101 - for the type checker
        try:
            answer = self.respond(request.head, request.content.read())
        except PushRefused as error:
            answer = refusal(error)
        if isinstance(answer, Response):
            self.count(request.head.method, answer.status)
            answer.write_to(request)
        else:
            _answer_later(request, answer.addCallback(self._counted))
        return NOT_DONE_YET

    def _counted(self, response: Response) -> Response:
        self.count(b"PUT", response.status)
        return response

    def respond(self, head: RequestHead, body: bytes) -> Answer:
        """Carry out a push.

        :param head: the request's head, judged before
        :param body: its whole body
        :returns: the answer; with ``Ws-Confirm``, a Deferred of it, which may be cancelled
        :raises PushRefused: if it has no effect
        """
        if head.method == b"PUT":
            binary = not is_text(self._content_type(head))
            idempotency_key, seconds = _asked(head)
            if idempotency_key is None:
                return self._put(head, binary, body, seconds)
            answers = self._connection(head).outbox.receipts.answers
            return answers.once(idempotency_key, lambda: self._put(head, binary, body, seconds))
        # The connection may have closed while the body arrived.
        connection = self._connection(head)
        if head.method == b"DELETE":
            return self._delete(connection, head)
        return _describe(connection)

    def has(self, key: str) -> bool:
        """:returns: whether a push for this key has somebody to go to"""
        return self._registry.get(key) is not None

    def put(self, key: str, binary: bool, body: bytes) -> Response:
        """Push one message.

        :param key: of the connection
        :param binary: whether it is a binary message
        :param body: the message
        :raises PushRefused: if it cannot be sent
        """
        # The connection may have closed while the body arrived.
        connection = self._registry.get(key)
        if connection is None:
            raise _not_found()
        if not binary:
            try:
                body.decode("utf-8")
            except UnicodeDecodeError:
                raise _not_utf_8() from None
        try:
            sent = connection.outbox.push(Message(body, binary))
        except NotPresentError:
            raise _not_found() from None
        except TooSlowError:
            raise _full() from None
        return SENT if sent else HELD

    def _put(self, head: RequestHead, binary: bool, body: bytes, seconds: float | None) -> Answer:
        if seconds is None:
            return self.put(key_of(head), binary, body)
        connection = self._connection(head)
        if not binary:
            try:
                body.decode("utf-8")
            except UnicodeDecodeError:
                raise _not_utf_8() from None
        try:
            confirmed = connection.outbox.push_confirmed(Message(body, binary), seconds)
        except NotPresentError:
            raise _not_found() from None
        except TooManyWaitError:
            raise _too_slow("too many pushes wait for this client to answer a ping (Ws-Confirm)") from None
        except TooSlowError:
            raise _full() from None
        return confirmed.addCallback(lambda in_time: SENT if in_time else _UNCONFIRMED)

    def _delete(self, connection: Connection, head: RequestHead) -> Response:
        query = head.target.partition(b"?")[2]
        try:
            fields = parse_qsl(
                query.decode("ascii"), keep_blank_values=True, strict_parsing=bool(query), errors="strict"
            )
            names = [name for name, _ in fields]
            if len(set(names)) != len(names) or not set(names) <= {"code", "reason"}:
                raise ValueError("the only parameters are code and reason, each once")
            given = dict(fields)
            close = checked_close(given.get("code", "1000"), given.get("reason", ""))
        except ValueError as error:
            raise PushRefused(400, "BAD_REQUEST", _sentence(error)) from None
        if not connection.close(close, ClosedBy.API):
            raise _not_found()
        return json_response(200, "OK")


def _asked(head: RequestHead) -> tuple[bytes | None, float | None]:
    """:returns: the ``Idempotency-Key`` of a PUT, and for how many seconds its ``Ws-Confirm`` waits"""
    return read_key(head.all(b"Idempotency-Key")), read_time(head.all(b"Ws-Confirm"))


def _answer_later(request: JudgedRequest, answer: Deferred[Response]) -> None:
    """Answer a request once its answer is known, if the pusher is still there."""
    # It may take half a minute, and the message is sent.
    request.content.truncate(0)

    def failed(failure: Failure) -> None:
        if not failure.check(CancelledError):
            request.processingFailed(failure)

    request.notifyFinish().addErrback(lambda _: answer.cancel())
    answer.addCallback(lambda response: response.write_to(request)).addErrback(failed)


def _sentence(error: ValueError) -> str:
    return "the query is not UTF-8, percent-encoded" if isinstance(error, UnicodeError) else str(error)


def _describe(connection: Connection) -> Response:
    """:returns: what is known of a connection"""
    traffic, handshake = connection.traffic, connection.handshake
    return json_response(
        200,
        "OK",
        ws_uri=connection.identity.ws_uri,
        path=handshake.target.decode("ascii"),
        client=handshake.client,
        protocol=connection.protocol,
        connected_at=None if traffic.connected_at is None else _rfc3339(traffic.connected_at),
        last_seen_at=_rfc3339(connection.last_seen_at),
        state=connection.ws_state,
        messages_in=traffic.messages_in,
        messages_out=traffic.messages_out,
        bytes_in=traffic.bytes_in,
        bytes_out=traffic.bytes_out,
        buffered=connection.outbox.buffered,
    )
