"""The machine: which core does what, and what a reader must know to compare figures."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("twisted", "autobahn", "treq")


@dataclass(frozen=True)
class Cores:
    """
    Who runs where.

    :param system: core of the system under test.
    :param api: core of the API.
    :param load: core of the load generator.
    """

    system: int
    api: int
    load: int

    @property
    def shared(self) -> bool:
        """Whether the system has to share its core, so that its figures say little."""
        return self.system in (self.api, self.load)

    @property
    def load_side_shared(self) -> bool:
        """Whether API and load generator share a core, so that their shares of it add up."""
        return self.api == self.load

    def describe(self) -> str:
        """Who runs where, for the report."""
        if self.shared:
            return f"everything on core {self.system}"
        if self.load_side_shared:
            return (
                f"system on core {self.system}, API and load generator together on core {self.load}: "
                "their shares of it add up against the limit"
            )
        return f"system on core {self.system}, API on core {self.api}, load generator on core {self.load}"


def assign_cores() -> Cores:
    """Give each role a core of its own; API and load generator share one where this process may use only two."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(*(allowed[min(i, len(allowed) - 1)] for i in range(3)))


def raise_file_limit() -> int:
    """
    Raise the soft limit of open files to the hard one, for this process and those that it starts.

    :returns: the limit.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def describe_machine() -> dict[str, str | int]:
    """What the figures depend on, apart from the software."""
    cpuinfo = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": platform.release(),
    }


def describe_software(compiler: str) -> dict[str, str]:
    """
    Versions of what took part.

    :param compiler: the program that compiled the load generator and the API.
    """
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    versions["compiler"] = first_line([compiler, "--version"])
    return versions


def first_line(command: Sequence[str]) -> str:
    """The first line that a command prints, on either stream."""
    # All who call have their words in the source.
    done = subprocess.run(  # nosec B603  # see above
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20, check=False
    )
    return done.stdout.partition("\n")[0].strip()


def command_line() -> str:
    """How this benchmark was called."""
    return " ".join(["python -m bench", *sys.argv[1:]])
