"""Log lines about connections: named by their tags, and rate-limited where clients can cause them at will."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsaas.errors import CallbackFailed, GatewayFault
from wsaas.logs import LeanLogger, shown_path

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from wsaas.connections.connection import Connection
    from wsaas.connections.messages import End


class ConnectionLog:
    """Writes the log lines about connections; one object for all of them.

    Each line begins with the tag. ``many`` limits the rate: see :class:`~wsaas.logs.LogLimit`.
    """

    _log = LeanLogger()

    def refused(self, tag: str, number: int, status: int) -> None:
        """The API refused a message."""
        self._log.warn(
            "{tag} the API refused message {number} with {status}",
            tag=tag,
            number=number,
            status=status,
            many="refused messages",
        )

    def unanswered(self, tag: str, number: int, reason: str) -> None:
        """A message brought no usable answer."""
        self._warn_of_message(tag, number, reason, "messages without an answer")

    def retrying(self, tag: str, number: int, reason: str) -> None:
        """The first attempt of a message failed."""
        self._warn_of_message(tag, number, f"{reason}; it is tried again", "messages that are tried again")

    def _warn_of_message(self, tag: str, number: int, reason: str, many: str) -> None:
        self._log.warn("{tag} message {number}: {reason}", tag=tag, number=number, reason=reason, many=many)

    def no_room(self, tag: str) -> None:
        """Too much waits for the API, so this client is closed."""
        self._log.warn("{tag} no room for what waits for the API", tag=tag, many="clients without room")

    def closed(self, connection: Connection, end: End, undelivered: int, seconds: float) -> None:
        """A connection is over whose client was let in: one line each, whatever their rate.

        :param seconds: for how long it was open
        """
        handshake, traffic = connection.handshake, connection.traffic
        self._log.info(
            "{tag} closed: {code} by {by}: {client} {path}, {seconds} s, {messages_in} in, {messages_out} out",
            tag=connection.identity.tag,
            code=end.close.code,
            by=end.by.value,
            reason=end.close.reason,
            undelivered=undelivered,
            client=handshake.client or "unix",
            path=shown_path(handshake.target),
            seconds=round(seconds, 3),
            messages_in=traffic.messages_in,
            messages_out=traffic.messages_out,
            bytes_in=traffic.bytes_in,
            bytes_out=traffic.bytes_out,
        )

    def error_of(self, tag: str, failure: Failure) -> CallbackFailed:
        """:returns: why a callback failed; an unexpected exception is logged and becomes :class:`GatewayFault`"""
        if isinstance(failure.value, CallbackFailed):
            return failure.value
        self.fault(tag, failure)
        return GatewayFault("a fault of the gateway")

    def fault(self, tag: str, failure: Failure, where: str = "") -> None:
        """A fault of the gateway itself.

        :param where: what failed, with a leading blank
        """
        self._log.failure(f"{{tag}} a fault of the gateway{where}", failure, tag=tag)
