"""Requests to a ``ws_uri``: from the API to a client (protocol §3)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from urllib.parse import parse_qsl

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from wsaas.connections.confirmations import read_time
from wsaas.connections.connection import Connection
from wsaas.connections.idempotency import read_key
from wsaas.connections.identity import is_key, tag_of
from wsaas.connections.messages import ClosedBy, Message, checked_close
from wsaas.connections.registry import Registry
from wsaas.errors import NotPresentError, PushRefused, TooManyWaitError, TooSlowError
from wsaas.net.http1.messages import FAULT, RequestFields, RequestHead, Response, head_of, json_response
from wsaas.net.http1.refusals import said
from wsaas.pushes.tokens import CHALLENGE, PushTokens

#: The answer to a push, or a Deferred of it.
Answer = Response | Deferred[Response]

METHODS = (b"GET", b"HEAD", b"PUT", b"DELETE")
_KNOWN = frozenset(METHODS)
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


_log = Logger()
_REFUSED = 400


def key_of(head: RequestHead) -> str:
    """:returns: the last segment of a request's path, which may be a key"""
    return head.target.partition(b"?")[0].rpartition(b"/")[2].decode("latin-1")


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
    return PushRefused(503, "TOO_SLOW", why, retry_after=1)


def _full() -> PushRefused:
    return _too_slow("the client does not read and its buffer is full (WS_MAX_BUFFER)")


def _not_utf_8() -> PushRefused:
    return PushRefused(400, "BAD_REQUEST", "the text is not UTF-8; send bytes as application/octet-stream")


def _show(head: RequestHead, size: int, response: Response, seconds: float) -> None:
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


def refusal(error: PushRefused) -> Response:
    """:returns: the answer to a push that has no effect"""
    return json_response(error.status, error.code, error.message, error.headers, error.retry_after)


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class PushResource(Resource):
    """The ``ws_uri`` of every connection.

    :param registry: finds connections by their keys
    :param max_message: bytes of the longest message
    :param tokens: of which a push needs one
    :param seconds: the clock, if each push is logged, at DEBUG: a line that is filtered out would cost too much
    """

    isLeaf = True

    def __init__(
        self,
        registry: Registry,
        max_message: int,
        tokens: PushTokens | None = None,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        super().__init__()
        self._seconds = seconds
        self._tokens = tokens or PushTokens()
        self._registry = registry
        self._max_message = max_message
        #: How many were answered with which status, by method.
        self.answers = {method: defaultdict[int, int](int) for method in (*METHODS, b"other")}
        self._others = self.answers[b"other"]
        #: How many were refused before all of their body was there, by status.
        self.unheard: defaultdict[int, int] = defaultdict(int)

    def judge(self, head: RequestHead) -> Response | None:
        """Refuse by the head a request whose body need not be read for that."""
        try:
            self._check(head)
        except PushRefused as error:
            response = self._counted(head.method, refusal(error))
            if self._seconds is not None:
                _show(head, 0, response, 0.0)
            return response
        return None

    def respond(self, head: RequestHead, body: bytes) -> Answer:
        """Answer a push: the only place where one is carried out.

        :param head: the request's head, judged before or not
        :param body: its whole body
        :returns: the answer, be it a refusal; with ``Ws-Confirm``, a Deferred of it, which may be cancelled
        """
        method = head.method
        began = 0.0 if self._seconds is None else self._seconds()
        try:
            connection, asked = self._check(head)
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
                _show(head, len(body), answer, self._seconds() - began)
            return answer
        assert isinstance(answer, Deferred)  # noqa: S101 - for the type checker
        answer.addCallback(partial(self._counted, method))
        if self._seconds is not None:
            answer.addCallback(self._shown, head, len(body), began)
        return answer

    def _shown(self, response: Response, head: RequestHead, size: int, began: float) -> Response:
        assert self._seconds is not None  # noqa: S101 - for the type checker
        _show(head, size, response, self._seconds() - began)
        return response

    def is_trusted(self, head: RequestHead) -> bool:
        """:returns: whether a push brought a token: who has one may meet any number of clients that have gone"""
        return self._tokens.asked_for and self._tokens.allow(head.all(b"Authorization"))

    def missed(self, head: RequestHead, response: Response) -> None:
        """Count a push whose body was refused while it came."""
        self.unheard[response.status] += 1
        if self._seconds is not None:
            _show(head, 0, response, 0.0)

    def _counted(self, method: bytes, response: Response) -> Response:
        self.answers.get(method, self._others)[response.status] += 1
        return response

    def _check(self, head: RequestHead) -> tuple[Connection, _Asked]:
        """Check a request in the order of protocol §3: method, token, key, length, type, then what a PUT asks for.

        :returns: whom it is about, and what it asks for
        :raises PushRefused: if it cannot succeed
        """
        if head.method not in _KNOWN:
            raise PushRefused(405, "METHOD_NOT_ALLOWED", "a ws_uri takes PUT, DELETE, GET and HEAD", [_ALLOW])
        fields = head.fields
        asked: _Asked | None = fields.note
        if asked is not None and asked.by is not self._tokens.hashes:
            # A token that is no longer one must not push because its header lines are remembered.
            asked = None
        if asked is None and not self._tokens.allow(fields.all(b"Authorization")):
            raise _unauthorized()
        connection = self._registry.get(key_of(head))
        if connection is None:
            raise _not_found()
        if fields.length is not None and fields.length > self._max_message:
            raise PushRefused(413, "MESSAGE_TOO_LONG", f"a message may have {self._max_message} bytes (WS_MAX_MESSAGE)")
        if head.method == b"PUT":
            if asked is None:
                asked = fields.note = _read_asked(fields, self._tokens.hashes)
                # Who has no token, or no connection, pushes nobody's header lines out of memory.
                fields.keep = asked.key is None
            return connection, asked
        return connection, _NOTHING

    def render(self, request: Request) -> int:
        """Answer a request that came through any server of twisted.web's."""
        content = request.content
        assert content is not None  # noqa: S101 - for the type checker
        answer = self.respond(head_of(request), content.read())
        if isinstance(answer, Response):
            answer.write_to(request)
        else:
            _answer_later(request, answer)
        return NOT_DONE_YET

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


def _read_asked(fields: RequestFields, by: object) -> _Asked:
    """Read what a PUT asks for.

    :param by: the tokens that let it through
    :raises PushRefused: if it cannot be had
    """
    if fields.tokens(b"Content-Encoding"):
        raise PushRefused(415, "UNSUPPORTED", "send the message without Content-Encoding")
    types = fields.all(b"Content-Type")
    binary = not is_text(types[-1].decode("latin-1") if types else None)
    return _Asked(binary, read_key(fields.all(b"Idempotency-Key")), read_time(fields.all(b"Ws-Confirm")), by)


def _push(connection: Connection, asked: _Asked, body: bytes) -> Answer:
    """Push one message."""
    if not asked.binary:
        try:
            body.decode("utf-8")
        except UnicodeDecodeError:
            raise _not_utf_8() from None
    message = Message(body, asked.binary)
    try:
        if asked.seconds is None:
            return SENT if connection.outbox.push(message) else HELD
        confirmed = connection.outbox.push_confirmed(message, asked.seconds)
    except NotPresentError:
        raise _not_found() from None
    except TooManyWaitError:
        raise _too_slow("too many pushes wait for this client to answer a ping (Ws-Confirm)") from None
    except TooSlowError:
        raise _full() from None
    return confirmed.addCallback(lambda in_time: SENT if in_time else _UNCONFIRMED)


def _answer_later(request: Request, answer: Deferred[Response]) -> None:
    """Answer a request once its answer is known, if the pusher is still there."""
    content = request.content
    assert content is not None  # noqa: S101 - for the type checker
    # It may take half a minute, and the message is sent.
    content.truncate(0)

    def failed(failure: Failure) -> None:
        if not failure.check(CancelledError):
            _log.failure("a fault of the gateway", failure)
            FAULT.write_to(request)

    request.notifyFinish().addErrback(lambda _: answer.cancel())
    answer.addCallback(lambda response: response.write_to(request)).addErrback(failed)


def _sentence(error: ValueError) -> str:
    return "the query is not UTF-8, percent-encoded" if isinstance(error, UnicodeError) else str(error)


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
        connected_at=None if traffic.connected_at is None else _rfc3339(traffic.connected_at),
        last_seen_at=_rfc3339(connection.last_seen_at),
        state=None if remembered is None else remembered.state,
        messages_in=traffic.messages_in,
        messages_out=traffic.messages_out,
        bytes_in=traffic.bytes_in,
        bytes_out=traffic.bytes_out,
        buffered=connection.outbox.buffered,
    )
