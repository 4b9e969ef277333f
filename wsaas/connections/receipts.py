"""What a connection keeps for those who push with ``Idempotency-Key`` or ``Ws-Confirm``; most never do."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from wsaas.connections.confirmations import Confirmations
from wsaas.connections.idempotency import Answers


class Receipts:
    """The receipts of one connection's pushes.

    :param secret: of the connection
    :param clock: for times
    """

    __slots__ = ("answers", "confirmations")

    def __init__(self, secret: bytes, clock: IReactorTime) -> None:
        #: By ``Idempotency-Key``.
        self.answers = Answers()
        #: For ``Ws-Confirm``.
        self.confirmations = Confirmations(secret, clock)
