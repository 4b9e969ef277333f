"""``Ws-Confirm``: proof that a client has what was pushed to it (protocol §3).

A ping follows the message. Whoever answers it has read what stood before it, and a pong may answer "only the most
recently processed Ping frame" (RFC 6455 §5.5.3); so a pong proves its own ping and all before it. A ping carries its
number and a code that only this gateway can make: no pong that was not asked for, and none sent by heart, is taken for
a proof.
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

    :param values: one for each line in which it stands
    :returns: seconds to wait for the pong; :data:`None` if nobody asks for one
    :raises PushRefused: if it is malformed
    """
    if not values:
        return None
    if len(values) > 1 or not _TIME.fullmatch(values[0]) or int(values[0]) > MAX_TIME:
        raise PushRefused(400, "BAD_REQUEST", f"Ws-Confirm is one number of milliseconds from 1 to {MAX_TIME}")
    return int(values[0]) / 1000


class Confirmations:
    """Those who wait for one client's pongs.

    :param secret: of the connection: what the codes are made with
    :param clock: for the times they wait
    """

    __slots__ = ("_clock", "_number", "_secret", "_waiting")

    def __init__(self, secret: bytes, clock: IReactorTime) -> None:
        self._secret = secret
        self._clock = clock
        self._number = 0
        #: By the numbers of their pings, in order.
        self._waiting: dict[int, tuple[Deferred[bool], IDelayedCall]] = {}

    @property
    def is_full(self) -> bool:
        """Whether nobody else may wait."""
        return len(self._waiting) >= MAX_WAITING

    def wait(self, seconds: float) -> Deferred[bool]:
        """Wait for the pong to the next ping.

        :param seconds: at most
        :returns: fires with whether it came in time; may be cancelled
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
        """:returns: what the ping carries that proves all that was sent so far; :data:`None` if nobody waits"""
        return self._payload(self._number) if self._waiting else None

    def _payload(self, number: int) -> bytes:
        digits = number.to_bytes(_NUMBER, "big")
        return digits + blake2b(digits, digest_size=_CODE, key=self._secret, person=b"wsaas confirm").digest()

    def pong(self, payload: bytes) -> None:
        """A pong came, asked for or not.

        :param payload: what it carries
        """
        if not self._waiting or len(payload) != _NUMBER + _CODE:
            return
        number = int.from_bytes(payload[:_NUMBER], "big")
        if compare_digest(payload, self._payload(number)):
            self._end([each for each in self._waiting if each <= number], confirmed=True)

    def give_up(self) -> None:
        """No pong will come any more."""
        self._end(list(self._waiting), confirmed=False)

    def _end(self, numbers: list[int], *, confirmed: bool) -> None:
        ended = [self._waiting.pop(number) for number in numbers]
        for _, timer in ended:
            timer.cancel()
        for deferred, _ in ended:
            # What one is told may lead to another's being cancelled.
            if not deferred.called:
                deferred.callback(confirmed)
