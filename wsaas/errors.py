"""The tree of exceptions.

An exception that reaches an HTTP peer carries the status of the answer; one that ends a connection carries the close
code and the ``Ws-Closed-By``.

::

    WsaasError
    ├── SettingsError                  a setting that cannot be used: the process does not start
    │   └── SettingsErrors             … several of them
    ├── HandshakeRefused               with the status of the answer to the client
    ├── PushRefused                    with the status and code of the answer to the pusher
    ├── NotPresentError                the connection is closing or over
    ├── TooSlowError                   the client does not read
    │   └── TooManyWaitError           … or answers its pings too slowly
    ├── TooManyGroupsError             the connection is in WS_MAX_GROUPS already
    ├── OverloadedError                no room for a publish or a membership, now
    ├── ClientLeftError                the client left before the API's grant could be used
    ├── JournalError                   the file in STATE_DIR cannot be used
    └── CallbackFailed                 a callback that brought no usable answer
        ├── NotSent                    the call never reached the API
        │   ├── NotVerified            … because its certificate was not accepted
        │   ├── NoSlot                 … because API_MAX_REQUESTS others were on the wire
        │   └── NotTried               … because the API is down, or too many DELETEs are pending
        ├── NoAnswer                   sent, but no complete answer came
        │   └── TimedOut               … within API_TIMEOUT
        ├── Unsuccessful               a complete answer with a status of failure: 5xx, 429, …
        ├── Unusable                   a complete answer that breaks the contract
        ├── NoRoom                     a complete answer that asks for what there is no room for now
        ├── GatewayFault               a fault of the gateway itself
        ├── Unauthorized               a complete 401 to a message: the credentials no longer hold
        └── Denied                     a complete answer: the API refused the client
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus


class WsaasError(Exception):
    """The root of all exceptions of this package."""


def _in_one_line(text: str) -> str:
    """:returns: a text with what would end or garble a line in a log escaped, as names of files may contain anything"""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class SettingsError(WsaasError):
    """A setting that cannot be used.

    :param name: the setting, as in the environment
    :param given: its value, as the operator wrote it
    :param allowed: what is allowed, as the rest of the sentence "allowed: …"
    :param why: which rule the value breaks, if that is known
    :param instead: the whole text, where the value by itself is not what is wrong
    """

    def __init__(self, name: str, given: str, allowed: str, why: str = "", instead: str = "") -> None:
        self.allowed = _in_one_line(allowed)
        self.why = _in_one_line(why)
        cause = f": {self.why}" if why else ""
        super().__init__(_in_one_line(instead) or f"{name}: {given!r} cannot be used{cause}; allowed: {self.allowed}")
        self.name = name
        self.given = given

    @property
    def errors(self) -> Sequence[SettingsError]:
        """All that is wrong, each in a line of its own."""
        return (self,)


class SettingsErrors(SettingsError):
    """Several settings that cannot be used. It passes for the first of them.

    :param errors: two or more
    """

    def __init__(self, errors: Sequence[SettingsError]) -> None:
        first = errors[0]
        super().__init__(first.name, first.given, first.allowed, first.why)
        self.args = ("\n".join(map(str, errors)),)
        self._errors = tuple(errors)

    @property
    def errors(self) -> Sequence[SettingsError]:
        """All that is wrong, each in a line of its own."""
        return self._errors


def raise_all(errors: Sequence[SettingsError]) -> None:
    """Raise what was found, if anything was.

    :raises SettingsError: the one, or all of them together
    """
    if len(errors) > 1:
        raise SettingsErrors([each for error in errors for each in error.errors])
    if errors:
        raise errors[0]


class HandshakeRefused(WsaasError):
    """The client's request is no handshake that can be granted.

    :param status: the HTTP status of the answer
    :param reason: one sentence, for the client, and for the log unless that has more to say
    :param kind: one word for the metrics
    :param headers: further headers of the answer
    :param retry_after: seconds after which another try makes sense
    :param detail: what the log says instead of the reason, as it is none of the client's business
    """

    def __init__(
        self,
        status: int,
        reason: str,
        kind: str,
        headers: Sequence[tuple[bytes, bytes]] = (),
        retry_after: int | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.detail = detail or reason
        self.headers = tuple(headers)
        self.kind = kind
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
    """Too many pushes wait for the client's pong already."""


class TooManyGroupsError(WsaasError):
    """The connection would be in more groups than ``WS_MAX_GROUPS``."""


class OverloadedError(WsaasError):
    """There is no room for another publication, or for another membership: nothing was done."""


class ClientLeftError(WsaasError):
    """The client left, or the gateway is stopping, before the API's grant could be used."""


class JournalError(WsaasError):
    """The journal's file is damaged, of another program, or cannot be opened."""


class CallbackFailed(WsaasError):
    """A callback brought no usable answer.

    :param reason: what happened, for the log
    """

    #: One word for the metrics.
    kind = "fault"
    #: The status of the answer to a client that asked to connect.
    status: int = HTTPStatus.BAD_GATEWAY
    #: Further headers of that answer.
    headers: Sequence[tuple[bytes, bytes]] = ()
    #: After how many seconds the client may try again, in that answer.
    client_retry_after: int | None = None
    #: Whether a connection whose POST failed so needs a DELETE, as the API may have seen the POST.
    needs_disconnect: bool = True
    #: Whether the API answered the call, so that the message in it was not lost.
    answered: bool = False
    #: Whether the failure may be temporary, so that a message is tried again (protocol §2.3).
    passing: bool = False
    #: The ``Retry-After`` of the answer, if it has one.
    retry_after: bytes | None = None
    #: The close code and ``Ws-Closed-By`` of a connection that ends by this failure.
    close_code: int = 1013
    closed_by: str = "unreachable"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotSent(CallbackFailed):
    """The call never reached the API: there was no connection, or no verified one."""

    kind = "not_sent"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    client_retry_after = 5
    needs_disconnect = False
    passing = True


class NotVerified(NotSent):
    """The API's certificate was not accepted."""


class NoSlot(NotSent):
    """No slot of ``API_MAX_REQUESTS`` came free in time."""

    kind = "no_slot"


class NotTried(NotSent):
    """The call was not even tried.

    :param reason: what happened, for the log
    :param seconds: the ``Retry-After`` for the client
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
    """The API answered with a status of failure that may be temporary.

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


class NoRoom(CallbackFailed):
    """The API's answer asks for memberships in groups, and the process holds as many as it may."""

    kind = "no_room"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    client_retry_after = 5
    answered = True


class GatewayFault(CallbackFailed):
    """A fault of the gateway itself during a callback."""

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
    """The API refused the client.

    :param reason: what the API answered, for the log
    :param status: the status of the answer to the client
    :param headers: the headers of the API's answer that are passed on
    """

    kind = "denied"
    needs_disconnect = False

    def __init__(self, reason: str, status: int, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = tuple(headers)
