"""The journal of pending DELETEs, which survive the process in ``STATE_DIR`` (protocol §2.1).

The reactor never waits for the disk: changes are collected while the journal's thread writes the previous batch, and
Deferreds fire once a batch is on disk. Only a new connection is urgent, as its POST waits for it; other changes are
written with the next one, or a little later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from queue import SimpleQueue
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from wsaas.callbacks.journal_file import Batch, JournalFile
from wsaas.callbacks.state_dir import StateDir
from wsaas.connections.identity import Identity
from wsaas.connections.messages import End, Handshake, PendingDisconnect, Remembered
from wsaas.errors import JournalError, NotTried

#: Seconds that changes which are not urgent wait for others. Most DELETEs are done within them, so that the end need
#: not be written at all.
_GATHER = 0.05
#: Seconds between two attempts to write after a failure.
_RETRY = 1.0
#: Seconds after which a write that does not return counts as a failure.
_STALLED = 5.0

#: The ``Retry-After`` of clients that are refused meanwhile, in seconds.
_RETRY_AFTER = 5

Done = Callable[[BaseException | None], None]


def _refusal() -> NotTried:
    return NotTried("the journal in STATE_DIR cannot be written", _RETRY_AFTER)


class Writer(Protocol):
    """Writes batches to the file, one at a time."""

    def open(self) -> list[tuple[int, PendingDisconnect]]:
        """Open the file and read its records with their numbers; blocks."""

    def write(self, batch: Batch, done: Done) -> None:
        """Write a batch; an empty one tests whether writing works.

        :param done: called in the reactor with the exception, or :data:`None`
        """

    def close(self, done: Done) -> None:
        """Close the file."""


class ThreadWriter:
    """Writes to the file in a thread of its own.

    :param folder: ``STATE_DIR``
    :param file: the journal's file in it
    :param reactor: calls ``done``
    """

    def __init__(self, folder: StateDir, file: JournalFile, reactor: Any) -> None:
        self._folder = folder
        self._file = file
        self._reactor = reactor
        self._work: SimpleQueue[tuple[Callable[[], None], Done] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def open(self) -> list[tuple[int, PendingDisconnect]]:
        """Lock the folder and open the file; this may block, as the reactor does not run yet.

        :raises SettingsError: if either cannot be used
        """
        self._folder.open()
        try:
            self._file.open()
            return self._file.load()
        except JournalError as error:
            self._file.close()
            self._folder.close()
            raise self._folder.refused(
                f"a folder whose journal.sqlite is sound, which this one's is not ({error}); with journal.sqlite and "
                f"journal.sqlite-wal moved away it starts, without the DELETEs that are pending in them"
            ) from error

    def check(self) -> None:
        """Check that :meth:`open` succeeds, and leave everything as it was.

        :raises SettingsError: if it does not
        """
        self.open()
        self._close()

    def write(self, batch: Batch, done: Done) -> None:
        """Write a batch."""
        self._call((lambda: self._file.write(batch)) if batch else self._file.prove, done)

    def close(self, done: Done) -> None:
        """Close the file, unlock the folder, end the thread."""
        self._call(self._close, done)
        self._work.put(None)

    def _close(self) -> None:
        try:
            self._file.close()
        finally:
            self._folder.close()

    def _call(self, work: Callable[[], None], done: Done) -> None:
        if self._thread is None:
            # Started only now, as twistd may fork before. A daemon, as the end of the process must not wait for the
            # disk: a DELETE whose record stays in the file is sent twice instead.
            self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()
        self._work.put((work, done))

    def _run(self) -> None:
        while (task := self._work.get()) is not None:
            work, done = task
            error: BaseException | None = None
            try:
                work()
            except Exception as caught:  # noqa: BLE001 - whatever it is, done() must be called
                error = caught
            self._reactor.callFromThread(done, error)


class DiskJournal:
    """The journal in ``STATE_DIR``.

    While it cannot be written, new connections are refused before their POSTs; other changes are kept in memory and
    written once that works again.

    :param writer: writes to the file
    :param clock: for durations and timers
    :param now: tells the time of day, in Unix seconds, by which ends are recorded: the next process has another clock
    """

    _log = Logger(namespace="wsaas.callbacks.journal")

    def __init__(self, writer: Writer, clock: IReactorTime, now: Callable[[], float]) -> None:
        self._writer = writer
        self._clock = clock
        self._now = now
        self._numbers: dict[str, int] = {}
        self._next = 1
        #: The next batch, and the connections that wait for it.
        self._batch = Batch()
        self._waiting: list[tuple[str, Deferred[None]]] = []
        #: The batch that is being written, since when, and the connections that wait for it.
        self._writing: Batch | None = None
        self._since = 0.0
        self._written_for: list[tuple[str, Deferred[None]]] = []
        self._gathering: IDelayedCall | None = None
        self._watching: IDelayedCall | None = None
        self._closing: Deferred[None] | None = None
        #: Whether new connections can be recorded.
        self.healthy = True

    def open(self) -> list[PendingDisconnect]:
        """Open the journal.

        :returns: the DELETEs that an earlier process left pending
        :raises SettingsError: if the folder or the file cannot be used
        """
        found = self._writer.open()
        now = self._now()
        pending = []
        for number, record in found:
            self._next = number + 1
            self._numbers[record.identity.key] = number
            if not record.ended_at:
                record = replace(record, ended_at=now)  # noqa: PLW2901 - the same record, dated
                # Recorded, so that API_DELETE_FOR does not start again if this process crashes, too.
                self._batch.end(number, record.end, record.undelivered, now)
            pending.append(record)
        self._soon()
        return pending

    def begin(self, identity: Identity, handshake: Handshake) -> Deferred[None]:
        """Record a connection before its POST is sent.

        :returns: fires once the record is on disk, or fails with :class:`~wsaas.errors.NotTried`
        """
        if not self.healthy or self._closing is not None:
            return fail(_refusal())
        number = self._next
        self._next = number + 1
        key = identity.key
        self._numbers[key] = number
        self._batch.opened.append((number, identity.ws_uri, handshake.target.decode("ascii"), handshake.client))
        recorded: Deferred[None] = Deferred()
        self._waiting.append((key, recorded))
        if self._writing is None:
            self._write()
        return recorded

    def remember(self, key: str, remembered: Remembered | None) -> None:
        """Record what the API set."""
        number = self._numbers.get(key)
        if number is not None:
            self._batch.remember(number, remembered)
            self._soon()

    def ended(self, key: str, end: End, undelivered: int) -> None:
        """Record how a connection ended."""
        number = self._numbers.get(key)
        if number is not None:
            self._batch.end(number, end, undelivered, self._now())
            self._soon()

    def settle(self, key: str) -> None:
        """Remove the record of a connection: its DELETE is done, or was never needed."""
        number = self._numbers.pop(key, None)
        if number is not None:
            self._batch.remembered.pop(number, None)
            self._batch.ends.pop(number, None)
            self._batch.settled.append(number)
            self._soon()

    def close(self) -> Deferred[None]:
        """Write the last batch, and close the file.

        :returns: fires once that is done
        """
        closing: Deferred[None] = Deferred()
        self._closing = closing
        if self._writing is None:
            self._write()
        return closing

    def _soon(self) -> None:
        if self._gathering is None and self._writing is None and self._closing is None and self.healthy and self._batch:
            self._gathering = self._clock.callLater(_GATHER, self._gathered)

    def _gathered(self) -> None:
        self._gathering = None
        if self._writing is None and self._batch:
            self._write()

    def _write(self) -> None:
        batch, self._batch = self._batch, Batch()
        self._writing = batch
        self._written_for, self._waiting = self._waiting, []
        self._since = self._clock.seconds()
        if self._watching is None:
            self._watching = self._clock.callLater(_STALLED, self._watch)
        self._writer.write(batch, self._written)

    def _written(self, error: BaseException | None) -> None:
        batch, self._writing = self._writing, None
        assert batch is not None  # noqa: S101 - for the type checker
        if error is not None:
            self._not_written(batch, error)
            return
        if not self.healthy:
            self.healthy = True
            self._log.warn("the journal in STATE_DIR can be written again")
        waiting, self._written_for = self._written_for, []
        for _, recorded in waiting:
            recorded.callback(None)
        if self._writing is not None:
            return
        if self._batch.opened or (self._batch and self._closing is not None):
            self._write()
        elif self._closing is not None:
            self._end(self._closing)
        else:
            self._soon()

    def _not_written(self, batch: Batch, error: BaseException) -> None:
        later, self._batch = self._batch, batch
        batch.remembered.update(later.remembered)
        batch.ends.update(later.ends)
        batch.settled += later.settled
        self._refuse(str(error))
        if self._closing is not None:
            self._end(self._closing)
        elif self._gathering is None:
            self._gathering = self._clock.callLater(_RETRY, self._retry)

    def _retry(self) -> None:
        self._gathering = None
        if self._writing is None:
            self._write()

    def _refuse(self, reason: str) -> None:
        """Refuse the connections that wait, and all new ones, until a write succeeds."""
        if self.healthy:
            self.healthy = False
            self._log.error(
                "the journal in STATE_DIR cannot be written: new clients are refused with 503 until it can: {reason}",
                reason=reason,
            )
        # A failed write may have reached the file all the same, so their numbers must be removed from it.
        waiting = self._written_for + self._waiting
        self._written_for, self._waiting = [], []
        self._batch.opened = []
        for key, recorded in waiting:
            number = self._numbers.pop(key, None)
            if number is not None:
                self._batch.settled.append(number)
            recorded.errback(_refusal())

    def _watch(self) -> None:
        self._watching = None
        if self._writing is None:
            return
        if self._clock.seconds() - self._since >= _STALLED and self.healthy:
            self._refuse(f"nothing was written within {_STALLED:g} s")
        self._watching = self._clock.callLater(_STALLED, self._watch)

    def _end(self, closing: Deferred[None]) -> None:
        for timer in (self._gathering, self._watching):
            if timer is not None and timer.active():
                timer.cancel()
        self._gathering = self._watching = None

        def ended(_: BaseException | None) -> None:
            closing.callback(None)

        self._writer.close(ended)
