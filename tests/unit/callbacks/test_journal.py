"""The journal: what is on disk before a POST leaves, what is gathered, and what happens when the disk fails."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import time
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.fakes import TimeOfDay
from tests.memory_journal import CRASH, MemoryWriter
from tests.properties import run_courses
from tests.waiting import reactor, within
from wsaas.callbacks.journal import DiskJournal, Done, ThreadWriter
from wsaas.callbacks.journal_file import Batch, JournalFile
from wsaas.callbacks.state_dir import StateDir
from wsaas.connections.identity import Identity, tag_of
from wsaas.connections.interfaces import NO_JOURNAL, Journal
from wsaas.connections.messages import Close, ClosedBy, End, Handshake, PendingDisconnect, Remembered
from wsaas.errors import NotTried, SettingsError

NOW = 1_700_000_000.0
UPTIME = 5000.0
BYE = End(Close(4001, "bye"), ClosedBy.API)
S = Remembered("s")
FULL = sqlite3.OperationalError("database or disk is full")


def identity(key: str) -> Identity:
    """:returns: the names of a connection"""
    return Identity(key, tag_of(key), f"http://gateway.test/{key}")


def handshake(target: bytes = b"/chat", client: str | None = "192.0.2.1") -> Handshake:
    """:returns: what a client asked for, with secrets that must not be kept"""
    forwarded = ((b"Authorization", b"hunter2"),)
    return Handshake(target, b"gateway", True, client, b"https://o.test", b"agent", forwarded, "key", ("p",), "")


def pending(
    key: str, remembered: Remembered | None = None, end: End = CRASH, undelivered: int = 0, ended_at: float = NOW
) -> PendingDisconnect:
    """:returns: what the next life finds"""
    return PendingDisconnect(identity(key), b"/chat", "192.0.2.1", remembered, end, undelivered, ended_at)


class JournalCase(SynchronousTestCase):
    """A journal whose file is in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(UPTIME)
        self.now = TimeOfDay(self.clock, NOW)
        self.writer = MemoryWriter()
        self.journal = DiskJournal(self.writer, self.clock, self.now)
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def begin(self, *keys: str) -> list[Deferred[None]]:
        """Record connections."""
        return [self.journal.begin(identity(key), handshake()) for key in keys]

    def recorded(self, *keys: str) -> None:
        """Record connections, and let everything be written."""
        recorded = self.begin(*keys)
        while self.writer.batch is not None:
            self.writer.finish()
        for deferred in recorded:
            self.successResultOf(deferred)

    def flush(self) -> None:
        """Let time pass until everything is written."""
        self.clock.advance(1)
        while self.writer.batch is not None:
            self.writer.finish()

    def next_process(self) -> list[PendingDisconnect]:
        """:returns: what another process would find if this one crashed now; its clock starts again"""
        copy = MemoryWriter()
        copy.rows = dict(self.writer.rows)
        return DiskJournal(copy, Clock(), lambda: NOW).open()

    def said(self, level: LogLevel) -> list[str]:
        """:returns: lines of the log"""
        return [formatEvent(event) for event in self.events if event["log_level"] is level]


class WritingTests(JournalCase):
    """As long as the disk does its part."""

    def test_a_debt_is_safe_before_it_is_said_to_be(self) -> None:
        """And the POST waits until then."""
        [deferred] = self.begin("a")
        self.assertNoResult(deferred)
        self.assertEqual(self.next_process(), [])
        self.writer.finish()
        self.successResultOf(deferred)
        self.assertEqual(self.next_process(), [pending("a")])

    def test_what_is_kept_of_a_handshake(self) -> None:
        """Path and address; no header, least of all a forwarded one."""
        self.journal.begin(identity("a"), handshake(b"/x?y=1", None))
        (batch,) = self.writer.batches
        self.assertEqual(batch, Batch(opened=[(1, "http://gateway.test/a", "/x?y=1", None)]))

    def test_what_comes_meanwhile_is_one_batch(self) -> None:
        """The first goes at once."""
        first = self.begin("a")
        rest = self.begin("b", "c")
        self.journal.settle("b")
        self.assertEqual(len(self.writer.batches), 1)
        self.writer.finish()
        self.successResultOf(first[0])
        self.assertEqual([row[0] for row in self.writer.batches[1].opened], [2, 3])
        self.assertNoResult(rest[0])
        self.writer.finish()
        for deferred in rest:
            self.successResultOf(deferred)
        self.assertEqual(self.next_process(), [pending("a"), pending("c")])
        self.assertEqual(len(self.writer.batches), 2)

    def test_a_debt_that_comes_out_of_a_callback(self) -> None:
        """As when a POST is answered at once, and the client connects again."""
        later: list[Deferred[None]] = []
        first, second = self.begin("a", "b")
        first.addCallback(lambda _: later.extend(self.begin("c")))
        self.writer.finish()
        self.writer.finish()
        self.successResultOf(second)
        if self.writer.batch is not None:
            self.writer.finish()
        self.successResultOf(later[0])
        self.assertEqual(self.next_process(), [pending("a"), pending("b"), pending("c")])

    def test_what_is_not_urgent_is_gathered(self) -> None:
        """One batch for many; what is settled meanwhile needs nothing else."""
        self.recorded("a", "b", "c")
        before = len(self.writer.batches)
        self.journal.remember("a", Remembered("s1"))
        self.journal.remember("b", S)
        self.journal.remember("a", Remembered("s2", "ünal"))
        self.journal.ended("b", BYE, 3)
        self.journal.ended("c", BYE, 0)
        self.journal.settle("c")
        self.assertEqual(len(self.writer.batches), before)
        self.flush()
        (batch,) = self.writer.batches[before:]
        self.assertEqual((batch.remembered, batch.settled), ({1: ("s2", "%C3%BCnal"), 2: ("s", None)}, [3]))
        self.assertEqual(list(batch.ends), [2])
        self.assertEqual(self.next_process(), [pending("a", Remembered("s2", "ünal")), pending("b", S, BYE, 3)])

    def test_what_is_not_urgent_goes_with_what_is(self) -> None:
        """There is no batch of its own for it then."""
        self.recorded("a")
        self.journal.settle("a")
        self.recorded("b")
        self.assertEqual((len(self.writer.batches), self.next_process()), (2, [pending("b")]))
        self.clock.advance(1)
        self.assertIsNone(self.writer.batch)

    def test_a_state_that_is_removed(self) -> None:
        """Nothing is remembered then."""
        self.recorded("a")
        for remembered in (S, None):
            self.journal.remember("a", remembered)
            self.flush()
        self.assertEqual(self.next_process(), [pending("a")])

    def test_what_nobody_owes(self) -> None:
        """A key that was never recorded, or is settled."""
        self.recorded("a")
        self.journal.settle("a")
        for key in ("a", "b"):
            self.journal.remember(key, S)
            self.journal.ended(key, BYE, 0)
            self.journal.settle(key)
        self.flush()
        self.assertEqual(self.writer.batches[1], Batch(settled=[1]))

    def test_nothing_runs_while_nothing_happens(self) -> None:
        """No timer is left, so an idle gateway is idle."""
        self.recorded("a")
        self.journal.settle("a")
        self.flush()
        self.clock.advance(10)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class EarlierLifeTests(JournalCase):
    """What is found at the start."""

    def test_debts_of_an_earlier_life(self) -> None:
        """They crashed, unless more was known."""
        self.recorded("a", "b")
        self.journal.ended("b", BYE, 2)
        self.journal.remember("a", S)
        self.flush()
        self.assertEqual(self.next_process(), [pending("a", S), pending("b", None, BYE, 2)])

    def test_the_time_of_day_is_set(self) -> None:
        """Ends are dated by it, as the next process has another monotonic clock."""
        self.recorded("a")
        self.now.set_by(-3600)
        self.journal.ended("a", BYE, 0)
        self.flush()
        self.assertEqual(self.next_process(), [pending("a", None, BYE, 0, NOW - 3600)])

    def test_the_time_for_paying_begins_once(self) -> None:
        """With the first start that finds the record, not with each."""
        self.recorded("a")
        self.journal = DiskJournal(self.writer, self.clock, self.now)
        self.clock.advance(1000)
        found = [pending("a", ended_at=NOW + 1000)]
        self.assertEqual(self.journal.open(), found)
        self.flush()
        self.assertEqual(self.next_process(), found)

    def test_numbers_go_on(self) -> None:
        """After those of the earlier process, whose records are settled like others."""
        self.recorded("a", "b")
        self.journal = DiskJournal(self.writer, self.clock, self.now)
        self.journal.open()
        self.recorded("c")
        self.journal.settle("a")
        self.flush()
        self.assertEqual([found.identity.key for found in self.next_process()], ["b", "c"])


class FailureTests(JournalCase):
    """When the disk does not do its part."""

    def refused(self, deferred: Deferred[None]) -> None:
        """Check that a connection is not recorded, and the client gets ``Retry-After``."""
        error = self.failureResultOf(deferred, NotTried).value
        self.assertEqual((error.status, error.client_retry_after), (503, 5))
        self.assertFalse(error.needs_disconnect)

    def test_those_who_wait_are_refused(self) -> None:
        """Those of the batch, those behind it and all who come; with one error in the log."""
        waiting = self.begin("a", "b")
        self.writer.finish(FULL)
        for deferred in (*waiting, *self.begin("c", "d")):
            self.refused(deferred)
        self.assertFalse(self.journal.healthy)
        self.assertEqual(len(self.said(LogLevel.error)), 1)
        self.assertIn("disk is full", self.said(LogLevel.error)[0])
        self.clock.advance(1)
        self.writer.finish(FULL)
        self.assertEqual(len(self.said(LogLevel.error)), 1)

    def test_it_is_tried_again(self) -> None:
        """Every second, even if there is nothing to be written; when it works, all is as before."""
        [deferred] = self.begin("a")
        self.writer.finish(FULL)
        self.refused(deferred)
        for _ in range(3):
            self.clock.advance(1)
            self.assertFalse(self.journal.healthy)
            self.writer.finish(FULL)
        self.clock.advance(1)
        self.writer.finish()
        self.assertTrue(self.journal.healthy)
        self.assertEqual(len(self.said(LogLevel.warn)), 1)
        self.recorded("b")
        self.assertEqual(self.next_process(), [pending("b")])

    def test_an_empty_batch_proves_it(self) -> None:
        """What was refused may be all there was."""
        self.journal.healthy = False
        self.journal._gathered()
        self.assertEqual(self.writer.batches, [Batch()])

    def test_what_is_settled_meanwhile_is_remembered(self) -> None:
        """As are states and ends."""
        self.recorded("a", "b", "c")
        self.journal.remember("b", Remembered("early"))
        self.journal.remember("c", S)
        self.clock.advance(0.1)
        self.journal.settle("a")
        self.journal.remember("b", Remembered("late"))
        self.writer.finish(FULL)
        self.journal.ended("c", BYE, 1)
        self.assertEqual([one.identity.key for one in self.next_process()], ["a", "b", "c"])
        self.clock.advance(1)
        self.writer.finish()
        found = self.next_process()
        self.assertEqual([one.identity.key for one in found], ["b", "c"])
        self.assertEqual([(one.remembered, one.end) for one in found], [(Remembered("late"), CRASH), (S, BYE)])
        self.assertEqual(self.clock.getDelayedCalls()[1:], [])

    def test_a_write_that_failed_but_did_not(self) -> None:
        """A row that is there all the same is deleted: its POST was never sent."""
        waiting = self.begin("a", "b")
        self.writer.finish(FULL, all_the_same=True)
        for deferred in waiting:
            self.refused(deferred)
        self.assertEqual([one.identity.key for one in self.next_process()], ["a"])
        self.clock.advance(1)
        self.writer.finish()
        self.assertEqual(self.next_process(), [])

    def test_a_disk_that_does_not_answer(self) -> None:
        """After some seconds it counts as failed."""
        waiting = self.begin("a", "b")
        self.clock.advance(5)
        for deferred in (*waiting, *self.begin("c")):
            self.refused(deferred)
        self.assertFalse(self.journal.healthy)
        self.clock.advance(20)
        self.assertEqual(len(self.said(LogLevel.error)), 1)
        self.writer.finish()
        self.assertTrue(self.journal.healthy)
        self.flush()
        self.assertEqual(self.next_process(), [])
        self.recorded("d")

    def test_a_slow_disk(self) -> None:
        """Is waited for, however long it has been busy before."""
        self.recorded("a")
        self.clock.advance(4)
        [deferred] = self.begin("b")
        self.clock.advance(2)
        self.assertNoResult(deferred)
        self.writer.finish()
        self.successResultOf(deferred)

    def test_a_disk_that_answers_late_with_an_error(self) -> None:
        """That is known already."""
        [deferred] = self.begin("a")
        self.clock.advance(5)
        self.refused(deferred)
        self.writer.finish(FULL)
        self.assertEqual(len(self.said(LogLevel.error)), 1)
        self.clock.advance(1)
        self.writer.finish()
        self.assertTrue(self.journal.healthy)


class EndTests(JournalCase):
    """The end of the process, in order."""

    def test_everything_is_written(self) -> None:
        """Before the file is closed; no timer is left."""
        self.recorded("a", "b")
        self.journal.settle("a")
        closed = self.journal.close()
        self.assertNoResult(closed)
        self.writer.finish()
        self.successResultOf(closed)
        self.assertTrue(self.writer.closed)
        self.assertEqual([one.identity.key for one in self.next_process()], ["b"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_is_being_written_is_waited_for(self) -> None:
        """And what came meanwhile is written then."""
        [deferred] = self.begin("a")
        self.journal.remember("a", S)
        closed = self.journal.close()
        self.writer.finish()
        self.successResultOf(deferred)
        self.journal.settle("a")
        self.writer.finish()
        self.assertEqual([one.remembered for one in self.next_process()], [S])
        self.assertFalse(self.writer.closed)
        self.writer.finish()
        self.successResultOf(closed)
        self.assertEqual(self.next_process(), [])

    def test_nobody_new(self) -> None:
        """A connection that comes too late is refused."""
        closed = self.journal.close()
        self.failureResultOf(self.begin("a")[0], NotTried)
        self.writer.finish()
        self.successResultOf(closed)
        self.journal.settle("a")
        self.clock.advance(10)

    def test_a_full_disk(self) -> None:
        """Is tried once more; then the process ends all the same."""
        self.recorded("a")
        self.journal.settle("a")
        self.clock.advance(0.1)
        self.writer.finish(FULL)
        closed = self.journal.close()
        self.writer.finish(FULL)
        self.successResultOf(closed)
        self.assertTrue(self.writer.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class NoJournalTests(SynchronousTestCase):
    """Without ``STATE_DIR``."""

    def test_it_keeps_nothing(self) -> None:
        """And nothing waits for it."""
        self.assertTrue(NO_JOURNAL.healthy)
        self.assertEqual(NO_JOURNAL.open(), [])
        journal: Journal = NO_JOURNAL
        self.assertIsNone(journal.begin(identity("a"), handshake()))
        NO_JOURNAL.remember("a", S)
        NO_JOURNAL.ended("a", BYE, 0)
        NO_JOURNAL.settle("a")
        self.successResultOf(NO_JOURNAL.close())


class ThreadTests(TestCase):
    """The whole of it: a folder, a file and a thread."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def make(self) -> DiskJournal:
        """:returns: a journal on disk"""
        folder = StateDir(self.path)
        return DiskJournal(ThreadWriter(folder, JournalFile(folder.journal), reactor), reactor, time)

    async def test_from_life_to_life(self) -> None:
        """What one leaves, the next finds, and none but it."""
        journal = self.make()
        self.assertEqual(journal.open(), [])
        waiting = [journal.begin(identity(str(number)), handshake()) for number in range(100)]
        for deferred in waiting:
            await within(deferred, "the journal")
        for number in range(99):
            journal.settle(str(number))
        self.assertRaises(SettingsError, self.make().open)
        await within(journal.close(), "the end")
        journal = self.make()
        (found,) = journal.open()
        self.assertEqual((found.identity, found.end), (identity("99"), CRASH))
        journal.settle("99")
        await within(journal.close(), "the end")
        journal = self.make()
        self.assertEqual(journal.open(), [])
        await within(journal.close(), "the end")

    async def test_a_file_that_cannot_be_written(self) -> None:
        """And then can: by another program that keeps it, and lets it go."""
        journal = self.make()
        journal.open()
        fault: list[Exception] = [sqlite3.OperationalError("disk I/O error")]
        write = JournalFile.write

        def fail(file: JournalFile, batch: Batch) -> None:
            if fault:
                raise fault[0]
            write(file, batch)

        self.patch(JournalFile, "write", fail)
        self.patch(JournalFile, "prove", lambda file: fail(file, Batch()))
        with self.assertRaises(NotTried):
            await within(journal.begin(identity("a"), handshake()), "the refusal")
        self.assertFalse(journal.healthy)
        fault.clear()
        recovered: Deferred[None] = Deferred()

        def check() -> None:
            if journal.healthy:
                recovered.callback(None)
            else:
                reactor.callLater(0.05, check)

        check()
        await within(recovered, "the journal")
        await within(journal.begin(identity("b"), handshake()), "the journal")
        await within(journal.close(), "the end")

    def test_a_damaged_file(self) -> None:
        """The error names the folder and says what to do; the folder is free again."""
        folder = StateDir(self.path)
        folder.open()
        folder.journal.write_text("x" * 5000)
        folder.close()
        for _ in range(2):
            error = self.assertRaises(SettingsError, self.make().open)
            self.assertEqual((error.name, error.given), ("STATE_DIR", str(self.path)))
            self.assertIn("not a database", str(error))
            self.assertIn("move", str(error))
        folder.journal.unlink()
        journal = self.make()
        self.assertEqual(journal.open(), [])
        return journal.close()  # type: ignore[return-value]  # trial waits for it


class InlineWriter:
    """A real file, written when the test says so; it fails when the test says so."""

    def __init__(self, path: Path) -> None:
        self._file = JournalFile(path)
        self.task: tuple[Callable[[], None], Done] | None = None

    def open(self) -> list[tuple[int, PendingDisconnect]]:
        """Begin."""
        self._file.open()
        return self._file.load()

    def write(self, batch: Batch, done: Done) -> None:
        """Begin to write."""
        assert self.task is None, "two batches at a time"
        self.task = ((lambda: self._file.write(batch)) if batch else self._file.prove, done)

    def finish(self, error: Exception | None, written: bool) -> None:
        """Have written, or failed, and perhaps have written all the same."""
        assert self.task is not None
        (work, done), self.task = self.task, None
        if error is None or written:
            work()
        done(error)

    def close(self, done: Done) -> None:
        """End."""
        self._file.close()
        done(None)


class Processes(RuleBasedStateMachine):
    """Connections come, change and go, the disk works or fails, the process dies at any moment: nothing is lost.

    ``pending`` are the records that were reported as written and are not settled: their POSTs were sent.
    """

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="journal-"))
        self.processes = 0
        self.made = 0
        self.pending: dict[str, Any] = {}
        self.waiting: dict[str, Deferred[None]] = {}
        #: What the next process may find besides: settled, or refused, and perhaps not yet deleted.
        self.maybe: set[str] = set()
        self.clock = Clock()
        self.clock.advance(UPTIME)
        self.now = TimeOfDay(self.clock, NOW)
        self.begin()

    def begin(self) -> list[PendingDisconnect]:
        """Start a process in the newest folder."""
        self.folder = self.home / str(self.processes)
        self.folder.mkdir(exist_ok=True)
        self.writer = InlineWriter(self.folder / "journal.sqlite")
        self.journal = DiskJournal(self.writer, self.clock, self.now)
        return self.journal.open()

    def teardown(self) -> None:
        self.writer._file.close()
        shutil.rmtree(self.home)

    @rule()
    def connect(self) -> None:
        self.made += 1
        key = f"key{self.made}"

        def recorded(_: None) -> None:
            # The POST is sent: from now on it must not be forgotten.
            self.pending[key] = (None, CRASH)
            self.waiting.pop(key, None)

        def refused(_: object) -> None:
            self.waiting.pop(key, None)
            self.maybe.add(key)

        deferred = self.journal.begin(identity(key), handshake())
        self.waiting[key] = deferred
        deferred.addCallbacks(recorded, refused)

    def some(self, data: Any) -> str:
        """:returns: the key of a pending record"""
        key: str = data.draw(st.sampled_from(sorted(self.pending)))
        return key

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), remembered=st.sampled_from([None, S, Remembered('a "b"', "a/b"), Remembered(None, "ü")]))
    def remember(self, data: Any, remembered: Remembered | None) -> None:
        key = self.some(data)
        self.pending[key] = (remembered, self.pending[key][1])
        self.journal.remember(key, remembered)

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), end=st.sampled_from([BYE, CRASH]))
    def end(self, data: Any, end: End) -> None:
        key = self.some(data)
        self.pending[key] = (self.pending[key][0], end)
        self.journal.ended(key, end, 1)

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def settle(self, data: Any) -> None:
        key = self.some(data)
        del self.pending[key]
        self.maybe.add(key)
        self.journal.settle(key)

    @rule(seconds=st.sampled_from([0.01, 0.1, 1.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: self.writer.task is not None)
    @rule(fails=st.booleans(), written=st.booleans())
    def write(self, fails: bool, written: bool) -> None:
        self.writer.finish(FULL if fails else None, written)

    @rule(written=st.booleans())
    def die(self, written: bool) -> None:
        """The process is over, perhaps in the moment after a write, and the next one finds what files it left."""
        if written and self.writer.task is not None:
            self.writer.task[0]()
        before, self.processes = self.folder, self.processes + 1
        after = self.home / str(self.processes)
        shutil.copytree(before, after)
        self.writer._file.close()
        found = {one.identity.key: one for one in self.begin()}
        missing = set(self.pending) - set(found)
        assert not missing, f"lost: {missing}"
        # Those that still waited were never reported as written; no POST was sent.
        unknown = set(found) - set(self.pending) - self.maybe - set(self.waiting)
        assert not unknown, f"never recorded: {unknown}"
        self.waiting.clear()
        self.maybe.clear()
        self.pending = {key: (one.remembered, one.end) for key, one in found.items()}

    @rule()
    def come_to_rest(self) -> None:
        """Once everything is written, the file holds the pending records and nothing else."""
        for _ in range(3):
            self.clock.advance(1)
            while self.writer.task is not None:
                self.writer.finish(None, True)
        assert self.journal.healthy
        assert not self.waiting
        found = {each.identity.key: (each.remembered, each.end) for _, each in self.writer._file.load()}
        assert set(found) == set(self.pending)
        for key, expected in self.pending.items():
            assert found[key] == expected, key
        self.maybe.clear()

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        assert not self.waiting or self.writer.task is not None


class LivesTests(SynchronousTestCase):
    """See :class:`Processes`."""

    def test_nothing_is_lost(self) -> None:
        run_courses(Processes, 60, 40)
