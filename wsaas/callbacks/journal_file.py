"""The journal's SQLite file: each row is a connection whose DELETE is pending. All calls block.

The file has a write-ahead log (WAL), and each batch is one transaction: however the process ends, the file contains
complete batches.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

from wsaas.connections.identity import Identity, tag_of
from wsaas.connections.messages import Close, ClosedBy, End, PendingDisconnect, Remembered, remember
from wsaas.errors import JournalError
from wsaas.groups.names import decode, encode

_CRASH = End(Close(1006), ClosedBy.CRASH)

#: "WSAA", which marks the file as ours, and the version of its schema.
_APPLICATION = 0x57534141
_VERSION = 2

# One statement writes a whole batch. Each step of sqlite3 releases Python's lock, and getting it back from a busy
# reactor takes up to 5 ms: with a statement for each row, the journal would write only 200 rows a second under load.
# The pending DELETEs are called debts in the file: its format is fixed.
_SCHEMA = """
CREATE TABLE debts (
    id INTEGER PRIMARY KEY, ws_uri TEXT NOT NULL, path TEXT NOT NULL, client TEXT, state TEXT,
    code INTEGER, reason TEXT, closed_by TEXT, undelivered INTEGER, ended_at REAL, user TEXT
);
"""
_WRITING = """
CREATE VIEW batches AS SELECT '' AS opened, '' AS remembered, '' AS ends, '' AS settled;
CREATE TRIGGER write_batch INSTEAD OF INSERT ON batches BEGIN
    INSERT INTO debts (id, ws_uri, path, client)
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
            json_extract(value, '$[3]') FROM json_each(NEW.opened);
    UPDATE debts SET state = json_extract(item.value, '$[1]'), user = json_extract(item.value, '$[2]')
        FROM json_each(NEW.remembered) AS item WHERE debts.id = json_extract(item.value, '$[0]');
    UPDATE debts SET code = json_extract(item.value, '$[1]'), reason = json_extract(item.value, '$[2]'),
            closed_by = json_extract(item.value, '$[3]'), undelivered = json_extract(item.value, '$[4]'),
            ended_at = json_extract(item.value, '$[5]')
        FROM json_each(NEW.ends) AS item WHERE debts.id = json_extract(item.value, '$[0]');
    DELETE FROM debts WHERE id IN (SELECT value FROM json_each(NEW.settled));
END;
"""
_COLUMNS = 11
_OURS = f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_VERSION};"
#: By the version of an older file: what makes it one of this version. Version 1 knew no users.
_OLDER = {1: "ALTER TABLE debts ADD COLUMN user TEXT; DROP TRIGGER write_batch; DROP VIEW batches;"}


@dataclass(slots=True)
class Batch:
    """Changes that are written in one transaction, in this order.

    :param opened: new rows: number, ``ws_uri``, path, client
    :param remembered: by number: the ``Ws-State``, and the ``Ws-User``, encoded
    :param ends: by number: close code, encoded reason, ``Ws-Closed-By``, undelivered messages, Unix seconds
    :param settled: numbers of rows to remove
    """

    opened: list[tuple[int, str, str, str | None]] = field(default_factory=list)
    remembered: dict[int, tuple[str | None, str | None]] = field(default_factory=dict)
    ends: dict[int, tuple[int, str, str, int, float]] = field(default_factory=dict)
    settled: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        """:returns: whether there is anything to write"""
        return bool(self.opened or self.remembered or self.ends or self.settled)

    def remember(self, number: int, remembered: Remembered | None) -> None:
        """Add what the API set."""
        state, user = (None, None) if remembered is None else (remembered.state, remembered.user)
        self.remembered[number] = (state, None if user is None else encode(user))

    def end(self, number: int, end: End, undelivered: int, ended_at: float) -> None:
        """Add how a connection ended."""
        # Encoded, as SQLite's JSON cannot represent NUL, which a client's reason may contain.
        reason = quote(end.close.reason, safe="") if end.close.reason else ""
        self.ends[number] = (end.close.code, reason, end.by.value, undelivered, ended_at)


class JournalFile:
    """The file. It may be opened in one thread and used in another, but never in two at a time.

    :param path: of the file
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None
        #: Of the schema that the file has now: that of an older one is changed with the first write.
        self._version = _VERSION

    def open(self) -> None:
        """Open the file, create it if it does not exist, and check its integrity.

        :raises JournalError: if it is damaged, of another program or version, or cannot be opened
        """
        try:
            # SQLite gives its other files the mode of this one.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            self._database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._prepare(self._database)
        except (sqlite3.Error, OSError, UnicodeError) as error:
            # UnicodeError: SQLite's message about a damaged schema may quote bytes that are not text.
            self.close()
            raise JournalError(str(error)) from error
        except JournalError:
            self.close()
            raise

    def _prepare(self, database: sqlite3.Connection) -> None:
        # Before anything is read. The folder is locked, so that SQLite needs no shared memory for other processes.
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        application, version = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        tables = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        is_new = (application, version, tables) == (0, 0, 0)
        if not is_new and (application != _APPLICATION or version not in {_VERSION, *_OLDER}):
            raise JournalError("it is not a journal of this version, nor of one before it")
        database.execute("PRAGMA journal_mode = WAL")
        # Each batch is flushed to disk before its POSTs are sent, so that it survives a loss of power too. That takes
        # one flush for the whole batch, during which this thread does not hold Python's lock.
        database.execute("PRAGMA synchronous = FULL")
        if is_new:
            database.executescript(f"BEGIN; {_SCHEMA} {_WRITING} {_OURS} COMMIT;")
        self._version = _VERSION if is_new else version
        (said,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if said != "ok":
            raise JournalError(" ".join(str(said).split()))

    def load(self) -> list[tuple[int, PendingDisconnect]]:
        """Read the DELETEs that an earlier process left pending.

        :returns: their records with their numbers, oldest first
        :raises JournalError: if a row makes no sense
        """
        try:
            rows = self._opened().execute("SELECT * FROM debts ORDER BY id").fetchall()
            return [(row[0], _pending(row)) for row in rows]
        except (sqlite3.Error, ValueError) as error:
            raise JournalError(str(error)) from error

    def write(self, batch: Batch) -> None:
        """Write a batch in one transaction.

        :raises sqlite3.Error: if it cannot be written now
        """
        self._writable().execute(
            "INSERT INTO batches VALUES (?, ?, ?, ?)",
            (
                json.dumps(batch.opened),
                json.dumps([(number, *each) for number, each in batch.remembered.items()]),
                json.dumps([(number, *end) for number, end in batch.ends.items()]),
                json.dumps(batch.settled),
            ),
        )

    def prove(self) -> None:
        """Write to the file without changing it, to test whether that works.

        :raises sqlite3.Error: if it cannot
        """
        self._writable().execute(f"PRAGMA user_version = {_VERSION}")

    def close(self) -> None:
        """Close the file."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _writable(self) -> sqlite3.Connection:
        database = self._opened()
        if self._version != _VERSION:
            try:
                database.executescript(f"BEGIN; {_OLDER[self._version]} {_WRITING} {_OURS} COMMIT;")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")
            self._version = _VERSION
        return database

    def _opened(self) -> sqlite3.Connection:
        assert self._database is not None  # noqa: S101 - for the type checker
        return self._database


def _plain(text: object) -> str:
    if not (isinstance(text, str) and text.isascii() and text.isprintable()):
        # The text becomes part of a request's head.
        raise ValueError("a row holds what was never written")
    return text


def _pending(row: Sequence[object]) -> PendingDisconnect:
    """Convert a row.

    :raises ValueError: if it makes no sense
    """
    # A row of an older file may be shorter.
    _, ws_uri, path, client, state, code, reason, closed_by, undelivered, ended_at, user = (*row, None)[:_COLUMNS]
    uri = _plain(ws_uri)
    key = uri.rpartition("/")[2]
    if not key:
        raise ValueError("a row holds what was never written")
    remembered = remember(
        None, None if state is None else _plain(state), None if user is None else decode(_plain(user))
    )
    end = _CRASH
    if code is not None:
        if not (isinstance(code, int) and isinstance(undelivered, int) and isinstance(ended_at, float)):
            raise ValueError("a row holds what was never written")
        end = End(Close(code, unquote(_plain(reason))), ClosedBy(_plain(closed_by)))
    return PendingDisconnect(
        Identity(key, tag_of(key), uri),
        _plain(path).encode("ascii"),
        None if client is None else _plain(client),
        remembered,
        end,
        undelivered if isinstance(undelivered, int) else 0,
        ended_at if isinstance(ended_at, float) else 0.0,
    )
