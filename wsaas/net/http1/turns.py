"""Requests of one connection, answered some at a time: everybody else has a turn in between.

twisted.web answers all that has arrived at once; and one read may hold a thousand requests.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.web.http import HTTPChannel

from wsaas.net.http1.judged_request import JudgedRequest

#: How much of one connection is answered in a turn of the loop; what came behind it waits. A request counts 1, and as
#: many as this if it was refused. That takes no credentials: so a connection with nothing but such requests waits for
#: some time after each turn (seconds), or a hundred of them would take all of the loop.
PER_TURN, REFUSED = 64, 32
REFUSED_PAUSE = 0.2
_CLIENT_ERROR = 400


class TakingTurns(HTTPChannel):
    """A connection on which so much is answered in a turn of the loop."""

    _networkProducer: Any
    _in_turn = 0
    #: Whether nothing but refusals were answered in this turn.
    _only_refused = True
    #: What came behind the last request of a turn, and what has it looked at.
    _behind = b""
    _turn: IDelayedCall | None = None

    @property
    def waits(self) -> bool:
        """Whether something waits for its turn; whatever comes is to wait behind it."""
        return bool(self._behind)

    def begin_turn(self) -> None:
        """Bytes came."""
        self._in_turn = 0
        self._only_refused = True

    def is_turn_over(self, accepted: bool, refused: bool) -> bool:
        """Count what was answered.

        :param accepted: whether there was something that was not refused
        :param refused: whether there was something that was
        :returns: whether what came behind it has to wait
        """
        self._in_turn += accepted + REFUSED * refused
        if accepted:
            self._only_refused = False
        return self._in_turn >= PER_TURN

    def wait_with(self, data: bytes) -> None:
        """Have bytes wait for a later turn, behind those that do."""
        self._behind += data
        if self._turn is None:
            self._networkProducer.pauseProducing()
            self._turn = self.callLater(REFUSED_PAUSE if self._only_refused else 0, self._take_turn)

    def stop_waiting(self) -> None:
        """Forget what waits."""
        self._behind = b""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _take_turn(self) -> None:
        self._turn = None
        # As long as the peer does not read its answers, there are no more of them.
        if not self._waitingForTransport:
            data, self._behind = self._behind, b""
            self._networkProducer.resumeProducing()
            self.dataReceived(data)

    def requestDone(self, request: JudgedRequest) -> None:
        """A request is answered."""
        refused = request.answered or request.code >= _CLIENT_ERROR
        data = b""
        if self.is_turn_over(not refused, refused):
            data = self.clearLineBuffer() + b"".join(self._dataBuffer)
            self._dataBuffer = []
        super().requestDone(request)
        if data and self.persistent:
            self.wait_with(data)

    def resumeProducing(self) -> None:
        """The transport has room again. Before more is read, what waits has its turn."""
        super().resumeProducing()
        if self._behind:
            self._networkProducer.pauseProducing()
            if self._turn is None:
                self._turn = self.callLater(0, self._take_turn)
