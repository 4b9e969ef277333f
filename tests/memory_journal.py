"""The journal's file in memory; the test says when it writes."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote

from wsaas.callbacks.journal import Done
from wsaas.callbacks.journal_file import Batch
from wsaas.connections.identity import Identity, tag_of
from wsaas.connections.messages import Close, ClosedBy, End, PendingDisconnect, remember
from wsaas.groups.names import decode

CRASH = End(Close(1006), ClosedBy.CRASH)


class MemoryWriter:
    """A :class:`~wsaas.callbacks.journal.Writer`.

    :param at_once: whether each batch is written at once
    """

    def __init__(self, *, at_once: bool = False) -> None:
        #: The rows in the file, by number.
        self.rows: dict[int, PendingDisconnect] = {}
        #: All batches, in order.
        self.batches: list[Batch] = []
        #: The batch that is being written.
        self.batch: Batch | None = None
        self.closed = False
        self._at_once = at_once
        self._done: Done | None = None

    def open(self) -> list[tuple[int, PendingDisconnect]]:
        """:returns: the rows in the file"""
        return sorted(self.rows.items())

    def write(self, batch: Batch, done: Done) -> None:
        """Start to write a batch."""
        assert self._done is None, "two batches at a time"
        assert not self.closed, "written after the end"
        self.batches.append(batch)
        self.batch, self._done = batch, done
        if self._at_once:
            self.finish()

    def finish(self, error: Exception | None = None, *, all_the_same: bool = False) -> None:
        """Report that the batch is written, or that writing failed.

        :param all_the_same: whether a batch that failed is in the file all the same
        """
        batch, self.batch = self.batch, None
        done, self._done = self._done, None
        assert batch is not None and done is not None, "nothing is being written"
        if error is None or all_the_same:
            self._write(batch)
        done(error)

    def _write(self, batch: Batch) -> None:
        for number, ws_uri, path, client in batch.opened:
            assert number not in self.rows, "a number twice"
            key = ws_uri.rpartition("/")[2]
            identity = Identity(key, tag_of(key), ws_uri)
            self.rows[number] = PendingDisconnect(identity, path.encode(), client, None, CRASH, 0, 0.0)
        for number, (state, user) in batch.remembered.items():
            if number in self.rows:
                self.rows[number] = replace(self.rows[number], remembered=remember(None, state, user and decode(user)))
        for number, (code, reason, by, undelivered, ended_at) in batch.ends.items():
            if number in self.rows:
                end = End(Close(code, unquote(reason)), ClosedBy(by))
                self.rows[number] = replace(self.rows[number], end=end, undelivered=undelivered, ended_at=ended_at)
        for number in batch.settled:
            self.rows.pop(number, None)

    def close(self, done: Done) -> None:
        """Close the file."""
        assert self.batch is None, "closed while it writes"
        self.closed = True
        done(None)
