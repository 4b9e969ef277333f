"""``Idempotency-Key``: a push that is repeated gets the answer that it got before, and sends nothing (protocol §3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wsaas.errors import PushRefused

#: How many keys of one connection are remembered: the latest ones.
MAX_KEYS = 64

_KEY = re.compile(rb"[\x21-\x7e]{1,64}")


class Result(Protocol):
    """The answer to a push."""

    @property
    def accepted(self) -> bool:
        """Whether the push was carried out; if not, the pusher may repeat it under the same key."""


R = TypeVar("R", bound=Result)


def read_key(values: Sequence[bytes]) -> bytes | None:
    """Read ``Idempotency-Key``.

    :param values: one for each header line
    :returns: the key as it was sent; :data:`None` without the header
    :raises PushRefused: if it is malformed
    """
    if not values:
        return None
    if len(values) > 1 or not _KEY.fullmatch(values[0]):
        raise PushRefused(400, "BAD_REQUEST", "Idempotency-Key is one text of 1 to 64 visible ASCII characters")
    return values[0]


class _Pending(Generic[R]):
    """An answer that is not known yet, and the pushes that wait for it."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Deferred[R]] = []

    def wait(self) -> Deferred[R]:
        """:returns: fires with the answer; cancelling it does not affect other waiters"""
        deferred: Deferred[R] = Deferred(self._waiting.remove)
        self._waiting.append(deferred)
        return deferred

    def settle(self, result: R | Failure) -> None:
        """Give the answer, or the failure, to every push that waits."""
        while self._waiting:
            self._waiting.pop(0).callback(result)


class Answers(Generic[R]):
    """The answers to the latest pushes with a key on one connection."""

    __slots__ = ("_answers",)

    def __init__(self) -> None:
        #: By key, the oldest first.
        self._answers: dict[bytes, R | _Pending[R]] = {}

    def once(self, key: bytes, push: Callable[[], R | Deferred[R]]) -> R | Deferred[R]:
        """Carry out a push, unless one with this key was carried out before.

        :param key: the push's ``Idempotency-Key``
        :param push: carries it out
        :returns: the answer to this push, or to the earlier one with this key. An answer that is still to come is kept
            even if its pusher has left: a pusher that timed out may repeat the push.
        """
        known = self._answers.get(key)
        if known is not None:
            return known.wait() if isinstance(known, _Pending) else known
        answer = push()
        if not isinstance(answer, Deferred):
            if answer.accepted:
                self._keep(key, answer)
            return answer
        pending: _Pending[R] = _Pending()
        self._keep(key, pending)
        waiting = pending.wait()

        def settle(result: R | Failure) -> None:
            # By now the key may be forgotten, or belong to another push.
            if self._answers.get(key) is pending:
                if not isinstance(result, Failure) and result.accepted:
                    self._answers[key] = result
                else:
                    del self._answers[key]
            pending.settle(result)

        answer.addBoth(settle)
        return waiting

    def _keep(self, key: bytes, answer: R | _Pending[R]) -> None:
        if len(self._answers) >= MAX_KEYS:
            del self._answers[next(iter(self._answers))]
        self._answers[key] = answer
