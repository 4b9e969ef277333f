"""Where lines of log go: a thread writes them, so that nobody waits for a reader that stalls, or for a disk."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Condition, RLock, Thread
from time import monotonic, sleep, time
from typing import Protocol

from twisted.logger import LogEvent, LogLevel

#: Bytes that may wait to be written: some thousand lines.
LIMIT = 1 << 20
#: Seconds that the end of the process may take for what still waits.
_TO_FINISH = 1.0

#: Seconds of rest after a line behind which there was none. Else, a busy event loop and the thread would take Python's
#: lock from each other for every line: that costs 10 µs and more each.
_PAUSE = 0.01

_APPENDING = os.O_WRONLY | os.O_APPEND | os.O_CREAT


class Place(Protocol):
    """Where bytes can be written."""

    @property
    def descriptor(self) -> int:
        """What it is to the kernel."""

    def reopen(self) -> None:
        """Take in that somebody has moved what was there.

        :raises OSError: if that is not possible; then everything is as before
        """


class StandardStream:
    """A stream that the process was started with, which only its parent can open again.

    Its flags stay as they are: with ``O_NONBLOCK``, say, all processes that share it would have to live.

    :param descriptor: its number
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def reopen(self) -> None:
        """Do nothing."""


class LogFile:
    """A file that somebody else rotates.

    Appended to, so that what is cut to nothing (``copytruncate``) grows from nothing.

    :param path: its path, from the folder in which the process was started
    :raises OSError: if it cannot be opened
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()
        self.descriptor = os.open(self._path, _APPENDING, 0o666)

    def reopen(self) -> None:
        """Leave the file that was renamed, and go on in one that has its name.

        :raises OSError: if there cannot be one
        """
        mode = stat.S_IMODE(os.fstat(self.descriptor).st_mode)
        try:
            descriptor = os.open(self._path, _APPENDING | os.O_EXCL, mode)
        except FileExistsError:
            # As who rotates wants it.
            descriptor = os.open(self._path, _APPENDING, mode)
        else:
            # Who could read the old one can read it, whatever umask twistd has set meanwhile.
            os.fchmod(descriptor, mode)
        old, self.descriptor = self.descriptor, descriptor
        os.close(old)


class LogStream:
    """Writes lines in their order, one system call each, in a thread of its own.

    What does not fit into memory while nothing is read is left out, from the first line that does not fit until all
    that waited is written; then a line says how many there were. A process that is killed loses what waits.

    :param place: where they are written
    :param form: makes a line of an event
    :param limit: bytes that may wait
    """

    def __init__(self, place: Place, form: Callable[[LogEvent], str], limit: int = LIMIT) -> None:
        self._place = place
        self._form = form
        self._limit = limit
        #: None asks for the file to be opened again.
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        # Twisted logs in signal handlers: one may come while its own thread is in here.
        self._lock = RLock()
        self._written = Condition(self._lock)
        self._waiting = 0
        self._left_out = 0
        self._thread: Thread | None = None
        self._deadline: float | None = None

    def start(self) -> None:
        """Have a thread write from now on. Before, lines are written at once: twistd may fork, and nobody is served."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="log", daemon=True)
            self._thread.start()

    def write(self, text: str) -> None:
        """Have a line written, soon and if possible."""
        line = text.encode("utf-8", "backslashreplace")
        if self._thread is None:
            self._emit(line)
            return
        size = len(line)
        with self._lock:
            if self._left_out or (self._waiting and self._waiting + size > self._limit):
                self._left_out += 1
            else:
                self._waiting += size
                self._lines.put(line)
        if self._deadline is not None:
            self._await(self._deadline)

    def flush(self) -> None:
        """Do nothing: each line is on its way."""

    def reopen(self) -> None:
        """Open the file again, once the lines that wait are written."""
        if self._thread is None:
            self._reopen()
        else:
            self._lines.put(None)

    def finish(self, seconds: float = _TO_FINISH) -> None:
        """Wait for what waits, and from now on for each further line, all in all for so many seconds."""
        self._deadline = monotonic() + seconds
        self._await(self._deadline)

    def _await(self, deadline: float) -> None:
        with self._written:
            self._written.wait_for(lambda: not self._waiting, max(0.0, deadline - monotonic()))

    def _run(self) -> None:
        #: How many lines could not be written and were not told of.
        lost = 0
        while True:
            line = self._lines.get()
            if line is None:
                self._reopen()
                continue
            if lost:
                lost = self._tell(lost)
            if not self._emit(line):
                lost += 1
            lost = self._done(len(line), lost)
            if self._deadline is None and self._lines.empty():
                sleep(_PAUSE)

    def _done(self, size: int, lost: int) -> int:
        """Make room, and if nothing else waits, tell how many lines found none.

        :returns: how many lines are still to be told of
        """
        while True:
            with self._lock:
                left_out = self._left_out if self._waiting == size else 0
                if not left_out:
                    self._waiting -= size
                    if not self._waiting:
                        self._written.notify_all()
                    return lost
                self._left_out = 0
            lost = self._tell(lost + left_out)

    def _tell(self, lost: int) -> int:
        """:returns: how many lines are still to be told of: all or none"""
        told = self._emit(self._line("{count} lines are left out here: they could not be written", count=lost))
        return 0 if told else lost

    def _reopen(self) -> None:
        try:
            self._place.reopen()
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread goes on, or nothing would be logged any more
            self._emit(self._line("the log file is not opened again: {error}", error=error))

    def _line(self, text: str, **values: object) -> bytes:
        event = {
            "log_format": text,
            "log_level": LogLevel.warn,
            "log_namespace": __name__,
            "log_time": time(),
            **values,
        }
        try:
            line = self._form(event)
        except Exception:  # noqa: BLE001 - as above
            line = f"{text.format_map(values)}\n"
        return line.encode("utf-8", "backslashreplace")

    def _emit(self, line: bytes) -> bool:
        """:returns: whether it was written. A log that cannot be written must not end the service."""
        try:
            while line:
                try:
                    line = line[os.write(self._place.descriptor, line) :]
                except BlockingIOError:
                    # Somebody who shares the descriptor has set its flag.
                    ready = select.poll()
                    ready.register(self._place.descriptor, select.POLLOUT)
                    ready.poll()
        except Exception:  # noqa: BLE001 - as above
            return False
        return True
