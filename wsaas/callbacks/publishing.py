"""What answers of the API publish: again and again while there is no room, as messages are tried (protocol §2.4)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from wsaas.connections.interfaces import Groups
from wsaas.connections.messages import Publication
from wsaas.connections.retry import Retries, Retry
from wsaas.errors import OverloadedError
from wsaas.limits import OVERHEAD, Budget


class _Attempt:
    """A publication that is not done yet.

    :param publication: what to publish
    :param tag: of the connection whose callback was answered
    :param waits: called when there is no room at first
    """

    __slots__ = ("done", "publication", "retry", "size", "tag", "waits")

    def __init__(self, publication: Publication, tag: str, waits: Callable[[], None] | None) -> None:
        self.publication = publication
        self.size = len(publication.message.payload) + OVERHEAD
        self.tag = tag
        self.waits = waits
        self.retry: Retry | None = None
        self.done: Deferred[None] = Deferred()


class AnswerPublisher:
    """Publishes what answers ask for.

    :param groups: who gets it
    :param retries: how it is tried again
    :param budget: of the messages of all clients, in which counts what is tried again
    """

    _log = Logger()

    def __init__(self, groups: Groups, retries: Retries, budget: Budget) -> None:
        self._groups = groups
        self._retries = retries
        self._budget = budget
        #: Those that are tried again.
        self._waiting: set[_Attempt] = set()
        #: How many were dropped, as there was no room in all the time.
        self.dropped = 0
        self._stopped = False

    def publish(self, publication: Publication, tag: str, waits: Callable[[], None] | None = None) -> Deferred[None]:
        """Publish something.

        :param publication: what; :data:`.SELF` in it stands for the connection
        :param tag: of the connection whose callback was answered
        :param waits: called if there is no room now, so that it is tried again
        :returns: fires once all members had their turn, or it was dropped before the process ends; never fails
        """
        attempt = _Attempt(publication.by(tag), tag, waits)
        self._try(attempt)
        return attempt.done

    def _again(self, attempt: _Attempt) -> None:
        self._waiting.discard(attempt)
        self._budget.used -= attempt.size
        self._try(attempt)

    def _try(self, attempt: _Attempt) -> None:
        try:
            publishing = self._groups.publish(attempt.publication)
        except Exception:  # noqa: BLE001 - whatever it is, the connection must go on
            publishing = fail()
        publishing.addCallback(lambda _: None).addErrback(self._failed, attempt)
        publishing.addCallback(partial(self._tried, attempt))

    def _failed(self, failure: Failure, attempt: _Attempt) -> bool:
        """:returns: whether it is tried again"""
        if not failure.check(OverloadedError):
            self._log.failure("{tag} a fault of the gateway while publishing", failure, tag=attempt.tag)
            return False
        retries = self._retries
        first = attempt.retry is None
        if attempt.retry is None:
            attempt.retry = retries.begin(retries.clock.seconds())
        # Clients that have gone leave some behind, too: nothing but the budget bounds them.
        full = self._stopped or self._budget.overrun
        if full or not attempt.retry.later(None, partial(self._again, attempt)):
            self._drop(attempt)
            return False
        self._waiting.add(attempt)
        self._budget.used += attempt.size
        if first and attempt.waits is not None:
            attempt.waits()
        return True

    def _drop(self, attempt: _Attempt) -> None:
        self.dropped += 1
        self._log.error(
            "{tag} no room for what an answer publishes (Ws-Publish): it is dropped",
            tag=attempt.tag,
            dropped_publications=self.dropped,
        )

    def _tried(self, attempt: _Attempt, again: bool | None) -> None:
        if not again:
            attempt.done.callback(None)

    def stop(self) -> None:
        """The process ends: drop what still waits. Nobody is told, so that no callback follows."""
        self._stopped = True
        waiting, self._waiting = self._waiting, set()
        for attempt in waiting:
            assert attempt.retry is not None  # noqa: S101 - for the type checker
            attempt.retry.stop()
            self._budget.used -= attempt.size
            self._drop(attempt)
