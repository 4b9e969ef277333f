"""The journal's file: what is read is what was written, whole batches of it, whatever ended the process."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.properties import examples
from wsaas.callbacks.journal_file import Batch, JournalFile
from wsaas.connections.identity import Identity, tag_of
from wsaas.connections.messages import Close, ClosedBy, End, PendingDisconnect, Remembered, remember
from wsaas.errors import JournalError

CRASH = End(Close(1006), ClosedBy.CRASH)
FILES = ("journal.sqlite", "journal.sqlite-wal")


def row(number: int, client: str | None = "192.0.2.1") -> tuple[int, str, str, str | None]:
    """:returns: a new row"""
    return number, f"http://gateway.test/key{number}", f"/chat?room={number}", client


def pending(
    number: int,
    state: str | None = None,
    end: End = CRASH,
    undelivered: int = 0,
    ended_at: float = 0.0,
    client: str | None = "192.0.2.1",
    user: str | None = None,
) -> PendingDisconnect:
    """:returns: what is read of it"""
    key = f"key{number}"
    identity = Identity(key, tag_of(key), f"http://gateway.test/{key}")
    return PendingDisconnect(
        identity, b"/chat?room=%d" % number, client, remember(None, state, user), end, undelivered, ended_at
    )


class FileCase(SynchronousTestCase):
    """A file in a folder of its own."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / FILES[0]
        self.file = self.open()

    def open(self, path: Path | None = None) -> JournalFile:
        """:returns: a file that is closed with the test at the latest"""
        file = JournalFile(path or self.path)
        file.open()
        self.addCleanup(file.close)
        return file

    def write(self, **parts: object) -> None:
        """Write one batch."""
        self.file.write(Batch(**parts))  # type: ignore[arg-type]  # the parts of a batch

    def after_a_crash(self) -> list[tuple[int, PendingDisconnect]]:
        """:returns: what the next process would read if this one died now"""
        with tempfile.TemporaryDirectory() as name:
            for file in FILES:
                shutil.copy(self.folder / file, name)
            copy = JournalFile(Path(name, FILES[0]))
            copy.open()
            try:
                return copy.load()
            finally:
                copy.close()


class RowsTests(FileCase):
    """What is written and read."""

    def test_a_new_file_is_empty(self) -> None:
        """And for no other account; so are SQLite's own files beside it."""
        self.assertEqual(self.file.load(), [])
        self.write(opened=[row(1)])
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), sorted(FILES))
        for path in self.folder.iterdir():
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path)

    def test_debts(self) -> None:
        """Oldest first, with or without an address."""
        self.write(opened=[row(1), row(3, None)])
        self.write(opened=[row(2)])
        expected = [(1, pending(1)), (2, pending(2)), (3, pending(3, client=None))]
        self.assertEqual(self.file.load(), expected)
        self.assertEqual(self.after_a_crash(), expected)

    def test_states(self) -> None:
        """Set, changed, removed; that of a row which is gone has no effect."""
        self.write(opened=[row(1), row(2)], remembered={1: ('a "b" \\ c', None)})
        self.assertEqual(self.file.load(), [(1, pending(1, 'a "b" \\ c')), (2, pending(2))])
        self.write(remembered={1: ("d", None), 2: ("e", None), 9: ("f", "g")})
        self.assertEqual(self.file.load(), [(1, pending(1, "d")), (2, pending(2, "e"))])
        self.write(remembered={1: (None, None)})
        self.assertEqual(self.file.load(), [(1, pending(1)), (2, pending(2, "e"))])

    def test_users(self) -> None:
        """Any name, beside a state or without one."""
        names = ["bob", "ünal, 1/2%", "\u2603" * 64]
        batch = Batch(opened=[row(number) for number in range(4)])
        for number, name in enumerate(names):
            batch.remember(number, Remembered(None if number else "s", name))
        batch.remember(3, None)
        self.file.write(batch)
        expected = [pending(number, None if number else "s", user=name) for number, name in enumerate(names)]
        self.assertEqual([each for _, each in self.after_a_crash()], [*expected, pending(3)])

    def test_ends(self) -> None:
        """Any reason that a Close frame can hold, even NUL."""
        ends = [
            End(Close(4001, "bye"), ClosedBy.API),
            End(Close(1000, "é\0\n% ☃"), ClosedBy.CLIENT),
            End(Close(1006), ClosedBy.CRASH),
        ]
        batch = Batch(opened=[row(number) for number in range(3)])
        for number, end in enumerate(ends):
            batch.end(number, end, number, 1.5 + number)
        self.file.write(batch)
        expected = [(number, pending(number, None, end, number, 1.5 + number)) for number, end in enumerate(ends)]
        self.assertEqual(self.after_a_crash(), expected)

    def test_settled(self) -> None:
        """Gone, even if they came in the same batch; a number that is not there is nothing."""
        self.write(opened=[row(1), row(2), row(3)], settled=[2])
        self.write(remembered={3: ("s", None)}, settled=[3, 7, 7])
        self.assertEqual(self.after_a_crash(), [(1, pending(1))])

    def test_all_or_nothing(self) -> None:
        """A number that is taken lets the whole batch fail."""
        self.write(opened=[row(1)])
        self.assertRaises(sqlite3.Error, self.write, opened=[row(2), row(1)], remembered={1: ("s", None)})
        self.assertEqual(self.file.load(), [(1, pending(1))])

    def test_closed_and_opened(self) -> None:
        """Everything is there, in one file; more can be written."""
        self.write(opened=[row(1)])
        self.file.close()
        self.file.close()
        self.assertEqual([path.name for path in self.folder.iterdir()], [FILES[0]])
        self.file = self.open()
        self.write(opened=[row(2)])
        self.assertEqual([number for number, _ in self.file.load()], [1, 2])

    def test_a_proof_writes(self) -> None:
        """Else it would prove nothing."""
        self.write(opened=[row(1)])
        before = (self.folder / FILES[1]).stat().st_size
        self.file.prove()
        self.assertGreater((self.folder / FILES[1]).stat().st_size, before)
        self.assertEqual(self.after_a_crash(), [(1, pending(1))])

    def test_many(self) -> None:
        """Thousands at once; when they are gone, their space is used again."""
        for turn in range(5):
            numbers = range(turn * 5000, (turn + 1) * 5000)
            self.write(opened=[row(number) for number in numbers])
            self.assertEqual(len(self.file.load()), 5000)
            self.write(settled=list(numbers))
        self.file.close()
        self.assertLess(self.path.stat().st_size, 3 << 20)

    @examples(40)
    @given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.floats(0, 1))
    def test_death_in_the_middle_of_a_write(self, sizes: list[int], share: float) -> None:
        """The log cut anywhere: what is read is what some number of whole batches made."""
        with tempfile.TemporaryDirectory() as name:
            file = JournalFile(Path(name, FILES[0]))
            file.open()
            log = Path(name, FILES[1])
            moments, number = [(log.stat().st_size, file.load())], 0
            for size in sizes:
                batch = Batch(opened=[row(number + one) for one in range(size)], settled=[number - 1])
                file.write(batch)
                number += size
                moments.append((log.stat().st_size, file.load()))
            copies = Path(name, "after")
            copies.mkdir()
            for one in FILES:
                shutil.copy(Path(name, one), copies)
            file.close()
            first, last = moments[0][0], moments[-1][0]
            cut = int(first + (last - first) * share)
            with (copies / FILES[1]).open("r+b") as opened:
                opened.truncate(cut)
            file = JournalFile(copies / FILES[0])
            file.open()
            found = file.load()
            file.close()
            self.assertEqual(found, [rows for size, rows in moments if size <= cut][-1])


#: The schema of version 1, as its gateways wrote it.
VERSION_1 = """
CREATE TABLE debts (
    id INTEGER PRIMARY KEY, ws_uri TEXT NOT NULL, path TEXT NOT NULL, client TEXT, state TEXT,
    code INTEGER, reason TEXT, closed_by TEXT, undelivered INTEGER, ended_at REAL
);
CREATE VIEW batches AS SELECT '' AS opened, '' AS states, '' AS ends, '' AS settled;
CREATE TRIGGER write_batch INSTEAD OF INSERT ON batches BEGIN
    INSERT INTO debts (id, ws_uri, path, client)
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
            json_extract(value, '$[3]') FROM json_each(NEW.opened);
END;
PRAGMA application_id = 1465073985; PRAGMA user_version = 1;
INSERT INTO debts (id, ws_uri, path, client, state)
    VALUES (1, 'http://gateway.test/key1', '/chat?room=1', '192.0.2.1', 's');
INSERT INTO debts VALUES (2, 'http://gateway.test/key2', '/chat?room=2', null, null, 1001, '', 'shutdown', 3, 1.5);
"""


class OlderTests(SynchronousTestCase):
    """A file of version 1, which knew no users."""

    FOUND = (
        (1, pending(1, "s")),
        (2, pending(2, None, End(Close(1001), ClosedBy.SHUTDOWN), 3, 1.5, None)),
    )

    def setUp(self) -> None:
        """Make one."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / FILES[0]
        database = sqlite3.connect(self.path)
        database.executescript(VERSION_1)
        database.close()

    def open(self) -> JournalFile:
        """:returns: the file, which is closed with the test at the latest"""
        file = JournalFile(self.path)
        file.open()
        self.addCleanup(file.close)
        return file

    def version(self) -> int:
        """:returns: what the file says of its schema"""
        database = sqlite3.connect(self.path)
        (version,) = database.execute("PRAGMA user_version").fetchone()
        database.close()
        return int(version)

    def test_reading_changes_nothing(self) -> None:
        """``--check`` reads it, too, and the gateway that runs may be the older one."""
        file = self.open()
        self.assertEqual(tuple(file.load()), self.FOUND)
        file.close()
        self.assertEqual(self.version(), 1)
        self.assertEqual(tuple(self.open().load()), self.FOUND)

    def test_the_first_write(self) -> None:
        """It makes the file one of this version, with what was in it."""
        for write in (JournalFile.prove, lambda file: file.write(Batch(remembered={1: ("s", "bob")}))):
            file = self.open()
            write(file)
            self.assertEqual(len(file.load()), 2)
            file.close()
            self.assertEqual(self.version(), 2)
        self.assertEqual(self.open().load(), [(1, pending(1, "s", user="bob")), self.FOUND[1]])

    def test_a_write_that_fails(self) -> None:
        """The file stays as it was, and the next write tries again."""
        file = self.open()
        database = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(database.close)
        ours, file._database = file._database, database  # a disk on which nothing can be changed
        self.assertRaises(sqlite3.Error, file.prove)
        self.assertFalse(database.in_transaction)
        file._database = ours
        file.write(Batch(opened=[row(3)]))
        self.assertEqual([number for number, _ in file.load()], [1, 2, 3])


class UnusableTests(FileCase):
    """Files that are not opened: each says why, in one line, and stays as it is."""

    def setUp(self) -> None:
        super().setUp()
        self.write(opened=[row(number) for number in range(500)])
        self.file.close()

    def refused(self) -> str:
        """:returns: why the file is not opened"""
        before = self.path.read_bytes()
        file = JournalFile(self.path)
        error = self.assertRaises(JournalError, file.open)
        self.assertEqual(self.path.read_bytes(), before)
        self.assertNotIn("\n", str(error))
        return str(error)

    def alter(self, statements: str) -> None:
        """Write to the file as another program would."""
        database = sqlite3.connect(self.path)
        database.executescript(statements)
        database.close()

    def test_no_database(self) -> None:
        """But some other file."""
        self.path.write_bytes(b"a letter to a friend\n" * 100)
        self.assertIn("not a database", self.refused())

    def test_damage(self) -> None:
        """Of any page but the first: SQLite's own check finds it."""
        content = bytearray(self.path.read_bytes())
        for place in (4096 * 2, len(content) - 4096):
            damaged = bytearray(content)
            damaged[place : place + 512] = b"\xa5" * 512
            self.path.write_bytes(damaged)
            self.assertTrue(self.refused())

    def test_cut_short(self) -> None:
        """As after a copy that was broken off."""
        content = self.path.read_bytes()
        self.path.write_bytes(content[: len(content) // 2])
        self.assertTrue(self.refused())

    def test_a_schema_that_is_no_text(self) -> None:
        """SQLite quotes it in its complaint."""
        content = bytearray(self.path.read_bytes())
        at = content.index(b"CREATE TABLE debts")
        content[at : at + 3] = b"\x9c\x9c\x9c"
        self.path.write_bytes(content)
        self.assertTrue(self.refused())

    def test_another_program(self) -> None:
        """Its tables are not ours."""
        self.path.unlink()
        self.alter("CREATE TABLE letters (content)")
        self.assertIn("not a journal", self.refused())

    def test_another_version(self) -> None:
        """Of a gateway to come."""
        self.alter("PRAGMA user_version = 3")
        self.assertIn("this version", self.refused())

    def test_in_use(self) -> None:
        """By a program that ignores the folder's lock."""
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN EXCLUSIVE")
        self.patch(sqlite3, "connect", lambda *_, connect=sqlite3.connect, **rest: connect(*_, timeout=0, **rest))
        self.assertIn("locked", self.refused())

    def test_a_link(self) -> None:
        """Which leads somewhere else."""
        elsewhere = self.path.rename(self.folder / "elsewhere")
        self.path.symlink_to(elsewhere.absolute())
        self.refused()

    def test_rows_that_were_never_written(self) -> None:
        """They would become a part of a request's head."""
        for values in (
            "ws_uri = 'http://x/y' || char(13, 10) || 'Forged: 1'",
            "ws_uri = x'05'",
            "ws_uri = ''",
            "ws_uri = 'http://x/'",
            "path = char(228)",
            "client = 'a' || char(10)",
            "state = x'00'",
            "user = 'a b'",
            "user = '%00'",
            "user = ''",
            "code = 1000, closed_by = 'nobody', reason = '', undelivered = 0, ended_at = 1.0",
            "code = 1000, closed_by = 'client', reason = '', undelivered = 0",
            "code = 'x', closed_by = 'client', reason = '', undelivered = 0, ended_at = 1.0",
        ):
            self.alter(f"BEGIN; UPDATE debts SET {values} WHERE id = 7; COMMIT;")
            file = self.open()
            self.assertRaises(JournalError, file.load)
            file.close()
            self.alter("DELETE FROM debts WHERE id = 7; INSERT INTO debts (id, ws_uri, path) VALUES (7, 'u/k', '/')")
