"""Resources of the process, read cheaply from Linux's ``/proc`` (proc(5))."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path

#: Seconds for which the number of descriptors is cached where they have to be listed.
LISTED_FOR = 60.0


class Process:
    """Tells the resources that this process uses.

    :param now: tells the time of day, in Unix seconds
    :param seconds: a monotonic clock
    :param proc: the folder of the process in procfs
    """

    def __init__(
        self,
        now: Callable[[], float],
        seconds: Callable[[], float] = time.monotonic,
        proc: Path = Path("/proc/self"),
    ) -> None:
        self._seconds = seconds
        self._proc = proc
        self._listed_at: float | None = None
        self._listed = 0
        #: When the process started, approximately, in Unix seconds.
        self.started_at = now()

    def cpu_seconds(self) -> float:
        """:returns: the CPU time used"""
        return time.process_time()

    def memory(self) -> int:
        """:returns: the resident memory in bytes; 0 if unknown"""
        try:
            pages = int((self._proc / "statm").read_text(encoding="ascii").split()[1])
        except (OSError, ValueError, IndexError):
            return 0
        return pages * resource.getpagesize()

    def descriptors(self) -> int:
        """Count the open file descriptors.

        Linux tells the number since version 6.2. Before, they have to be listed, which blocks the reactor for 60 ms if
        there are 20,000: so that is done once a minute.

        :returns: how many there are; 0 if unknown
        """
        folder = self._proc / "fd"
        try:
            told = folder.stat().st_size
            if told:
                return told
            now = self._seconds()
            if self._listed_at is None or now - self._listed_at >= LISTED_FOR:
                self._listed_at = now
                self._listed = sum(1 for _ in folder.iterdir())
        except OSError:
            return 0
        return self._listed

    def max_descriptors(self) -> int:
        """:returns: the limit of open file descriptors"""
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
