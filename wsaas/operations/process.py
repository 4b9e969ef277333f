"""What the process takes of the machine, read from Linux's ``/proc`` (proc(5)) at little cost."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path

#: Seconds for which a number of descriptors holds that was found by listing them.
LISTED_FOR = 60.0


class Process:
    """This process, as the machine sees it.

    :param seconds: a clock that never goes back
    :param proc: where the kernel tells about it
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic, proc: Path = Path("/proc/self")) -> None:
        self._seconds = seconds
        self._proc = proc
        self._listed_at: float | None = None
        self._listed = 0
        #: When it started, more or less, in seconds since 1970.
        self.started_at = time.time()

    def cpu_seconds(self) -> float:
        """:returns: the time it has been running on a processor"""
        return time.process_time()

    def memory(self) -> int:
        """:returns: its memory, in bytes; 0 if the machine does not tell"""
        try:
            pages = int((self._proc / "statm").read_text(encoding="ascii").split()[1])
        except (OSError, ValueError, IndexError):
            return 0
        return pages * resource.getpagesize()

    def descriptors(self) -> int:
        """Count the open file descriptors.

        Linux tells since version 6.2. Before, they have to be listed, which takes 60 ms where there are 20,000, while
        nobody is served: so it is done once a minute.

        :returns: how many there are; 0 if the machine does not tell
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
        """:returns: how many there may be"""
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
