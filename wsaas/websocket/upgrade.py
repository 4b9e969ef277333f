"""Handshakes: from an HTTP request to a WebSocket, with the API's consent in between (protocol §2.2 and §4).

The API decides *before* Autobahn sees the transport. So a refusal is ordinary HTTP with any status and header, the
connection tells when the client leaves meanwhile, and bytes that came behind the handshake are kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from http import HTTPStatus

from twisted.logger import Logger
from twisted.python.failure import Failure

from wsaas.connections.connection import Connection
from wsaas.connections.identity import Identity
from wsaas.connections.interfaces import Calls
from wsaas.connections.messages import Grant, Handshake
from wsaas.connections.totals import Shared
from wsaas.errors import CallbackFailed, ClientLeftError, Denied, HandshakeRefused, NotTried
from wsaas.logs import LeanLogger, shown_path
from wsaas.net.http1.messages import RequestHead, Response, phrase, text_response
from wsaas.net.http1.route import Visitor
from wsaas.websocket.handshake import check_handshake
from wsaas.websocket.settings import HandshakeSettings
from wsaas.websocket.takeover import ClientFactory

#: Seconds after which a client may come back that was refused because the process stops.
_RETRY_AFTER = 5


class UpgradeResource:
    """Lets clients in, on every path.

    :param calls_for: makes the callbacks of a connection
    :param factory: makes WebSockets of granted handshakes
    :param identify: makes up a connection's names
    :param handshakes: what a handshake must be like
    :param shared: what all connections have in common
    :param admit: raises :class:`~wsaas.errors.HandshakeRefused` if there are too many, or too many of an address
    """

    _log = LeanLogger()

    def __init__(
        self,
        calls_for: Callable[[Identity, Handshake], Calls],
        factory: ClientFactory,
        identify: Callable[[], Identity],
        handshakes: HandshakeSettings,
        shared: Shared,
        admit: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._admit = admit
        self._calls_for = calls_for
        self._factory = factory
        self._identify = identify
        self._handshakes = handshakes
        self._shared = shared
        #: Set when the process is about to stop: nobody new is let in.
        self.draining = False
        #: How many handshakes were answered with which status; 0: the client left before.
        self.answers: defaultdict[int, int] = defaultdict(int)
        #: How many brought no WebSocket, and why.
        self.refusals: defaultdict[str, int] = defaultdict(int)

    def renew(self, handshakes: HandshakeSettings) -> None:
        """Check handshakes by new settings, from the next one on."""
        self._handshakes = handshakes

    def attempt(self, visitor: Visitor) -> Attempt | Response:
        """Check a handshake.

        :returns: what asks the API, and tells the visitor what came of it; or why the API is not even asked
        """
        try:
            handshake = self.check(visitor.head)
        except HandshakeRefused as refused:
            self.refusals[refused.kind] += 1
            self._log_refusal(visitor, refused.status, refused.detail)
            return text_response(refused.status, refused.reason, refused.headers, refused.retry_after)
        return Attempt(self, visitor, handshake)

    def check(self, head: RequestHead) -> Handshake:
        """Look whether the API can be asked about a handshake.

        :raises HandshakeRefused: if not
        """
        if self.draining:
            reason = "the gateway is shutting down"
            raise HandshakeRefused(HTTPStatus.SERVICE_UNAVAILABLE, reason, "draining", retry_after=_RETRY_AFTER)
        handshake = check_handshake(head, self._handshakes)
        self._admit(handshake.client)
        return handshake

    def connection(self, handshake: Handshake) -> Connection:
        """:returns: a new connection, of which nobody knows yet"""
        identity = self._identify()
        return Connection(identity, handshake, self._calls_for(identity, handshake), self._shared)

    def take_over(self, visitor: Visitor, handshake: Handshake, grant: Grant, connection: Connection) -> None:
        """Make a WebSocket of a granted handshake."""
        transport, early = visitor.detach()
        self.answers[101] += 1
        self._log.info(
            "{tag} opened: {client} {path}",
            tag=connection.identity.tag,
            client=handshake.client or "unix",
            path=shown_path(handshake.target),
        )
        try:
            self._factory.take_over(transport, early, handshake, grant, connection)
        except Exception:
            # Nobody else would end it.
            transport.abortConnection()
            raise

    def refuse(
        self, visitor: Visitor, connection: Connection, response: Response, reason: str, *, failed: bool = False
    ) -> None:
        """Answer a handshake that the API did not grant.

        :param failed: whether it is not the client's fault
        """
        self._log_refusal(visitor, response.status, reason, connection.identity.tag, failed=failed)
        visitor.answer(response)

    def _log_refusal(self, visitor: Visitor, status: int, reason: str, tag: str = "-", *, failed: bool = False) -> None:
        self.answers[int(status)] += 1
        head = visitor.head
        tell = self._log.warn if failed else self._log.info
        tell(
            "{tag} refused with {status}: {client} {method} {path}: {reason}",
            tag=tag,
            status=int(status),
            client=head.client or "unix",
            method=head.method.decode("ascii"),
            path=shown_path(head.target),
            reason=reason,
            many="handshakes without a grant" if failed else "refused handshakes",
        )

    def log_left(self, connection: Connection, error: BaseException | None) -> None:
        """Log that a client left before it had its answer, once it is known what that would have been."""
        handshake = connection.handshake
        tell = self._log.warn if _is_failure(error) else self._log.info
        tell(
            "{tag} left before the answer: {client} GET {path}: {reason}",
            tag=connection.identity.tag,
            client=handshake.client or "unix",
            path=shown_path(handshake.target),
            reason=error.reason if isinstance(error, CallbackFailed) else "it would have been let in",
            many="clients that left before the answer",
        )


def _is_failure(error: BaseException | None) -> bool:
    """:returns: whether a handshake failed by a fault, of which the log has not told anything yet

    While the API or the journal is down, many handshakes are not even tried; the log has said why.
    """
    return isinstance(error, CallbackFailed) and not isinstance(error, (Denied, NotTried))


class Attempt:
    """One handshake while the API is asked: either the answer comes first, or the client leaves first."""

    def __init__(self, resource: UpgradeResource, visitor: Visitor, handshake: Handshake) -> None:
        self._resource = resource
        self._visitor: Visitor | None = visitor
        self._handshake = handshake
        self._connection = resource.connection(handshake)

    def begin(self) -> None:
        """Ask the API."""
        self._connection.authorise().addCallbacks(self._granted, self._not_granted).addErrback(self._broken)

    def left(self) -> None:
        """The client went away."""
        if self._visitor is not None:
            self._visitor = None
            self._resource.answers[0] += 1
            self._resource.refusals["left"] += 1
            self._connection.left()

    def _take(self) -> Visitor | None:
        """:returns: the client, if it is still there; it is ours no longer"""
        visitor, self._visitor = self._visitor, None
        return visitor

    def _granted(self, grant: Grant) -> None:
        visitor = self._take()
        # If the client had left, the connection would not have let the grant through.
        assert visitor is not None  # noqa: S101 - for the type checker
        self._resource.take_over(visitor, self._handshake, grant, self._connection)

    def _not_granted(self, failure: Failure) -> None:
        visitor = self._take()
        if visitor is None:
            self._resource.log_left(self._connection, failure.value)
            return
        if failure.check(ClientLeftError):
            response = text_response(
                HTTPStatus.SERVICE_UNAVAILABLE, "the gateway is shutting down", retry_after=_RETRY_AFTER
            )
            self._resource.refusals["draining"] += 1
            self._resource.refuse(visitor, self._connection, response, "shutting down")
        else:
            error = failure.value
            assert isinstance(error, CallbackFailed)  # noqa: S101 - authorise() fails with nothing else
            self._resource.refusals[error.kind] += 1
            response = text_response(error.status, phrase(error.status), error.headers, error.client_retry_after)
            self._resource.refuse(visitor, self._connection, response, error.reason, failed=_is_failure(error))

    def _broken(self, failure: Failure) -> None:
        """The takeover failed, which is a fault of the gateway: the connection still gets its DELETE."""
        Logger(namespace="wsaas.websocket.upgrade").failure(
            "{tag} the takeover failed", failure, tag=self._connection.identity.tag
        )
        self._connection.broke()
