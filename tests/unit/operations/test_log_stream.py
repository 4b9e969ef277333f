"""Lines of log on their way out: in order, one write each, and nobody waits for who reads them, or for a disk."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from twisted.logger import Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.processes import PATIENCE
from wsaas.logs import LogSettings, make_observer
from wsaas.operations.log_stream import LogFile, LogStream, Place, StandardStream

#: The least that Linux gives a pipe.
PAGE = 4096


def form(event: Any) -> str:
    """:returns: an event in a few words"""
    return f"{formatEvent(event)}\n"


def _is_idle(stream: LogStream) -> bool:
    return not stream._waiting


class StreamCase(SynchronousTestCase):
    """Descriptors, and time."""

    def setUp(self) -> None:
        """Begin without streams."""
        self.streams: list[LogStream] = []

    def eventually(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a thread."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"not in {PATIENCE} s: {what}")
            time.sleep(0.001)

    def pipe(self, flags: int = 0) -> tuple[int, int]:
        """:returns: both ends of a pipe with room for one page"""
        reads, writes = os.pipe2(flags | os.O_CLOEXEC)
        fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, PAGE)
        self.addCleanup(os.close, writes)
        # Before that: the number may soon be another test's pipe, and what still waits would be written there.
        self.addCleanup(self._settle)
        # First, so that no thread waits for it.
        self.addCleanup(os.close, reads)
        return reads, writes

    def _settle(self) -> None:
        for stream in self.streams:
            self.eventually(partial(_is_idle, stream), "a stream with nothing to write")

    def stream(self, place: Place, **more: Any) -> LogStream:
        """:returns: a stream with its thread"""
        stream = LogStream(place, form, **more)
        stream.start()
        self.streams.append(stream)
        return stream


class LogStreamTests(StreamCase):
    """Into pipes, of which tests read the other end."""

    def read(self, reads: int, count: int) -> list[str]:
        """:returns: so many lines, waited for"""
        data = b""
        while data.count(b"\n") < count:
            data += os.read(reads, 65536)
        return data.decode("ascii").splitlines()

    def test_before_the_thread_starts(self) -> None:
        """A line is written when it is logged: who forks, or fails, has nothing in memory."""
        reads, writes = self.pipe()
        stream = LogStream(StandardStream(writes), form)
        stream.write("one\n")
        stream.flush()
        self.assertEqual(os.read(reads, PAGE), b"one\n")
        stream.finish(0)

    def test_in_order_and_one_write_each(self) -> None:
        """A pipe in packet mode gives each write to a read of its own."""
        reads, writes = self.pipe(os.O_DIRECT)
        fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 64 * PAGE)
        stream = self.stream(StandardStream(writes))
        stream.start()
        lines = [f"{number}\n" for number in range(50)]
        for line in lines:
            stream.write(line)
        self.assertEqual([os.read(reads, PAGE).decode() for _ in lines], lines)

    def test_nobody_reads(self) -> None:
        """Writers do not wait; what does not fit is counted, up to where all that waited is written."""
        reads, writes = self.pipe()
        stream = self.stream(StandardStream(writes), limit=1000)
        # One page fills the pipe, the first of the next hundred hangs in the system, and no more than nine others wait.
        filling = "x" * 1023 + "\n"
        for _ in range(4):
            stream.write(filling)
            self.eventually(lambda: not stream._waiting, "the pipe is not full yet")
        for number in range(100):
            stream.write(f"{number:99}\n")
        self.assertEqual(stream._waiting, 1000)
        lines = self.read(reads, 4 + 10 + 1)
        self.assertEqual([int(line) for line in lines[4:-1]], list(range(10)))
        self.assertEqual(lines[-1], "90 lines are left out here: they could not be written")
        stream.write("as ever\n")
        self.assertEqual(self.read(reads, 1), ["as ever"])

    def test_a_line_that_is_too_long(self) -> None:
        """Is written all the same, when no other waits: it may say why the process ends."""
        reads, writes = self.pipe()
        stream = self.stream(StandardStream(writes), limit=10)
        line = "x" * 3 * PAGE
        stream.write(f"{line}\n")
        stream.write("more\n")
        self.assertEqual(self.read(reads, 2), [line, "1 lines are left out here: they could not be written"])

    def test_the_end_waits(self) -> None:
        """For what waits, the count with it, and from then on for each line."""
        reads, writes = self.pipe()
        stream = self.stream(StandardStream(writes), limit=2 * PAGE)
        for _ in range(4):
            stream.write("x" * PAGE)

        def drain() -> None:
            # How much there is to read depends on how much fitted; this line is the end in any case.
            read = b""
            while b"last\n" not in read:
                read += os.read(reads, PAGE)

        reader = threading.Timer(0.05, drain)
        reader.start()
        stream.finish(PATIENCE)
        stream.write("last\n")
        self.assertEqual((stream._waiting, stream._left_out), (0, 0))
        reader.join(PATIENCE)
        self.assertFalse(reader.is_alive())

    def test_the_end_does_not_wait_for_ever(self) -> None:
        """A second in all, however many lines come."""
        _, writes = self.pipe()
        stream = self.stream(StandardStream(writes))
        stream.write("x" * 2 * PAGE)
        started = time.monotonic()
        stream.finish(0.5)
        for _ in range(100):
            stream.write("last\n")
        # Each line by itself would wait half a second: 50 in all.
        self.assertTrue(0.4 < time.monotonic() - started < 25)

    def test_what_cannot_be_written_is_told_later(self) -> None:
        """A full disk, or a reader that is gone, ends nothing."""
        full = os.open("/dev/full", os.O_WRONLY)
        self.addCleanup(os.close, full)
        reads, writes = self.pipe()
        gone, broken = os.pipe()
        os.close(gone)
        self.addCleanup(os.close, broken)
        place = StandardStream(full)
        stream = self.stream(place)
        for place.descriptor in (full, broken):
            stream.write("lost\n")
            stream.write("lost\n")
            stream.finish(PATIENCE)
        place.descriptor = writes
        stream.write("again\n")
        stream.write("and again\n")
        told = "4 lines are left out here: they could not be written"
        self.assertEqual(self.read(reads, 3), [told, "again", "and again"])

    def test_whatever_fails_the_thread_goes_on(self) -> None:
        """Else nothing would be logged any more, in silence: a form that fails, a place that does."""
        reads, writes = self.pipe()

        class Odd(StandardStream):
            fails = True

            @property
            def descriptor(self) -> int:
                """Somewhere, sometimes."""
                if self.fails:
                    raise RuntimeError("no descriptor")
                return writes

            @descriptor.setter
            def descriptor(self, _: int) -> None:
                """It is what it is."""

            def reopen(self) -> None:
                raise ValueError("embedded null byte")

        def fails(_: Any) -> str:
            raise RuntimeError("no form")

        place = Odd(writes)
        stream = LogStream(place, fails)
        stream.start()
        self.streams.append(stream)
        stream.write("lost\n")
        self.eventually(lambda: not stream._waiting, "room for the next")
        place.fails = False
        stream.reopen()
        stream.write("as ever\n")
        self.assertEqual(
            self.read(reads, 3),
            [
                "the log file is not opened again: embedded null byte",
                "1 lines are left out here: they could not be written",
                "as ever",
            ],
        )

    def test_somebody_elses_flag(self) -> None:
        """``O_NONBLOCK`` is of all who share a descriptor: the thread waits by other means."""
        reads, writes = self.pipe()
        os.set_blocking(writes, False)
        stream = self.stream(StandardStream(writes))
        lines = [f"{number:999}" for number in range(30)]
        for line in lines:
            stream.write(f"{line}\n")
        self.assertEqual(self.read(reads, 30), lines)
        self.assertFalse(os.get_blocking(writes))

    def test_a_place_that_fails_while_it_has_no_room(self) -> None:
        """The line is lost, and told of later."""
        reads, writes = self.pipe(os.O_NONBLOCK)
        os.write(writes, bytes(PAGE))

        class Odd(StandardStream):
            asked = 0

            @property
            def descriptor(self) -> int:
                """There, then gone, then there again."""
                self.asked += 1
                if self.asked == 2:
                    raise RuntimeError("no descriptor")
                return writes

            @descriptor.setter
            def descriptor(self, _: int) -> None:
                """It is what it is."""

        stream = self.stream(Odd(writes))
        stream.write("lost\n")
        self.eventually(lambda: not stream._waiting, "room for the next")
        os.read(reads, PAGE)
        stream.write("as ever\n")
        told = "1 lines are left out here: they could not be written"
        self.eventually(lambda: not stream._waiting, "the next is written")
        self.assertEqual(self.read(reads, 2), [told, "as ever"])

    def test_a_signal_in_the_midst_of_it(self) -> None:
        """Twisted logs that SIGTERM came while a line of the same thread is on its way."""
        reads, writes = self.pipe()
        stream = self.stream(StandardStream(writes))

        class Interrupted(SimpleQueue[Any]):
            came = False

            def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
                if not self.came:
                    self.came = True
                    stream.write("SIGTERM\n")
                lines.put(item)

        lines = stream._lines
        stream._lines = Interrupted()
        stream.write("interrupted\n")
        stream._lines = lines
        self.assertEqual(self.read(reads, 2), ["SIGTERM", "interrupted"])
        stream.finish(PATIENCE)
        self.assertEqual(stream._waiting, 0)

    def test_many_threads(self) -> None:
        """Each one's lines are in order, and no byte is counted twice."""
        reads, writes = self.pipe()
        stream = self.stream(StandardStream(writes))

        def work(name: int) -> None:
            for number in range(200):
                stream.write(f"{name} {number}\n")

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        lines = [line.split() for line in self.read(reads, 800)]
        for thread in threads:
            thread.join()
        for name in range(4):
            self.assertEqual([int(number) for each, number in lines if each == str(name)], list(range(200)))
        stream.finish(PATIENCE)
        self.assertEqual(stream._waiting, 0)

    def test_text_that_is_no_text(self) -> None:
        """As bytes that a command line had: nothing is lost for it."""
        reads, writes = self.pipe()
        self.stream(StandardStream(writes)).write("\udcff ü\n")
        self.assertEqual(os.read(reads, PAGE), b"\\udcff \xc3\xbc\n")

    def test_an_observer_writes_there(self) -> None:
        """As to any stream."""
        reads, writes = self.pipe()
        observer = make_observer(LogSettings("INFO", "text"), self.stream(StandardStream(writes)))
        Logger(namespace="x", observer=observer).info("{count} clients", count=3)
        self.assertTrue(self.read(reads, 1)[0].endswith(" INFO  x 3 clients"))

    def test_a_standard_stream_is_not_opened_anew(self) -> None:
        """Nothing happens."""
        reads, writes = self.pipe()
        stream = self.stream(StandardStream(writes))
        stream.reopen()
        stream.write("one\n")
        self.assertEqual(self.read(reads, 1), ["one"])


class LogFileTests(StreamCase):
    """Into files that somebody rotates."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        super().setUp()
        self.path.parent.mkdir(exist_ok=True)
        self.old = self.path.with_suffix(".1")

    def open(self) -> LogFile:
        """:returns: the file, opened"""
        file = LogFile(str(self.path))
        self.addCleanup(lambda: os.close(file.descriptor))
        return file

    def say(self, stream: LogStream, text: str) -> None:
        """Write a line, and wait for it."""
        stream.write(f"{text}\n")
        stream.finish(PATIENCE)
        self.assertEqual(stream._waiting, 0)

    def test_it_is_appended_to(self) -> None:
        """What an earlier process wrote stays."""
        self.path.write_text("earlier\n")
        self.say(self.stream(self.open()), "now")
        self.assertEqual(self.path.read_text(), "earlier\nnow\n")

    def test_cut(self) -> None:
        """``copytruncate``: the next line is the first, with no hole before it."""
        stream = self.stream(self.open())
        self.say(stream, "before")
        os.truncate(self.path, 0)
        self.say(stream, "after")
        self.assertEqual(self.path.read_bytes(), b"after\n")

    def test_renamed(self) -> None:
        """What is logged before it is opened anew is in the old one, the rest in the new one."""
        for started in (False, True):
            stream = LogStream(self.open(), form)
            if started:
                stream.start()
            stream.write("before\n")
            self.path.rename(self.old)
            stream.write("still\n")
            stream.reopen()
            self.say(stream, "after")
            self.assertEqual((self.old.read_text(), self.path.read_text()), ("before\nstill\n", "after\n"))
            self.path.unlink()

    def test_not_renamed(self) -> None:
        """It goes on in the same."""
        stream = self.stream(self.open())
        self.say(stream, "before")
        stream.reopen()
        self.say(stream, "after")
        self.assertEqual(self.path.read_text(), "before\nafter\n")

    def test_it_cannot_be_opened_anew(self) -> None:
        """It goes on in the old one, and says why."""
        folder = self.path.parent / "folder"
        folder.mkdir()
        self.path = folder / "x.log"
        stream = self.stream(self.open())
        folder.rename(folder.with_name("moved"))
        stream.reopen()
        self.say(stream, "after")
        lines = folder.with_name("moved").joinpath("x.log").read_text().splitlines()
        self.assertEqual(lines[1], "after")
        self.assertIn("the log file is not opened again: [Errno 2] No such file", lines[0])

    def test_who_may_read(self) -> None:
        """Those who could read the old one; but a file that who rotates it has made stays as it is."""
        before = os.umask(0o022)
        self.addCleanup(os.umask, before)
        file = self.open()
        self.path.chmod(0o640)
        # twistd --daemon sets that after the file is opened.
        os.umask(0o077)
        self.path.rename(self.old)
        file.reopen()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o640)
        self.path.rename(self.old)
        self.path.touch(0o600)
        file.reopen()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_no_descriptor_is_left(self) -> None:
        """However often it is rotated; and none is for programs that the process starts."""
        file = self.open()
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(10):
            file.reopen()
        self.assertEqual(len(list(Path("/proc/self/fd").iterdir())), before)
        self.assertFalse(os.get_inheritable(file.descriptor))

    def test_another_folder(self) -> None:
        """twistd changes it before it serves."""
        path = self.path.absolute()
        file = self.open()
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir("/")
        path.rename(path.with_suffix(".1"))
        file.reopen()
        self.assertTrue(path.exists())
