"""What a process takes: memory of its own, memory of the kernel for its sockets, descriptors, threads."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.programs import resident_bytes

_SKMEM = re.compile(r"skmem:\(r(\d+),rb\d+,t\d+,tb\d+,f(\d+),w(\d+)")
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Usage:
    """
    A sample.

    :param process: bytes, Pss.
    :param kernel: bytes that the kernel holds for its TCP sockets.
    :param descriptors: open ones.
    :param threads: running ones.
    """

    process: int
    kernel: int
    descriptors: int
    threads: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.process + self.kernel


def usage(pid: int, port: int) -> Usage:
    """
    What the gateway takes now.

    :param port: where it listens; its sockets to the API, a few hundred at most, are not looked at.
    """
    here = Path(f"/proc/{pid}")
    return Usage(
        resident_bytes([pid]),
        kernel_bytes(port),
        len(list((here / "fd").iterdir())),
        len(list((here / "task").iterdir())),
    )


def kernel_bytes(port: int) -> int:
    """
    What the kernel holds for the server's ends of connections to a port: what was received and not read, what was
    written and not acknowledged, and what is reserved for either (``skmem`` of ss(8)).

    Without ``ss``: what it holds for all TCP sockets of the machine, sockstat of proc(5).
    """
    try:
        done = subprocess.run(  # nosec B603 B607  # fixed words and a number of ours
            ["ss", "--tcp", "--memory", "--numeric", "--no-header", f"sport = :{port}"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        words = re.search(r"^TCP:.* mem (\d+)", Path("/proc/net/sockstat").read_text("ascii"), re.MULTILINE)
        return int(words[1]) * _PAGE if words else 0
    return sum(sum(map(int, found)) for found in _SKMEM.findall(done.stdout))


def available_bytes() -> int:
    """What the machine has left: ``MemAvailable``."""
    words = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text("ascii"), re.MULTILINE)
    return int(words[1]) * 1024 if words else 0
