"""What the API's answers mean: from status, headers and body to a decision (protocol §2.2 to §2.4). No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from wsaas.callbacks.hints import describe, encodings
from wsaas.connections.messages import (
    SELF,
    TAKEN,
    Close,
    ClosedBy,
    Delivered,
    Grant,
    Message,
    Outcome,
    Publication,
    Rejected,
    Wishes,
    checked_close,
)
from wsaas.errors import Denied, Unauthorized, Unsuccessful, Unusable
from wsaas.groups.left_out import MAX_LEFT_OUT, check_left_out
from wsaas.groups.names import BadNameError, elements, read_names, read_targets
from wsaas.net.http1.headers import has_any
from wsaas.net.http1.messages import Answer

#: Statuses below 500 of a DELETE that promise success later; of a PUT, ``API_RETRY_STATUS`` names them.
_NOT_NOW = frozenset({408, 425, 429})
#: Statuses of a DELETE that say "there is no such route here".
NO_ROUTE = frozenset({405, 501})

#: What an answer may ask for about users and groups, in lower case; in one to a POST only the first two.
_OF_GROUPS = frozenset({b"ws-user", b"ws-join", b"ws-leave", b"ws-publish"})
#: What the answer to a PUT may ask for at all.
_OF_OUTCOMES = frozenset({b"ws-state", b"ws-reply", b"ws-close", *_OF_GROUPS})
#: What the answer to a DELETE may ask for.
_OF_LAST_WORDS = frozenset({b"ws-publish"})
#: What of the headers of a grant matters.
_OF_GRANTS = frozenset(
    {b"ws-state", b"ws-close", b"ws-user", b"ws-join", b"sec-websocket-protocol", b"content-encoding"}
)
#: The grant that says nothing else.
_GRANTED = Grant()

#: Of messages, in ``Ws-Reply`` and ``Ws-Publish``.
_KINDS = ("text", "binary")
_MAX_STATE = 1024
_STATE = re.compile(r"[\x20-\x7e]*")
#: Bodies of a grant as most JSON libraries write it.
_USUAL_GRANTS = (b'{"code": "OK"}', b'{"code":"OK"}')
#: What may stand before JSON: blanks, and byte order marks, which a reader may ignore (RFC 8259 §8.1). In PHP each file
#: that an editor saved with one writes it.
_BEFORE_JSON = "\ufeff \t\r\n"
#: Headers of a refusal that the client is shown.
_PASSED_ON = (b"WWW-Authenticate", b"Retry-After")


def _text(answer: Answer, name: bytes) -> str | None:
    """:returns: the one value of a header, or :data:`None`"""
    values = answer.headers.getRawHeaders(name, ())
    if not values:
        return None
    if len(values) > 1:
        raise Unusable(f"the answer has {len(values)} headers {name.decode('ascii')}")
    try:
        return values[0].decode("ascii")
    except UnicodeDecodeError:
        raise Unusable(f"{name.decode('ascii')} is not ASCII") from None


def _state(answer: Answer) -> str | None:
    state = _text(answer, b"Ws-State")
    if state is not None and (len(state) > _MAX_STATE or not _STATE.fullmatch(state)):
        raise Unusable(f"Ws-State is not at most {_MAX_STATE} bytes of printable ASCII")
    return state


def _close(answer: Answer) -> Close | None:
    text = _text(answer, b"Ws-Close")
    if text is None:
        return None
    code, _, reason = text.strip().partition(" ")
    try:
        return checked_close(code, unquote_to_bytes(reason.strip()).decode("utf-8"))
    except UnicodeDecodeError:
        raise Unusable("Ws-Close: the reason is not UTF-8") from None
    except ValueError as error:
        raise Unusable(f"Ws-Close: {error}") from None


def _reply(answer: Answer) -> Message | None:
    kind = _text(answer, b"Ws-Reply")
    if kind is None:
        return None
    if kind not in _KINDS:
        raise Unusable(f"Ws-Reply: {kind[:40]!r} is neither text nor binary")
    return _message(answer, kind, "Ws-Reply")


def _message(answer: Answer, kind: str, name: str) -> Message:
    """:returns: the body as a message

    :param kind: text or binary
    :param name: of the header that wants it
    """
    _check_body(answer)
    if kind == "text":
        try:
            answer.body.decode("utf-8")
        except UnicodeDecodeError:
            raise Unusable(f"{name}: the body is not UTF-8") from None
    return Message(answer.body, kind == "binary")


def _lines(answer: Answer, name: bytes) -> list[str]:
    # Bytes that are not ASCII make no name, and no tag.
    return [value.decode("latin-1") for value in answer.headers.getRawHeaders(name, ())]


def _names(answer: Answer, name: bytes) -> tuple[str, ...]:
    try:
        return read_names(_lines(answer, name))
    except BadNameError as error:
        # The log has no names.
        raise Unusable(f"{name.decode('ascii')}: {error.unnamed}") from None


def _user(answer: Answer) -> str | None:
    if answer.headers.getRawHeaders(b"Ws-User") is None:
        return None
    named = _names(answer, b"Ws-User")
    if len(named) > 1:
        raise Unusable(f"Ws-User has {len(named)} names")
    return named[0] if named else ""


def _wishes(answer: Answer, *, replies: bool) -> Wishes:
    """:returns: what the answer to a PUT asks for about users and groups

    :param replies: whether the client that sent the message gets the body as a reply already
    """
    leaves_all = list(elements(_lines(answer, b"Ws-Leave"))) == ["*"]
    return Wishes(
        _user(answer),
        leaves_all,
        () if leaves_all else _names(answer, b"Ws-Leave"),
        _names(answer, b"Ws-Join"),
        _publication(answer, replies=replies),
    )


def _publication(answer: Answer, *, replies: bool) -> Publication | None:
    text = _text(answer, b"Ws-Publish")
    if text is None:
        return None
    kind, _, rest = text.partition(" ")
    if kind not in _KINDS:
        raise Unusable("Ws-Publish begins with neither text nor binary")
    try:
        targets = read_targets(rest)
    except BadNameError as error:
        raise Unusable(f"Ws-Publish: {error.unnamed}") from None
    return Publication(
        targets, _message(answer, kind, "Ws-Publish"), _left_out(answer, replies=replies), _skips_slow(answer)
    )


def _left_out(answer: Answer, *, replies: bool) -> frozenset[str]:
    named = list(elements(_lines(answer, b"Ws-Except")))
    tags = [each for each in named if each != SELF]
    if len(named) > MAX_LEFT_OUT:
        raise Unusable(f"Ws-Except names more than {MAX_LEFT_OUT} connections")
    try:
        left_out = check_left_out(tags)
    except ValueError as error:
        raise Unusable(f"Ws-Except: {error}") from None
    return left_out | {SELF} if replies or len(tags) < len(named) else left_out


def _skips_slow(answer: Answer) -> bool:
    word = _text(answer, b"Ws-Slow")
    if word not in (None, "close", "skip"):
        raise Unusable("Ws-Slow is neither close nor skip")
    return word == "skip"


def _check_body(answer: Answer) -> None:
    """Check a body that is needed.

    :raises Unusable: if it cannot be had as it is meant
    """
    values = b",".join(answer.headers.getRawHeaders(b"Content-Encoding", [])).split(b",")
    # Empty elements of a list count for nothing (RFC 9110 §5.6.1.2).
    if any(value.strip().lower() not in (b"", b"identity") for value in values):
        raise Unusable(f"the body is encoded ({encodings(answer)}), though only identity was asked for")
    if answer.cut is not None:
        raise Unusable(f"the answer's body is longer than {answer.cut} bytes")


def _subprotocol(answer: Answer, offered: Sequence[str]) -> str | None:
    named = _text(answer, b"Sec-WebSocket-Protocol")
    if not named:
        return offered[0] if len(offered) == 1 else None
    if named not in offered:
        # Not its name: some clients have no better place for a token.
        raise Unusable("the subprotocol of the answer is not among those that the client offered")
    return named


def _code(body: bytes) -> object:
    """:returns: the ``code`` of the JSON object in a body, if there is one"""
    try:
        value = json.loads(body.decode("utf-8").lstrip(_BEFORE_JSON))
    except (ValueError, RecursionError):
        return None
    return value.get("code") if isinstance(value, dict) else None


def is_grant(answer: Answer) -> bool:
    """:returns: whether a 2xx answer to a POST says ``{"code": "OK"}``; its ``Content-Type`` is not looked at"""
    return _code(answer.body) == "OK"


def read_grant(answer: Answer, offered: Sequence[str], uri: str = "") -> Grant:
    """Read the answer to a POST.

    :param offered: the subprotocols that the client offered
    :param uri: ``API_URI``, for what may be wrong with it
    :raises Denied: if the API does not want this client
    :raises Unsuccessful: for a 5xx
    :raises Unusable: if the answer breaks the contract
    """
    status = answer.status
    if 400 <= status < 500:
        passed_on = [(name, value) for name in _PASSED_ON for value in answer.headers.getRawHeaders(name, [])]
        raise Denied(describe(answer, uri), status, passed_on)
    if status >= 500:
        raise Unsuccessful(describe(answer, uri))
    if not 200 <= status < 300:
        raise Unusable(describe(answer, uri, ", which is neither a grant nor a refusal"))
    says_more = has_any(answer.headers, _OF_GRANTS)
    if says_more or answer.cut is not None:
        _check_body(answer)
    if answer.body not in _USUAL_GRANTS and not is_grant(answer):
        raise Denied(describe(answer, uri, ' without "code": "OK"'), HTTPStatus.FORBIDDEN)
    if not says_more:
        return Grant(offered[0]) if len(offered) == 1 else _GRANTED
    protocol, state, wishes = _subprotocol(answer, offered), _state(answer), None
    if has_any(answer.headers, _OF_GROUPS):
        wishes = Wishes(_user(answer), join=_names(answer, b"Ws-Join"))
    try:
        return Grant(protocol, state, _close(answer), wishes=wishes)
    except Unusable:
        # The client is wanted; only how to close again is not clear.
        return Grant(protocol, state, Close(1011), ClosedBy.ERROR, wishes)


def read_outcome(answer: Answer, retry_status: Collection[int]) -> Outcome:
    """Read the answer to a PUT.

    :param retry_status: statuses that promise success later: ``API_RETRY_STATUS``
    :raises Unauthorized: for a 401
    :raises Unsuccessful: for a status that promises success later
    :raises Unusable: if the answer asks for something that cannot be done
    """
    status = answer.status
    if 200 <= status < 300:
        if not has_any(answer.headers, _OF_OUTCOMES):
            return TAKEN
        state, reply, close = _state(answer), _reply(answer), _close(answer)
        if not has_any(answer.headers, _OF_GROUPS):
            return Delivered(state, reply, close)
        return Delivered(state, reply, close, _wishes(answer, replies=reply is not None))
    if status == HTTPStatus.UNAUTHORIZED:
        raise Unauthorized("the API answered 401: the credentials no longer hold")
    if status in retry_status:
        raise Unsuccessful(f"the API answered {status}", retry_after(answer))
    return Rejected(status)


def read_last_words(answer: Answer) -> Publication | None:
    """Read the answer to a DELETE.

    :returns: what it publishes, if it does
    :raises Unusable: if it asks for something that cannot be done
    """
    if not 200 <= answer.status < 300 or not has_any(answer.headers, _OF_LAST_WORDS):
        return None
    return _publication(answer, replies=False)


def retry_after(answer: Answer) -> bytes | None:
    """:returns: the value of a ``Retry-After``; of several, the first"""
    values = answer.headers.getRawHeaders(b"Retry-After", [])
    return values[0] if values else None


def is_settled(answer: Answer) -> bool:
    """:returns: whether a DELETE was taken, or need not be: the API has no such route"""
    status = answer.status
    return 200 <= status < 300 or status == HTTPStatus.GONE or status in NO_ROUTE


def is_refused(answer: Answer) -> bool:
    """:returns: whether an answer to a DELETE that is not settled promises nothing: neither "not now" nor a fault"""
    return answer.status < 500 and answer.status not in _NOT_NOW
