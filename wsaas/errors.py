"""The tree of what can go wrong.

An exception that reaches an HTTP peer carries the status it is answered with; one that ends a connection carries the
close code and who closed.

::

    WsaasError
    ├── SettingsError                  a setting that cannot be used; the process does not start
    ├── HandshakeRefused               status: what the client is answered instead of 101
    ├── PushRefused                    status and code: what the pusher is answered
    ├── NotPresentError                the connection is closing or over
    ├── TooSlowError                   its client does not read
    │   └── TooManyWaitError           … or answers its pings too slowly
    ├── ClientLeftError                its client left before the API's grant could be used
    ├── JournalError                   the file in STATE_DIR is of no use
    └── CallbackFailed                 a callback that brought no usable answer
        ├── NotSent                    it is known never to have reached the API
        │   ├── NotVerified            … because its certificate was not accepted
        │   ├── NoSlot                 … because API_MAX_REQUESTS others were on the wire
        │   └── NotTried               … because the API is down, or no more can be owed to it
        ├── NoAnswer                   sent, but no complete answer came
        │   └── TimedOut               … within API_TIMEOUT
        ├── Unsuccessful               a complete answer with a status that promises no success now: 5xx, 429, …
        ├── Unusable                   a complete answer that breaks the contract
        ├── GatewayFault               not the API's doing
        ├── Unauthorized               a complete 401 to a message: the credentials no longer hold
        └── Denied                     a complete answer: the API does not want this client
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus


class WsaasError(Exception):
    """The root of all exceptions of this package."""


class SettingsError(WsaasError):
    """A setting that cannot be used.

    :param name: the setting, as in the environment
    :param given: what was given, as the operator wrote it
    :param allowed: what would be right, as the rest of the sentence "allowed: …"
    """

    def __init__(self, name: str, given: str, allowed: str) -> None:
        # What is allowed may end with the name of a file, which may have any characters.
        self.allowed = "".join(each if each.isprintable() else repr(each)[1:-1] for each in allowed)
        super().__init__(f"{name}: {given!r} cannot be used; allowed: {self.allowed}")
        self.name = name
        self.given = given


#: What is wrong with a handshake, by the status of the answer, where no better word is given.
_REFUSAL_KINDS = {400: "malformed", 403: "origin", 414: "too_long", 426: "version", 431: "too_long", 503: "draining"}


class HandshakeRefused(WsaasError):
    """The client's request is no handshake that can be granted.

    :param status: the HTTP status of the answer
    :param reason: one sentence, for the client and the log
    :param headers: further headers of the answer
    :param kind: one word for the metrics, if the status does not say it
    :param retry_after: seconds after which another try makes sense
    """

    def __init__(
        self,
        status: int,
        reason: str,
        headers: Sequence[tuple[bytes, bytes]] = (),
        kind: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = tuple(headers)
        self.kind = kind or _REFUSAL_KINDS.get(status, "other")
        self.retry_after = retry_after


class PushRefused(WsaasError):
    """A request to a ``ws_uri`` that has no effect.

    :param status: the HTTP status of the answer
    :param code: the word for programs, such as ``NOT_FOUND``
    :param message: one sentence a person can act on
    :param headers: further headers of the answer
    :param retry_after: seconds after which another try makes sense
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Sequence[tuple[bytes, bytes]] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = tuple(headers)
        self.retry_after = retry_after


class NotPresentError(WsaasError):
    """The connection is closing or over, so nothing can be sent on it."""


class TooSlowError(WsaasError):
    """The client does not read and its buffer is full."""


class TooManyWaitError(TooSlowError):
    """As many pushes as may wait for the client's pong do so already."""


class ClientLeftError(WsaasError):
    """The client left, or the gateway is stopping, before the API's grant could be used."""


class JournalError(WsaasError):
    """The journal's file is damaged or not ours, or cannot be opened."""


class CallbackFailed(WsaasError):
    """A callback brought no answer that counts.

    :param reason: what happened, for the log
    """

    #: One word for the metrics.
    kind = "fault"
    #: What a client that asked to connect is answered.
    status: int = HTTPStatus.BAD_GATEWAY
    #: Further headers of that answer.
    headers: Sequence[tuple[bytes, bytes]] = ()
    #: After how many seconds the client may try again, in that answer.
    client_retry_after: int | None = None
    #: Whether the API may have seen the call, so that a DELETE is owed after a POST.
    owed: bool = True
    #: Whether the API has answered the call, so that a message in it is not lost.
    answered: bool = False
    #: Whether it may be over soon, so that a message is tried again (protocol §2.3).
    passing: bool = False
    #: The ``Retry-After`` of the answer, if it has one.
    retry_after: bytes | None = None
    #: The close code and ``Ws-Closed-By`` of a connection that ends by this.
    close_code: int = 1013
    closed_by: str = "unreachable"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotSent(CallbackFailed):
    """The call is known never to have reached the API: no connection, or an unverified one."""

    kind = "not_sent"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    client_retry_after = 5
    owed = False
    passing = True


class NotVerified(NotSent):
    """The API's certificate was not accepted."""


class NoSlot(NotSent):
    """No slot of ``API_MAX_REQUESTS`` came free in time."""

    kind = "no_slot"


class NotTried(NotSent):
    """The call was not even tried.

    :param reason: what happened, for the log
    :param seconds: when it is worth another try
    """

    kind = "not_tried"

    def __init__(self, reason: str, seconds: int) -> None:
        super().__init__(reason)
        self.client_retry_after = seconds


class NoAnswer(CallbackFailed):
    """The call was sent, and the connection ended before its answer was complete."""

    kind = "no_answer"
    passing = True


class TimedOut(NoAnswer):
    """No complete answer within ``API_TIMEOUT``."""

    kind = "timed_out"
    status = HTTPStatus.GATEWAY_TIMEOUT


class Unsuccessful(CallbackFailed):
    """The API answered that it cannot now.

    :param reason: what it answered, for the log
    :param retry_after: the value of its ``Retry-After``
    """

    kind = "unsuccessful"
    passing = True

    def __init__(self, reason: str, retry_after: bytes | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Unusable(CallbackFailed):
    """The API's answer breaks the contract: malformed, encoded, oversized, or asking for the impossible."""

    kind = "unusable"
    answered = True
    close_code = 1011
    closed_by = "error"


class GatewayFault(CallbackFailed):
    """A fault of the gateway's own, met while it made a callback."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    close_code = 1011
    closed_by = "error"


class Unauthorized(CallbackFailed):
    """The API answered a message with 401: the client's credentials no longer hold."""

    kind = "unauthorized"
    answered = True
    close_code = 1008
    closed_by = "api"


class Denied(CallbackFailed):
    """The API does not want this client.

    :param reason: what the API said, for the log
    :param status: what the client is answered
    :param headers: those of the API's headers that pass through
    """

    kind = "denied"
    owed = False

    def __init__(self, reason: str, status: int, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = tuple(headers)
