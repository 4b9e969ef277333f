"""``Ws-Confirm``: proof that a client has what was pushed to it (protocol §3).

A ping follows the message. A client that answers it has read everything before it, and a pong may answer "only the
most recently processed Ping frame" (RFC 6455 §5.5.3); so a pong confirms its own ping and all earlier ones. A ping
carries its number and a code that only this gateway can make, so that a client cannot make up a pong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from hmac import compare_digest

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from wsaas.errors import PushRefused

#: How many pushes to one client may wait for its pong.
MAX_WAITING = 64
#: Milliseconds that a push may wait for it (protocol §3).
MAX_TIME = 30000

_TIME = re.compile(rb"[1-9][0-9]{0,4}")
#: Bytes of a ping's number, and of the code behind it.
_NUMBER, _CODE = 8, 8


def read_time(values: Sequence[bytes]) -> float | None:
    """Read ``Ws-Confirm``.

    :param values: one for each header line
    :returns: seconds to wait for the pong; :data:`None` without the header
    :raises PushRefused: if it is malformed
    """
    if not values:
        return None
    if len(values) > 1 or not _TIME.fullmatch(values[0]) or int(values[0]) > MAX_TIME:
        raise PushRefused(400, "BAD_REQUEST", f"Ws-Confirm is one number of milliseconds from 1 to {MAX_TIME}")
    return int(values[0]) / 1000


class Confirmations:
    """The pushes that wait for one client's pongs.

    :param secret: the connection's, for the codes in its pings
    :param clock: for the timeouts
    """

    __slots__ = ("_clock", "_number", "_secret", "_waiting")

    def __init__(self, secret: bytes, clock: IReactorTime) -> None:
        self._secret = secret
        self._clock = clock
        self._number = 0
        #: By the number of the ping, in order.
        self._waiting: dict[int, tuple[Deferred[bool], IDelayedCall]] = {}

    @property
    def is_full(self) -> bool:
        """Whether :data:`MAX_WAITING` pushes wait already."""
        return len(self._waiting) >= MAX_WAITING

    def wait(self, seconds: float) -> Deferred[bool]:
        """Wait for the pong to the next ping.

        :param seconds: the timeout
        :returns: fires with whether the pong came in time; may be cancelled
        """
        self._number = number = self._number + 1

        def forget(_: Deferred[bool]) -> None:
            waiting = self._waiting.pop(number, None)
            if waiting is not None:
                waiting[1].cancel()

        deferred: Deferred[bool] = Deferred(forget)
        self._waiting[number] = deferred, self._clock.callLater(seconds, self._too_late, number)
        return deferred

    def _too_late(self, number: int) -> None:
        deferred, _ = self._waiting.pop(number)
        deferred.callback(False)

    def ping(self) -> bytes | None:
        """:returns: the payload of a ping that confirms all that was sent so far; :data:`None` if no push waits"""
        return self._payload(self._number) if self._waiting else None

    def _payload(self, number: int) -> bytes:
        digits = number.to_bytes(_NUMBER, "big")
        return digits + blake2b(digits, digest_size=_CODE, key=self._secret, person=b"wsaas confirm").digest()

    def pong(self, payload: bytes) -> None:
        """Take a pong, asked for or not, and answer the pushes that it confirms.

        :param payload: of the pong
        """
        if not self._waiting or len(payload) != _NUMBER + _CODE:
            return
        number = int.from_bytes(payload[:_NUMBER], "big")
        if compare_digest(payload, self._payload(number)):
            self._end([each for each in self._waiting if each <= number], confirmed=True)

    def give_up(self) -> None:
        """Tell every push that waits that no pong will come."""
        self._end(list(self._waiting), confirmed=False)

    def _end(self, numbers: list[int], *, confirmed: bool) -> None:
        ended = [self._waiting.pop(number) for number in numbers]
        for _, timer in ended:
            timer.cancel()
        for deferred, _ in ended:
            # The callback of one may cancel another.
            if not deferred.called:
                deferred.callback(confirmed)
