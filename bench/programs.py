"""Programs that a benchmark starts: pinned to a core, measured from outside, ended by their process id."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

START_LIMIT = 20.0  #: seconds
STOP_LIMIT = 3.0  #: seconds from SIGTERM to SIGKILL

_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """Something that the benchmark needs does not work; the message says what and shows its output."""


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What this thread starts meanwhile runs on one core, with everything that it starts itself."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Program:
    """
    A process on one core, with those that it starts itself. Leaving its context ends them.

    :param arguments: the command line.
    :param core: where it may run.
    :param log: the file that takes its standard error, and its standard output unless that is read.
    :param environment: variables added to ours.
    :param dialogue: whether its standard input and output are ours, line by line.
    :param cwd: its working directory.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        core: int,
        log: Path,
        environment: Mapping[str, str] | None = None,
        dialogue: bool = False,
        cwd: Path | None = None,
    ) -> None:
        self.name = Path(arguments[0]).name
        self._log = log
        self._answers: queue.Queue[str | None] = queue.Queue()
        with log.open("ab") as output, on_core(core):
            self._process = subprocess.Popen(  # nosec B603  # programs of the benchmark's own
                arguments,
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE if dialogue else subprocess.DEVNULL,
                stdout=subprocess.PIPE if dialogue else output,
                stderr=output,
                text=True,
            )
        if dialogue:
            threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def pids(self) -> list[int]:
        """It and all that it started, directly or not."""
        found = [self.pid]
        for pid in found:  # grows meanwhile
            try:
                for children in Path(f"/proc/{pid}/task").glob("*/children"):
                    found += map(int, children.read_text("ascii").split())
            except OSError:
                pass  # gone while it was looked at
        return found

    @property
    def ended(self) -> bool:
        """Whether it ended, asked or not."""
        return self._process.poll() is not None

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def tell(self, line: str) -> None:
        """
        Write a line to its standard input.

        :raises BenchError: it does not read any more.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self.error("ended too early") from None

    def hear(self, timeout: float) -> str:
        """
        The next line of its standard output.

        :param timeout: seconds.
        :raises BenchError: it ended or says nothing.
        """
        try:
            line = self._answers.get(timeout=timeout)
        except queue.Empty:
            raise self.error(f"said nothing for {timeout:.0f} s") from None
        if line is None:
            raise self.error("ended too early")
        return line

    def wait_for_port(self, port: int) -> None:
        """
        Wait until it listens.

        :raises BenchError: it does not within :data:`START_LIMIT`.
        """

        def listens() -> bool:
            if self.ended:
                raise self.error("ended at its start")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                return False
            return True

        if not wait_until(listens, START_LIMIT):
            raise self.error(f"does not listen on port {port}")

    def wait_for_port_or_stop(self, port: int) -> None:
        """
        As :meth:`wait_for_port`, but what does not listen in time is ended.

        :raises BenchError: it does not.
        """
        try:
            self.wait_for_port(port)
        except BaseException:  # SIGTERM's SystemExit too: nothing stays behind
            self.stop()
            raise

    def stop(self) -> None:
        """End it and what it started, by force if that does not happen within :data:`STOP_LIMIT`."""
        started = [] if self.ended else [(pid, start_time(pid)) for pid in self.pids()[1:]]
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid, start in started:
            # The number may belong to somebody else by now; the moment of its start tells.
            if start is not None and start_time(pid) == start:
                os.kill(pid, signal.SIGKILL)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass  # a line that it did not want to read any more

    def error(self, problem: str) -> BenchError:
        """An error that shows the end of the log."""
        end = "\n".join(self._log.read_text("utf-8", "replace").splitlines()[-20:])
        return BenchError(f"{self.name} {problem}\n{end}".rstrip())


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """
    Ask again and again.

    :param timeout: seconds.
    :returns: whether the condition came true in time.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def cpu_seconds(pids: Sequence[int]) -> float:
    """The CPU time that processes have used, in user and kernel mode, in seconds; resolution 10 ms."""
    used = 0
    for pid in pids:
        # The command name may hold blanks and parentheses; what follows the last one is regular: proc_pid_stat(5).
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        used += int(fields[11]) + int(fields[12])
    return used / _TICKS


def start_time(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None if there is no such process any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[19]
    except OSError:
        return None


def core_seconds(core: int) -> float:
    """The CPU time that anybody has used on a core, or that the host withheld, in seconds: proc_stat(5)."""
    for line in Path("/proc/stat").read_text("ascii").splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            return (user + nice + system + irq + softirq + steal) / _TICKS
    return 0.0


def resident_bytes(pids: Sequence[int]) -> int:
    """The resident memory of processes, in bytes; what they share counts once: Pss of proc_pid_smaps_rollup(5)."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total
